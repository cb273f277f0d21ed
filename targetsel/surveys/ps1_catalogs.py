"""Pan-STARRS1 DR2 mean objects at MAST.

Cones go to the catalog's own interface, questions in ADQL to MAST's TAP service, whose table is
dbo.meanobjectview. Objects of a single detection, most of which are spurious, are left out of
cones. The interface leaves out columns that it does not know without a word.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

import pyarrow as pa

from targetsel.surveys.archive import TooMany
from targetsel.surveys.catalog_columns import Columns, Flux, Plain, Scale
from targetsel.surveys.http import Answer, Web
from targetsel.surveys.region import Cone
from targetsel.surveys.retry import Damaged, ask
from targetsel.surveys.tap import TapArchive

BANDS = "grizy"
LIMIT = 50_000  # rows of one answer
COLUMNS = Columns(
    (
        Plain("objID", "source_id", pa.int64(), "", "meta.id;meta.main", "PS1 DR2 objID"),
        Plain("raMean", "ra", pa.float64(), "deg", "pos.eq.ra;meta.main"),
        Plain("decMean", "dec", pa.float64(), "deg", "pos.eq.dec;meta.main"),
        *(
            Flux(f"{b}MeanKronMag", f"{b}MeanKronMagErr", f"flux_{b}_ps1", Scale.MAGNITUDE,
                 f"Kron flux in {b}, mean of single exposures")
            for b in BANDS
        ),
        *(
            Flux(f"{b}MeanPSFMag", f"{b}MeanPSFMagErr", f"psfflux_{b}_ps1", Scale.MAGNITUDE,
                 f"PSF flux in {b}, mean of single exposures")
            for b in BANDS
        ),
        Plain("nDetections", "n_detections", pa.int32(), "", "meta.number", "in all bands"),
        Plain("qualityFlag", "quality_flag", pa.int32(), "", "meta.code.qual"),
    )
)  # fmt: skip


@dataclass(frozen=True)
class PanStarrs:
    """Mean objects of the 3pi survey."""

    web: Web
    url: str = "https://catalogs.mast.stsci.edu/api/v0.1/panstarrs/dr2/mean.json"
    tap_url: str = "https://mast.stsci.edu/vo-tap/api/v0.1/ps1dr2"
    name: str = "ps1"
    columns: Columns = COLUMNS
    largest_cone: float = 0.5
    limit: int = LIMIT

    def cone(self, cone: Cone) -> pa.Table:
        """See `Archive.cone`."""
        asked = {
            "ra": f"{cone.ra:.9f}",
            "dec": f"{cone.dec:.9f}",
            "radius": f"{cone.radius:.9f}",
            "nDetections.gte": "2",
            "columns": f"[{','.join(self.columns.theirs)}]",
            "pagesize": str(self.limit),
        }
        return ask(lambda: self.web.get(self.url, asked), self._understood)[1]

    def _understood(self, answer: Answer) -> pa.Table:
        rows = table_of_json(answer)
        if rows.num_rows >= self.limit:
            raise TooMany
        return self.columns.renamed(rows)

    def query(self, question: str) -> pa.Table:
        """See `Archive.query`; the question goes to MAST's TAP service."""
        return TapArchive(self.web, self.tap_url, self.name, self.columns, "").query(question)


def table_of_json(answer: Answer) -> pa.Table:
    """The table in an answer of MAST's: names in `info`, rows in `data`."""
    if answer.status != 200:
        raise Damaged(f"HTTP {answer.status}")
    try:
        said = json.loads(answer.content)
        names = [column["name"] for column in said["info"]]
        rows = said["data"]
        if rows and isinstance(rows[0], dict):
            rows = [[row.get(name) for name in names] for row in rows]
        if any(len(row) != len(names) for row in rows):
            raise ValueError("rows of several lengths")
        columns = zip(*rows, strict=True) if rows else ([] for _ in names)
        return pa.table(dict(zip(names, map(list, columns), strict=True)))
    except (ValueError, LookupError, TypeError, RecursionError, pa.ArrowException) as error:
        raise Damaged(f"no table in JSON but {answer.content[:40]!r}") from error
