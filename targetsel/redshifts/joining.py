"""A scored catalog with redshifts from elsewhere, joined by id: the columns that are written."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from targetsel.errors import CatalogError
from targetsel.redshifts.distributions import RedshiftDistributions
from targetsel.redshifts.joint import IMAGE, between, updated
from targetsel.redshifts.reading import read_distributions
from targetsel.scored.columns import predicts_redshift, scored_columns
from targetsel.scored.file import ScoredFile
from targetsel.scored.slim import compression
from targetsel.selection.sources import Sources
from targetsel.spectra.photoz import PHOTOZ
from targetsel.spectra.proxies import (
    CORRELATION,
    FINE,
    FINE_SCORES,
    correlated,
    proxy_names,
)
from targetsel.tables.any_form import AnyTable, paths_in
from targetsel.tables.columns import Column, arrow_column, in_one_piece, list_column
from targetsel.tables.files import check_table_output
from targetsel.tables.ids import IdIndex, exact_ids, joined
from targetsel.tables.parquet import ParquetSink
from targetsel.tasks import tracked

ORIGIN = Column(
    "photoz_from", pa.string(), "", "meta.code",
    "what the redshift is from: image, elsewhere, both, or disagree, where it is missing",
    "nothing is known of the redshift",
)  # fmt: skip
FINELY = Column(
    PHOTOZ + FINE, pa.list_(pa.float32(), len(FINE_SCORES)), "", "stat.quantile;src.redshift.phot",
    "quantiles of the redshift at 101 even normal scores from -2.5 to 2.5, which rules take",
    "nothing is known of the redshift",
)  # fmt: skip
ROWS = 1024


@dataclass(frozen=True)
class JoinedRedshifts:
    """The counts of a join of redshifts.

    Attributes
    ----------
    n_sources : int
        Sources of the scored catalog.
    n_given : int
        Sources of which the file tells a redshift.
    origins : Counter of str
        Number of sources by what their redshift is from; "" where it is not known.
    """

    n_sources: int
    n_given: int
    origins: Counter[str]

    @property
    def n_matched(self) -> int:
        """Sources of the catalog of which the file tells a redshift."""
        return self.n_sources - self.origins[IMAGE] - self.origins[""]


def join_redshifts(
    scored: AnyTable,
    file: Path,
    output: Path,
    *,
    redshift: str = "",
    redshift_error: str = "",
    id_col: str = "",
    combine: bool = False,
) -> JoinedRedshifts:
    """Write a scored catalog whose `photoz` is that of a file, alone or with the image's own.

    Line strengths change with it: they become those that the image shows at these redshifts.

    Raises
    ------
    CatalogError, SpectrumError, ExtraError, OutputError
        If a file cannot be read or written, or no id of one is in the other.
    """
    check_table_output(output, [*paths_in([scored]), file])
    with ScoredFile(scored) as rows:
        _check(rows, combine)
        given = read_distributions(file, redshift, redshift_error, id_col)
        _check_joined(rows, given, file)
        index, fields = IdIndex(given.source_id), _fields(rows.schema)
        origins: Counter[str] = Counter()
        with ParquetSink(output, pa.schema(fields), compression=compression(rows.footer)) as sink:
            sink.footer.update(
                rows.footer,
                redshifts={"file": file.name, "form": given.kind, "combined": combine},
            )
            for piece in tracked(rows.tables(rows=ROWS), "joining", len(rows), "sources", len):
                ids = exact_ids(piece[rows.names["source_id"]], "source_id", rows.path)
                places = index.rows(ids.to_numpy(zero_copy_only=False))
                found = np.where(places[:, None] >= 0, given.quantiles[places], np.nan)
                columns = _columns(piece, fields, found, combine)
                origins.update("" if each is None else each for each in columns[ORIGIN.name])
                sink.write(_with(piece, fields, columns))
            return JoinedRedshifts(len(rows), int(given.known.sum()), origins)


def _check(rows: ScoredFile, combine: bool) -> None:
    names = rows.schema.names
    if "observed_status" in names:
        raise CatalogError(
            f"{rows.path}: is observed already, at its redshifts of before. Join redshifts to the "
            "scored catalog, and observe the result."
        )
    if PHOTOZ in names and not predicts_redshift(rows.schema):
        raise CatalogError(
            f"{rows.path}: has a column 'photoz' of its own, which rules mean. Rename it to have "
            "the redshifts there."
        )
    if combine and not predicts_redshift(rows.schema):
        raise CatalogError(
            f"{rows.path}: predicts no redshift that others could be combined with. Leave out "
            "--combine, or score the catalog with an ensemble that predicts redshifts."
        )
    if ORIGIN.name in names:
        raise CatalogError(
            f"{rows.path}: has redshifts from elsewhere already ('{ORIGIN.name}'). Join others to "
            "the scored catalog as it was."
        )


def _check_joined(rows: ScoredFile, given: RedshiftDistributions, file: Path) -> None:
    name = rows.names["source_id"]
    pieces = [exact_ids(piece[name], name, rows.path) for piece in rows.tables([name])]
    ids = [piece.to_numpy(zero_copy_only=False) for piece in pieces]
    joined(np.concatenate(ids or [np.empty(0, np.int64)]), given.source_id, rows.path, file)


def _fields(schema: pa.Schema) -> list[pa.Field]:
    """The columns of the result: those of before, of the redshift if need be, and its origin."""
    added = []
    if not predicts_redshift(schema):
        before = proxy_names(schema)
        ours = [each for each in scored_columns(1, 1, True) if each.name.startswith(PHOTOZ)]
        for each in ours:
            field = each.field
            if each.name == PHOTOZ + CORRELATION:
                told = (field.metadata or {}) | {b"with": ",".join(before).encode()}
                field = pa.field(field.name, pa.list_(pa.float32(), len(before)), metadata=told)
            added.append(field)
    return [*schema, *added, FINELY.field, ORIGIN.field]


def _columns(
    piece: pa.Table, fields: list[pa.Field], given: np.ndarray, combine: bool
) -> dict[str, np.ndarray]:
    """The columns of N sources that change, by name."""
    from targetsel.scoring.rows import summarise  # with torch, which `docs` does without

    joint = updated(Sources(piece).posterior, given, combine)
    columns = summarise(joint.posterior)
    for name, others in correlated(pa.schema(fields)).items():
        if name in joint.posterior.names:  # in the order that the file tells
            pairs = [between(joint.posterior, name, other) for other in others]
            columns[name + CORRELATION] = np.stack(pairs, axis=1)
    return columns | {FINELY.name: joint.fine, ORIGIN.name: joint.origin}


def _with(piece: pa.Table, fields: list[pa.Field], columns: Mapping[str, np.ndarray]) -> pa.Table:
    """The rows with changed columns; those of which nothing new is known stay bit for bit."""
    stays = np.isin(columns[ORIGIN.name].astype(str), (IMAGE, "None"))
    rows = np.arange(len(stays)) + np.where(stays, 0, len(stays))
    arrays = []
    for field in fields:
        if field.name not in columns:
            arrays.append(in_one_piece(piece[field.name]))
            continue
        new = _array(columns[field.name], field)
        if field.name in piece.column_names:
            old = in_one_piece(piece[field.name]).cast(field.type)
            new = pa.concat_arrays([old, new]).take(pa.array(rows))
        arrays.append(new)
    return pa.table(arrays, schema=pa.schema(fields))


def _array(values: np.ndarray, field: pa.Field) -> pa.Array:
    if pa.types.is_fixed_size_list(field.type):
        return list_column(values, field.type, np.isfinite(values).any(axis=1))
    if pa.types.is_string(field.type):
        return pa.array(values.tolist(), field.type)
    return arrow_column(values, field.type)
