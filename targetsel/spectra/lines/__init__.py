"""Line strengths and indices measured on rest-frame spectra, and the classes of ionisation.

Signs: lines are positive in emission, Lick indices (`hdelta_a`) positive in absorption, as Lick
defines them. Widths are taken between straight-line continua through side bands, so those of the
Balmer lines include the stars' absorption: about 2 to 3 Angstrom too low at Hbeta. Windows miss the
wings of broad lines (`Definition.counted_share`).

Catalogs are scored with `PROXIES`, those that the shipped table marks as predicted; `LineTable` has
more indices, and users can add to it.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np

from targetsel.spectra import photoz
from targetsel.spectra.lines.table import LineTable as LineTable
from targetsel.spectra.proxies import MOST_UNMEASURED, Proxies

if TYPE_CHECKING:
    from targetsel.spectra.spectrum import Spectra

PROXIES = LineTable.shipped().predicted
_TABLE = LineTable.shipped().choose(PROXIES)
# What ensembles may predict beside latents: the redshift, too, is told by quantiles.
PREDICTABLE = (*PROXIES, photoz.PHOTOZ)
UNITS = {name: _TABLE[name].unit for name in PROXIES} | {photoz.PHOTOZ: ""}
DESCRIPTIONS = {name: _TABLE[name].about for name in PROXIES} | {photoz.PHOTOZ: photoz.ABOUT}
UCDS = {name: _TABLE[name].ucd for name in PROXIES} | {photoz.PHOTOZ: photoz.UCD}
SYMBOLS = {each.name: each.symbol or each.name for each in LineTable.shipped().definitions}
SYMBOLS[photoz.PHOTOZ] = photoz.SYMBOL

BPT_CLASSES = ("bpt_sf", "bpt_composite", "bpt_agn", "bpt_weak")
WHAN_CLASSES = ("whan_sf", "whan_strong_agn", "whan_weak_agn", "whan_retired", "whan_passive")
# A draw counts in the [NII] diagram if all of these could be measured on it.
BPT_PROXIES = (
    "ew_oii", "ew_hbeta", "ew_oiii", "ew_halpha", "ew_nii", "ew_halpha_nii", "ew_sii",
    "d4000", "hdelta_a",
)  # fmt: skip
# Those whose values decide on a class there.
BPT_LINES = ("ew_hbeta", "ew_oiii", "ew_halpha", "ew_nii", "d4000")
WEAK = 1.0  # [Angstrom] a weaker line, corrected for absorption, has no usable ratio
PASSIVE = 0.5  # [Angstrom]


def in_symbols(text: str) -> str:
    """A text with indices in the words of the field, such as EW(Hα) for ew_halpha, and Å."""
    return re.sub(r"\w+", lambda word: SYMBOLS.get(word[0], word[0]), text).replace("Angstrom", "Å")


def complexes(names: tuple[str, ...]) -> dict[str, tuple[str, ...]]:
    """Blends among some proxies, each with the lines that it contains.

    A proxy is a blend if its window holds whole windows of others between the same side bands,
    as that of Hα+[NII] holds those of Hα and [NII].
    """
    lines = tuple(name for name in names if name in PROXIES)  # a redshift has no window
    return {name: parts for name in lines if (parts := _TABLE.parts(name, lines))}


def measure(spectra: Spectra, table: LineTable | None = None) -> Proxies:
    """All proxies of all draws of decoded spectra.

    Parameters
    ----------
    spectra : Spectra
        `flux` of shape (N, S, L), in the rest frame.
    table : LineTable, optional
        Indices to measure in place of `PROXIES`.

    Returns
    -------
    Proxies
        `values` of shape (N, S, P), in the order of `PROXIES` or of the table's names.

    See Also
    --------
    Decoder.decode : Makes the spectra.
    measure_spectra : The same for measured spectra in files.

    Examples
    --------
    >>> import targetsel as ts
    >>> catalog = ts.read("catalog.parquet", "catalog")[:3]
    >>> ensemble = ts.Ensemble.read("mock-ps1")
    >>> cutouts = ts.cut_out(catalog, ts.read("cutouts", "cutouts"))
    >>> latents = ensemble.predict(cutouts).draw(65, 0)
    >>> proxies = ts.measure(ensemble.decoder.decode(latents, catalog.source_id))
    >>> proxies["ew_halpha"].shape
    (3, 65)
    """
    table = table or _TABLE
    return Proxies(spectra.source_id, table.names, table.measure(spectra.flux, spectra.wavelength))


# ---------------------------------------------------------------- classes of ionisation

# Equivalent widths are used for fluxes, since the lines of each ratio share a continuum. Those of
# the Balmer lines are corrected for the stars' mean absorption, like the line table's
# `ew_halpha_gas` and `ew_hbeta_gas`.


def bpt_probabilities(proxies: Proxies) -> dict[str, np.ndarray]:
    """Share of draws in each class of the [NII] diagram; the four add to one.

    NaN where more than `MOST_UNMEASURED` of the draws cannot be measured.

    Boundaries: Kewley et al. (2001, ApJ 556, 121) and Kauffmann et al. (2003, MNRAS 346, 1055).
    A draw is `bpt_weak` if Halpha or [NII] is below `WEAK`, or both Hbeta and [OIII] are.

    Returns
    -------
    dict of ndarray, shape (N,)
    """
    halpha, hbeta = _gas("ew_halpha", proxies), _gas("ew_hbeta", proxies)
    nii, oiii = proxies["ew_nii"], proxies["ew_oiii"]
    strong = (halpha > WEAK) & (nii > WEAK) & ((hbeta > WEAK) | (oiii > WEAK))
    x, y = _log_ratio(nii, halpha), _log_ratio(oiii, hbeta)
    with np.errstate(divide="ignore"):
        below_kauffmann = (x < 0.05) & (y < 0.61 / (x - 0.05) + 1.30)
        below_kewley = (x < 0.47) & (y < 0.61 / (x - 0.47) + 1.19)
    members = {
        "bpt_sf": strong & below_kauffmann,
        "bpt_composite": strong & ~below_kauffmann & below_kewley,
        "bpt_agn": strong & ~below_kewley,
    }
    members["bpt_weak"] = ~(members["bpt_sf"] | members["bpt_composite"] | members["bpt_agn"])
    measured = np.logical_and.reduce([np.isfinite(proxies[name]) for name in BPT_PROXIES])
    return _shares(members, measured)


def whan_probabilities(proxies: Proxies) -> dict[str, np.ndarray]:
    """Share of draws in each class of the diagram of [NII]/Halpha and EW(Halpha); they add to one.

    NaN where more than `MOST_UNMEASURED` of the draws cannot be measured.

    Cid Fernandes et al. (2011, MNRAS 413, 1687), section 6: retired below 3 Angstrom of Halpha,
    passive where both lines are below 0.5, weak AGN below 6.

    Returns
    -------
    dict of ndarray, shape (N,)
    """
    halpha, nii = _gas("ew_halpha", proxies), proxies["ew_nii"]
    is_sf = _log_ratio(nii, halpha) < -0.4
    emits, passive = halpha >= 3.0, (halpha < PASSIVE) & (nii < PASSIVE)
    members = {
        "whan_sf": emits & is_sf,
        "whan_strong_agn": emits & ~is_sf & (halpha >= 6.0),
        "whan_weak_agn": emits & ~is_sf & (halpha < 6.0),
        "whan_retired": ~emits & ~passive,
        "whan_passive": passive,
    }
    return _shares(members, np.isfinite(halpha) & np.isfinite(nii))


def _gas(name: str, proxies: Proxies) -> np.ndarray:
    """Width of a Balmer line corrected for the stars' absorption, shape (N, S) [Angstrom]."""
    formula = LineTable.shipped().formula(f"{name}_gas")
    return formula({each: proxies[each] for each in formula.names})


def _log_ratio(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    floor = 0.1 * WEAK
    return np.log10(np.maximum(above, floor) / np.maximum(below, floor))


def _shares(members: dict[str, np.ndarray], usable: np.ndarray) -> dict[str, np.ndarray]:
    known = usable.mean(axis=1) >= 1 - MOST_UNMEASURED
    count = np.where(known, usable.sum(axis=1), np.nan)
    return {name: (member & usable).sum(axis=1) / count for name, member in members.items()}
