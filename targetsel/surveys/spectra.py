"""Fetching of spectra from a survey into a spectrum store.

A spectrum store is a Parquet file with a row for each source: `source_id`, `redshift`, and the
lists `wavelength`, `flux` and `ivar` as they were observed; `spectra.reading` reads it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pyarrow as pa

import targetsel
from targetsel.errors import SpectrumError, counted, did_you_mean
from targetsel.spectra.redshifts import WARNINGS
from targetsel.surveys.fetching import (
    OK,
    Fetched,
    FetchFolder,
    FetchSummary,
    Reply,
    batches_of,
    bytes_of_table,
    manifest_of,
    table_of_bytes,
)
from targetsel.tables.files import check_table_output
from targetsel.tables.ids import exact_ids
from targetsel.tables.parquet import ParquetSink, described
from targetsel.tables.types import is_number

ROWS_PER_GROUP = 256
_LIST = pa.list_(pa.float32())
SPECTRUM = pa.schema(
    [
        described("redshift", pa.float64(), "", "src.redshift", "of the survey's own fit"),
        described("wavelength", _LIST, "Angstrom", "em.wl", "observed frame, vacuum"),
        described(
            "flux",
            _LIST,
            "1e-17 erg / (s cm2 Angstrom)",
            "phot.flux.density;em.wl",
            "flux density per unit wavelength",
        ),
        described("ivar", _LIST, "", "", "inverse variance of flux, 0 where masked"),
    ]
)


@dataclass(frozen=True)
class WantedSpectrum:
    """A spectrum to fetch.

    Attributes
    ----------
    source_id : int or str
    names : mapping
        The service's name of it: plate, mjd, fiber and run2d, or a target id.
    redshift : float or None
        None: take the service's.
    """

    source_id: int | str
    names: Mapping[str, int | str]
    redshift: float | None = None


class SpectrumService(Protocol):
    """A source of spectra; threads may share one."""

    @property
    def at_once(self) -> int:
        """Largest number of spectra in one call."""
        ...

    @property
    def columns(self) -> Mapping[str, tuple[str, ...]]:
        """Catalog columns that name a spectrum, each with its usual names; "?" marks optional."""
        ...

    def settings(self) -> Mapping[str, Any]:
        """All that the spectra depend on, apart from the sources; plain values for JSON."""
        ...

    def fetch(self, wanted: Sequence[WantedSpectrum]) -> list[Reply]:
        """One reply for each spectrum, in order; their value is an `ObservedSpectrum`.

        Raises
        ------
        Unanswered
            If there is no good answer about any of them.
        """
        ...


def wanted_in(table: pa.Table, service: SpectrumService, place: str) -> list[WantedSpectrum]:
    """The spectra that a table of sources names.

    Parameters
    ----------
    table : pa.Table
        With the columns that the service needs (see its `columns`), and perhaps source_id, for
        which those that name the spectrum stand in, and redshift, which is taken unless a column
        such as redshift_warning doubts it.
    place : str
        The table's name, for messages.

    Raises
    ------
    SpectrumError
        If a column is missing or has no value somewhere, or an id occurs twice.
    """
    by_lower = {name.lower(): name for name in table.column_names}
    columns = {}
    for role, usual in service.columns.items():
        name = next((by_lower[each] for each in usual if each in by_lower), None)
        if name is not None:
            columns[role.removesuffix("?")] = _values(table, name, place, role)
        elif not role.endswith("?"):
            hint = did_you_mean(role, table.column_names)
            raise SpectrumError(f"{place}: no column '{role}', which names a spectrum.{hint}")
    if "source_id" in by_lower:
        ids = _values(table, by_lower["source_id"], place, "source_id")
    else:
        ids = ["-".join(map(str, names)) for names in zip(*columns.values(), strict=True)]
    if len(set(ids)) < len(ids):
        twice = next(key for key, count in Counter(ids).items() if count > 1)
        raise SpectrumError(f"{place}: has the source '{twice}' twice. Keep one row of each.")
    redshift: list[float | None] = [None] * len(ids)
    if "redshift" in by_lower:
        known = table[by_lower["redshift"]]
        if not is_number(known.type):
            raise SpectrumError(f"{place}: '{by_lower['redshift']}' holds no numbers. Drop it.")
        numbers = known.cast(pa.float64()).to_numpy()
        numbers = np.where(_is_doubted(table, by_lower, place), np.nan, numbers)
        redshift = [float(each) if np.isfinite(each) else None for each in numbers]
    return [
        WantedSpectrum(key, {role: values[row] for role, values in columns.items()}, redshift[row])
        for row, key in enumerate(ids)
    ]


def _is_doubted(table: pa.Table, by_lower: Mapping[str, str], place: str) -> np.ndarray:
    """Whether the pipeline of a survey warns of the redshift of each source, shape (N,)."""
    name = next((by_lower[each] for each in WARNINGS if each in by_lower), None)
    if name is None:
        return np.zeros(table.num_rows, dtype=bool)
    if not is_number(table[name].type):
        raise SpectrumError(f"{place}: '{name}' holds no numbers, expected 0 for no warning.")
    doubted: np.ndarray = table[name].cast(pa.float64()).to_numpy() != 0
    return doubted


def fetch_spectra(
    service: SpectrumService,
    wanted: Sequence[WantedSpectrum],
    output: Path,
) -> FetchSummary:
    """Fetch the spectra that are still missing, then write the spectrum store and its manifest.

    The manifest, `<output>.manifest.parquet`, has a row for each source; `fetching` tells what is
    kept for another run.

    Raises
    ------
    SpectrumError
        If the service does not answer any more, or no source has a spectrum.
    OutputError
        If the output cannot be written, or was begun with another service.
    """
    check_table_output(output, parquet=True)
    wanted = sorted(wanted, key=lambda each: each.source_id)
    whole = all(isinstance(each.source_id, int) for each in wanted)
    ids = pa.int64() if whole else pa.string()

    def ask(some: Sequence[WantedSpectrum]) -> list[Fetched]:
        return [Fetched([reply], _content(reply)) for reply in service.fetch(some)]

    with FetchFolder.open(output, service.settings(), _key, SpectrumError) as fetched:
        known = fetched.fetch_missing(lambda: wanted, ask, service.at_once, "fetching spectra")
        statuses, unfinished = fetched.write_manifest(manifest_of(output), [wanted], ids, ())
        good = [each for each in wanted if fetched.statuses(each) == [OK]]
        if not good:
            raise SpectrumError(
                f"{output}: no source has a spectrum. See the manifest beside it, which says why."
            )
        key = described("source_id", ids, "", "meta.id;meta.main", nullable=False)
        with ParquetSink(output, pa.schema([key, *SPECTRUM]), ROWS_PER_GROUP) as sink:
            sink.footer.update(service.settings(), code_version=targetsel.__version__)
            for some in batches_of(good, ROWS_PER_GROUP):
                rows = pa.concat_tables(table_of_bytes(fetched.content(each)) for each in some)
                names = pa.array([each.source_id for each in some], ids)
                sink.write(rows.add_column(0, key, names))
    return FetchSummary(len(good), known, statuses, unfinished)


def _values(table: pa.Table, name: str, place: str, role: str) -> list[Any]:
    """The ids in a column; whole numbers, unless it is of `source_id` or `run2d`."""
    ids = exact_ids(table[name], name, place, SpectrumError)
    if ids.null_count and not role.endswith("?"):
        raise SpectrumError(
            f"{place}: no '{name}' in {counted(ids.null_count, 'row')}. Remove them."
        )
    if role not in ("source_id", "run2d?"):
        try:
            ids = ids.cast(pa.int64())
        except pa.ArrowInvalid as error:
            raise SpectrumError(
                f"{place}, column '{name}': {error}; expected whole numbers, as they name spectra."
            ) from None
    values: list[Any] = ids.to_pylist()
    return values


def _key(wanted: WantedSpectrum) -> str:
    """A text that identifies a spectrum, with its id and redshift."""
    names = ",".join(f"{role}={wanted.names[role]}" for role in sorted(wanted.names))
    return f"{wanted.source_id!r}:{names}:{wanted.redshift!r}"


def _content(reply: Reply) -> bytes:
    """A spectrum as a table of one row."""
    if (spectrum := reply.value) is None:
        return b""
    row = {name: getattr(spectrum, name) for name in SPECTRUM.names}
    lists = {name: [np.asarray(row[name], np.float32)] for name in ("wavelength", "flux", "ivar")}
    return bytes_of_table(pa.table({"redshift": [row["redshift"]], **lists}, SPECTRUM))
