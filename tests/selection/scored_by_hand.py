"""Scored catalogs small enough to check by hand, and rule files to go with them."""

import json

import numpy as np
import pyarrow as pa

from targetsel.spectra.proxies import NORMAL_SCORES
from targetsel.tables.parquet import described

PROXIES = ("ew_oiii", "ew_halpha", "d4000")


def scored_table(medians, widths, correlation=(0, 0, 0), ids=None, columns=None) -> pa.Table:
    """Gaussian posteriors with these medians and standard deviations, shape (N, 3).

    A row whose medians are NaN has no posterior. The correlations, the same for all rows, are those
    of (ew_oiii, ew_halpha), (ew_oiii, d4000) and (ew_halpha, d4000).
    """
    medians, widths = np.asarray(medians, dtype=float), np.asarray(widths, dtype=float)
    n = len(medians)
    ids = np.arange(1, n + 1) if ids is None else ids
    known = np.isfinite(medians).all(axis=1)
    quantiles = medians[:, :, None] + widths[:, :, None] * NORMAL_SCORES
    rho = np.tile(np.asarray(correlation, dtype=float), (n, 1))
    fields = [
        pa.field("source_id", pa.array(ids).type, nullable=False),
        described("ra", pa.float64(), "deg"),
        described("dec", pa.float64(), "deg"),
        described("_healpix_29", pa.int64()),
    ]
    arrays = [pa.array(ids), np.linspace(10, 20, n), np.linspace(-5, 5, n), np.arange(n) * 1000]
    for place, name in enumerate(PROXIES):
        unit = "" if name == "d4000" else "Angstrom"
        for end, score in (("", 0.0), ("_std", None), ("_q16", -1.0), ("_q84", 1.0)):
            values = (
                widths[:, place] if score is None else medians[:, place] + score * widths[:, place]
            )
            fields.append(described(name + end, pa.float32(), unit))
            arrays.append(pa.array(np.where(known, values, np.nan), pa.float32(), from_pandas=True))
    for field, column in posterior_columns(PROXIES, quantiles, rho, known):
        fields.append(field)
        arrays.append(column)
    for name, (values, unit) in (columns or {}).items():
        arrays.append(values if isinstance(values, pa.Array) else pa.array(values))
        fields.append(described(name, arrays[-1].type, unit))
    footer = {"columns": {"source_id": "source_id", "ra": "ra", "dec": "dec"}, "ensemble": "abc"}
    arrays = [pa.array(array, field.type) for array, field in zip(arrays, fields, strict=True)]
    return pa.table(arrays, schema=pa.schema(fields, {b"targetsel": json.dumps(footer)}))


def posterior_columns(names, quantiles, correlation, known):
    """Fields and columns of posteriors; quantiles (N, K, 11), the lower triangle (N, K (K-1)/2)."""
    before = 0
    for k, name in enumerate(names):
        yield _lists(f"{name}_quantiles", quantiles[:, k], known, {"normal_scores": "-2.5,...,2.5"})
        if k:
            rho = correlation[:, before : before + k]
            yield _lists(f"{name}_correlation", rho, known, {"with": ",".join(names[:k])})
        before += k


def _lists(name, matrix, known, metadata):
    kind = pa.list_(pa.float32(), matrix.shape[1])
    lists = [row.tolist() if usable else None for row, usable in zip(matrix, known, strict=True)]
    return pa.field(name, kind, metadata=metadata), pa.array(lists, kind)


def rule_text(*where: str, rest: str = "", define: str = "") -> str:
    """A rule file with the class ELG; its first condition starts at line 9, column 10."""
    quote = lambda each: '"' if "'" in each.replace("''", "") else "'"  # noqa: E731
    conditions = "".join(f"      - {quote(each)}{each}{quote(each)}\n" for each in where)
    return f"""schema: targetsel/rules/v1
name: test
define: {{{define}}}
classes:
  ELG:
    bit: 3
    priority: 3000
    where:
{conditions}{rest}"""
