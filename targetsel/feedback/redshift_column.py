"""The columns of redshifts and lines in a table of spectra, under the names its survey gives."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa

from targetsel.errors import CatalogError, TargetselError
from targetsel.scored.known_spectra import MOST_WRONG, redshift_names
from targetsel.spectra.lines import PROXIES
from targetsel.spectra.photoz import LARGEST, TRUE
from targetsel.tables.any_format import footer_if_any, table_reader
from targetsel.tables.columns import floats, unit_of
from targetsel.tables.parquet import write_table
from targetsel.tables.types import is_list, is_number

MARKS = 2  # numbers such as 99 and 9999, which stand for no redshift


@contextlib.contextmanager
def with_redshift(path: Path) -> Iterator[Path]:
    """A table with its redshifts under the name `redshift`: itself, or a copy that soon is gone.

    Lines are under their names in lower case, as FITS tables often have them in upper case. Errors
    within name the table itself.

    Raises
    ------
    CatalogError
        If it cannot be read, has no rows, or its redshifts are in a unit or no redshifts.
    """
    with table_reader(path) as file:
        schema = file.schema
        if not file.num_rows:
            raise CatalogError(
                f"{path}: has no rows; expected one for each spectrum. Name the table of "
                "the spectra that were taken."
            )
        by_name = {name.lower(): name for name in reversed(schema.names)}
        name = TRUE
        if TRUE not in schema.names:
            names = [by_name[each] for each in redshift_names(schema) if each in by_name]
            name = next((each for each in names if is_number(schema.field(each).type)), "")
        if name and schema.names.count(name) == 1 and is_number(schema.field(name).type):
            _check(path, schema.field(name), floats(file.read([name])[name]))
        usual = {} if name in ("", TRUE) else {name: TRUE}
        usual |= {
            by_name[each]: each for each in PROXIES if each in by_name and each not in schema.names
        }
        if not usual:
            yield path
            return
        table = file.read([each.name for each in schema if not is_list(each.type)])
    with tempfile.TemporaryDirectory(prefix="targetsel-") as folder:
        copy = Path(folder) / "spectra.parquet"
        renamed = [usual.get(each, each) for each in table.column_names]
        write_table(table.rename_columns(renamed), copy, footer_if_any(path))
        try:
            yield copy
        except TargetselError as error:
            raise type(error)(str(error).replace(str(copy), str(path))) from None


def _check(path: Path, field: pa.Field, values: np.ndarray) -> None:
    if (unit := unit_of(field)) not in ("", "1"):
        raise CatalogError(
            f"{path}, column '{field.name}': is in '{unit}'; expected redshifts without a unit. "
            "Convert or rename it."
        )
    known = values[np.isfinite(values)]
    wrong = known >= LARGEST
    is_mark = len(np.unique(known[wrong])) <= MARKS
    if wrong.sum() > MOST_WRONG * len(known) and not is_mark:
        raise CatalogError(
            f"{path}, column '{field.name}': {int(wrong.sum()):,} of {len(known):,} numbers are "
            f"{LARGEST:g} or more, up to {known.max():g}; expected redshifts. Rename the column if "
            "it is a band, or convert velocities."
        )
