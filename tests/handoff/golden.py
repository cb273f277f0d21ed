"""Golden files: small outputs that were read by eye against the document of their format.

FITS files are compared as text: every header card and every row.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from astropy.io import fits

GOLDEN = Path(__file__).parent / "golden"


def fits_as_text(path: Path) -> str:
    """Header cards and rows of the first extension of a FITS file."""
    with fits.open(path) as hdus:
        table = hdus[1]
        cards = [str(card).rstrip() for card in table.header.cards]
        rows = [
            " | ".join(_text(row[place]) for place in range(len(table.columns)))
            for row in table.data
        ]
    return "\n".join([*cards, "", *rows]) + "\n"


def golden(name: str) -> str:
    """The text of a golden file."""
    return (GOLDEN / name).read_text(encoding="utf-8")


def _text(value: object) -> str:
    if isinstance(value, np.floating | float):
        return repr(float(value))
    return str(value)
