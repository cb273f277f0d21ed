"""The plan of a mock sky: its galaxies, its camera, and variations of them to test transfer."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import Field, field_validator

from targetsel.documents.models import DocumentModel, Expected, Quantity, read_model
from targetsel.errors import MockError
from targetsel.mock.camera import PAN_STARRS, Camera
from targetsel.mock.farther import with_farther
from targetsel.mock.galaxies import Galaxies
from targetsel.mock.images import FIBER
from targetsel.mock.spectra import FiberSpectra
from targetsel.tables.ids import uniform
from targetsel.tables.parquet import SIMULATED
from targetsel.version import __version__

BLOCK = 256  # sources per block; another number would change last digits
Magnitude = Annotated[float, Quantity("mag", -2, 2)]


class Variation(DocumentModel):
    """What may vary of camera and galaxies.

    Attributes
    ----------
    seeing : float
        Factor on the width of the PSF. The noise of a pixel hardly changes: at 1.4 it is
        1 % lower, at 0.5 and 0.3 about 7 and 20 % higher.
    depth : float
        Increase in depth [mag]; the noise of a pixel changes.
    zero_point : mapping
        Error of the zero point by band [mag]; positive makes every source fainter.
    link : float
        Strength of the dependence of shapes on a spectrum's lines and break at given colour;
        see `morphology`.
    neighbours : float
        Factor on the number of neighbouring galaxies and stars.
    dimming : float
        Decrease of every galaxy's luminosity [mag]; see `Galaxies.fainter`.
    line_strength : float
        Factor on the width of every emission line.
    over_sampling : float
        Share of the galaxies drawn with a preference for strong lines; see `draw_spectra`.
    realism : float
        How much of the trouble of real images is simulated: 1 is as measured, 0 is a tidy sky
        without any. See `exposure`.
    redshift : (float, float)
        Range of redshift; galaxies outside it are left out.
    farther : float
        Share of the sources that lie beyond the real sample, to r = 20.8 and redshift 0.6; see
        `farther`. At 0 every source is as far away as its real galaxy. The range of redshift
        above is that of the real galaxies.
    fiber : float
        Diameter of the fiber that spectra and their lines are of [arcsec], on the same galaxies
        and images.
    """

    seeing: Annotated[float, Quantity("", 0.3, 5.0)] = 1.0
    depth: Annotated[float, Quantity("mag", -5.0, 5.0)] = 0.0
    zero_point: Annotated[
        Mapping[str, Magnitude], Expected("magnitudes from -2 to 2 by band, such as {g: 0.03}")
    ] = Field(default_factory=dict)
    link: Annotated[float, Quantity("", 0.0, 3.0)] = 1.0
    neighbours: Annotated[float, Quantity("", 0.0, 10.0)] = 1.0
    dimming: Annotated[float, Quantity("mag", -1.0, 3.0)] = 0.0
    line_strength: Annotated[float, Quantity("", 0.0, 10.0)] = 1.0
    over_sampling: Annotated[float, Quantity("", 0.0, 1.0)] = 0.0
    realism: Annotated[float, Quantity("", 0.0, 1.0)] = 1.0
    redshift: Annotated[
        tuple[float, float], Expected("two rising numbers from 0 up, such as [0.02, 0.1]")
    ] = (0.0, 1.0)
    farther: Annotated[float, Quantity("", 0.0, 1.0)] = 0.4
    fiber: Annotated[float, Quantity("arcsec", 0.5, 10.0)] = FIBER

    @field_validator("redshift")
    @classmethod
    def _rises(cls, redshift: tuple[float, float]) -> tuple[float, float]:
        low, high = redshift
        if not 0 <= low < high:
            raise ValueError(f"redshift is {low:g} to {high:g}; expected two rising numbers")
        return redshift

    @classmethod
    def read(cls, path: Path) -> Variation:
        """The variation in a YAML file, a map of the attributes above.

        Raises
        ------
        MockError
            If the file is missing, no such YAML, or has an unknown key or an invalid value.
        """
        return read_model(Path(path), cls, MockError)

    def survey(self, survey: Camera) -> Camera:
        """The survey with this seeing and depth."""
        depth = survey.depth + self.depth - 2.5 * math.log10(self.seeing)
        return replace(survey, seeing=survey.seeing * self.seeing, depth=depth)

    def zero_points(self, survey: Camera) -> np.ndarray:
        """Errors of the zero points in the survey's bands [mag], shape (B,).

        Raises
        ------
        MockError
            If one is given for a band that the survey lacks.
        """
        for band in self.zero_point:
            if band not in survey.bands:
                bands = ", ".join(survey.bands)
                raise MockError(
                    f"zero_point: survey '{survey.name}' has no band '{band}'; expected some of "
                    f"{bands}."
                )
        return np.array([self.zero_point.get(band, 0.0) for band in survey.bands])

    def galaxies(self, galaxies: Galaxies) -> Galaxies:
        """The galaxies within the redshifts, dimmed."""
        inside = (galaxies.redshift >= self.redshift[0]) & (galaxies.redshift <= self.redshift[1])
        kept = galaxies.take(np.flatnonzero(inside))
        return kept.fainter(np.full(len(kept), self.dimming)) if self.dimming else kept

    def spectra(self, spectra: FiberSpectra) -> FiberSpectra:
        """Spectra with weaker or stronger lines."""
        widths = {name: self.line_strength * width for name, width in spectra.widths.items()}
        return replace(spectra, lines=self.line_strength * spectra.lines, widths=widths)


@dataclass(frozen=True)
class SkyPlan:
    """Specification of a mock sky, which determines its files.

    Attributes
    ----------
    galaxies : Galaxies
        Real galaxies; further sources repeat them, changed by `Galaxies.realised`. A share of
        all sources, the first ones too, is farther away (`Variation.farther`).
    n : int
        Number of sources.
    seed : int
    survey : Camera
    variation : Variation
    held_out : bool, optional
        Whether the galaxies are those that no shipped ensemble is trained on (True), or those
        that they are trained on (False); None if they were chosen otherwise.
    half_unchanged : bool
        Whether every second realisation keeps the galaxies' luminosity; otherwise all but the
        first are fainter, and bright galaxies become rare in a large sky. The shipped ensemble
        learnt from a sky with it.
    """

    galaxies: Galaxies
    n: int
    seed: int = 0
    survey: Camera = PAN_STARRS
    variation: Variation = field(default_factory=Variation)
    held_out: bool | None = None
    half_unchanged: bool = False

    def __post_init__(self) -> None:
        if self.n < 1:
            raise MockError(f"{self.n} mock sources asked for, expected at least 1.")
        if self.seed < 0:
            raise MockError(f"seed {self.seed}: expected a whole number that is not negative.")
        if not len(self.galaxies):
            low, high = self.variation.redshift
            raise MockError(
                f"no real galaxy has a redshift between {low:g} and {high:g}. "
                "Most of them lie between 0.03 and 0.2: widen the range."
            )
        self.variation.zero_points(self.survey)  # checks that its bands are the survey's

    @classmethod
    def of(
        cls,
        n: int,
        seed: int = 0,
        survey: Camera = PAN_STARRS,
        variation: Variation | None = None,
        held_out: bool = False,
    ) -> SkyPlan:
        """A sky of the galaxies that networks are trained on, or of those `held_out` from them.

        The latter are the demonstration's. Their order follows from the seed, so that the first
        sources are a fair sample of all galaxies; beyond the number of galaxies, they are
        repeated as fainter ones.
        """
        variation = variation or Variation()
        chosen = variation.galaxies(Galaxies.of_demonstration(held_out))
        order = np.argsort(uniform(chosen.group_id, seed, "order of the sky")[:, 0], kind="stable")
        return cls(chosen.take(order), n, seed, survey, variation, held_out)

    @property
    def blocks(self) -> range:
        """Start indices of the blocks of sources."""
        return range(0, self.n, BLOCK)

    def sources(self, start: int) -> Galaxies:
        """The galaxies of the block that begins at `start`."""
        places = np.arange(start, min(start + BLOCK, self.n))
        realisation, row = np.divmod(places, len(self.galaxies))
        parts = [
            self._realised(self.galaxies.take(row[realisation == k]), int(k))
            for k in np.unique(realisation)
        ]
        columns = {name: [vars(part)[name] for part in parts] for name in vars(parts[0])}
        return Galaxies(**{name: np.concatenate(values) for name, values in columns.items()})

    def _realised(self, galaxies: Galaxies, realisation: int) -> Galaxies:
        """Some galaxies again, each fainter, as luminous as it is, or farther away."""
        fainter = bool(realisation % 2) or not self.half_unchanged
        again = galaxies.realised(self.seed, realisation, fainter)
        whole = galaxies.realised(self.seed, realisation, fainter=False)
        return with_farther(again, whole, self.seed, self.variation.farther)

    def footer(self) -> dict[str, Any]:
        """Provenance that is written into every file."""
        return {
            **SIMULATED,
            "code_version": __version__,
            "mock": {
                "seed": self.seed,
                "n": self.n,
                "survey": self.survey.name,
                "held_out": self.held_out,
                "half_unchanged": self.half_unchanged,
                "variation": self.variation.model_dump(mode="json"),
            },
        }
