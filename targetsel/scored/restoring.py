"""Restoring of what other programs lose when they rewrite a scored file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa

from targetsel.errors import CatalogError
from targetsel.scored.file import ScoredFile
from targetsel.spectra.proxies import QUANTILES, proxy_names
from targetsel.tables.columns import matrix
from targetsel.tables.files import check_output
from targetsel.tables.ids import IdIndex, repeated_ids
from targetsel.tables.parquet import ParquetSink

MOST_APART = 1e-5  # relative difference of numbers that passed through another program


def restore(rewritten: Path, original: Path, output: Path) -> int:
    """Write the rows of a rewritten scored file with the layout and footer of its original.

    Columns that the original does not have are kept as they are. All sources of the rewritten
    file must be in the original, and its columns must agree with those there.

    Returns
    -------
    int
        Number of sources written.

    Raises
    ------
    CatalogError, OutputError
        Nothing is written then.
    """
    check_output(output, (rewritten, original))
    with ScoredFile(original) as first, ScoredFile(rewritten) as file:
        if proxy_names(first.schema) and not proxy_names(file.schema):
            raise CatalogError(
                f"{rewritten}: no column of predictions, such as "
                f"'{proxy_names(first.schema)[0]}{QUANTILES}'; expected rows of {original}."
            )
        known = IdIndex(_ids_once(first))
        theirs = {first.names[role]: name for role, name in file.names.items()}
        there = {theirs.get(name, name): name for name in first.schema.names}
        fields = [
            first.schema.field(there[name]) if name in there else file.schema.field(name)
            for name in file.schema.names
        ]
        schema = pa.schema(fields)
        places = known.rows(_ids_once(file))
        if wrong := int((places < 0).sum()):
            raise CatalogError(
                f"{rewritten}: {wrong:,} of its {len(places):,} sources are not in {original}. "
                "Name the file that it was made from."
            )
        for name in file.schema.names:
            if name in there and len(places):
                _check_same(file, name, first, there[name], places)
        with ParquetSink(output, schema) as sink:
            sink.footer.update(first.footer)
            for table in file.tables():
                sink.write(table.rename_columns(schema.names).cast(schema))
    return len(places)


def _ids_once(file: ScoredFile) -> np.ndarray:
    """The ids of a file, none of which may be there twice, shape (N,)."""
    name = file.names["source_id"]
    pieces = [table[name].combine_chunks() for table in file.tables([name])]
    if repeated := repeated_ids(lambda: pieces, len(file)):
        raise CatalogError(
            f"{file.path}, column '{name}': {len(repeated):,} sources are there more than once, "
            f"such as {repeated[0]}. Remove the repeated rows."
        )
    empty = np.empty(0, dtype=np.int64)
    return np.concatenate([each.to_numpy(zero_copy_only=False) for each in pieces] or [empty])


def _check_same(
    file: ScoredFile, name: str, first: ScoredFile, own: str, places: np.ndarray
) -> None:
    """Refuse a column whose values are not those of the original, in these rows of it."""
    kind = first.schema.field(own).type
    one = pa.concat_tables(file.tables([name]))[name]
    other = pa.concat_tables(first.tables([own]))[own].take(pa.array(places))
    if pa.types.is_fixed_size_list(kind):
        same = np.allclose(matrix(one), matrix(other), MOST_APART, MOST_APART, equal_nan=True)
    elif pa.types.is_floating(kind):
        left, right = (each.cast(pa.float64()).to_numpy() for each in (one, other))
        same = np.allclose(left, right, MOST_APART, MOST_APART, equal_nan=True)
    else:
        same = one.cast(kind).equals(other.cast(kind))
    if not same:
        raise CatalogError(
            f"{file.path}, column '{name}': differs from '{own}' of {first.path} for the same "
            "sources. Rename the column, or name the file that it was made from."
        )
