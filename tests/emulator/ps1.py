"""ps1filenames.py and fitscut.cgi as STScI runs them."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

import numpy as np

from tests.emulator.faults import Faults
from tests.emulator.server import Answer, Handler, Request
from tests.emulator.sky import BANDS, Cell, Stars, fits_bytes

HEADER = "projcell subcell ra dec filter mjd type filename shortname badflag"
NAME = re.compile(
    r"/rings\.v3\.skycell/(\d+)/(\d+)/rings\.v3\.skycell\.\1\.\2\.stk\.(.)\.unconv\.fits"
)
EXPTIME = dict(zip(BANDS, (731.0, 840.0, 1620.0, 600.0, 1040.5), strict=True))
ASINH = 2.5 / np.log(10)


@dataclass(frozen=True)
class PS1:
    """The two scripts.

    Attributes
    ----------
    stars : Stars
    faults : Faults
        For the lasting troubles of places.
    asinh : bool
        Whether cutouts keep the scaling of whole skycells, as they once did.
    hostile : str
        Something to put in place of a file's name.
    """

    stars: Stars
    faults: Faults = field(default_factory=Faults)
    asinh: bool = False
    hostile: str = ""

    def handlers(self) -> dict[str, Handler]:
        return {
            "/cgi-bin/ps1filenames.py": self.filenames,
            "/cgi-bin/fitscut.cgi": self.fitscut,
        }

    def filenames(self, request: Request) -> Answer:
        """A table of files; only its first line where there are none."""
        ra, dec = float(request.query["ra"]), float(request.query["dec"])
        lines = [HEADER]
        trouble = self.faults.of_place(ra, dec)
        bands = [band for band in request.query.get("filters", BANDS) if band in BANDS]
        if trouble == "missing band":
            bands = bands[:-1]
        shown = ra - 360 if ra > 359 else ra
        cells = [] if dec < -30 or trouble == "outside" else Cell.around(ra, dec)
        for cell in cells:
            for band in reversed(bands):
                path = self.hostile or _name(cell, band)
                short = path.rpartition("/")[2]
                lines.append(
                    f"{cell.row + 1000} {cell.column} {shown:.6f} {dec:.6f} {band} 0.0 stack "
                    f"{path} {short} 0"
                )
        return Answer(("\n".join(lines) + "\n").encode())

    def fitscut(self, request: Request) -> Answer:
        """A cutout of one file, linear in flux, padded with NaN beyond the skycell's edge."""
        found = NAME.fullmatch(request.query.get("red", ""))
        if not found:
            return Answer(b"File not found\n", status=404)
        ra, dec, size = (float(request.query[key]) for key in ("ra", "dec", "size"))
        size, band = int(size), found[3]
        cell = Cell(int(found[1]) - 1000, int(found[2]))
        trouble = self.faults.of_place(ra, dec)
        size += 7 if request.fault == "wrong size" else 0
        x, y = cell.plane.pixels(ra, dec)
        if request.fault == "wrong place":
            x = x + 3 * size
        left, bottom = int(x + 0.5) - size // 2, int(y + 0.5) - size // 2
        flux = cell.draw(self.stars, left, bottom, size, band)
        if trouble == "NaN band" and band == "i":
            flux[:] = np.nan
        counts = flux * 10 ** (0.4 * 2.5) * EXPTIME[band]  # 25 is 2.5 mag fainter than 22.5
        cards = self._cards(cell, left, bottom, band, request.fault)
        if self.asinh:
            soft = 10.0
            counts = ASINH * np.arcsinh((counts - 1.5) / (2 * soft))
            cards += [("BOFFSET", 1.5), ("BSOFTEN", soft)]
        return Answer(fits_bytes((cards, counts)), "image/fits")

    def _cards(self, cell: Cell, left: int, bottom: int, band: str, fault: str | None):
        says = "y" if band == "g" else "g"
        scale = cell.scale / 3600 * (4 if fault == "wrong scale" else 1)
        return [
            *cell.plane.cards(left, bottom),
            ("CDELT1", -scale),
            ("CDELT2", scale),
            *(("PC001001", 1.0), ("PC001002", 0.0), ("PC002001", 0.0), ("PC002002", 1.0)),
            ("RADESYS", "FK5"),
            ("TIMESYS", "TAI"),
            ("EXPTIME", EXPTIME[band]),
            ("FPA.TELESCOPE", "PS1"),
            ("FPA.FILTERID", f"{says if fault == 'wrong band' else band}.00000"),
        ]


def _name(cell: Cell, band: str) -> str:
    place, sub = cell.row + 1000, f"{cell.column:03d}"
    file = f"rings.v3.skycell.{place}.{sub}.stk.{band}.unconv.fits"
    return f"/rings.v3.skycell/{place}/{sub}/{file}"
