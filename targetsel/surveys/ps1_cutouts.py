"""Pan-STARRS1 stacks from MAST: a list of files for a place, then a cutout of each band's file.

Waters et al. (2020, ApJS 251, 4); the services are ps1filenames.py and fitscut.cgi of STScI.
Cutouts are linear counts over EXPTIME seconds, m = 25 + 2.5 log10(EXPTIME) - 2.5 log10(f); see
`image_file`, which also undoes the asinh scaling of whole skycells.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from targetsel.surveys.checked_images import check_scale, cut, judged, least_lost, open_image
from targetsel.surveys.http import Answer, Unanswered, Web
from targetsel.surveys.retry import Damaged, ask
from targetsel.surveys.survey import OUTSIDE, BandAnswer, unanswered

URL = "https://ps1images.stsci.edu"
PIXEL_SCALE = 0.25
# fitscut rounds the place to a pixel in its own way; we cut again from slightly more.
MARGIN = 2
FILE_NAME = re.compile(r"/rings\.v3\.skycell/[A-Za-z0-9_./-]+\.fits")
NOT_LISTED = "band not in the file list"


@dataclass(frozen=True)
class PanSTARRS:
    """Cutouts of the 3pi survey's stacks.

    Attributes
    ----------
    web : Web
    bands : tuple of B strings
    size : int
        Width and height [pixel].
    url : str
        Where the two services are.
    """

    web: Web
    bands: tuple[str, ...]
    size: int
    url: str = URL

    @property
    def pixel_scale(self) -> float:
        return PIXEL_SCALE

    def settings(self) -> Mapping[str, Any]:
        return {"survey": "ps1", "url": self.url, "bands": list(self.bands), "size": self.size}

    def fetch(self, ra: float, dec: float) -> list[BandAnswer]:
        """See `Survey.fetch`: one question for the file list, and one for each band."""
        place = {"ra": f"{ra:.8f}", "dec": f"{dec:.8f}"}
        query = place | {"filters": "".join(self.bands), "type": "stack"}
        script = f"{self.url}/cgi-bin/ps1filenames.py"
        try:
            listing, files = ask(lambda: self.web.get(script, query), self._files)
        except Unanswered as error:
            return [unanswered(band, script, error) for band in self.bands]
        if not any(files.values()):
            return [BandAnswer.of(listing, band, OUTSIDE) for band in self.bands]
        answers = [
            self._band(band, files[band], ra, dec)
            if files[band]
            else BandAnswer.of(replace(listing, troubles=()), band, NOT_LISTED)
            for band in self.bands
        ]
        answers[0] = replace(answers[0], troubles=listing.troubles + answers[0].troubles)
        return answers

    def _files(self, answer: Answer) -> dict[str, list[str]]:
        """The files of each band; several where skycells overlap."""
        lines = answer.content.decode("utf-8", "replace").splitlines()
        if answer.status != 200:
            raise Damaged(f"HTTP {answer.status}")
        names = lines[0].split() if lines else []
        if "filter" not in names or "filename" not in names:
            raise Damaged(f"no file list but {answer.content[:40]!r}")
        files: dict[str, list[str]] = {band: [] for band in self.bands}
        for line in lines[1:]:
            row = dict(zip(names, line.split(), strict=False))
            name = row.get("filename", "")
            if len(line.split()) != len(names) or not FILE_NAME.fullmatch(name) or ".." in name:
                raise Damaged(f"a file list with the line {line[:80]!r}")
            if row["filter"] in files and f".stk.{row['filter']}." in name:
                files[row["filter"]].append(name)
        return {band: sorted(found) for band, found in files.items()}

    def _band(self, band: str, files: list[str], ra: float, dec: float) -> BandAnswer:
        """The cutout from the file that has lost fewest pixels."""
        try:
            best = least_lost(self._cutout(band, file, ra, dec) for file in files)
        except Unanswered as error:
            return unanswered(band, f"{self.url}/cgi-bin/fitscut.cgi", error)
        assert best is not None
        return best

    def _cutout(self, band: str, file: str, ra: float, dec: float) -> BandAnswer:
        query = {
            "ra": f"{ra:.8f}",
            "dec": f"{dec:.8f}",
            "size": self.size + MARGIN,
            "format": "fits",
            "red": file,
        }
        script = f"{self.url}/cgi-bin/fitscut.cgi"
        answer, flux = ask(
            lambda: self.web.get(script, query), lambda given: self._pixels(given, band, ra, dec)
        )
        return judged(answer, band, flux)

    def _pixels(self, answer: Answer, band: str, ra: float, dec: float) -> np.ndarray:
        """The pixels (H, W) of a fitscut answer."""
        image = open_image(answer)
        asked = self.size + MARGIN
        if image.flux.shape != (1, asked, asked):
            _, *found = image.flux.shape
            raise Damaged(f"an image of {found} pixels, expected {asked} x {asked}")
        if image.bands not in ((), (band,)):
            raise Damaged(f"band {image.bands[0]}, expected {band}")
        check_scale(image.wcs, PIXEL_SCALE)
        return cut(image.flux[0], image.wcs, ra, dec, self.size)
