"""Gemini GMOS and FLAMINGOS-2: object tables (OT) for the mask software GMMPS.

GMMPS places slits by pixels, which come from the image's world coordinates. It reads `ID` as a
16-bit integer, right ascension in hours, and one letter of priority: 1 first, 3 last (0 are
acquisition stars, which must be chosen in GMMPS). Names of OTs usually end in ``_OT.fits``. Without
a pre-image, the task `gmskcreate` (Gemini IRAF, gemini.gmos.mostools) makes such a table and a
pseudo-image from a list with blanks between columns and no header: ID, RA, DEC, MAG, priority, and,
because priorities are only read together with them, slit width and length [arcsec], tilt and
offset. Run it with ``iraunits = degrees``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.wcs import WCS
from astropy.wcs.utils import skycoord_to_pixel

from targetsel.errors import HandoffError
from targetsel.handoff.files import Card, LineFormat, read_fits, write_fits
from targetsel.handoff.settings import MagnitudeSettings, Positive, Text
from targetsel.handoff.tool import BANDS, PriorityScale, Tool, ToolTable, ToolTargets
from targetsel.tables.files import check_output
from targetsel.tables.fits import open_fits
from targetsel.tables.reading import reading

PRIORITIES = PriorityScale(best=1, worst=3)
LARGEST_ID = 2**15 - 1
COLUMNS = {
    "ID": ("i2", "##"),
    "RA": ("f8", "H"),
    "DEC": ("f8", "deg"),
    "x_ccd": ("f4", "pixels"),
    "y_ccd": ("f4", "pixels"),
    "MAG": ("f4", "mag"),
    "priority": ("S",),
}
GMSKCREATE = LineFormat(
    "{id:d} {ra_deg:.9f} {dec_deg:.9f} {mag:.2f} {priority} {slitsize_x} {slitsize_y} 0.0 0.0"
)


class GmmpsSettings(MagnitudeSettings):
    image: Text
    """the (pre-)image that the mask is designed on (FITS)"""


class GmskcreateSettings(MagnitudeSettings):
    instrument: Literal["GMOS", "F2"] = "GMOS"
    """instrument, GMOS (default) or F2, whose slits lie the other way"""
    slit_width: Positive = 1.0
    """width of slits [arcsec]; default 1"""
    slit_length: Positive = 5.0
    """length of slits [arcsec]; default 5"""


def write_gmmps(targets: ToolTable, settings: GmmpsSettings, path: Path) -> list[Path]:
    """Write the object table; its mandatory columns in the order that GMMPS wants."""
    _, magnitude = targets.magnitude(settings)
    x, y, cards = _pixels(targets, settings)
    values = {
        "ID": targets.id,
        "RA": targets.ra % 360 / 15,
        "DEC": targets.dec,
        "x_ccd": x,
        "y_ccd": y,
        "MAG": magnitude,
        "priority": targets.priority.astype("S1"),
    }
    check_output(path, [settings.path("image")])
    write_fits(path, COLUMNS, values, "OBJECTS", cards)
    return [path]


def read_gmmps(path: Path) -> ToolTargets:
    """The science targets of an object table, as cfitsio or astropy reads it."""
    table, reader = read_fits(path)
    science = np.isin(table["priority"], ("1", "2", "3"))
    return ToolTargets(
        table["ID"][science],
        15 * table["RA"][science],
        table["DEC"][science],
        table["priority"][science].astype(np.int64),
        reader,
    )


def _pixels(
    targets: ToolTable, settings: GmmpsSettings
) -> tuple[np.ndarray, np.ndarray, dict[str, Card]]:
    """Pixel positions of the targets, counted from 1, and cards copied from the image's header."""
    image = settings.path("image")
    with open_fits(image, HandoffError) as hdus, reading(image, HandoffError, "a FITS image"):
        sky = next((hdu.header for hdu in hdus if _is_of_the_sky(hdu.header)), None)
        headers = [hdus[0].header] + ([] if sky is None else [sky])
        cards: dict[str, Card] = {
            keyword: (header[keyword], "of the image")
            for keyword in ("INSTRUME", "PIXSCALE")
            for header in headers
            if keyword in header
        }
    if sky is None:
        raise settings.error(
            "image", f"'image': {image} has no image with world coordinates; name one that has"
        )
    with reading(image, HandoffError, "an image with usable world coordinates"):
        # Whatever the image's frame is: ICRS, FK5, FK4 or galactic.
        there = SkyCoord(targets.ra, targets.dec, unit="deg")
        x, y = skycoord_to_pixel(there, WCS(sky), origin=1)
        width, height = sky["NAXIS1"], sky["NAXIS2"]
    outside = ~((x >= 0.5) & (x <= width + 0.5) & (y >= 0.5) & (y <= height + 0.5))
    if outside.any():
        raise settings.error(
            "image",
            f"{outside.sum()} of {len(targets)} targets are not on the image {image} of {width} x "
            f"{height} pixels. Select those of its field with conditions on ra and dec",
        )
    return x, y, cards


def _is_of_the_sky(header: fits.Header) -> bool:
    """An image with world coordinates; tables have two axes too."""
    is_table = header.get("XTENSION", "IMAGE").strip() != "IMAGE"
    return header.get("NAXIS") == 2 and "CTYPE1" in header and not is_table


def write_gmskcreate(targets: ToolTable, settings: GmskcreateSettings, path: Path) -> list[Path]:
    """Write the list."""
    x, y = settings.slit_width, settings.slit_length
    if settings.instrument == "F2":
        x, y = y, x
    return GMSKCREATE.write(targets, settings, path, slitsize_x=x, slitsize_y=y)


TOOLS = (
    Tool(
        name="gmmps",
        title="Gemini GMMPS object table (GMOS, FLAMINGOS-2)",
        source="GeminiDRSoftware/GMMPS, html/_sources/OTformat.rst.txt and "
        "examples/ngc7796_OT.fits",
        tried="GMMPS's own reader `gmFits2Cat`, compiled, took the file.",
        suffix=".fits",
        write=write_gmmps,
        read=read_gmmps,
        priorities=PRIORITIES,
        ids="row",
        max_targets=LARGEST_ID,
        max_id=LARGEST_ID,
        settings=GmmpsSettings,
        bands=BANDS,
    ),
    Tool(
        name="gmskcreate",
        title="Gemini gmskcreate input (GMOS, FLAMINGOS-2), where there is no pre-image",
        source="GeminiDRSoftware/GMMPS, html/_sources/createOT.rst.txt",
        tried="Known from the written format; gmskcreate was not run.",
        suffix=".txt",
        write=write_gmskcreate,
        read=GMSKCREATE.read,
        priorities=PRIORITIES,
        ids="row",
        max_targets=LARGEST_ID,
        max_id=LARGEST_ID,
        settings=GmskcreateSettings,
        bands=BANDS,
    ),
)
