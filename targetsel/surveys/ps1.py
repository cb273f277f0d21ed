"""Pan-STARRS1: mean objects of DR2, and cutouts of the 3pi stacks, from MAST.

Waters et al. (2020, ApJS 251, 4). Cones go to the catalog's own interface, which leaves out columns
it does not know without a word; queries in ADQL go to MAST's TAP service, whose table is
dbo.meanobjectview. Objects of a single detection, most of which are spurious, are left out of
cones.

Cutouts take a list of files for a position (ps1filenames.py of STScI), then a cutout of each band's
file (fitscut.cgi): linear counts over EXPTIME seconds, m = 25 + 2.5 log10(EXPTIME) - 2.5 log10(f);
see `image_file`, which also undoes the asinh scaling of whole skycells.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

import pyarrow as pa

from targetsel.errors import CutoutError, beginning
from targetsel.surveys.archives import (
    Cone,
    FluxColumn,
    FluxScale,
    PlainColumn,
    SurveyColumns,
    TapCatalog,
    TooMany,
)
from targetsel.surveys.card import CardBand, SurveyCard
from targetsel.surveys.fetching import OUTSIDE, Reply
from targetsel.surveys.http import Answer, Damaged, Web, ask, body_of
from targetsel.surveys.images import RemoteImages
from targetsel.surveys.registry import SkySurvey

MEAN_OBJECTS = "https://catalogs.mast.stsci.edu/api/v0.1/panstarrs/dr2/mean.json"
TAP = "https://mast.stsci.edu/vo-tap/api/v0.1/ps1dr2"
IMAGES = "https://ps1images.stsci.edu"
LIMIT = 50_000  # rows of one answer
# fitscut rounds the position to a pixel in its own way; we cut again from slightly more.
MARGIN = 2
FILE_NAME = re.compile(r"/rings\.v3\.skycell/[A-Za-z0-9_./-]+\.fits")
NOT_LISTED = "band not in the file list"
# Seeing and depth: Chambers et al. (2016, arXiv:1612.05560), table 11 and section 6; sky brightness
# of the bands rounded from Tonry et al. (2012, ApJ 750, 99). Mask bits of stacks as rounded from
# Waters et al. (2020, ApJS 251, 4). The
# zero point depends on the exposure time of each band; see above.
CARD = SurveyCard(
    name="ps1",
    about="stacks of the 3pi survey, DR2",
    bands=(
        CardBand("g", "g_ps1", seeing=1.31, depth=23.3, sky=21.9),
        CardBand("r", "r_ps1", seeing=1.19, depth=23.2, sky=20.9),
        CardBand("i", "i_ps1", seeing=1.11, depth=23.1, sky=19.8),
        CardBand("z", "z_ps1", seeing=1.07, depth=22.3, sky=19.2),
        CardBand("y", "y_ps1", seeing=1.02, depth=21.3, sky=18.3),
    ),
    pixel_scale=0.25,
    zeropoint=None,
    unit="",
    binning=2,
    mask_bits={
        "DETECTOR": 0, "FLAT": 1, "DARK": 2, "BLANK": 3, "CTE": 4, "SAT": 5, "LOW": 6, "CR": 8,
        "SPIKE": 9, "GHOST": 10, "STREAK": 11, "STARCORE": 12, "CONV.BAD": 13,
    },
    sources=(
        "Chambers et al. (2016, arXiv:1612.05560): seeing, depth",
        "Tonry et al. (2012, ApJ 750, 99): sky, rounded",
        "Waters et al. (2020, ApJS 251, 4): mask bits, not checked",
    ),
)  # fmt: skip
BANDS = "".join(CARD.band_names)
PIXEL_SCALE = CARD.pixel_scale
COLUMNS = SurveyColumns(
    (
        PlainColumn("objID", "source_id", pa.int64(), "", "meta.id;meta.main", "PS1 DR2 objID"),
        PlainColumn("raMean", "ra", pa.float64(), "deg", "pos.eq.ra;meta.main"),
        PlainColumn("decMean", "dec", pa.float64(), "deg", "pos.eq.dec;meta.main"),
        *(
            FluxColumn(f"{b}Mean{kind}Mag", f"{b}Mean{kind}MagErr", f"{ours}_{b}_ps1",
                       FluxScale.MAGNITUDE, f"{kind} flux in {b}, mean of single exposures")
            for kind, ours in (("Kron", "flux"), ("PSF", "psfflux"))
            for b in BANDS
        ),
        PlainColumn("nDetections", "n_detections", pa.int32(), "", "meta.number", "in all bands"),
        PlainColumn("qualityFlag", "quality_flag", pa.int32(), "", "meta.code.qual"),
    )
)  # fmt: skip


@dataclass(frozen=True)
class PanStarrsObjects:
    """Mean objects of the 3pi survey."""

    web: Web
    url: str = MEAN_OBJECTS
    name: str = "ps1"
    columns: SurveyColumns = COLUMNS
    largest_cone: float = 0.5
    limit: int = LIMIT

    def cone(self, cone: Cone) -> pa.Table:
        """See `ConeSearch.cone`."""
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


def table_of_json(answer: Answer) -> pa.Table:
    """The table in an answer of MAST's: names in `info`, rows in `data`.

    Raises
    ------
    Damaged
        If the answer holds no such table.
    """
    content = body_of(answer)
    try:
        said = json.loads(content)
        names = [column["name"] for column in said["info"]]
        rows = said["data"]
        if rows and isinstance(rows[0], dict):
            rows = [[row.get(name) for name in names] for row in rows]
        if any(len(row) != len(names) for row in rows):
            raise ValueError("rows of several lengths")
        columns = zip(*rows, strict=True) if rows else ([] for _ in names)
        return pa.table(dict(zip(names, map(list, columns), strict=True)))
    except Exception as error:  # an answer may be anything
        raise Damaged(f"no table in JSON but {beginning(content)}") from error


def tap(web: Web, url: str = TAP) -> TapCatalog:
    """MAST's TAP service of DR2."""
    return TapCatalog(web, url, "ps1", COLUMNS, "dbo.meanobjectview")


@dataclass(frozen=True)
class PanStarrsImages(RemoteImages):
    """Cutouts of the 3pi survey's stacks.

    Attributes
    ----------
    url : str
        Address of the two services.

    Raises
    ------
    CutoutError
        If one of `bands` was not observed.
    """

    survey = "ps1"
    url: str = IMAGES

    def __post_init__(self) -> None:
        if unseen := [band for band in self.bands if band not in BANDS]:
            raise CutoutError(
                f"survey 'ps1' has no band '{unseen[0]}'; expected some of {', '.join(BANDS)}."
            )

    @property
    def pixel_scale(self) -> float:
        """[arcsec]"""
        return PIXEL_SCALE

    def fetch(self, ra: float, dec: float) -> list[Reply]:
        """See `ImageService.fetch`: one request for the file list, and one for each band."""
        place = {"ra": f"{ra:.8f}", "dec": f"{dec:.8f}"}
        files_script = f"{self.url}/cgi-bin/ps1filenames.py"
        cutout_script = f"{self.url}/cgi-bin/fitscut.cgi"
        query = place | {"filters": "".join(self.bands), "type": "stack"}
        listing, files = ask(lambda: self.web.get(files_script, query), self._files)
        if not any(files.values()):
            return [Reply(OUTSIDE, None, listing) for _ in self.bands]
        asked = self.size + MARGIN

        def cutout(file: str, band: str) -> Reply:
            query = {**place, "size": asked, "format": "fits", "red": file}
            return self.one_band(cutout_script, query, band, (ra, dec), PIXEL_SCALE, expected=asked)

        return self.best_of_each_band(listing, files, cutout, NOT_LISTED)

    def _files(self, answer: Answer) -> dict[str, list[str]]:
        """The files of each band; several where skycells overlap."""
        lines = body_of(answer).decode("utf-8", "replace").splitlines()
        names = lines[0].split() if lines else []
        if "filter" not in names or "filename" not in names:
            raise Damaged(f"no file list but {beginning(answer.content)}")
        files: dict[str, list[str]] = {band: [] for band in self.bands}
        for line in lines[1:]:
            row = dict(zip(names, line.split(), strict=False))
            name = row.get("filename", "")
            if len(line.split()) != len(names) or not FILE_NAME.fullmatch(name) or ".." in name:
                raise Damaged(f"a file list with the line {line[:80]!r}")
            if row["filter"] in files and f".stk.{row['filter']}." in name:
                files[row["filter"]].append(name)
        return {band: sorted(found) for band, found in files.items()}


SURVEY = SkySurvey(
    name="ps1",
    title="Pan-STARRS1 DR2 (MAST): mean objects, stacked images",
    catalog=PanStarrsObjects,
    query=tap,
    cutouts=PanStarrsImages,
    card=CARD,
)
