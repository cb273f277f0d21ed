"""Line strengths of the spectra in some files, as one table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from targetsel.errors import SpectrumError
from targetsel.spectra.lines.definition import Definition
from targetsel.spectra.lines.strengths import LineStrengths, measure_observed
from targetsel.spectra.lines.table import LineTable
from targetsel.spectra.reading import try_spectra
from targetsel.tables.parquet import described

EW_SIGNS = ("emission", "mpa")


@dataclass(frozen=True)
class Measurement:
    """What became of one spectrum of a file: its line strengths, or why there are none."""

    path: Path
    redshift: float | None
    result: LineStrengths | SpectrumError


def measure_files(
    paths: Sequence[Path], table: LineTable, redshift: float | None = None
) -> list[Measurement]:
    """Measure every spectrum of some files; a bad one leaves its error, not a hole."""
    found = []
    for path in paths:
        for spectrum in try_spectra(path, redshift):
            result: LineStrengths | SpectrumError
            z = None
            try:
                if isinstance(spectrum, SpectrumError):
                    raise spectrum
                z = spectrum.redshift
                result = measure_observed(spectrum, table)
            except SpectrumError as error:
                result = error
            found.append(Measurement(Path(path), z, result))
    return found


def strengths_table(
    measurements: Sequence[Measurement], table: LineTable, ew_sign: str = "emission"
) -> pa.Table:
    """One row for each spectrum that was tried, in their order.

    Parameters
    ----------
    ew_sign : str
        "emission": equivalent widths of emission lines count positive; "mpa": negative, as in the
        MPA-JHU catalog. Lick indices keep Lick's sign.
    """
    definitions = [table[name] for name in table.names]
    fields = [
        described("source_id", pa.string(), ucd="meta.id;meta.main", nullable=False),
        described("file", pa.string(), description="where the spectrum was read from"),
        described("redshift", pa.float64(), ucd="src.redshift"),
    ]
    for each in definitions:
        about = each.about
        if each.is_emission and ew_sign == "mpa":
            about = about.replace("positive in emission", "negative in emission")
        fields.append(described(each.name, pa.float32(), each.unit, _ucd(each), about))
        error = f"standard deviation of {each.name} by the pixels' inverse variances"
        fields.append(described(f"{each.name}_err", pa.float32(), each.unit, "stat.error", error))
    fields += [
        described("unmeasured", pa.string(), description="indices without a value, and why"),
        described("status", pa.string(), description="ok, or why nothing could be measured"),
    ]
    signs = [-1 if each.is_emission and ew_sign == "mpa" else 1 for each in definitions]
    rows = [_row(each, signs) for each in measurements]
    return pa.Table.from_pylist(rows, schema=pa.schema(fields))


def _ucd(definition: Definition) -> str:
    return "spect.line.eqWidth" if definition.is_emission else "spect.index"


def _row(measurement: Measurement, signs: Sequence[int]) -> dict[str, object]:
    result, path = measurement.result, measurement.path
    row: dict[str, object] = {"file": str(path), "redshift": measurement.redshift}
    if isinstance(result, SpectrumError):
        return row | {"source_id": path.stem, "status": str(result)}
    for k, (name, sign) in enumerate(zip(result.names, signs, strict=True)):
        if np.isfinite(result.values[0, k]):
            row[name] = sign * float(result.values[0, k])
            row[f"{name}_err"] = float(result.errors[0, k])
    missing = [
        f"{name} ({reason})"
        for name, reason in zip(result.names, result.reason[0], strict=True)
        if reason
    ]
    identity = {"source_id": str(result.source_id[0]), "status": "ok"}
    return row | identity | {"unmeasured": ", ".join(missing)}
