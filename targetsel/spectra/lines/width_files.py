"""Width maps fitted on a table of pairs, and scored catalogs with calibrated widths added."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from targetsel.errors import SpectrumError, did_you_mean
from targetsel.spectra.lines.width_maps import CALIBRATED, MOCK_PAIRS, WidthMap, WidthMaps, fit_maps
from targetsel.tables.files import check_output, sha256_of_file
from targetsel.tables.formats import PARQUET_SUFFIXES, InMemory, ParquetFiles, open_table
from targetsel.tables.parquet import ParquetSink, described, read_footer

ROWS_AT_ONCE = 8192


def maps_from_table(path: Path, pairs: Sequence[str]) -> WidthMaps:
    """The width maps that a table's columns describe.

    Parameters
    ----------
    path : Path
        A table of any kind that catalogs may have.
    pairs : sequence of str
        Each `RAW=CATALOG`, two columns [Angstrom]; none: those of the mock sky's truth.

    Raises
    ------
    SpectrumError, CatalogError
    """
    table = open_table(path)
    chosen = _parsed(pairs) if pairs else _of_mock(table, path)
    wanted = sorted({*chosen, *(catalog for catalog, _ in chosen.values())})
    for name in wanted:
        _check_column(table.schema, name, path)
    rows = pa.concat_tables(list(table.batches(ROWS_AT_ONCE, wanted)))
    columns = {name: _numbers(rows[name]) for name in wanted}
    try:
        maps = fit_maps(columns, chosen)
    except SpectrumError as error:
        raise SpectrumError(f"{path}: {error}") from None
    origin: dict[str, object] = {"file": path.name}
    if path.is_file():
        origin["sha256"] = sha256_of_file(path)
        if path.suffix.lower() in PARQUET_SUFFIXES and "images" in (footer := read_footer(path)):
            origin["images"] = footer["images"]
    return WidthMaps(maps, origin)


def write_calibrated(scored: Path, maps: WidthMaps, output: Path) -> list[str]:
    """Write a scored catalog with calibrated widths beside the raw ones; the columns added.

    Raises
    ------
    SpectrumError, CatalogError, OutputError
        Nothing is written then.
    """
    check_output(output, [scored])
    if scored.suffix.lower() not in PARQUET_SUFFIXES:
        raise SpectrumError(f"{scored}: expected a scored catalog, a .parquet file")
    table = open_table(scored)
    nothing = {name: np.empty(0) for name in table.schema.names}
    added = list(maps.calibrate(nothing))
    if not added:
        raise SpectrumError(
            f"{scored}: has none of the widths that there are maps for: {', '.join(maps.maps)}"
        )
    if clash := [name for name in added if name in table.schema.names]:
        raise SpectrumError(f"{scored}: already has a column '{clash[0]}'. Drop or rename it.")
    fields = [_field(name, maps) for name in added]
    sources = [name.replace(CALIBRATED, "") for name in added]
    for name in sources:
        _check_column(table.schema, name, scored)
    with ParquetSink(output, pa.schema([*table.schema, *fields])) as sink:
        sink.footer.update(read_footer(scored), width_maps=dict(maps.origin))
        for piece in table.batches(ROWS_AT_ONCE, table.schema.names):
            calibrated = maps.calibrate({name: _numbers(piece[name]) for name in sources})
            for field in fields:
                values = calibrated[field.name].astype(np.float32)
                piece = piece.append_column(field, pa.array(values, mask=~np.isfinite(values)))
            sink.write(piece)
    return added


def _field(name: str, maps: WidthMaps) -> pa.Field:
    proxy, suffix = name.split(CALIBRATED)
    each: WidthMap = maps.maps[proxy]
    what = {"": "", "_q16": ", 16th percentile", "_q84": ", 84th percentile"}[suffix]
    about = f"{proxy} calibrated to {each.catalog or 'a catalog'}{what}"
    if maps.origin.get("images") == "simulated":
        about += " of simulated galaxies"
    return described(name, pa.float32(), "Angstrom", "spect.line.eqWidth", about)


def _parsed(pairs: Sequence[str]) -> dict[str, tuple[str, float]]:
    chosen = {}
    for pair in pairs:
        raw, equals, catalog = (part.strip() for part in pair.partition("="))
        if not (raw and equals and catalog):
            raise SpectrumError(f"pair '{pair}', expected RAW=CATALOG such as ew_halpha=HALPHA_EW")
        chosen[raw] = (catalog, 1.0)
    return chosen


def _of_mock(table: ParquetFiles | InMemory, path: Path) -> Mapping[str, tuple[str, float]]:
    names = table.schema.names
    found = {r: (c, f) for r, (c, f) in MOCK_PAIRS.items() if r in names and c in names}
    if not found:
        raise SpectrumError(
            f"{path}: no columns such as input_halpha beside ew_halpha. Name the columns with "
            "--pair RAW=CATALOG."
        )
    return found


def _check_column(schema: pa.Schema, name: str, path: Path) -> None:
    if name not in schema.names:
        raise SpectrumError(f"{path}: no column '{name}'.{did_you_mean(name, schema.names)}")
    kind = schema.field(name).type
    if not (pa.types.is_floating(kind) or pa.types.is_integer(kind)):
        raise SpectrumError(f"{path}: column '{name}' holds {kind}, expected widths [Angstrom]")


def _numbers(column: pa.ChunkedArray) -> np.ndarray:
    return column.cast(pa.float64()).to_numpy()
