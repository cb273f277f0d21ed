"""The columns of a scored catalog that its target lists keep."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import pyarrow as pa

from targetsel.photometry.columns import photometric_columns
from targetsel.rules import formula as f
from targetsel.rules.columns import STATISTICS, CatalogColumns
from targetsel.rules.plan import ClassFormulas
from targetsel.scored.columns import column_names
from targetsel.scored.known_columns import added_names
from targetsel.selection.inclusion import inclusion_column


def carried(
    formulas: Sequence[ClassFormulas], schema: pa.Schema, stated: Iterable[str] = ()
) -> list[str]:
    """The columns that a list keeps: brightness, known spectra, and those that the rules read.

    A predicted quantity brings its width and quantiles along. So do classes with a stated inclusion
    its column.
    """
    columns = CatalogColumns(schema)
    used: set[str] = set()
    for formula in (part for each in formulas for part in each.all):
        named = {column.name for column in f.columns(formula)}
        named |= {part.name for part in f.walk(formula) if isinstance(part, f.Quantile)}
        for name in named & set(columns.proxies):
            named |= {name + end for end in STATISTICS}
        used |= named
    used |= {each.name for each in photometric_columns(schema)}
    used |= added_names(schema)
    used |= {inclusion_column(name).name for name in stated}
    used -= {"_healpix_29", *column_names(schema).values()}  # those have a place of their own
    return [
        name
        for name in schema.names
        if name in used or name.lower().startswith(("flux_", "fiberflux_"))
    ]
