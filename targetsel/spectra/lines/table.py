"""Line tables: the definitions of indices, as one YAML file that users can add to.

The form is told at the head of the shipped file, `spectra/data/lines.yaml`. Wavelengths in air are
converted once, on reading.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path

import numpy as np
import yaml

from targetsel.errors import SpectrumError, did_you_mean
from targetsel.spectra.grid import SpectrumPixels
from targetsel.spectra.lines.definition import Definition, define
from targetsel.spectra.lines.formula import Formula
from targetsel.spectra.lines.index import Index, on

SCHEMA = "targetsel/lines/v1"
MAX_BYTES = 1 << 20
_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(frozen=True)
class LineTable:
    """Definitions of indices, and which of them are measured.

    Attributes
    ----------
    definitions : tuple of Definition
        Formulas come after what they are calculated from.
    names : tuple of P strings
        Those that are measured, in the order of the results.
    """

    definitions: tuple[Definition, ...]
    names: tuple[str, ...]

    @classmethod
    @cache
    def shipped(cls) -> LineTable:
        """The table that comes with targetsel."""
        return _read(Path(str(files("targetsel.spectra") / "data" / "lines.yaml")), {})

    @classmethod
    def read(cls, path: Path) -> LineTable:
        """The shipped table, and those that a file adds to it.

        Raises
        ------
        SpectrumError
            If the file is no line table, or a definition in it has windows that cannot be.
        """
        known = {each.name: each for each in cls.shipped().definitions}
        return _read(Path(path), known)

    def __getitem__(self, name: str) -> Definition:
        """The definition of a name.

        Raises
        ------
        SpectrumError
        """
        for each in self.definitions:
            if each.name == name:
                return each
        hint = did_you_mean(name, [each.name for each in self.definitions])
        raise SpectrumError(
            f"unknown index '{name}'.{hint or ' `targetsel lines show` names all.'}"
        )

    def choose(self, names: Iterable[str]) -> LineTable:
        """The same definitions, of which `names` are measured."""
        chosen = tuple(names)
        needed: set[str] = set()
        waiting = list(chosen)
        while waiting:
            each = self[waiting.pop()]
            if each.name not in needed:
                needed.add(each.name)
                waiting += each.index.names if isinstance(each.index, Formula) else ()
        return LineTable(tuple(each for each in self.definitions if each.name in needed), chosen)

    def formula(self, name: str) -> Formula:
        """The formula behind a name."""
        index = self[name].index
        assert isinstance(index, Formula), name
        return index

    @property
    def measured(self) -> list[tuple[str, Index]]:
        """Names and indices of all that are not formulas."""
        return [(d.name, d.index) for d in self.definitions if not isinstance(d.index, Formula)]

    def with_formulas(self, values: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Values of every definition, from those of all that are not formulas."""
        found = dict(values)
        for each in self.definitions:
            if isinstance(each.index, Formula):
                found[each.name] = each.index(found)
        return found

    def measure(self, flux: np.ndarray, wavelength: np.ndarray) -> np.ndarray:
        """The chosen indices of noise-free spectra.

        Parameters
        ----------
        flux : ndarray, shape (..., L)
            Flux density per unit wavelength; its scale does not matter but for levels.
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
    """The definitions in a file, after those that are known."""
    found = dict(known)
    for number, fields in enumerate(_entries(path), start=1):
        place = f"{path}, line {number} of the table"
        if isinstance(fields, dict) and isinstance(fields.get("name"), str):
            place = f"{path}, '{fields['name'][:40]}'"
        definition = define(fields, found, place)
        if definition.name in found:
            raise SpectrumError(f"{place}: this name is defined twice. Choose another name.")
        found[definition.name] = definition
    return LineTable(tuple(found.values()), tuple(found))


def _entries(path: Path) -> list[object]:
    """The list under `lines` of a YAML file."""
    try:
        if path.stat().st_size > MAX_BYTES:
            raise SpectrumError(f"{path}: larger than 1 MiB, so it is no line table")
        document = yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)
    except FileNotFoundError:
        raise SpectrumError(f"{path}: no such file") from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError, ValueError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark else ""
        cause = getattr(error, "problem", None) or str(error).split("\n")[0]
        raise SpectrumError(f"{path}{where}: cannot be read as YAML ({cause})") from None
    if not isinstance(document, dict) or document.get("schema") != SCHEMA:
        raise SpectrumError(f"{path}: no line table: expected 'schema: {SCHEMA}' in it")
    entries = document.get("lines")
    if not isinstance(entries, list) or not entries:
        raise SpectrumError(f"{path}: no list 'lines' in it, with one definition an item")
    if unknown := sorted(map(str, set(document) - {"schema", "lines"})):
        hint = did_you_mean(unknown[0], ["schema", "lines"])
        raise SpectrumError(f"{path}: unknown key '{unknown[0]}'.{hint} Expected schema and lines.")
    return entries
