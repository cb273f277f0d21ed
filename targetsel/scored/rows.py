"""A scored catalog as notebooks hold it, in a file or in memory."""

from __future__ import annotations

import os
import tempfile
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Generic, Self

import pyarrow as pa
from typing_extensions import TypeVar  # with a default

from targetsel.scored.columns import STATUS, column_names
from targetsel.scored.file import ScoredFile
from targetsel.spectra.apertures import aperture_in
from targetsel.spectra.proxies import proxy_names
from targetsel.tables.any_form import AnyTable, paths_in
from targetsel.tables.columns import unit_of
from targetsel.tables.parquet import footer_in, says_simulated
from targetsel.tables.rows import Rows

NAMES_SHOWN = 6
Run = TypeVar("Run", default=object)
R = TypeVar("R", default=object, covariant=True)


class Scored(Rows, Generic[R]):
    """N scored sources: a file of `targetsel score`, or rows of one in memory.

    A file is read when its columns or rows are first asked for; of CSV, which has no place for
    posteriors, that is an error.

    Attributes
    ----------
    path : Path or None
        The file; None in memory.
    schema : pa.Schema
        Columns with units, and the footer as metadata.
    run : R or None
        The counts of the run that made it, such as a `ScoreRun`; None where it was read.
    """

    def __init__(self, source: Path | pa.Table, run: R | None = None) -> None:
        self.path = source if isinstance(source, Path) else None
        self.run: R | None = run
        if not isinstance(source, Path):
            self.__dict__["table"] = source

    @cached_property
    def schema(self) -> pa.Schema:
        if self.path is None:
            return self.table.schema
        with ScoredFile(self.path) as file:
            return file.schema

    @classmethod
    def read(cls, scored: AnyTable) -> Self:
        """A scored catalog, from a file or a table in memory that holds all that score writes.

        Parameters
        ----------
        scored : str, Path or table of astropy, pandas, polars or Arrow

        Raises
        ------
        CatalogError
            If it is missing, damaged or not a scored catalog.
        """
        if isinstance(scored, cls):
            return scored
        if paths := paths_in([scored]):
            found = cls(paths[0])
            found.schema  # noqa: B018  # so that a file that is none is refused here
            return found
        with ScoredFile(scored) as file:
            return cls(_whole(file))

    @cached_property
    def table(self) -> pa.Table:
        """All columns of all rows, with the footer as metadata of its schema."""
        with ScoredFile(self.path) as file:
            return _whole(file)

    @cached_property
    def _n_rows(self) -> int:
        if self.path is None:
            return int(self.table.num_rows)
        with ScoredFile(self.path) as file:
            return len(file)

    def __len__(self) -> int:
        return self._n_rows

    def _of(self, table: pa.Table) -> Self:
        return type(self)(table)

    @cached_property
    def footer(self) -> dict[str, Any]:
        """Provenance: the ensemble, the calibration, the seed, the names of columns."""
        return footer_in(self.schema.metadata)

    def _notes(self) -> Mapping[str, Any]:
        return self.footer

    @property
    def proxies(self) -> tuple[str, ...]:
        """The proxies of which it has posteriors, such as "ew_halpha"."""
        return proxy_names(self.schema)

    @cached_property
    def statuses(self) -> dict[str, int]:
        """Number of sources by status: "ok", or why there is no prediction; the most first."""
        with ScoredFile(self, [STATUS]) as file:
            found = Counter(
                each for part in file.tables([STATUS]) for each in part[STATUS].to_pylist()
            )
        return dict(found.most_common())

    @property
    def columns_shown(self) -> Sequence[str]:
        """Ids, positions, what is predicted, and whether to trust it."""
        return [*column_names(self.schema).values(), STATUS, *self.proxies[:5], "typicality"]

    def summary(self) -> str:
        """Sources by status, the ensemble, and what was predicted in which unit."""
        where = f" in {self.path}" if self.path else ""
        statuses = ", ".join(f"{n:,} {status}" for status, n in self.statuses.items())
        ensemble = self.footer.get("ensemble") or {}
        calibrated = "calibrated" if self.footer.get("calibration") else "not calibrated"
        simulated = "; simulated images" if says_simulated(self.footer) else ""
        scored_by = f"ensemble {ensemble.get('name')}, {calibrated}"
        if not ensemble:
            scored_by = "without the name of its ensemble, which another program left out"
        named = [_with_unit(self.schema.field(name)) for name in self.proxies[:NAMES_SHOWN]]
        more = len(self.proxies) - len(named)
        aperture = aperture_in(self.footer)
        of = f", of the light in a fiber of {aperture:g} arcsec" if aperture else ""
        return (
            f"Scored catalog of {len(self):,} sources{where}: {statuses}\n"
            f"{scored_by}{simulated}\n"
            f"predicted: {', '.join(named)}{f' and {more} more' if more else ''}{of}"
        )


def _with_unit(field: pa.Field) -> str:
    unit = unit_of(field)
    return f"{field.name} [{unit}]" if unit else field.name


def _whole(file: ScoredFile) -> pa.Table:
    tables = list(file.tables())
    return pa.concat_tables(tables) if tables else file.schema.empty_table()


def scored_into(output: str | os.PathLike[str] | None, write: Callable[[Path], Run]) -> Scored[Run]:
    """The scored catalog that `write` writes: an open file, or rows in memory.

    Parameters
    ----------
    output : str, Path or None
        None keeps the rows in memory.
    write : function of a Path
        Writes the file there and returns the counts of the run.
    """
    if output is not None:
        run = write(Path(output))
        return Scored(Path(output), run)
    with tempfile.TemporaryDirectory(prefix="targetsel-") as folder:
        path = Path(folder) / "catalog.scored.parquet"
        run = write(path)
        with ScoredFile(path) as file:
            return Scored(_whole(file), run)
