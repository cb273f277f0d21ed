"""Reports on several classes: a tuple that shows itself as the command prints it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Protocol, Self, TypeVar

from targetsel.documents.text_table import text_table

if TYPE_CHECKING:
    import pandas as pd


class ClassReport(Protocol):
    """Report on one class."""

    @property
    def records(self) -> list[Mapping[str, Any]]:
        """Its rows of a table, each with the class's name under "class"."""
        ...


C = TypeVar("C", bound=ClassReport, covariant=True)


class ClassReports(tuple[C, ...]):
    """Reports class by class, in the order of the rules.

    Classes of one line each make one table, under the `headings` of their type; others follow one
    another. `note` is a sentence about all of them.
    """

    note: str

    def __new__(cls, reports: Iterable[C], note: str = "") -> Self:
        found = super().__new__(cls, reports)
        found.note = note
        return found

    def to_pandas(self) -> pd.DataFrame:
        """All rows of all classes as a pandas DataFrame, the class's name in the first column."""
        import pandas as pd

        return pd.DataFrame([record for each in self for record in each.records])

    def __repr__(self) -> str:
        headings = getattr(self[0], "headings", None) if self else None
        if headings is None:
            parts = [repr(each) for each in self] or ["no class"]
        else:
            parts = text_table(headings, [each.cells for each in self])  # type: ignore[attr-defined]
        return "\n".join(filter(None, (self.note, *parts)))
