"""The settings of one tool: a flat YAML file of texts, numbers and maps by target class."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from targetsel.documents.document import Map, Node, Scalar, read_document, read_text
from targetsel.errors import HandoffError, did_you_mean
from targetsel.handoff.tool import Tool

Value = str | Mapping[str, str] | Sequence[str]


@dataclass(frozen=True)
class Settings:
    """What the user says of a tool beyond the list.

    Attributes
    ----------
    tool : Tool
    values : mapping
        For each key a text, a list of texts, or a map of texts (usually by target class).
    file : str
        Where they come from, for errors.
    folder : Path
        What relative paths in them are relative to.
    """

    tool: Tool
    values: Mapping[str, Value] = field(default_factory=dict)
    file: str = "settings"
    folder: Path = Path()

    def __post_init__(self) -> None:
        known = self.known_to(self.tool)
        for key in self.values:
            if key not in known:
                hint = did_you_mean(key, known) or f" {self._list_of_keys()}"
                raise HandoffError(f"{self.file}: '{self.tool.name}' has no setting '{key}'.{hint}")
        for key, value in self.values.items():
            if not all(text.isprintable() for text in _texts(value)):
                raise self.error(f"'{key}' has line breaks or control characters in it")

    @classmethod
    def read(cls, path: Path, tool: Tool) -> Settings:
        """The settings in a YAML file.

        Raises
        ------
        HandoffError
            If the file is missing, no such YAML, or has a key that the tool does not take.
        """
        path = Path(path)
        root = read_document(read_text(path, HandoffError), str(path), HandoffError)
        if not isinstance(root, Map):
            raise HandoffError(f"{path}: expected a map of settings, such as `epoch: 2026.5`.")
        values = {key: _value(path, key, node) for key, node in root.items()}
        return cls(tool, values, str(path), path.parent)

    def has(self, key: str) -> bool:
        return key in self.values

    def text(self, key: str, default: str | None = None) -> str:
        """One text; without a default the setting is required."""
        value = self.values.get(key, default)
        if value is None:
            raise self.error(
                f"'{self.tool.name}' needs the setting '{key}' ({self._meaning(key)}). "
                f"Write `{key}: ...` in a YAML file and give it with --config"
            )
        if not isinstance(value, str):
            raise self.error(f"'{key}' is not one text; expected {self._meaning(key)}")
        return value

    def number(self, key: str, default: float | None = None) -> float:
        """One finite number."""
        return self._number(key, self.text(key, None if default is None else repr(default)))

    def positive(self, key: str, default: float | None = None) -> float:
        """One number above zero."""
        value = self.number(key, default)
        if not value > 0:
            raise self.error(f"'{key}' is {value:g}; expected a number above zero")
        return value

    def integer(self, key: str, default: int | None = None, largest: int = 2**53) -> int:
        """One whole number from 0 to `largest`."""
        value = self.number(key, default)
        if value != int(value) or not 0 <= value <= largest:
            raise self.error(f"'{key}' is {value:g}; expected a whole number, 0 to {largest}")
        return int(value)

    def choice(self, key: str, choices: Iterable[str], default: str | None = None) -> str:
        """One text out of a few."""
        value, choices = self.text(key, default), list(choices)
        if value not in choices:
            hint = did_you_mean(value, choices)
            raise self.error(f"'{key}' is '{value}'; expected one of {', '.join(choices)}.{hint}")
        return value

    def path(self, key: str) -> Path:
        """The path of a file that must be there, relative to the settings' own folder."""
        found = self.folder / self.text(key)
        if not found.is_file():
            raise self.error(f"'{key}': {found} is no file")
        return found

    def by_program(self, key: str, program: np.ndarray, default: str | None = None) -> np.ndarray:
        """A text for each target, shape (M,): one for all, or a map by target class.

        Parameters
        ----------
        key : str
        program : ndarray of str, shape (M,)
            The target class of each target.
        default : str, optional
            For a setting that is not given, and for classes that its map leaves out.
        """
        value = self.values.get(key)
        if not isinstance(value, Mapping):
            return np.full(len(program), self.text(key, default), dtype=object)
        texts = {}
        for name in np.unique(program.astype(str)).tolist():
            text = value.get(name, default)
            if text is None:
                raise self.error(
                    f"'{key}' says nothing of the class '{name}'. "
                    f"Add it, or one value for all; expected {self._meaning(key)}"
                )
            texts[name] = text
        return np.array([texts[name] for name in program.tolist()], dtype=object)

    def numbers_by_program(
        self, key: str, program: np.ndarray, default: float | None = None
    ) -> np.ndarray:
        """The same for numbers, shape (M,) of float64."""
        texts = self.by_program(key, program, None if default is None else repr(default))
        return np.array([self._number(key, text) for text in texts.tolist()], dtype=np.float64)

    def fills(self, key: str, values: np.ndarray, program: np.ndarray) -> np.ndarray:
        """Positive numbers, their gaps (NaN) filled from the setting `key`, shape (M,).

        Where the list leaves no gap the setting is neither used nor needed.
        """
        if np.isnan(values).any():
            values = np.where(np.isnan(values), self.numbers_by_program(key, program), values)
        if not (values > 0).all():
            raise self.error(f"'{key}' is {values.min():g} for some targets; expected above zero")
        return values

    def error(self, message: str) -> HandoffError:
        """The error that `message` describes, to be raised."""
        return HandoffError(f"{self.file}: {message}{'' if message.endswith(('.', '?')) else '.'}")

    def _number(self, key: str, text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not math.isfinite(value):
            raise self.error(f"'{key}' is '{text}'; expected a number: {self._meaning(key)}")
        return value

    @staticmethod
    def known_to(tool: Tool) -> dict[str, str]:
        """The keys that a tool takes, each with what it means."""
        epoch = {"epoch": EPOCH_SETTING} if tool.epoch == "config" else {}
        return epoch | dict(tool.settings)

    def _meaning(self, key: str) -> str:
        return self.known_to(self.tool).get(key, key)

    def _list_of_keys(self) -> str:
        keys = ", ".join(self.known_to(self.tool))
        return f"Its settings are {keys}." if keys else "It takes no settings."


EPOCH_SETTING = "Julian year of the observation, which positions are moved to"


def _texts(value: Value) -> list[str]:
    if isinstance(value, str):
        return [value]
    return list(value.values()) if isinstance(value, Mapping) else list(value)


def _value(path: Path, key: str, node: Node) -> Value:
    if isinstance(node, Scalar):
        return node
    if isinstance(node, Map):
        children = list(node.items())
    else:
        children = [(str(place), item) for place, item in enumerate(node)]
    texts = {}
    for name, child in children:
        if not isinstance(child, Scalar):
            raise HandoffError(f"{path}: '{key}': '{name}' is not a plain value.")
        texts[name] = child
    return texts if isinstance(node, Map) else list(texts.values())
