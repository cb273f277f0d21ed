"""The Legacy Surveys' viewer: fits-cutout with inverse variance."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from tests.emulator.faults import Faults
from tests.emulator.server import Answer, Handler, Request
from tests.emulator.sky import Stars, Tangent, fits_bytes

LAYERS = {"ls-dr9": "grz", "ls-dr10": "griz"}


@dataclass(frozen=True)
class Legacy:
    """The viewer; missing data are zeros, and their inverse variance is zero."""

    stars: Stars
    faults: Faults = field(default_factory=Faults)

    def handlers(self) -> dict[str, Handler]:
        return {"/viewer/fits-cutout": self.cutout, "/viewer/cutout.fits": self.cutout}

    def cutout(self, request: Request) -> Answer:
        """A cube of the bands asked for; of all bands, if one of them is not in the layer."""
        query = request.query
        if "ra" not in query or "dec" not in query:
            return Answer(b"Need ra,dec keywords", status=400)
        layer = query.get("layer", "ls-dr9")
        if layer not in LAYERS:
            return Answer(b"no such layer")
        ra, dec = float(query["ra"]), float(query["dec"])
        size = min(int(query.get("size", 256)), 3000) + (7 if request.fault == "wrong size" else 0)
        scale = float(query.get("pixscale", 0.262)) * (4 if request.fault == "wrong scale" else 1)
        bands = query.get("bands", LAYERS[layer])
        if request.fault == "wrong band" or not set(bands) <= set(LAYERS[layer]):
            bands = LAYERS[layer]
        trouble = self.faults.of_place(ra, dec)
        if dec > 85:
            return Answer(b"<html>NoOverlapError: no overlap</html>", "text/html", 500)
        shift = 5 * size if request.fault == "wrong place" else 0
        middle = (size - 1) / 2
        plane = Tangent(ra, dec, middle + shift, middle, scale)
        cube = np.stack([self.stars.draw(plane, 0, 0, (size, size), band) for band in bands])
        invvar = np.full(cube.shape, 2500.0)
        invvar[:, :3, :3] = 0
        if trouble == "outside":
            invvar[:] = 0
        if trouble in ("missing band", "NaN band"):
            invvar[-1] = 0
        cube[invvar == 0] = 0
        names = [(f"BAND{k}", band) for k, band in enumerate(bands)]
        cards = [
            ("SURVEY", "LegacySurvey"),
            ("VERSION", layer),
            ("BANDS", bands),
            *names,
            *plane.cards(),
            ("CD1_1", -scale / 3600),
            ("CD1_2", 0.0),
            ("CD2_1", 0.0),
            ("CD2_2", scale / 3600),
        ]
        images = [([*cards, ("IMAGETYP", "image")], cube)]
        if "invvar" in query:
            images.append(([*cards, ("IMAGETYP", "invvar")], invvar))
        return Answer(fits_bytes(*images), "image/fits")
