"""JWST NIRSpec: a source catalog for APT's MSA Planning Tool (MPT).

Blanks between columns and a header line that begins with ``#``. IDs are integers from 1 to a
million, so that targets are numbered; a larger Weight is more wanted. The sources of one catalog
must lie within one degree of their center. For a flight-ready program, reference stars must be
added to it; MPT also asks for every other source in the field, against contamination.
"""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path

import numpy as np
from astropy.table import Table

from targetsel.errors import HandoffError
from targetsel.handoff.files import LineFormat
from targetsel.handoff.settings import MagnitudeSettings
from targetsel.handoff.tool import PriorityScale, Tool, ToolTable, ToolTargets
from targetsel.tables.reading import reading

LARGEST_EXTENT = 1.0  # deg, from the center
PLAIN = LineFormat("{id} {ra_deg:.9f} {dec_deg:.9f} {priority}", ("# ID RA DEC Weight",))
WITH_MAGNITUDES = LineFormat(f"{PLAIN.line} {{mag:.3f}}", (f"{PLAIN.header[0]} Magnitude",))


def write(targets: ToolTable, settings: MagnitudeSettings, path: Path) -> list[Path]:
    """Write the catalog, with magnitudes where the list has fluxes."""
    _check_extent(targets)
    has_magnitudes = settings.filter is not None or targets.tool.taken(targets.photometry)
    return (WITH_MAGNITUDES if has_magnitudes else PLAIN).write(targets, settings, path)


def read(path: Path) -> ToolTargets:
    """The sources of a catalog, read by jwst-vmpt where it is installed, else by astropy."""
    try:
        from vmpt.catalog import load_catalog
    except ImportError:
        table = Table.read(path, format="ascii.commented_header")
        id, ra, dec, weight = (np.asarray(table[n]) for n in ("ID", "RA", "DEC", "Weight"))
        return ToolTargets(id, ra, dec, weight, f"astropy {version('astropy')}")
    step = "jwst-vmpt goes by the ending: name the file .cat."
    with reading(path, HandoffError, "a catalog that jwst-vmpt reads", step):
        catalog = load_catalog(str(path))
    weight = catalog.weight.astype(np.int64)
    reader = f"jwst-vmpt {version('jwst-vmpt')}"
    return ToolTargets(catalog.ids, catalog.ra_deg, catalog.dec_deg, weight, reader)


def _check_extent(targets: ToolTable) -> None:
    ra, dec = np.radians(targets.ra), np.radians(targets.dec)
    there = np.stack([np.cos(dec) * np.cos(ra), np.cos(dec) * np.sin(ra), np.sin(dec)])
    center = there.sum(axis=1) / np.linalg.norm(there.sum(axis=1))
    chord = np.linalg.norm(there - center[:, None], axis=0)
    extent = np.degrees(2 * np.arcsin(np.minimum(chord / 2, 1))).max()
    if not extent < LARGEST_EXTENT:
        raise HandoffError(
            f"the targets reach {extent:.2f} deg from their center; 'nirspec' takes less than "
            f"{LARGEST_EXTENT:g} deg. Select those of one field with conditions on ra and dec."
        )


TOOLS = (
    Tool(
        name="nirspec",
        title="JWST NIRSpec MSA Planning Tool catalog",
        source="jwst-docs.stsci.edu 'NIRSpec MPT - Catalogs' and 'MPT Catalogs - Examples'",
        tried="jwst-vmpt read the file; the MSA Planning Tool itself was not run.",
        suffix=".cat",
        write=write,
        read=read,
        priorities=PriorityScale(best=999_999, worst=1, kept=True),
        ids="row",
        max_targets=1_000_000,
        max_id=1_000_000,
        settings=MagnitudeSettings,
    ),
)
