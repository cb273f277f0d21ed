"""Spectrographs: throughput and noise of fibers, telescopes and cameras, read from YAML files.

A file holds published numbers of the instrument; throughput is that of everything
between the top of the atmosphere and the detected electron, but for the light that misses the
fiber.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import (
    AfterValidator,
    BeforeValidator,
    ConfigDict,
    Field,
    PrivateAttr,
    model_validator,
)

from targetsel.documents.document import Sequence, read_text
from targetsel.documents.models import (
    DocumentModel,
    Expected,
    FieldError,
    NonEmptyText,
    Quantity,
    parse_model,
    parse_quantity,
)
from targetsel.errors import SpectrographError, did_you_mean

SHIPPED = ("4most", "boss", "desi", "pfs", "sdss")
OPTICAL = (2500.0, 30_000.0)  # [Angstrom]


@dataclass(frozen=True)
class WavelengthCurve:
    """A quantity against wavelength [Angstrom], straight between its points and level outside."""

    wavelength: np.ndarray
    value: np.ndarray

    def __call__(self, wavelength: np.ndarray) -> np.ndarray:
        return np.interp(wavelength, self.wavelength, self.value)


def _points(name: str, least: float, most: float) -> BeforeValidator:
    """Turns a list of [wavelength, value] into a curve of values from `least` to `most`."""
    expected = (
        f"expected [wavelength, value] with a wavelength of {OPTICAL[0]:g} to {OPTICAL[1]:g} "
        f"Angstrom and a value of {least:g} to {most:g}"
    )

    def validated(rows: Any) -> WavelengthCurve:
        if not isinstance(rows, Sequence) or not rows:
            raise ValueError(f"{name} is no list; expected [[wavelength, value], ...]")
        points: list[tuple[float, float]] = []
        for row in rows:
            try:
                at, value = (parse_quantity(str(each), "") for each in row)
            except (TypeError, ValueError):
                raise row.place.error(
                    f"{name} has a point that is not a pair of numbers; {expected}"
                ) from None
            if not (OPTICAL[0] <= at <= OPTICAL[1] and least <= value <= most):
                raise row.place.error(f"{name} has the point [{at:g}, {value:g}]; {expected}")
            if points and at <= points[-1][0]:
                raise row.place.error(
                    f"{name} goes from {points[-1][0]:g} to {at:g} Angstrom; expected "
                    "wavelengths that increase"
                )
            points.append((at, value))
        return WavelengthCurve(*np.array(points).T)

    return BeforeValidator(validated)


Wavelength = Annotated[float, Quantity("Angstrom", *OPTICAL)]


class Arm(DocumentModel):
    """One camera of a spectrograph."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    name: NonEmptyText
    range: Annotated[
        tuple[Wavelength, Wavelength],
        Expected(
            f"two increasing wavelengths of {OPTICAL[0]:g} to {OPTICAL[1]:g} Angstrom, such as "
            "[3600, 5900]"
        ),
    ]
    """wavelengths that it covers"""
    throughput: Annotated[WavelengthCurve, _points("throughput", 0, 1)]
    """share of the light detected, against wavelength"""
    resolution: Annotated[WavelengthCurve, _points("resolution", 10, 1e6)]
    """wavelength over full width at half maximum, against wavelength"""
    pixel: Annotated[float, Quantity("Angstrom", 1e-3, 100)]
    """width of a pixel along the spectrum"""
    rows: Annotated[float, Quantity("", 0.1, 100)]
    """pixels across the spectrum that are added up"""
    read_noise: Annotated[float, Quantity("electron", 0, 1000)]
    """noise of reading a pixel"""
    dark: Annotated[float, Quantity("electron/s", 0, 100)]
    """dark current of a pixel"""

    @property
    def start(self) -> float:
        return self.range[0]

    @property
    def end(self) -> float:
        return self.range[1]

    @model_validator(mode="after")
    def _covers_its_range(self) -> Arm:
        if self.start >= self.end:
            raise FieldError(
                "range",
                f"range goes from {self.start:g} to {self.end:g}; expected two wavelengths that "
                "increase",
            )
        if not (self.throughput(np.linspace(self.start, self.end, 64)) > 0).all():
            raise FieldError(
                "throughput",
                "throughput is 0 within the arm's range; expected the range to end where light "
                "does",
            )
        return self


def _not_empty(arms: tuple[Arm, ...]) -> tuple[Arm, ...]:
    if not arms:
        raise ValueError("arms is empty; expected one item for each camera")
    return arms


class Spectrograph(DocumentModel):
    """A fiber spectrograph on its telescope."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    schema_name: Literal["targetsel/spectrograph/v1"] = Field(alias="schema")
    name: NonEmptyText
    source: NonEmptyText
    aperture: Annotated[float, Quantity("arcsec", 0.1, 60)]
    """diameter of a fiber on the sky"""
    area: Annotated[float, Quantity("m2", 1e-3, 2000)]
    """collecting area of the telescope"""
    seeing: Annotated[float, Quantity("arcsec", 0.2, 5)]
    """full width at half maximum of a point source"""
    exposure: Annotated[float, Quantity("s", 1, 1e6)]
    """usual time spent on a target"""
    readout: Annotated[float, Quantity("s", 1, 1e6)]
    """longest time between two readouts"""
    sky: Annotated[WavelengthCurve, _points("sky", 10, 30)]
    """AB magnitude per square arcsec of the night sky, against wavelength"""
    arms: Annotated[tuple[Arm, ...], AfterValidator(_not_empty)]
    _sha256: str = PrivateAttr(default="")

    @property
    def sha256(self) -> str:
        """Hash of the file; empty if it was not read from one."""
        return self._sha256

    @classmethod
    def find(cls, name: str) -> Spectrograph:
        """A shipped spectrograph by its name, or else the one in a file.

        Raises
        ------
        SpectrographError
        """
        if name in SHIPPED:
            return cls.read(Path(str(files("targetsel.observing") / "data" / f"{name}.yaml")))
        if not Path(name).exists():
            hint = did_you_mean(name, SHIPPED) or f" Known are {', '.join(SHIPPED)}."
            raise SpectrographError(f"{name}: no such spectrograph, and no such file.{hint}")
        return cls.read(Path(name))

    @classmethod
    def read(cls, path: Path) -> Spectrograph:
        """The spectrograph in a YAML file.

        Raises
        ------
        SpectrographError
            With file, line and column of the fault, and what was expected there.
        """
        text = read_text(path, SpectrographError)
        found = parse_model(text, str(path), cls, SpectrographError)
        found._sha256 = hashlib.sha256(text.encode()).hexdigest()
        return found
