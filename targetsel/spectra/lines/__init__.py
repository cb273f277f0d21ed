"""Line strengths and indices measured on rest-frame spectra.

Signs: lines are positive in emission, Lick indices (`hdelta_a`) positive in absorption, as Lick
defines them. Widths are taken between straight-line continua through side bands, so those of the
Balmer lines include the stars' absorption: about 2 to 3 Angstrom too low at Hbeta.

Catalogs are scored with `PROXIES`, those that the shipped table marks as predicted; `LineTable` has
more indices, and users can add to it.
"""

from __future__ import annotations

from targetsel.spectra.grid import air_to_vacuum
from targetsel.spectra.lines.ionisation import (
    BPT_CLASSES,
    BPT_PROXIES,
    WHAN_CLASSES,
    bpt_probabilities,
    whan_probabilities,
)
from targetsel.spectra.lines.table import LineTable
from targetsel.spectra.proxies import Proxies
from targetsel.spectra.spectrum import Spectra

PROXIES = LineTable.shipped().predicted
_TABLE = LineTable.shipped().choose(PROXIES)
UNITS = {name: _TABLE[name].unit for name in PROXIES}
DESCRIPTIONS = {name: _TABLE[name].about for name in PROXIES}
UCDS = {name: _TABLE[name].ucd for name in PROXIES}

__all__ = [
    "BPT_CLASSES",
    "BPT_PROXIES",
    "DESCRIPTIONS",
    "PROXIES",
    "UCDS",
    "UNITS",
    "WHAN_CLASSES",
    "LineTable",
    "air_to_vacuum",
    "bpt_probabilities",
    "measure",
    "whan_probabilities",
]


def measure(spectra: Spectra, table: LineTable | None = None) -> Proxies:
    """All proxies of all draws of decoded spectra.

    Parameters
    ----------
    table : LineTable, optional
        Indices to measure in place of `PROXIES`.

    Returns
    -------
    Proxies
        `values` of shape (N, S, P), in the order of `PROXIES` or of the table's names.
    """
    table = table or _TABLE
    return Proxies(spectra.source_id, table.names, table.measure(spectra.flux, spectra.wavelength))
