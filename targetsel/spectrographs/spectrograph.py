"""Spectrographs: throughput and noise of fibers, telescopes and cameras, and what they detect.

A YAML file holds published numbers of the instrument; throughput is that of everything between the
top of the atmosphere and the detected electron, but for the light that misses the fiber.

A line of flux F gives S electrons a second; continuum, sky and dark current under it give B; each
readout adds a variance of V. After the time t with n readouts

    S/N = S t / sqrt(S t + B t + n V)

for an extraction that weights by the line's profile p, which sees as much noise as a band of the
width 1 / integral(p^2). There are t / readout readouts, not rounded, and at least one.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import AfterValidator, ConfigDict, Field, PrivateAttr, model_validator
from pydantic_core import core_schema

from targetsel.documents.document import read_text
from targetsel.documents.models import (
    DocumentModel,
    Expected,
    FieldError,
    NonEmptyText,
    Quantity,
    parse_model,
    parse_quantity,
)
from targetsel.errors import SpectrographError, close_or_known
from targetsel.photometry.flux import NJY, SPEED_OF_LIGHT, flux_of_magnitude

SHIPPED = ("4most", "boss", "desi", "pfs", "sdss")
OPTICAL = (2500.0, 30_000.0)  # [Angstrom]
PHOTON = 1.986_445_857e-8  # h c [erg Angstrom]
CM2_PER_M2 = 1e4
SPEED_KM = 2.997_924_58e5  # [km/s]
LINE_SIGMA = 100.0  # velocity dispersion of a galaxy's gas [km/s]
FWHM = 2.354_820  # full width at half maximum of a Gaussian, in sigma
HALF_LIGHT = 1.678347  # half-light radius of an exponential disk, in scale lengths
LONGEST = 1e7  # [s], used where no exposure reaches the S/N
_FARTHEST = 6.0  # seeing removes higher frequencies, in units of 1 / sigma
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(96)

Wavelength = Annotated[float, Quantity("Angstrom", *OPTICAL)]
RANGE = Expected(
    f"two increasing wavelengths of {OPTICAL[0]:g} to {OPTICAL[1]:g} Angstrom, such as [3600, 5900]"
)
POINTS = "[[wavelength, value], ...] with increasing wavelengths [Angstrom] and values of"


@dataclass(frozen=True)
class WavelengthCurve:
    """A quantity against wavelength [Angstrom], straight between its points and level outside."""

    wavelength: np.ndarray
    value: np.ndarray

    def __call__(self, wavelength: np.ndarray) -> np.ndarray:
        return np.interp(wavelength, self.wavelength, self.value)


@dataclass(frozen=True)
class Points:
    """Annotation of a curve: a list of its points, with values from `least` to `most`."""

    least: float
    most: float

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> core_schema.CoreSchema:
        value = Annotated[float, Quantity("", self.least, self.most)]
        points = handler.generate_schema(tuple[tuple[Wavelength, value], ...])
        return core_schema.no_info_after_validator_function(_curve, points)


def _curve(points: tuple[tuple[float, float], ...]) -> WavelengthCurve:
    if not points:
        raise ValueError("the list of points is empty; expected one point or more")
    wavelength, value = np.array(points).T
    falls = np.flatnonzero(np.diff(wavelength) <= 0)
    if len(falls):
        first, second = wavelength[falls[0] :][:2]
        raise ValueError(
            f"the points go from {first:g} to {second:g} Angstrom; expected wavelengths that "
            "increase"
        )
    return WavelengthCurve(wavelength, value)


class Arm(DocumentModel):
    """One camera of a spectrograph."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    name: NonEmptyText
    range: Annotated[tuple[Wavelength, Wavelength], RANGE]
    """wavelengths that it covers"""
    throughput: Annotated[WavelengthCurve, Points(0, 1), Expected(f"{POINTS} 0 to 1")]
    """share of the light detected, against wavelength"""
    resolution: Annotated[WavelengthCurve, Points(10, 1e6), Expected(f"{POINTS} 10 to 1e6")]
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
    sky: Annotated[WavelengthCurve, Points(10, 30), Expected(f"{POINTS} 10 to 30")]
    """brightness of the night sky, AB magnitude per square arcsec against wavelength"""
    arms: Annotated[tuple[Arm, ...], AfterValidator(_not_empty)]
    _text: str = PrivateAttr(default="")

    @property
    def sha256(self) -> str:
        """Hash of the file; empty if it was not read from one."""
        return hashlib.sha256(self._text.encode()).hexdigest() if self._text else ""

    @property
    def text(self) -> str:
        """The file, from which `parse` makes the same; empty if it was not read from one."""
        return self._text

    @classmethod
    def find(cls, name: str) -> Spectrograph:
        """A shipped spectrograph by its name, or else the one in a file.

        Raises
        ------
        SpectrographError
        """
        if name in SHIPPED:
            return cls.read(Path(str(files("targetsel.spectrographs") / "data" / f"{name}.yaml")))
        if not name or not Path(name).exists():
            raise SpectrographError(
                f"{name}: no such spectrograph or file.{close_or_known(name, SHIPPED)}"
            )
        return cls.read(Path(name))

    @classmethod
    def read(cls, path: Path) -> Spectrograph:
        """The spectrograph in a YAML file.

        Raises
        ------
        SpectrographError
            With file, line and column of the fault, and what was expected there.
        """
        return cls.parse(read_text(path, SpectrographError), str(path))

    @classmethod
    def parse(cls, text: str, name: str) -> Spectrograph:
        """The spectrograph that a YAML text describes; `name` is that of its file, for errors.

        Raises
        ------
        SpectrographError
            As `read`.
        """
        found = parse_model(text, name, cls, SpectrographError)
        found._text = text
        return found


# --- exposures -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Exposure:
    """Exposure time, and signal-to-noise ratio to reach.

    Attributes
    ----------
    time : float
        [s], for signal-to-noise ratios.
    snr : float
        For exposure times.
    """

    spectrograph: Spectrograph
    time: float
    snr: float

    @classmethod
    def asked(cls, spectrograph: Spectrograph, time: str | None, snr: float) -> Exposure:
        """The exposure for a time such as "15min", or else the spectrograph's usual one.

        Raises
        ------
        SpectrographError
            If the time is no time or has no unit, or a number is out of bounds.
        """
        try:
            seconds = spectrograph.exposure if time is None else parse_quantity(time, "s", False)
        except ValueError as error:
            raise SpectrographError(f"exposure is {error}, such as 1000s or 15min.") from None
        if not 1 <= seconds <= LONGEST:
            raise SpectrographError(f"exposure is {seconds:g} s; expected 1 to {LONGEST:,.0f} s.")
        if not 0 < snr <= 1e4:
            raise SpectrographError(
                f"signal-to-noise ratio is {snr:g}; expected above 0, up to 10,000."
            )
        return cls(spectrograph, seconds, snr)


@dataclass(frozen=True)
class Rates:
    """Electrons detected of a line and under it; arrays of one shape.

    Attributes
    ----------
    line, background : ndarray
        [electron/s]; a line in absorption is negative.
    readout : ndarray
        Variance of one readout [electron^2].
    """

    line: np.ndarray
    background: np.ndarray
    readout: np.ndarray


def share_in_fiber(half_light_radius: np.ndarray, aperture: float, seeing: float) -> np.ndarray:
    """Share of the light of exponential disks that falls into a fiber centred on them, shape (N,).

    A disk's transform is (1 + (k h)^2)^(-3/2) for the scale length h and seeing multiplies it by a
    Gaussian, so that the light within R is the integral over k of R J1(k R) times both.

    Parameters
    ----------
    half_light_radius : ndarray, shape (N,)
        Before seeing [arcsec], of a face-on disk; 0 is a point source.
    aperture, seeing : float
        The fiber's diameter, and the FWHM of a point source [arcsec].
    """
    from scipy.special import j1  # here, so that rules are checked without it

    radius, sigma = aperture / 2, seeing / FWHM
    scale = np.asarray(half_light_radius, dtype=np.float64)[..., None] / HALF_LIGHT
    k = _FARTHEST / sigma * (_NODES + 1) / 2
    weights = _FARTHEST / sigma * _WEIGHTS / 2
    blurred = radius * j1(k * radius) * np.exp(-((k * sigma) ** 2) / 2) * weights
    return np.clip((blurred * (1 + (k * scale) ** 2) ** -1.5).sum(axis=-1), 0.0, 1.0)


def effective_width(
    wavelength: np.ndarray, offsets: np.ndarray, shares: np.ndarray, arm: Arm
) -> np.ndarray:
    """The width of sky [Angstrom] whose noise disturbs a line, as `wavelength` in shape.

    The profile is a sum of Gaussians: of the instrument, the pixel and `LINE_SIGMA`.

    Parameters
    ----------
    wavelength : ndarray
        Observed [Angstrom].
    offsets, shares : ndarray, shape (C,)
        The line's components: offsets relative to the wavelength, and shares of the flux.
    """
    instrument = wavelength / arm.resolution(wavelength) / FWHM
    variance = instrument**2 + arm.pixel**2 / 12 + (wavelength * LINE_SIGMA / SPEED_KM) ** 2
    apart = (offsets[:, None] - offsets) * wavelength[..., None, None]
    overlap = np.exp(-(apart**2) / (4 * variance[..., None, None]))
    return 2 * np.sqrt(np.pi * variance) / np.einsum("i,j,...ij", shares, shares, overlap)


def rates(
    flux: np.ndarray,
    continuum: np.ndarray,
    wavelength: np.ndarray,
    width: np.ndarray,
    arm: Arm,
    spectrograph: Spectrograph,
) -> Rates:
    """Electrons that one arm detects of a line and under it.

    Parameters
    ----------
    flux : ndarray
        Flux of the line within the fiber [erg/s/cm2].
    continuum : ndarray
        Flux density within the fiber [erg/s/cm2/Angstrom].
    wavelength : ndarray
        Observed [Angstrom].
    width : ndarray
        From `effective_width` [Angstrom].
    """
    area = spectrograph.area * CM2_PER_M2
    electrons = area * arm.throughput(wavelength) * wavelength / PHOTON  # per erg/cm2
    on_sky = np.pi * (spectrograph.aperture / 2) ** 2  # [arcsec2]
    sky = flux_of_magnitude(spectrograph.sky(wavelength)) * NJY * SPEED_OF_LIGHT / wavelength**2
    pixels = width / arm.pixel * arm.rows
    background = electrons * (continuum + sky * on_sky) * width + arm.dark * pixels
    return Rates(
        flux * electrons, background, np.broadcast_to(arm.read_noise**2 * pixels, width.shape)
    )


def signal_to_noise(rates: Rates, time: float, readout: float) -> np.ndarray:
    """S/N after `time` [s]; negative for a line in absorption."""
    own = np.maximum(rates.line, 0.0)
    variance = (own + rates.background) * time + rates.readout * max(time / readout, 1.0)
    return rates.line * time / np.sqrt(variance)


def exposure_time(rates: Rates, snr: float, readout: float) -> np.ndarray:
    """The time [s] after which a line reaches `snr`; at most `LONGEST`."""
    line = np.maximum(rates.line, 1e-30)  # so that nothing overflows
    noisy = line + rates.background
    many = snr**2 * (noisy + rates.readout / readout) / line**2
    half = snr**2 * noisy / (2 * line**2)
    one = half + np.sqrt(half**2 + snr**2 * rates.readout / line**2)
    return np.minimum(np.where(many >= readout, many, one), LONGEST)
