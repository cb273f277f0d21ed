"""The archives' catalogs: MAST's interface, SkyServer's SQL search, and TAP services.

They hold the same sources under each archive's own names. Questions in SQL are not parsed: the
box, the remainder and the limit are looked for in them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import parse_qs

import numpy as np

from tests.emulator.server import HTML, Answer, Handler, Request

NUMBER = r"(-?[\d.]+(?:e-?\d+)?)"
Columns = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Catalogs:
    """Three ways to the same sources.

    Attributes
    ----------
    mast, skyserver, tap : mapping
        Columns under the names of each archive, the positions among them.
    forgets : str
        A column that MAST no longer knows.
    most : int
        Rows that a TAP service gives at once.
    """

    mast: Columns
    skyserver: Columns
    tap: Columns
    forgets: str = ""
    most: int = 1_000_000

    def handlers(self) -> dict[str, Handler]:
        return {
            "/panstarrs/dr2/mean.json": self.mean_objects,
            "/dr17/en/tools/search/x_results.aspx": self.sql,
            "/tap/sync": self.sync,
        }

    def mean_objects(self, request: Request) -> Answer:
        """Columns that are not known are left out without a word."""
        ask = request.query
        ra, dec, radius = (float(ask[key]) for key in ("ra", "dec", "radius"))
        near = _separation(self.mast["raMean"], self.mast["decMean"], ra, dec) <= radius
        near &= self.mast["nDetections"] >= int(ask.get("nDetections.gte", 0))
        wanted = ask["columns"].strip("[]").split(",")
        names = [name for name in wanted if name in self.mast and name != self.forgets]
        rows = np.flatnonzero(near)[: int(ask["pagesize"])]
        data = [[_plain(self.mast[name][row]) for name in names] for row in rows]
        info = [{"name": name} for name in names]
        return Answer(json.dumps({"info": info, "data": data}).encode(), "application/json")

    def sql(self, request: Request) -> Answer:
        """A line with the table's name, then CSV; of no rows, the header alone."""
        question = request.query["cmd"]
        if "FROM" not in question:
            return Answer(b'{"error_message": "Incorrect syntax near the keyword"}\n')
        names, rows = _answer(question, self.skyserver, "ra", "dec")
        limit = re.search(r"TOP (\d+)", question)
        rows = rows[: int(limit[1])] if limit else rows
        lines = [",".join(names)]
        lines += [",".join(str(_plain(self.skyserver[n][row])) for n in names) for row in rows]
        return Answer(("#Table1\n" + "\n".join(lines) + "\n").encode(), "text/csv")

    def sync(self, request: Request) -> Answer:
        """A VOTable, which says if it was cut short."""
        form = {key: values[-1] for key, values in parse_qs(request.body.decode()).items()}
        form |= request.query
        question = form["QUERY"]
        if "FROM" not in question:
            return Answer(_error("syntax error at or near end of input"), VOTABLE, 400)
        if request.fault == "html":
            return Answer(HTML, "text/html")
        ra, dec = _places(self.tap)
        names, rows = _answer(question, self.tap, ra, dec)
        most = min(self.most, int(form.get("MAXREC", self.most)))
        status = "OVERFLOW" if len(rows) > most else "OK"
        return Answer(_votable(self.tap, names, rows[:most], status), VOTABLE)


def catalogs_of(
    source_id: np.ndarray, ra: np.ndarray, dec: np.ndarray, rmag: np.ndarray, **options
) -> Catalogs:
    """The archives that hold sources of which r alone was measured [AB mag]."""
    n = len(ra)
    nanomaggy = 10 ** (-0.4 * (rmag - 22.5))
    place = {"ra": ra, "dec": dec}
    # MAST calls 359.8 -0.2, and what it has not measured -999.
    mast = {"objID": source_id, "raMean": np.where(ra > 180, ra - 360, ra)}
    mast |= {"decMean": dec, "nDetections": np.full(n, 12), "qualityFlag": np.full(n, 52)}
    skyserver = {"objID": source_id, **place, "petroR50_r": np.full(n, 2.5)}
    tap = {"ls_id": source_id, **place, "brick_primary": np.ones(n, bool)}
    for band in "grizy":
        known = rmag if band == "r" else np.full(n, -999.0)
        for kind in ("Kron", "PSF"):
            mast[f"{band}Mean{kind}Mag"] = known
            mast[f"{band}Mean{kind}MagErr"] = np.where(known > 0, 0.1, -999.0)
    for band in "ugriz":
        skyserver[f"petroFlux_{band}"] = nanomaggy
        skyserver[f"petroFluxIvar_{band}"] = np.full(n, 4.0 if band == "r" else 0.0)
        skyserver[f"extinction_{band}"] = np.full(n, 0.1)
    for band in ("g", "r", "i", "z", "w1", "w2"):
        tap[f"flux_{band}"] = nanomaggy
        tap[f"flux_ivar_{band}"] = np.full(n, 4.0 if band == "r" else 0.0)
    tap |= {"type": np.full(n, "EXP"), "shape_r": np.full(n, 1.2), "ebv": np.full(n, 0.02)}
    tap["maskbits"] = np.zeros(n, int)
    return Catalogs(mast, skyserver, tap, **options)


VOTABLE = "application/x-votable+xml"
KINDS = {"i": "long", "f": "double", "U": "char", "b": "boolean"}
UNITS = {"mean_fiber_ra": "deg", "mean_fiber_dec": "deg", "ra": "deg", "dec": "deg"}


def _answer(question: str, table: Columns, ra: str, dec: str) -> tuple[list[str], np.ndarray]:
    """The names that a question asks for, and the rows that its conditions leave."""
    listed = re.search(r"SELECT(?: TOP \d+)? (.*?) FROM", question, re.DOTALL)
    assert listed is not None
    parts = [part.split(" AS ")[-1].split(".")[-1].strip() for part in listed[1].split(",")]
    names = list(table) if parts == ["*"] else [name for name in parts if name in table]
    keep = np.ones(len(table[ra]), dtype=bool)
    if box := re.search(rf"{dec} BETWEEN {NUMBER} AND {NUMBER}", question):
        keep &= (table[dec] >= float(box[1])) & (table[dec] <= float(box[2]))
    if box := re.search(rf"{ra} BETWEEN {NUMBER} AND {NUMBER}", question):
        keep &= (table[ra] >= float(box[1])) & (table[ra] <= float(box[2]))
    elif box := re.search(rf"{ra} >= {NUMBER} OR {ra} <= {NUMBER}", question):
        keep &= (table[ra] >= float(box[1])) | (table[ra] <= float(box[2]))
    if rest := re.search(r"% (\d+)\) = (\d+)", question):
        keep &= table["objID"] % int(rest[1]) == int(rest[2])
    return names, np.flatnonzero(keep)


def _places(table: Columns) -> tuple[str, str]:
    return ("ra", "dec") if "ra" in table else ("mean_fiber_ra", "mean_fiber_dec")


def _votable(table: Columns, names: Sequence[str], rows: np.ndarray, status: str) -> bytes:
    fields = "".join(
        f'<FIELD name="{name}" datatype="{KINDS[table[name].dtype.kind]}"'
        + (' arraysize="*"' if table[name].dtype.kind == "U" else "")
        + (f' unit="{UNITS[name]}"' if name in UNITS else "")
        + "/>"
        for name in names
    )
    cells = "".join(
        "<TR>" + "".join(f"<TD>{table[name][row]}</TD>" for name in names) + "</TR>" for row in rows
    )
    return _document(
        f'<INFO name="QUERY_STATUS" value="{status if status == "OVERFLOW" else "OK"}"/>'
        f"<TABLE>{fields}<DATA><TABLEDATA>{cells}</TABLEDATA></DATA></TABLE>"
        + ('<INFO name="QUERY_STATUS" value="OVERFLOW"/>' if status == "OVERFLOW" else "")
    )


def _error(words: str) -> bytes:
    return _document(f'<INFO name="QUERY_STATUS" value="ERROR">{words}</INFO>')


def _document(inside: str) -> bytes:
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        '<VOTABLE version="1.4" xmlns="http://www.ivoa.net/xml/VOTable/v1.3">'
        f'<RESOURCE type="results">{inside}</RESOURCE></VOTABLE>\n'
    ).encode()


def _separation(ra, dec, ra0: float, dec0: float):
    """Angle [deg]; Vincenty's formula is not needed for a test, haversine will do."""
    ra, dec, ra0, dec0 = map(np.radians, (ra, dec, ra0, dec0))
    h = np.sin((dec - dec0) / 2) ** 2 + np.cos(dec) * np.cos(dec0) * np.sin((ra - ra0) / 2) ** 2
    return np.degrees(2 * np.arcsin(np.sqrt(h)))


def _plain(value):
    return value.item() if hasattr(value, "item") else value
