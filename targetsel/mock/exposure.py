"""Images of mock sources by a camera, with the trouble of real ones.

How much trouble, the variation `realism` says. Each part of it has random numbers of its own:
PSFs (`optics`), noise and left sky (`noise`), blends and companions (`company`), bright stars and
trails (`bright_stars`), and irregular shapes of the source itself (`irregular`).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from targetsel.mock.bright_stars import draw_glare
from targetsel.mock.camera import Camera, draw_seeing, expose
from targetsel.mock.company import blends_from, draw_companions, recoloured
from targetsel.mock.images import Canvas, Light, canvas_for, draw_neighbours
from targetsel.mock.noise import draw_texture
from targetsel.mock.optics import draw_optics, real_point_spread
from targetsel.mock.plan import Variation
from targetsel.mock.steps import Chance, Step


@dataclass(frozen=True)
class Exposures:
    """How a survey sees sources.

    Attributes
    ----------
    survey : Camera
        With the variation's seeing and depth.
    variation : Variation
    size : int
        Width and height of the cutouts [pixel].
    """

    survey: Camera
    variation: Variation
    size: int

    @cached_property
    def canvas(self) -> Canvas:
        return canvas_for(self.survey.pixel_scale, self.size)

    @cached_property
    def zero_points(self) -> np.ndarray:
        return self.variation.zero_points(self.survey)

    def image(self, source: Light, magnitude: float, chance: Chance) -> np.ndarray:
        """Cutout of one source [nanomaggy], float32, shape (B, size, size); NaN where lost.

        Parameters
        ----------
        source : Light
            Its light [nanomaggy].
        magnitude : float
            Its r magnitude, which says what else may lie there.
        chance : Chance
        """
        survey, size, realism = self.survey, self.size, self.variation.realism
        camera = chance.of(Step.CAMERA)
        seeing, shear = draw_seeing(survey, camera)
        optics = draw_optics(seeing, shear, realism, chance.of(Step.OPTICS), survey.wings)
        psf = real_point_spread(self.canvas, optics, realism)
        company = chance.of(Step.COMPANY)
        neighbours = self._neighbours(chance, blends_from(magnitude, realism, company))
        crowding = realism * self.variation.neighbours
        companions = draw_companions(survey, self.canvas, magnitude, crowding, company)
        light = source.unblurred()
        for beside in (neighbours, companions):
            if beside is not None:
                light += recoloured(beside, survey, realism, company).unblurred()
        sky = self.canvas.images(light * psf, size + 2)
        stars, factor = chance.of(Step.BRIGHT_STARS), self.variation.neighbours
        glare = draw_glare(survey, optics, size, realism, stars, factor)
        if glare is not None:
            sky = sky + glare.light
        texture = draw_texture(survey, size, realism, chance.of(Step.TEXTURE))
        seen = expose(sky, survey, self.zero_points, camera, texture)
        return seen if glare is None else glare.spoil(seen)

    def _neighbours(self, chance: Chance, blends_from: float) -> Light | None:
        side, factor = self.size * self.survey.pixel_scale, self.variation.neighbours
        nearby = chance.of(Step.NEIGHBOURS)
        return draw_neighbours(self.survey, self.canvas, side, factor, nearby, blends_from)
