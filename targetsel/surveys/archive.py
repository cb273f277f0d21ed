"""What every archive of catalogs can do: answer for a cone, and for a question in its language."""

from __future__ import annotations

from typing import Protocol

import pyarrow as pa

from targetsel.surveys.catalog_columns import Columns
from targetsel.surveys.region import Cone


class TooMany(Exception):
    """An answer that the archive cut short; smaller cones give all of it."""


class Archive(Protocol):
    """A catalog to fetch sources from; threads may share one."""

    @property
    def name(self) -> str: ...

    @property
    def url(self) -> str: ...

    @property
    def columns(self) -> Columns: ...

    @property
    def largest_cone(self) -> float:
        """Radius [deg]."""
        ...

    def cone(self, cone: Cone) -> pa.Table:
        """At least the sources within a cone, under our names.

        Raises
        ------
        TooMany
            If there are more than one answer holds.
        Unanswered
            If there is no good answer.
        """
        ...

    def query(self, question: str) -> pa.Table:
        """The answer to a question in ADQL or SQL, the columns that we know under our names.

        Raises
        ------
        CatalogError
            If the archive does not understand the question, or cut the answer short.
        Unanswered
            If there is no good answer.
        """
        ...
