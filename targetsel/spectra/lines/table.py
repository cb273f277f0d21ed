"""Line tables: the definitions of indices, as one YAML file that users can add to.

The form is described at the head of the shipped file, `spectra/data/lines.yaml`. Wavelengths in air
are converted once, on reading.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import AfterValidator, Field, PrivateAttr, StringConstraints

from targetsel.documents.document import Map, Node, Scalar
from targetsel.documents.models import (
    DocumentModel,
    Expected,
    Number,
    Quantity,
    Switch,
    read_model,
    validate,
)
from targetsel.documents.source_location import SourceLocation
from targetsel.errors import SpectrumError, did_you_mean
from targetsel.expressions import grammar
from targetsel.expressions.functions import ARITHMETIC, OPERATORS
from targetsel.spectra.grid import SpectrumPixels, WavelengthBand, air_to_vacuum
from targetsel.spectra.lines.index import Break, Fit, Index, Level, Profile, SideBands, Width, on

SCHEMA = "targetsel/lines/v1"
MOST_SHARED = 0.1  # largest share of a line band that a side band may overlap, as some of Lick's do
_SHOWN = " See 'targetsel lines show'."
UNITS = {"emission": "Angstrom", "absorption": "Angstrom", "magnitude": "mag", "fit": "Angstrom"}


# ---------------------------------------------------------------- formulas

_FUNCTIONS = {name: ARITHMETIC[name] for name in ("log10", "sqrt")}


@dataclass(frozen=True)
class LineFormula:
    """An index that is calculated from others with numbers, + - * / **, log10 and sqrt."""

    tree: grammar.Node

    @classmethod
    def parse(cls, text: str, known: Iterable[str], place: SourceLocation) -> LineFormula:
        """The formula in a text, of the indices in `known`; errors give positions from `place` on.

        Raises
        ------
        SpectrumError
            If the text is no formula, or names an unknown index.
        """
        formula = cls(grammar.parse(text, place, _FUNCTIONS))
        for node in grammar.walk(formula.tree):
            if isinstance(node, grammar.NameNode) and node.name not in known:
                hint = did_you_mean(node.name, known) or " Define it further up."
                raise node.place.error(f"formula has the unknown name '{node.name}'.{hint}")
            is_number = isinstance(node, grammar.NumberNode) and not node.unit
            is_operation = isinstance(node, grammar.Branch) and node.word in (
                *OPERATORS,
                *_FUNCTIONS,
            )
            if not (is_number or is_operation or isinstance(node, grammar.NameNode)):
                raise node.place.error(
                    f"'{str(node)[:40]}' is not allowed in a formula; expected numbers, names of "
                    "indices, + - * / **, log10() and sqrt()"
                )
        if not formula.names:
            raise place.error(f"formula '{text[:60]}' has no index in it; expected at least one")
        return formula

    @property
    def names(self) -> set[str]:
        """Names of the indices in the formula."""
        return set(grammar.names(self.tree))

    def __call__(self, values: Mapping[str, np.ndarray]) -> np.ndarray:
        """The index from the values of others, all of one shape; NaN where it is not finite."""
        with np.errstate(all="ignore"):
            found = np.asarray(grammar.evaluate(self.tree, values))
        return np.where(np.isfinite(found), found, np.nan)


# ---------------------------------------------------------------- definitions


def _increasing(band: tuple[float, float]) -> tuple[float, float]:
    if not band[0] < band[1]:
        raise ValueError(
            f"the band runs from {band[0]:g} to {band[1]:g}; expected increasing wavelengths"
        )
    return band


def _different(sigma: tuple[float, ...]) -> tuple[float, ...]:
    if len(set(sigma)) < len(sigma):
        raise ValueError(f"sigma is {list(sigma)}; expected different numbers")
    return sigma


Wavelength = Annotated[float, Quantity("Angstrom", 1000, 60_000)]
BandField = Annotated[
    tuple[Wavelength, Wavelength],
    AfterValidator(_increasing),
    Expected("[start, end] between 1000 and 60000 Angstrom"),
]
ProfileField = Annotated[
    tuple[tuple[Wavelength, Annotated[Number, Field(gt=0)]], ...], Field(min_length=1)
]
LINES = Expected("[[wavelength, strength], ...], with strengths above 0")


class Definition(DocumentModel):
    """An index of a line table, as an item of a file defines it.

    Attributes
    ----------
    name, kind, source, about : str
    symbol : str
        How pictures and pages write it, such as EW(Hα+[NII]).
    predicted : bool
        Whether catalogs are scored with it: a proxy.
    """

    name: Annotated[
        str,
        StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,39}$"),
        Expected("small letters, digits and _"),
    ]
    kind: str
    symbol: str = ""
    source: str = ""
    about: str = ""
    predicted: Switch = False
    _index: Index | LineFormula = PrivateAttr()

    @classmethod
    def of(cls, node: Node, known: Mapping[str, Definition]) -> Definition:
        """The definition in an item of a file; formulas may use the indices in `known`.

        Raises
        ------
        SpectrumError
            If it is invalid; names the place in the file.
        """
        if not isinstance(node, Map):
            raise node.place.error("expected a definition such as {name: ew_oi, kind: ...}")
        kind = node.get("kind", Scalar("", node.place))
        if not isinstance(kind, Scalar) or kind not in KINDS:
            hint = did_you_mean(str(kind), KINDS)
            raise kind.place.error(f"unknown kind '{kind}'.{hint} Expected {', '.join(KINDS)}.")
        found = validate(node, KINDS[kind])
        if found.name in known:
            raise found.place_of("name").error(
                f"the name '{found.name}' is defined twice. Choose another name."
            )
        if found.predicted and kind == "level":
            raise found.place_of("predicted").error(
                "a level cannot be predicted: decoded spectra have no scale. Predict a width."
            )
        found._index = found._defined(known)
        return found

    @property
    def index(self) -> Index | LineFormula:
        """The index to measure, or the formula that gives it."""
        return self._index

    @property
    def unit(self) -> str:
        return UNITS.get(self.kind, "")

    @property
    def is_emission(self) -> bool:
        """Whether it is a width that is positive in emission."""
        return self.kind in ("emission", "fit")

    @property
    def ucd(self) -> str:
        return "spect.line.eqWidth" if self.is_emission else "spect.index"

    @property
    def emission_lines(self) -> Profile:
        """Vacuum wavelengths [Angstrom] of the emission lines that the width counts, and their
        shares of the flux; empty where no lines are measured."""
        return ()

    def counted_share(self, sigma: float) -> float | None:
        """Share of the flux of its emission lines, Gaussians of this dispersion [km/s], that a
        width between side bands counts; None for other indices."""
        if not (isinstance(self.index, Width) and self.emission_lines):
            return None
        return self.index.counted_share(self.emission_lines, sigma)

    @abstractmethod
    def _defined(self, known: Iterable[str]) -> Index | LineFormula:
        """The index, or the formula of indices that are `known`."""


class FormulaDefinition(Definition):
    """An index that is calculated from others."""

    formula: Annotated[str, Expected("a formula")]
    unit_: str = Field(default="", alias="unit")
    emission: Switch = False

    @property
    def unit(self) -> str:
        return self.unit_

    @property
    def is_emission(self) -> bool:
        return self.emission

    def _defined(self, known: Iterable[str]) -> LineFormula:
        return LineFormula.parse(self.formula, known, self.place_of("formula"))


class MeasuredDefinition(Definition):
    """An index that is measured on spectra, in bands whose wavelengths are in `medium`."""

    medium: Literal["air", "vacuum"]

    def in_vacuum(self, wavelength: float) -> float:
        """Vacuum wavelength of one given in the item's medium [Angstrom]."""
        return air_to_vacuum(wavelength) if self.medium == "air" else wavelength

    def band(self, name: str) -> WavelengthBand:
        """The band of a field, in vacuum."""
        return WavelengthBand(*map(self.in_vacuum, getattr(self, name)))

    def _profile(self, lines: Profile, key: str, band: WavelengthBand) -> Profile:
        """Vacuum wavelengths and strengths of a profile's lines; the first strength is 1."""
        found = [(self.in_vacuum(wavelength), strength) for wavelength, strength in lines]
        for wavelength, _ in found:
            if not band.start < wavelength < band.end:
                raise self.place_of(key).error(
                    f"{key} has a line at {wavelength:.1f}, expected between {band.start:.1f} and "
                    f"{band.end:.1f}, the edges of line"
                )
        return tuple((wavelength, strength / found[0][1]) for wavelength, strength in found)


class BreakDefinition(MeasuredDefinition):
    """A ratio of two bands."""

    blue: BandField
    red: BandField

    def _defined(self, known: Iterable[str]) -> Break:
        blue, red = self.band("blue"), self.band("red")
        if blue.end > red.start:
            raise self.place_of("blue").error("blue reaches into red; expected it to end before")
        return Break(blue, red)


class LineDefinition(MeasuredDefinition):
    """A line, or the level of the continuum at one, between two side bands."""

    line: BandField
    blue: BandField
    red: BandField
    profile: Annotated[ProfileField, LINES] | None = None

    @property
    def emission_lines(self) -> Profile:
        if self.kind != "emission":
            return ()
        lines = self.profile or (((self.line[0] + self.line[1]) / 2, 1.0),)
        total = sum(strength for _, strength in lines)
        return tuple((self.in_vacuum(at), strength / total) for at, strength in lines)

    def _defined(self, known: Iterable[str]) -> Width | Level:
        line, blue, red = (self.band(name) for name in ("line", "blue", "red"))
        if not blue.centre < line.centre < red.centre:
            raise self.place_of("line").error(
                "expected blue, line and red in this order, but their centres are at "
                f"{blue.centre:.1f}, {line.centre:.1f} and {red.centre:.1f} Angstrom"
            )
        for name, side in (("blue", blue), ("red", red)):
            if side.shared(line) > MOST_SHARED * line.width:
                raise self.place_of(name).error(
                    f"{name} overlaps line by {side.shared(line):.1f} Angstrom, expected at most "
                    f"{MOST_SHARED:.0%} of the line's {line.width:.1f}"
                )
        if blue.shared(red) > 0:
            raise self.place_of("red").error(
                f"blue and red overlap by {blue.shared(red):.1f} Angstrom; move one of them"
            )
        if self.profile and self.kind != "emission":
            raise self.place_of("profile").error("only an emission line has a profile; remove it")
        if self.profile:
            self._profile(self.profile, "profile", line)
        sides = SideBands(blue, red)
        return Level(line, sides) if self.kind == "level" else Width(line, sides, self.kind)


class FitDefinition(MeasuredDefinition):
    """A line fitted together with others."""

    line: BandField
    profile: Annotated[ProfileField, LINES]
    beside: Annotated[tuple[ProfileField, ...], Expected("a list of profiles")] = ()
    sigma: Annotated[
        tuple[Annotated[float, Quantity("km/s", 10, 2000)], ...],
        Field(min_length=1),
        AfterValidator(_different),
        Expected("a list of different numbers between 10 and 2000 km/s"),
    ]

    @property
    def emission_lines(self) -> Profile:
        return ((self.in_vacuum(self.profile[0][0]), 1.0),)

    def _defined(self, known: Iterable[str]) -> Fit:
        band = self.band("line")
        beside = tuple(self._profile(each, "beside", band) for each in self.beside)
        return Fit(band, self._profile(self.profile, "profile", band), beside, self.sigma)


KINDS: dict[str, type[Definition]] = {
    "emission": LineDefinition,
    "absorption": LineDefinition,
    "magnitude": LineDefinition,
    "level": LineDefinition,
    "break": BreakDefinition,
    "fit": FitDefinition,
    "formula": FormulaDefinition,
}


class LineFile(DocumentModel):
    """A file of definitions."""

    schema_: Literal["targetsel/lines/v1"] = Field(alias="schema")
    lines: Annotated[list[Any], Field(min_length=1), Expected("a list of definitions")]


# ---------------------------------------------------------------- tables


@dataclass(frozen=True)
class LineTable:
    """Definitions of indices, and the names of those to measure.

    Attributes
    ----------
    definitions : tuple of Definition
        Definitions; formulas follow the indices that they use.
    names : tuple of P strings
        Names of the indices to measure, in the order of the results.
    """

    definitions: tuple[Definition, ...]
    names: tuple[str, ...]

    @classmethod
    @cache
    def shipped(cls) -> LineTable:
        """The table shipped with the package."""
        return _read(Path(str(files("targetsel.spectra") / "data" / "lines.yaml")), {})

    @classmethod
    def read(cls, path: Path) -> LineTable:
        """The shipped table with the definitions that a file adds to it.

        Raises
        ------
        SpectrumError
            If the file is no line table, or a definition in it has invalid windows.
        """
        known = {each.name: each for each in cls.shipped().definitions}
        return _read(Path(path), known)

    def __getitem__(self, name: str) -> Definition:
        """The definition of an index.

        Raises
        ------
        SpectrumError
            If there is none of this name.
        """
        for each in self.definitions:
            if each.name == name:
                return each
        hint = did_you_mean(name, [each.name for each in self.definitions])
        raise SpectrumError(f"unknown index '{name}'.{hint or _SHOWN}")

    def choose(self, names: Iterable[str]) -> LineTable:
        """A table of the same definitions that measures `names`."""
        chosen = tuple(names)
        needed: set[str] = set()
        waiting = list(chosen)
        while waiting:
            each = self[waiting.pop()]
            if each.name not in needed:
                needed.add(each.name)
                waiting += each.index.names if isinstance(each.index, LineFormula) else ()
        return LineTable(tuple(each for each in self.definitions if each.name in needed), chosen)

    @property
    def predicted(self) -> tuple[str, ...]:
        """Names of those that catalogs are scored with."""
        return tuple(each.name for each in self.definitions if each.predicted)

    def parts(self, name: str, names: Iterable[str]) -> tuple[str, ...]:
        """Indices among `names` whose windows lie in that of `name`, with its side bands."""
        whole, found = self[name], []
        for each in map(self.__getitem__, names):
            if isinstance(whole, LineDefinition) and isinstance(each, LineDefinition):
                inside = whole.line[0] <= each.line[0] and each.line[1] <= whole.line[1]
                same = (whole.blue, whole.red, whole.kind) == (each.blue, each.red, each.kind)
                if inside and same and each.name != name:
                    found.append(each.name)
        return tuple(found)

    def formula(self, name: str) -> LineFormula:
        """The formula of an index."""
        index = self[name].index
        assert isinstance(index, LineFormula), name
        return index

    @property
    def measured(self) -> list[tuple[str, Index]]:
        """Names and indices of all definitions that are not formulas."""
        return [(d.name, d.index) for d in self.definitions if not isinstance(d.index, LineFormula)]

    def with_formulas(self, values: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Values of every definition, from the values of those that are not formulas."""
        found = dict(values)
        for each in self.definitions:
            if isinstance(each.index, LineFormula):
                found[each.name] = each.index(found)
        return found

    def measure(self, flux: np.ndarray, wavelength: np.ndarray) -> np.ndarray:
        """The chosen indices of noise-free spectra.

        Parameters
        ----------
        flux : ndarray, shape (..., L)
            Flux density per unit wavelength; its scale matters only for levels.
        wavelength : ndarray, shape (L,)
            Rest-frame vacuum wavelength [Angstrom], increasing.

        Returns
        -------
        ndarray, shape (..., P)
            NaN where an index cannot be measured.

        Raises
        ------
        SpectrumError
            If wavelengths do not increase, or do not cover an index.
        """
        pixels = SpectrumPixels.of(wavelength)
        values = {}
        for name, index in self.measured:
            estimator = on(index, pixels)
            values[name] = estimator.value(estimator.moments(flux))
        found = self.with_formulas(values)
        return np.stack([found[name] for name in self.names], axis=-1)


def _read(path: Path, known: Mapping[str, Definition]) -> LineTable:
    """The definitions in a file, which may use those in `known`."""
    found = dict(known)
    for node in read_model(path, LineFile, SpectrumError).lines:
        definition = Definition.of(node, found)
        if known and definition.predicted:
            raise node["predicted"].place.error(
                "only the shipped table says what is predicted. Leave it out."
            )
        found[definition.name] = definition
    return LineTable(tuple(found.values()), tuple(found))
