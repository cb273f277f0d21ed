"""Settings of tools, read from YAML files: all that a tool needs beyond the list.

Each tool declares its settings as a model; docstrings of the fields are what ``--list`` prints.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Self

import numpy as np
from pydantic import AfterValidator, ConfigDict, Field, PrivateAttr
from pydantic_core import core_schema

from targetsel.documents.document import Map, read_document, read_text
from targetsel.documents.models import DocumentModel, Expected, Number, Quantity, validate
from targetsel.errors import HandoffError, TargetselError

EPOCHS = (1900.0, 2200.0)  # Julian years, between which an epoch is plausible
ALL = ""  # stands for every target class


class ByClass:
    """Annotation of a map by target class: one value may be written for all."""

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> core_schema.CoreSchema:
        return core_schema.no_info_before_validator_function(
            lambda value: value if isinstance(value, Mapping) else {ALL: value}, handler(source)
        )


def _one_line(text: str) -> str:
    if not text.isprintable():
        raise ValueError(f"{text!r} has line breaks or control characters in it")
    return text


Text = Annotated[str, AfterValidator(_one_line)]
Positive = Annotated[Number, Field(gt=0)]
TextByClass = Annotated[dict[str, Text], ByClass()]
NumberByClass = Annotated[dict[str, Number], ByClass()]
Epoch = Annotated[float, Quantity("", *EPOCHS), Expected("a Julian year such as 2026.5")]


class ToolSettings(DocumentModel):
    """Settings of one tool; subclasses declare them, with their meanings."""

    model_config = ConfigDict(title="the settings", use_attribute_docstrings=True)

    _tool: str = PrivateAttr(default="the tool")
    _folder: Path = PrivateAttr(default=Path())

    @classmethod
    def read(cls, path: Path | None, tool: str) -> Self:
        """The settings in a YAML file; the defaults without one.

        Raises
        ------
        HandoffError
            With the file's line and column: it is missing, no such YAML, lacks a setting that the
            tool needs, or has one that it does not take.
        """
        if path is None:
            cls._check_complete({}, "settings", tool)
            found = cls()
            found._tool = tool
            return found
        path = Path(path)
        return cls.parse(read_text(path, HandoffError), str(path), tool)

    @classmethod
    def parse(cls, text: str, file: str, tool: str) -> Self:
        """The settings in the text of a YAML file, which relative paths in it start from."""
        tree = read_document(text, file, HandoffError)
        if isinstance(tree, Map) and not set(tree) - set(cls.model_fields):
            cls._check_complete(tree, file, tool)
        found = validate(tree, cls)
        found._tool, found._folder = tool, Path(file).parent
        return found

    @classmethod
    def meaning(cls, key: str) -> str:
        """Meaning of a setting, on one line."""
        return " ".join((cls.model_fields[key].description or key).split())

    @classmethod
    def _check_complete(cls, given: Mapping[str, Any], file: str, tool: str) -> None:
        for key, field in cls.model_fields.items():
            if field.is_required() and key not in given:
                raise HandoffError(f"{file}: {cls._need(key, tool)}")

    @classmethod
    def _need(cls, key: str, tool: str) -> str:
        return (
            f"'{tool}' needs the setting '{key}' ({cls.meaning(key)}). "
            f"Write `{key}: ...` in a YAML file and give it with --config."
        )

    def by_class(self, key: str, program: np.ndarray, default: Any = None) -> np.ndarray:
        """A value for each target, shape (M,) of object.

        Parameters
        ----------
        key : str
            A setting by target class.
        program : ndarray of str, shape (M,)
            The target class of each target.
        default : optional
            For a setting that is not given, and for classes that its map leaves out.

        Raises
        ------
        HandoffError
            If a class has neither a value nor a default.
        """
        given = getattr(self, key)
        if given is None and default is None:
            raise HandoffError(f"settings: {self._need(key, self._tool)}")
        values = {}
        for name in np.unique(program.astype(str)).tolist():
            values[name] = (given or {}).get(name, (given or {}).get(ALL, default))
            if values[name] is None:
                raise self.error(
                    key,
                    f"'{key}' says nothing of the class '{name}'. Add it, or one value for all; "
                    f"expected {self.meaning(key)}",
                )
        return np.array([values[name] for name in program.tolist()], dtype=object)

    def filled(self, key: str, values: np.ndarray, program: np.ndarray) -> np.ndarray:
        """Positive numbers, their gaps (NaN) filled from the setting `key`, shape (M,).

        The setting is neither used nor required if the list has no gap.

        Raises
        ------
        HandoffError
            If a gap cannot be filled, or a number is not above zero.
        """
        if np.isnan(values).any():
            given = self.by_class(key, program).astype(float)
            values = np.where(np.isnan(values), given, values)
        if not (values > 0).all():
            raise self.error(
                key, f"'{key}' is {values.min():g} for some targets; expected above zero"
            )
        return values

    def path(self, key: str) -> Path:
        """The path of a file that must be there, relative to the settings' own folder.

        Raises
        ------
        HandoffError
            If there is no such file.
        """
        found = self._folder / getattr(self, key)
        if not found.is_file():
            raise self.error(key, f"'{key}': {found} is no file")
        return found

    def error(self, key: str, message: str) -> TargetselError:
        """The error that `message` describes, to be raised; it points at the value of `key`."""
        place = self.place_of(key)
        if place.error_type is HandoffError:  # read from a file
            return place.error(message)
        return HandoffError(f"settings: {message}.")


class EpochSettings(ToolSettings):
    """Settings of a tool that takes positions at the epoch of the observation."""

    epoch: Epoch
    """Julian year of the observation, which positions are moved to"""
