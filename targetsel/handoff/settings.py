"""Settings of tools, read from YAML files: all that a tool needs beyond the list.

Each tool declares its settings as a model; docstrings of the fields are what ``--list`` prints.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Self

import numpy as np
from pydantic import AfterValidator, ConfigDict, Field, PrivateAttr
from pydantic_core import core_schema

from targetsel.documents.models import DocumentModel, Expected, Number, Quantity, read_model
from targetsel.errors import HandoffError, TargetselError

EPOCHS = (1900.0, 2200.0)  # Julian years, between which an epoch is plausible
ALL = ""  # stands for every target class


class ByClass:
    """Annotation of a map by target class: one value may be written for all."""

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> core_schema.CoreSchema:
        return core_schema.no_info_before_validator_function(
            lambda value: value if isinstance(value, Mapping) else {ALL: value}, handler(source)
        )

    def __get_pydantic_json_schema__(self, schema: Any, handler: Any) -> dict[str, Any]:
        by_class = handler(schema["schema"])
        return {"anyOf": [by_class["additionalProperties"], by_class]}


@dataclass(frozen=True)
class UnlessListed:
    """Annotation of a setting that is needed where a column of the list has no value."""

    column: str


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
        if path is not None:
            found = read_model(path, cls, HandoffError)
            found._folder = path.parent
        else:
            for key, field in cls.model_fields.items():
                if field.is_required():
                    raise cls._needs(key, tool)
            found = cls()
        found._tool = tool
        return found

    @classmethod
    def meaning(cls, key: str) -> str:
        """Meaning of a setting, on one line."""
        return " ".join((cls.model_fields[key].description or key).split())

    @classmethod
    def required(cls, key: str) -> str:
        """When a setting is required, in words; empty where it never is."""
        field = cls.model_fields[key]
        column = next((e.column for e in field.metadata if isinstance(e, UnlessListed)), None)
        if column is not None:
            return f"required where the list has no {column}"
        return "required" if field.is_required() else ""

    @classmethod
    def _needs(cls, key: str, tool: str) -> HandoffError:
        return HandoffError(
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
            raise self._needs(key, self._tool)
        given = given or {}
        values = {}
        for name in np.unique(program.astype(str)).tolist():
            values[name] = given.get(name, given.get(ALL, default))
            if values[name] is None:
                raise self.error(
                    key,
                    f"'{key}' has no value for the class '{name}'. Add one, or give one value for "
                    f"all; expected {self.meaning(key)}",
                )
        return np.array([values[name] for name in program.tolist()], dtype=object)

    def path(self, key: str) -> Path:
        """The path of a file that must be there, relative to the settings' own folder.

        Raises
        ------
        HandoffError
            If there is no such file.
        """
        found = self._folder / getattr(self, key)
        try:
            is_file = found.is_file()
        except OSError:  # a name that no file can have
            is_file = False
        if not is_file:
            raise self.error(key, f"'{key}': {found} does not exist or is not a file")
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
    """epoch of the observation (Julian year), which positions are moved to"""


class FilterSettings(ToolSettings):
    """Settings of a tool that takes one magnitude of each target."""

    filter: Text | None = None
    """filter of the magnitude, such as r_sdss; by default the first the list has of r i z g y u j h
    k"""


class MagnitudeSettings(EpochSettings, FilterSettings):
    """Settings of a tool that takes one magnitude, and positions at the epoch of observation."""
