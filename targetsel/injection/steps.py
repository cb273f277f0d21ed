"""Steps by which images are changed: fainter galaxies, worse seeing, noisier images."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, TypeAlias

from targetsel.errors import CutoutError

Numbers: TypeAlias = "float | str | Iterable[float]"  # text has them separated by commas
FAINTEST = 10.0  # [mag]
NOISIEST = 100.0
AXES = ("dim", "blur", "noisier")
UNITS = {"dim": "mag", "blur": "arcsec", "noisier": ""}
NOTHING = {"dim": 0.0, "blur": 0.0, "noisier": 1.0}


@dataclass(frozen=True)
class ImageStep:
    """One change of images.

    Attributes
    ----------
    dim : float
        By how much galaxies are fainter [mag].
    blur : float
        Full width at half maximum of the Gaussian that images are blurred by [arcsec]; a point
        source of width s is then sqrt(s^2 + blur^2) wide.
    noisier : float
        Factor on the noise of a pixel.
    """

    dim: float = 0.0
    blur: float = 0.0
    noisier: float = 1.0

    @property
    def factor(self) -> float:
        """Factor on the light."""
        return 10 ** (-0.4 * self.dim)

    @property
    def changes(self) -> tuple[str, ...]:
        """The axes along which it changes something."""
        return tuple(axis for axis in AXES if getattr(self, axis) != NOTHING[axis])

    @cached_property
    def text(self) -> str:
        """The step in words, such as "1 mag fainter, noise x 2"."""
        said = {
            "dim": f"{self.dim:g} mag fainter",
            "blur": f"blurred by {self.blur:g} arcsec",
            "noisier": f"noise x {self.noisier:g}",
        }
        return ", ".join(said[axis] for axis in self.changes) or "unchanged"


UNCHANGED = ImageStep()


def steps_of(dim: Numbers = (), blur: Numbers = (), noisier: Numbers = ()) -> tuple[ImageStep, ...]:
    """The steps along each axis by itself, and one that takes the last of all axes together.

    The first is `UNCHANGED`, whether it is asked for or not.

    Raises
    ------
    CutoutError
        If a value is none that images can be changed by, or nothing is changed.
    """
    asked = {
        "dim": _values("--dim", dim, 0.0, FAINTEST, "magnitudes, such as 0.5,1"),
        "blur": _values("--blur", blur, 0.0, math.inf, "widths in arcsec, such as 0.3,0.6"),
        "noisier": _values("--noisier", noisier, 1.0, NOISIEST, "factors, such as 1.5,2"),
    }
    found = [UNCHANGED]
    for axis, values in asked.items():
        found += [replace(UNCHANGED, **{axis: each}) for each in values]
    last = {axis: values[-1] for axis, values in asked.items() if values}
    found.append(replace(UNCHANGED, **last))
    steps = tuple(dict.fromkeys(found))
    if steps == (UNCHANGED,):
        raise CutoutError(
            "inject: nothing is changed. Give magnitudes (--dim), widths (--blur) or factors on "
            "the noise (--noisier), such as --dim 0.5,1."
        )
    return steps


def _values(option: str, given: Numbers, least: float, most: float, expected: str) -> list[float]:
    """The values of one axis, in ascending order."""
    each: Iterable[Any]
    if isinstance(given, str):
        each = given.split(",") if given.strip() else ()
    else:
        each = given if isinstance(given, Iterable) else (given,)
    try:
        values = [float(value) for value in each]
    except (TypeError, ValueError):
        raise CutoutError(f"{option} {given!r}: expected {expected}.") from None
    for value in values:
        if not (least <= value <= most and math.isfinite(value)):
            to = f" to {most:g}" if math.isfinite(most) else ""
            raise CutoutError(
                f"{option} {value:g}: expected {expected}; {least:g}{to or ' or more'}. Images "
                "can only be made fainter, blurrier and noisier, as nothing is known of the rest."
            )
    return sorted({*values})
