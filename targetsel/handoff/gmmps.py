"""Gemini GMOS and FLAMINGOS-2: an object table (OT) for the mask software GMMPS.

GMMPS places slits by pixels, which come from the image's world coordinates. It reads `ID` as a
16-bit integer, right ascension in hours, and one letter of priority: 1 first, 3 last (0 are
acquisition stars, which must be chosen in GMMPS). Names of OTs usually end in ``_OT.fits``. Without
a pre-image let `gmskcreate` make the table, from ``--for gmskcreate``.
"""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.wcs import WCS, FITSFixedWarning, WcsError
from astropy.wcs.utils import skycoord_to_pixel

from targetsel.handoff.brightness import FILTER, one_magnitude
from targetsel.handoff.prepare import Prepared
from targetsel.handoff.reading import read_fits
from targetsel.handoff.settings import Settings
from targetsel.handoff.tool import PriorityScale, ReadBack, Tool
from targetsel.handoff.writing import Column, write_fits
from targetsel.tables.files import check_output

PRIORITIES = PriorityScale(best=1, worst=3)
LARGEST_ID = 2**15 - 1


def write(prepared: Prepared, settings: Settings, path: Path) -> list[Path]:
    """Write the object table; its mandatory columns in the order that GMMPS wants."""
    _, magnitude = one_magnitude(prepared, settings)
    x, y, cards = _pixels(prepared, settings)
    columns = [
        Column("ID", prepared.id.astype(np.int16), "##"),
        Column("RA", prepared.ra % 360 / 15, "H"),
        Column("DEC", prepared.dec, "deg"),
        Column("x_ccd", x.astype(np.float32), "pixels"),
        Column("y_ccd", y.astype(np.float32), "pixels"),
        Column("MAG", magnitude.astype(np.float32), "mag"),
        Column("priority", prepared.priority.astype("S1")),
    ]
    check_output(path, [settings.path("image")])
    write_fits(path, columns, "OBJECTS", cards)
    return [path]


def read(path: Path) -> ReadBack:
    """The science targets of an object table, as cfitsio or astropy reads it."""
    table, reader = read_fits(path)
    science = np.isin(table["priority"], ("1", "2", "3"))
    return ReadBack(
        table["ID"][science],
        15 * table["RA"][science],
        table["DEC"][science],
        table["priority"][science].astype(np.int64),
        reader,
    )


def _pixels(
    prepared: Prepared, settings: Settings
) -> tuple[np.ndarray, np.ndarray, dict[str, tuple[str | int | float | bool, str]]]:
    """Where the targets are on the image, counted from 1, and what the image says of itself."""
    image = settings.path("image")
    try:
        with fits.open(image, memmap=False) as hdus:
            sky = next((hdu for hdu in hdus if _is_of_the_sky(hdu.header)), None)
            headers = [hdus[0].header] + ([] if sky is None else [sky.header])
    except OSError as error:
        raise settings.error(f"'image': {image} is not a FITS file ({error})") from error
    if sky is None:
        raise settings.error(f"'image': {image} has no image with world coordinates")
    there = SkyCoord(prepared.ra, prepared.dec, unit="deg")
    try:
        # Whatever the image's frame is: ICRS, FK5, FK4 or galactic.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FITSFixedWarning)
            x, y = skycoord_to_pixel(there, WCS(headers[-1]), origin=1)
    except (WcsError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise settings.error(
            f"'image': {image} has no usable world coordinates ({reason})"
        ) from error
    width, height = headers[-1]["NAXIS1"], headers[-1]["NAXIS2"]
    outside = ~((x >= 0.5) & (x <= width + 0.5) & (y >= 0.5) & (y <= height + 0.5))
    if outside.any():
        raise settings.error(
            f"{outside.sum()} of {len(prepared)} targets are not on the image {image} of {width} x "
            f"{height} pixels. Select those of its field with conditions on ra and dec"
        )
    cards: dict[str, tuple[str | int | float | bool, str]] = {}
    for keyword in ("INSTRUME", "PIXSCALE"):
        for header in headers:
            if keyword in header:
                cards[keyword] = (header[keyword], "of the image")
    return x, y, cards


def _is_of_the_sky(header: fits.Header) -> bool:
    """An image with world coordinates; tables have two axes too."""
    is_table = header.get("XTENSION", "IMAGE").strip() != "IMAGE"
    return header.get("NAXIS") == 2 and "CTYPE1" in header and not is_table


TOOL = Tool(
    name="gmmps",
    title="Gemini GMMPS object table (GMOS, FLAMINGOS-2)",
    source="GeminiDRSoftware/GMMPS, html/_sources/OTformat.rst.txt and examples/ngc7796_OT.fits",
    suffix=".fits",
    write=write,
    read=read,
    priorities=PRIORITIES,
    ids="row",
    epoch="config",
    max_targets=LARGEST_ID,
    max_id=LARGEST_ID,
    settings={"image": "the (pre-)image that the mask is designed on (FITS)", "filter": FILTER},
)
