"""Catalogs behind IVOA's Table Access Protocol."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pyarrow as pa

from targetsel.errors import CatalogError
from targetsel.surveys.catalog_columns import SurveyColumns
from targetsel.surveys.http import Unanswered, Web, in_words
from targetsel.surveys.retry import Damaged, repeated
from targetsel.surveys.service import TooMany
from targetsel.surveys.tiles import Cone
from targetsel.tables.formats import to_arrow

DATA_LAB = "https://datalab.noirlab.edu/tap"  # of NOIRLab's Astro Data Lab
LIMIT = 100_000  # rows of one answer to a cone
LARGEST_ANSWER = 2_000_000  # rows of an answer to a question
Rename = Callable[[pa.Table], pa.Table]


@dataclass(frozen=True)
class TapCatalog:
    """Sources in one table of a TAP service, and queries to all of its tables.

    Attributes
    ----------
    web : Web
    url : str
        Address of the service.
    name : str
    columns : Columns
    table : str
        The table's name there.
    condition : str
        Condition on the rows to take; empty for all.
    largest_cone : float
        Radius [deg].
    limit : int
        Rows of one answer to a cone.
    """

    web: Web
    url: str
    name: str
    columns: SurveyColumns
    table: str
    condition: str = ""
    largest_cone: float = 0.5
    limit: int = LIMIT

    def cone(self, cone: Cone) -> pa.Table:
        """See `ConeSearch.cone`."""
        ra, dec = self.columns.their_name("ra"), self.columns.their_name("dec")
        where = " AND ".join(filter(None, [cone.sql(ra, dec), self.condition]))
        query = f"SELECT {', '.join(self.columns.theirs)} FROM {self.table} WHERE {where}"
        rows, whole = self._asked(query, self.limit, self.columns.renamed)
        if not whole:
            raise TooMany
        return rows

    def query(self, query: str) -> pa.Table:
        """See `QueryService.query`."""
        rows, whole = self._asked(query, LARGEST_ANSWER, self.columns.recognised)
        if not whole:
            raise CatalogError(
                f"{self.url}: cut the answer short after {rows.num_rows} rows. Ask for a part of "
                "the sky with --cone or --moc, which is asked for in pieces."
            )
        return rows

    def _asked(self, query: str, limit: int, rename: Rename) -> tuple[pa.Table, bool]:
        """The answer, and whether it is whole; asked again while it is damaged."""
        from pyvo.dal import TAPService

        def attempt() -> tuple[pa.Table, bool]:
            with self._in_our_words(), warnings.catch_warnings():
                warnings.simplefilter("ignore")  # overflow, and headers that bend the standard
                service = TAPService(self.url, session=self.web.session)
                result = service.run_sync(query, maxrec=limit)
                table = to_arrow(result.to_table(), self.url)
            whole = result.query_status != "OVERFLOW" and table.num_rows < limit
            return rename(table), whole

        return repeated(attempt, [])

    @contextlib.contextmanager
    def _in_our_words(self) -> Iterator[None]:
        """Convert exceptions of pyvo to `CatalogError`, `Unanswered` or `Damaged`."""
        from pyvo.dal.exceptions import DALAccessError, DALQueryError, DALServiceError

        try:
            yield
        except DALQueryError as error:
            raise CatalogError(
                f"{self.url}: does not understand the question: {_one_line(error)}"
            ) from error
        except DALAccessError as error:
            cause = error.__cause__ or error.__context__
            words = in_words(cause) if cause else _one_line(error)
            if isinstance(error, DALServiceError) and error.code != 500:
                raise Unanswered(words) from error  # was repeated already
            raise Damaged(words) from error
        except (CatalogError, ValueError, LookupError, TypeError) as error:
            raise Damaged(f"no table in the answer ({_one_line(error)})") from error


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__
