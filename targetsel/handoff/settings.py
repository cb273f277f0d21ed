"""Settings of tools, read from YAML files: all that a tool needs beyond the list.

Each tool declares its settings as a model; docstrings of the fields are what ``--list`` prints.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from string import Template
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


def settings_example(tool: str, ra: str = "150.0", dec: str = "2.0") -> str:
    """A settings file of a tool, with a pointing [deg] where it asks for one; empty if none is
    shipped."""
    path = files("targetsel.handoff") / "data" / "settings" / f"{tool}.yaml"
    if not path.is_file():
        return ""
    return Template(path.read_text(encoding="utf-8")).substitute(ra=ra, dec=dec)


@dataclass(frozen=True)
class UnlessListed:
    """Annotation of a setting that is needed where a column of the list has no value."""

    column: str


def _one_line(text: str) -> str:
    if not text.isprintable():
        raise ValueError(f"{text!r} has line breaks or control characters; expected one line")
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
            if lacking := cls.lacking(()):
                raise cls.needs(lacking, tool)
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
    def lacking(cls, given: Collection[str], listed: Collection[str] | None = None) -> list[str]:
        """The settings that are needed beside those `given`.

        `listed` are the columns of the list that have a value for every target, if it is known.
        """
        return [
            key
            for key, field in cls.model_fields.items()
            if key not in given
            and (
                field.is_required()
                or any(
                    listed is not None and isinstance(e, UnlessListed) and e.column not in listed
                    for e in field.metadata
                )
            )
        ]

    @classmethod
    def needs(cls, keys: Sequence[str], tool: str, also: str = "") -> HandoffError:
        """The error that settings are missing, to be raised; its detail is lines to paste.

        `also` is what else is missing, in sentences.
        """
        meanings = ", ".join(f"'{key}' ({cls.meaning(key)})" for key in keys)
        many = "the settings" if len(keys) > 1 else "the setting"
        found = HandoffError(
            f"'{tool}' needs {many} {meanings}. Write these lines, with your values, into a YAML "
            f"file, and give it with --config.{also and f' Also, {also}'}"
        )
        found.detail = "\n".join(cls._line(key, tool) for key in keys)
        return found

    @classmethod
    def _line(cls, key: str, tool: str) -> str:
        """The line of a settings file for this key, as the tool's example has it."""
        found = re.search(rf"^(?:# )?({key}: .*)$", settings_example(tool), re.MULTILINE)
        return found[1] if found else f"{key}:   # {cls.meaning(key)}"

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
            raise self.needs([key], self._tool)
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
            raise self.error(
                key,
                f"'{key}': {found} does not exist or is not a file; expected {self.meaning(key)}",
            )
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
