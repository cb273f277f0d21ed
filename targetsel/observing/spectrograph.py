"""Spectrographs: what a fiber, its telescope and its cameras let through, read from small files.

A file gives what a reader of the instrument's papers can find; throughput is that of everything
between the top of the atmosphere and the detected electron, but for the light that misses the
fiber.
"""

from __future__ import annotations

import hashlib
import math
import re
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path

import numpy as np
from astropy import units

from targetsel.documents.document import Map, Node, Scalar, Sequence, read_document, read_text
from targetsel.errors import SpectrographError, did_you_mean

SCHEMA = "targetsel/spectrograph/v1"
SHIPPED = ("4most", "boss", "desi", "pfs", "sdss")
_QUANTITY = re.compile(r"\s*([-+]?\d+\.?\d*(?:[eE][-+]?\d+)?)\s*([A-Za-z/]*[0-9]?)\s*")
OPTICAL = (2500.0, 30_000.0)  # [Angstrom]

# Each quantity of a file: its unit, the least and the most it may be, and what it means.
QUANTITIES = {
    "aperture": ("arcsec", 0.1, 60.0, "diameter of a fiber on the sky"),
    "area": ("m2", 1e-3, 2000.0, "collecting area of the telescope"),
    "seeing": ("arcsec", 0.2, 5.0, "full width at half maximum of a point source"),
    "exposure": ("s", 1.0, 1e6, "usual time spent on a target"),
    "readout": ("s", 1.0, 1e6, "longest time between two readouts"),
}
OF_ARMS = {
    "pixel": ("Angstrom", 1e-3, 100.0, "width of a pixel along the spectrum"),
    "rows": ("", 0.1, 100.0, "pixels across the spectrum that are added up"),
    "read_noise": ("electron", 0.0, 1000.0, "noise of reading a pixel"),
    "dark": ("electron/s", 0.0, 100.0, "dark current of a pixel"),
}
# Each curve: the least and the most that it may be, and what it means.
SKY = ("sky", 10.0, 30.0, "AB magnitude per square arcsec of the night sky")
ARM_CURVES = {
    "throughput": ("throughput", 0.0, 1.0, "share of the light detected"),
    "resolution": ("resolution", 10.0, 1e6, "wavelength over full width at half maximum"),
}


@dataclass(frozen=True)
class Curve:
    """A quantity against wavelength [Angstrom], straight between its points and level outside."""

    wavelength: np.ndarray
    value: np.ndarray

    def __call__(self, wavelength: np.ndarray) -> np.ndarray:
        return np.interp(wavelength, self.wavelength, self.value)


@dataclass(frozen=True)
class Arm:
    """One camera of a spectrograph, with what `OF_ARMS` says.

    Attributes
    ----------
    start, end : float
        The wavelengths it covers [Angstrom].
    """

    name: str
    start: float
    end: float
    throughput: Curve
    resolution: Curve
    pixel: float
    rows: float
    read_noise: float
    dark: float


@dataclass(frozen=True)
class Spectrograph:
    """A fiber spectrograph on its telescope, with what `QUANTITIES` says.

    Attributes
    ----------
    sky : Curve
        AB magnitude per square arcsec.
    sha256 : str
        Of the file.
    """

    name: str
    source: str
    aperture: float
    area: float
    seeing: float
    exposure: float
    readout: float
    sky: Curve
    arms: tuple[Arm, ...]
    sha256: str = field(default="", compare=False)

    @classmethod
    def find(cls, name: str) -> Spectrograph:
        """A shipped spectrograph by its name, or else the one in a file.

        Raises
        ------
        SpectrographError
        """
        if name in SHIPPED:
            path = Path(str(files("targetsel.observing") / "data" / f"{name}.yaml"))
            return cls.read(path)
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
            The file, line and what is wrong there.
        """
        text = read_text(path, SpectrographError)
        root = read_document(text, str(path), SpectrographError)
        return _spectrograph(root, hashlib.sha256(text.encode()).hexdigest())


def parse_quantity(text: str, unit: str, bare: bool = True) -> float:
    """The number that "900 s" or "15 min" is in `unit`; also "900", unless `bare` is false.

    Raises
    ------
    ValueError
        With what was expected, if it is no such number.
    """
    found = _QUANTITY.fullmatch(text)
    if found and (found[2] or bare):
        given = units.Unit(found[2] or unit, parse_strict="silent")
        if given.is_equivalent(units.Unit(unit)):
            return float(found[1]) * float(given.to(units.Unit(unit)))
    if not bare:
        raise ValueError(f"'{text[:40]}', expected a number and its unit")
    raise ValueError(f"'{text[:40]}', expected a number{f' of {unit}' if unit else ''}")


def _spectrograph(root: Node, sha256: str) -> Spectrograph:
    top = _map(root, ("schema", "name", "source", *QUANTITIES, "sky", "arms"))
    schema = _text(top, "schema")
    if schema != SCHEMA:
        raise top["schema"].place.error(f"schema is '{schema}', expected '{SCHEMA}'")
    numbers = {key: _quantity(top, key, QUANTITIES) for key in QUANTITIES}
    arms = top["arms"]
    if not isinstance(arms, Sequence) or not arms:
        raise arms.place.error("arms is no list; expected one item for each camera")
    return Spectrograph(
        _text(top, "name"),
        _text(top, "source"),
        **numbers,
        sky=_curve(top, "sky", SKY),
        arms=tuple(_arm(each) for each in arms),
        sha256=sha256,
    )


def _arm(node: Node) -> Arm:
    arm = _map(node, ("name", "range", *ARM_CURVES, *OF_ARMS))
    ends = arm["range"]
    limits = [_number(each, "range") for each in ends] if isinstance(ends, Sequence) else []
    if len(limits) != 2 or not OPTICAL[0] <= limits[0] < limits[1] <= OPTICAL[1]:
        raise ends.place.error(
            "range is not two increasing wavelengths between "
            f"{OPTICAL[0]:g} and {OPTICAL[1]:g} Angstrom, such as [3600, 5900]"
        )
    curves = {key: _curve(arm, key, about) for key, about in ARM_CURVES.items()}
    if not (curves["throughput"](np.linspace(limits[0], limits[1], 64)) > 0).all():
        raise arm["throughput"].place.error(
            "throughput is 0 within the arm's range; expected the range to end where light does"
        )
    return Arm(
        _text(arm, "name"),
        limits[0],
        limits[1],
        curves["throughput"],
        curves["resolution"],
        *(_quantity(arm, key, OF_ARMS) for key in ("pixel", "rows", "read_noise", "dark")),
    )


def _map(node: Node, keys: tuple[str, ...]) -> Map:
    """A map with just these keys."""
    if not isinstance(node, Map):
        raise node.place.error(f"expected a map with the keys {', '.join(keys)}")
    for key, where in node.keys_at.items():
        if key not in keys:
            hint = did_you_mean(key, keys) or f" Expected {', '.join(keys)}."
            raise where.error(f"unknown key '{key}'.{hint}")
    for key in keys:
        if key not in node:
            raise node.place.error(f"no key '{key}'; expected {', '.join(keys)}")
    return node


def _text(node: Map, key: str) -> str:
    value = node[key]
    if not isinstance(value, Scalar) or not value.strip():
        raise value.place.error(f"{key} is no text")
    return value.strip()


def _quantity(node: Map, key: str, known: dict[str, tuple[str, float, float, str]]) -> float:
    """A number in the unit of its key, which may stand behind it."""
    unit, least, most, about = known[key]
    place = node[key].place
    try:
        value = parse_quantity(_text(node, key), unit)
    except ValueError as error:
        raise place.error(f"{key} is {error}: {about}") from None
    if not least <= value <= most:
        limits = f"{least:g} to {most:g} {unit}".rstrip()
        raise place.error(f"{key} is {value:g}; expected {limits}: {about}")
    return value


def _curve(node: Map, key: str, known: tuple[str, float, float, str]) -> Curve:
    """A list of [wavelength, value], the wavelengths [Angstrom] increasing."""
    name, least, most, about = known
    rows = node[key]
    pairs: list[list[float]] = []
    for row in rows if isinstance(rows, Sequence) else []:
        pair = [_number(each, key) for each in row] if isinstance(row, Sequence) else []
        if (
            len(pair) != 2
            or not OPTICAL[0] <= pair[0] <= OPTICAL[1]
            or not (least <= pair[1] <= most)
        ):
            raise row.place.error(
                f"{name} has a point that is not [wavelength, value] with a wavelength of "
                f"{OPTICAL[0]:g} to {OPTICAL[1]:g} Angstrom and a value of {least:g} to {most:g}"
            )
        if pairs and pair[0] <= pairs[-1][0]:
            raise row.place.error(
                f"{name} goes from {pairs[-1][0]:g} to {pair[0]:g} Angstrom; expected wavelengths "
                "that increase"
            )
        pairs.append(pair)
    if not pairs:
        raise rows.place.error(f"{key} is no list; expected [[wavelength, value], ...]: {about}")
    wavelength, value = np.array(pairs).T
    return Curve(wavelength, value)


def _number(node: Node, key: str) -> float:
    try:
        value = float(node) if isinstance(node, Scalar) else math.nan
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        text = node[:40] if isinstance(node, Scalar) else "a list"
        raise node.place.error(f"{key} has '{text}', expected a number")
    return value
