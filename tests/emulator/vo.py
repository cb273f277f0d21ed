"""An SIA2 service with datalink and SODA behind it, whose images are in nanojansky."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from tests.emulator.faults import Faults
from tests.emulator.server import Answer, Handler, Request
from tests.emulator.sky import BANDS, Cell, Stars, fits_bytes

SCALE = 0.2  # [arcsec]
WAVES = dict(zip(BANDS, (481e-9, 617e-9, 752e-9, 866e-9, 962e-9), strict=True))  # [m]
COLUMNS = (
    ("dataproduct_type", "char", "obscore:ObsDataset.dataProductType"),
    ("calib_level", "int", "obscore:ObsDataset.calibLevel"),
    ("obs_publisher_did", "char", "obscore:Curation.PublisherDID"),
    ("access_url", "char", "obscore:Access.Reference"),
    ("access_format", "char", "obscore:Access.Format"),
    ("s_ra", "double", "obscore:Char.SpatialAxis.Coverage.Location.Coord.Position2D.Value2.C1"),
    ("s_dec", "double", "obscore:Char.SpatialAxis.Coverage.Location.Coord.Position2D.Value2.C2"),
    ("em_min", "double", "obscore:Char.SpectralAxis.Coverage.Bounds.Limits.LoLimit"),
    ("em_max", "double", "obscore:Char.SpectralAxis.Coverage.Bounds.Limits.HiLimit"),
)
DATALINK = "application/x-votable+xml;content=datalink"


@dataclass(frozen=True)
class VO:
    """The three services.

    Attributes
    ----------
    stars : Stars
    faults : Faults
        For the lasting troubles of places.
    soda : bool
        Whether datalink offers cutouts; else the images themselves, which are small then.
    overflow : bool
        Whether lists of images are cut short.
    """

    stars: Stars
    faults: Faults = field(default_factory=Faults)
    soda: bool = True
    overflow: bool = False

    def handlers(self) -> dict[str, Handler]:
        return {"/sia2/query": self.sia2, "/datalink": self.datalink, "/soda/sync": self.cutout}

    def sia2(self, request: Request) -> Answer:
        """The images that overlap a circle, in the bands that overlap an interval [m]."""
        shape, ra, dec, _ = request.query["POS"].split()
        assert shape == "CIRCLE"
        low, high = map(float, request.query.get("BAND", "0 1").split())
        trouble = self.faults.of_place(float(ra), float(dec))
        bands = [
            band for band in BANDS if low <= WAVES[band] + 40e-9 and WAVES[band] - 40e-9 <= high
        ]
        if trouble == "missing band":
            bands = bands[:-1]
        cells = [] if trouble == "outside" else Cell.around(float(ra), float(dec), SCALE)
        rows = []
        for cell in cells:
            for band in bands:
                name = f"{cell.row}/{cell.column}/{band}"
                link = f"http://{request.host}/datalink?ID={name}"
                place = cell.plane.ra, cell.plane.dec
                waves = WAVES[band] - 40e-9, WAVES[band] + 40e-9
                did = f"ivo://emulator/{name}"
                rows.append(("image", 3, did, link, DATALINK, *place, *waves))
        status = "OVERFLOW" if self.overflow else "OK"
        return Answer(_votable(COLUMNS, rows, status), "application/x-votable+xml")

    def datalink(self, request: Request) -> Answer:
        """Where the image is, and what can be done with it."""
        name = request.query["ID"]
        columns = (
            *(("ID", "char", ""), ("access_url", "char", ""), ("service_def", "char", "")),
            *(("error_message", "char", ""), ("semantics", "char", "")),
            *(("content_type", "char", ""), ("content_length", "long", "")),
        )
        here = f"http://{request.host}/soda/sync"
        rows = [(name, f"{here}?ID={name}&amp;CIRCLE=", "", "", "#this", "image/fits", 0)]
        service = SODA.format(name=name, url=here) if self.soda else ""
        return Answer(_votable(columns, rows, "OK", service), DATALINK)

    def cutout(self, request: Request) -> Answer:
        """The square around a circle; of the whole image, its middle 600 pixels."""
        row, column, band = request.query["ID"].split("/")
        cell = Cell(int(row), int(column), SCALE)
        circle = request.query.get("CIRCLE", "")
        if circle:
            ra, dec, radius = map(float, circle.split())
            size = int(2 * radius * 3600 / SCALE) + 2
        else:
            ra, dec, size = cell.plane.ra, cell.plane.dec, 600
        x, y = cell.plane.pixels(ra, dec)
        x = x + (3 * size if request.fault == "wrong place" else 0)
        left, bottom = int(x) - size // 2, int(y) - size // 2
        flux = cell.draw(self.stars, left, bottom, size, band)
        if self.faults.of_place(ra, dec) == "NaN band" and band == "i":
            flux[:] = np.nan
        scale = SCALE / 3600 * (4 if request.fault == "wrong scale" else 1)
        says = ("y" if band == "g" else "g") if request.fault == "wrong band" else band
        cards = [
            *cell.plane.cards(left, bottom),
            *(("CD1_1", -scale), ("CD1_2", 0.0), ("CD2_1", 0.0), ("CD2_2", scale)),
            ("BUNIT", "nJy"),
            ("FILTER", says),
        ]
        return Answer(fits_bytes((cards, flux * 3631.0)), "image/fits")


SODA = """<RESOURCE type="meta" utype="adhoc:service" ID="soda">
<PARAM name="standardID" datatype="char" arraysize="*" value="ivo://ivoa.net/std/SODA#sync-1.0"/>
<PARAM name="accessURL" datatype="char" arraysize="*" value="{url}"/>
<GROUP name="inputParams">
<PARAM name="ID" datatype="char" arraysize="*" value="{name}"/>
<PARAM name="CIRCLE" datatype="double" arraysize="3" unit="deg" xtype="circle" value=""/>
</GROUP></RESOURCE>"""


def _votable(columns, rows, status: str, more: str = "") -> bytes:
    fields = "".join(
        f'<FIELD name="{name}" ID="{name}" datatype="{kind}"'
        + (' arraysize="*"' if kind == "char" else "")
        + (f' utype="{utype}"' if utype else "")
        + "/>"
        for name, kind, utype in columns
    )
    cells = "".join(
        "<TR>" + "".join(f"<TD>{value}</TD>" for value in row) + "</TR>" for row in rows
    )
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        '<VOTABLE version="1.4" xmlns="http://www.ivoa.net/xml/VOTable/v1.3">'
        f'<RESOURCE type="results"><INFO name="QUERY_STATUS" value="{status}"/>'
        f"<TABLE>{fields}<DATA><TABLEDATA>{cells}</TABLEDATA></DATA></TABLE></RESOURCE>"
        f"{more}</VOTABLE>\n"
    ).encode()
