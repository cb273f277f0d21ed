"""What a fiber- or slit-assignment tool asks of a target list.

One module per tool; each defines one `TOOL` and its two verbs, `write` and `read`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

if TYPE_CHECKING:
    from targetsel.handoff.prepare import Prepared
    from targetsel.handoff.settings import Settings


@dataclass(frozen=True)
class PriorityScale:
    """The integers a tool takes as priorities.

    Attributes
    ----------
    best, worst : int
        Observed first, observed last; `best` may be the smaller one.
    kept : bool
        True where the list's own priorities are written as they are. Otherwise they are counted:
        the list's highest becomes `best`, the next one is a step further, and so on.
    """

    best: int
    worst: int
    kept: bool = False

    @property
    def step(self) -> int:
        """1 where a larger number is the worse priority, otherwise -1."""
        return 1 if self.worst > self.best else -1

    @property
    def n_levels(self) -> int:
        return abs(self.worst - self.best) + 1

    def holds(self, priority: np.ndarray) -> bool:
        """Whether every priority lies between `best` and `worst`."""
        low, high = sorted((self.best, self.worst))
        return bool(((priority >= low) & (priority <= high)).all())


@dataclass(frozen=True)
class ReadBack:
    """What a tool's file says of its targets, in the order of the file.

    Attributes
    ----------
    id : ndarray, shape (M,)
        As the tool knows them: compare with `Prepared.id`.
    ra, dec : ndarray, shape (M,)
        Position [deg, ICRS] at the tool's epoch.
    priority : ndarray, shape (M,), or None
        On the tool's scale; None where the file has none.
    reader : str
        Which program read the file, with its version.
    """

    id: np.ndarray
    ra: np.ndarray
    dec: np.ndarray
    priority: np.ndarray | None
    reader: str


@dataclass(frozen=True)
class Tool:
    """A fiber- or slit-assignment tool, as far as a target list is concerned.

    Attributes
    ----------
    name : str
        The word after ``--for``.
    title : str
        What it is, in a few words.
    source : str
        The document or code that the format was taken from.
    suffix : str
        Ending of its file, such as ``.fits``.
    write : callable
        ``write(prepared, settings, path)`` writes the file (and any companions it needs) and
        returns the paths of all, the main one first.
    read : callable
        ``read(path)`` gives a `ReadBack`, through an independent reader where one is installed.
    priorities : PriorityScale or None
        None where the format has no priorities.
    ids : "target_id", "name", "row" or callable
        How it knows a target: by the list's int64 `target_id`; by the source's id as text; by a
        row number counted from 1; or by what ``ids(rows, settings)`` makes of the row numbers. With
        the last two a map is written beside the file.
    epoch : float, "config", "columns" or None
        Julian year that positions are moved to; "config": that of the setting ``epoch``; "columns":
        the file holds each target's own epoch and motion, and the tool moves them; None: positions
        are written as they are.
    default_epoch : float
        With "columns", the epoch written for targets that are taken to stand still.
    max_targets, max_id : int or None
    names : str or None
        Regular expression that every name must match as a whole, with `names_are` in words.
    settings : mapping
        The keys it takes in the settings file, each with what it means.
    experimental : bool
        True where the format is known only from memory or from other users' writers.
    """

    name: str
    title: str
    source: str
    suffix: str
    write: Callable[[Prepared, Settings, Path], list[Path]]
    read: Callable[[Path], ReadBack]
    priorities: PriorityScale | None
    ids: Literal["target_id", "name", "row"] | Callable[[np.ndarray, Settings], np.ndarray] = (
        "target_id"
    )
    epoch: float | Literal["config", "columns"] | None = None
    default_epoch: float = 2000.0
    max_targets: int | None = None
    max_id: int | None = None
    names: str | None = None
    names_are: str = ""
    settings: Mapping[str, str] = field(default_factory=dict)
    experimental: bool = False

    @property
    def numbers_rows(self) -> bool:
        """Whether its ids follow from row numbers, so that a map back to the list is needed."""
        return self.ids == "row" or callable(self.ids)

    def allows(self, name: str) -> bool:
        """Whether the tool takes this name."""
        return self.names is None or re.fullmatch(self.names, name) is not None
