"""How a mock sky differs from the one that networks learn from, for tests of transfer."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from targetsel.documents.document import Map, Node, Scalar, Sequence, read_document, read_text
from targetsel.errors import MockError, did_you_mean
from targetsel.mock.galaxies import Galaxies
from targetsel.mock.spectra import FiberSpectra
from targetsel.mock.survey import Survey

# Least and most that makes sense of each number.
LIMITS = {
    "seeing": (0.3, 5.0),
    "depth": (-5.0, 5.0),
    "link": (0.0, 3.0),
    "neighbours": (0.0, 10.0),
    "dimming": (-1.0, 3.0),
    "line_strength": (0.0, 10.0),
    "over_sampling": (0.0, 1.0),
}


@dataclass(frozen=True)
class Variation:
    """Changes to camera and galaxies; as it stands, none.

    Attributes
    ----------
    seeing : float
        Factor on the width of the PSF. The noise of a pixel stays nearly: at 1.4 it is
        1 % lower, at 0.5 and 0.3 some 7 and 20 % higher.
    depth : float
        [mag] deeper; the noise of a pixel changes.
    zero_point : mapping
        By band: every source comes out fainter by this [mag].
    link : float
        How strongly shapes follow what a spectrum has beyond its colour; see `morphology`.
    neighbours : float
        Factor on the number of neighbouring galaxies and stars.
    dimming : float
        [mag] by which every galaxy is less luminous; see `Galaxies.fainter`.
    line_strength : float
        Factor on the width of every emission line.
    over_sampling : float
        Share of the galaxies drawn with a preference for strong lines; see `draw_spectra`.
    redshift : (float, float)
        Galaxies outside are left out.
    """

    seeing: float = 1.0
    depth: float = 0.0
    zero_point: Mapping[str, float] = field(default_factory=dict)
    link: float = 1.0
    neighbours: float = 1.0
    dimming: float = 0.0
    line_strength: float = 1.0
    over_sampling: float = 0.0
    redshift: tuple[float, float] = (0.0, 1.0)

    def __post_init__(self) -> None:
        for name, (least, most) in LIMITS.items():
            value = getattr(self, name)
            if not least <= value <= most:
                raise MockError(
                    f"{name} is {value:g}, expected a number from {least:g} to {most:g}."
                )
        for band, value in self.zero_point.items():
            if not abs(value) <= 2:
                raise MockError(f"zero_point of {band} is {value:g}, expected one from -2 to 2.")
        low, high = self.redshift
        if not 0 <= low < high:
            raise MockError(f"redshift is {low:g} to {high:g}, expected two rising numbers.")

    @classmethod
    def read(cls, path: Path) -> Variation:
        """The variation in a YAML file, a map of the attributes above.

        Raises
        ------
        MockError
            If the file is missing, no such YAML, or has a key or a value that makes no sense.
        """
        path = Path(path)
        values = _values(read_document(read_text(path, MockError), str(path), MockError))
        try:
            return cls(**values)
        except MockError as error:
            raise MockError(f"{path}: {error}") from None

    def as_dict(self) -> dict[str, Any]:
        """Every attribute, for a footer."""
        return asdict(self) | {"redshift": list(self.redshift)}

    def survey(self, survey: Survey) -> Survey:
        """The survey with this seeing and depth."""
        depth = survey.depth + self.depth - 2.5 * math.log10(self.seeing)
        return replace(survey, seeing=survey.seeing * self.seeing, depth=depth)

    def zero_points(self, survey: Survey) -> np.ndarray:
        """[mag], shape (B,).

        Raises
        ------
        MockError
            If one is given for a band that the survey lacks.
        """
        for band in self.zero_point:
            if band not in survey.bands:
                bands = ", ".join(survey.bands)
                raise MockError(
                    f"zero_point: survey '{survey.name}' has no band '{band}', but {bands}."
                )
        return np.array([self.zero_point.get(band, 0.0) for band in survey.bands])

    def galaxies(self, galaxies: Galaxies) -> Galaxies:
        """Those of the galaxies that are in it, dimmed."""
        inside = (galaxies.redshift >= self.redshift[0]) & (galaxies.redshift <= self.redshift[1])
        kept = galaxies.take(np.flatnonzero(inside))
        return kept.fainter(np.full(len(kept), self.dimming)) if self.dimming else kept

    def spectra(self, spectra: FiberSpectra) -> FiberSpectra:
        """Spectra with weaker or stronger lines."""
        widths = {name: self.line_strength * width for name, width in spectra.widths.items()}
        return replace(spectra, lines=self.line_strength * spectra.lines, widths=widths)


def _values(root: Node) -> dict[str, Any]:
    """The attributes that a document sets."""
    if not isinstance(root, Map):
        raise root.place.error("expected a map, such as `seeing: 1.3`")
    known = [each.name for each in fields(Variation)]
    values: dict[str, Any] = {}
    for key, node in root.items():
        if key not in known:
            hint = did_you_mean(key, known) or f" Known: {', '.join(known)}."
            raise root.keys_at[key].error(f"unknown key '{key}'.{hint}")
        if key == "zero_point":
            values[key] = _by_band(node)
        elif key == "redshift":
            values[key] = _range(node)
        else:
            values[key] = _number(node)
    return values


def _number(node: Node) -> float:
    try:
        value = float(node) if isinstance(node, Scalar) else math.nan
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise node.place.error("expected a number")
    return value


def _range(node: Node) -> tuple[float, float]:
    if not isinstance(node, Sequence) or len(node) != 2:
        raise node.place.error("expected two numbers, such as `[0.02, 0.1]`")
    low, high = map(_number, node)
    return low, high


def _by_band(node: Node) -> dict[str, float]:
    if not isinstance(node, Map):
        raise node.place.error("expected magnitudes by band, such as `{g: 0.03}`")
    return {band: _number(value) for band, value in node.items()}
