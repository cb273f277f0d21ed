"""Images of mock sources by a camera: plain ones, or with the trouble of real ones."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from targetsel.mock.camera import Camera, Texture, draw_seeing, expose
from targetsel.mock.images import Canvas, Light, canvas_of, draw_neighbours, point_spread
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
        return canvas_of(self.survey.pixel_scale)

    @cached_property
    def zero_points(self) -> np.ndarray:
        return self.variation.zero_points(self.survey)

    def image(self, source: Light, chance: Chance) -> np.ndarray:
        """Cutout of one source [nanomaggy], float32, shape (B, size, size); NaN where lost.

        Parameters
        ----------
        source : Light
            Its light [nanomaggy].
        chance : Chance
        """
        camera = chance.of(Step.CAMERA)
        seeing, shear = draw_seeing(self.survey, camera)
        texture: Texture | None = None
        realism = self.variation.realism
        if realism:
            optics = draw_optics(seeing, shear, realism, chance.of(Step.OPTICS))
            psf = real_point_spread(self.canvas, optics, realism)
            texture = draw_texture(self.survey, self.size, realism, chance.of(Step.TEXTURE))
        else:
            psf = point_spread(self.canvas, seeing, shear)
        sky = source.through(psf)
        nearby = chance.of(Step.NEIGHBOURS)
        side = self.size * self.survey.pixel_scale
        factor = self.variation.neighbours
        neighbours = draw_neighbours(self.survey, self.canvas, side, factor, nearby)
        if neighbours is not None:
            sky += neighbours.through(psf)
        image = self.canvas.images(sky, self.size + 2)
        return expose(image, self.survey, self.zero_points, camera, texture)
