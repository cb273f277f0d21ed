"""Scoring of LSDB catalogs: frames of one partition each, scored when they are computed.

A task holds the names of what it needs, not the networks: each process reads these once. A row
depends on its own source alone, so its values are those of `scoring.stream.score`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, Self, TypeAlias

import pyarrow as pa

from targetsel.errors import OutputError, RuleError
from targetsel.imaging.cutout import cut_out
from targetsel.imaging.partitioned_store import PartitionedStore
from targetsel.imaging.store import Described, check_suits
from targetsel.jobs.launch import one_thread
from targetsel.photometry.brightness import with_brightness
from targetsel.rules.rules import Rules
from targetsel.scored.columns import check_names
from targetsel.scored.folders import kept_schema
from targetsel.scoring.chunks import Chunk, NeededRows
from targetsel.scoring.ensemble import Ensemble
from targetsel.scoring.rows import ScoreOptions, score_inputs
from targetsel.scoring.stream import (
    ROWS_PER_CHUNK,
    full_provenance,
    provenance_of,
    scored_schema,
)
from targetsel.selection.needed import Asked
from targetsel.sky.catalog import Catalog, CatalogFile
from targetsel.tables.any_form import NOTES, table_of
from targetsel.tables.formats import InMemory
from targetsel.tables.notes import SCHEMA, packed_schema, unpacked_schema, with_notes
from targetsel.tables.parquet import FOOTER_KEY, footer_in, says_simulated

if TYPE_CHECKING:
    import pandas as pd

LsdbCatalog: TypeAlias = Any  # lsdb.Catalog; LSDB is imported where one is asked for
PLACE = "the catalog"
_one_at_a_time = Lock()  # in a process: networks are read once


@dataclass(frozen=True)
class Networks:
    """Where the networks and cutouts are, and how they are used: all that values depend on.

    Attributes
    ----------
    ensemble : str
        A folder, or the name of a shipped one.
    cutouts : str
        The folder of the store.
    calibrated : bool
    device, engine : str
        As `Ensemble.read` takes them.
    options : ScoreOptions
    """

    ensemble: str
    cutouts: str
    calibrated: bool = True
    device: str = "cpu"
    engine: str = "torch"
    options: ScoreOptions = field(default_factory=ScoreOptions)

    def read(self) -> tuple[Ensemble, PartitionedStore]:
        """The ensemble and the store, as they are on disk now.

        Raises
        ------
        CutoutError, EnsembleError, ExtraError
            If they cannot be read, or do not suit each other.
        """
        ensemble = Ensemble.read(self.ensemble, self.device, self.calibrated, self.engine)
        store, plan = PartitionedStore.open(Path(self.cutouts)), ensemble.input
        other = "use another ensemble, one trained for these bands"
        check_suits(store, plan.bands, plan.pixel_scale, plan.size, ensemble.name, other)
        ensemble.inputs.check(store, ensemble.name)
        return ensemble, store


@dataclass(frozen=True)
class FramePlan:
    """All that a process is told to score a frame.

    Attributes
    ----------
    networks : Networks
    identity : str
        What they were when the work was planned, as JSON.
    columns : tuple of (str, str)
        Roles and names of the columns "source_id", "ra" and "dec".
    rules : tuple of Rules
    notes : str
        The Arrow schema of the scored frame with its index, with units and provenance; packed,
        since each of many thousand tasks may hold it.
    """

    networks: Networks
    identity: str
    columns: tuple[tuple[str, str], ...]
    rules: tuple[Rules, ...]
    notes: str

    @classmethod
    def of(
        cls,
        frame: pd.DataFrame,
        told: pa.Schema,
        networks: Networks,
        columns: Mapping[str, str | None],
        brightness: Sequence[str] = (),
        rules: Sequence[Rules] = (),
        root: Path | None = None,
    ) -> Self:
        """The plan for frames like this one, which needs no rows.

        Parameters
        ----------
        frame : DataFrame
        told : pa.Schema
            Units and notes of its columns, as far as they are known.
        networks : Networks
        columns : mapping
            Names of the columns "ra_col", "dec_col" and "id_col" that are known.
        brightness : sequence of str
        rules : sequence of Rules
        root : Path, optional
            The catalog, beside which a file about its brightness may lie.

        Raises
        ------
        CatalogError, CutoutError, EnsembleError, RuleError
            If they do not fit together.
        """
        ensemble, store = networks.read()
        table = noted_table(frame, told)
        check_names(table.schema, PLACE)
        file = CatalogFile.of(PLACE, InMemory(table), **columns, may_be_empty=True)
        file = replace(file, schema=with_brightness(file.schema, brightness, root))
        schema = scored_schema(file, ensemble)
        asked = _bound(rules, schema) if rules else None
        simulated = says_simulated(footer_in(told.metadata))
        footer = {
            **full_provenance(file.schema, store, ensemble, networks.options, asked, simulated),
            "columns": dict(file.columns),
            "validation": ensemble.card.get("validation", {}),
        }
        notes = schema.with_metadata({FOOTER_KEY: json.dumps(footer, sort_keys=True).encode()})
        identity = _identity(store, ensemble, networks.options)
        columns_found = tuple(file.columns.items())
        return cls(networks, identity, columns_found, tuple(rules), packed_schema(notes))

    @property
    def schema(self) -> pa.Schema:
        return unpacked_schema(self.notes)


def told_of(catalog: LsdbCatalog) -> pa.Schema:
    """Units, notes and provenance of an LSDB catalog's columns, as far as they are known."""
    about = catalog.hc_structure
    kept = kept_schema(about.catalog_info.__pydantic_extra__ or {})
    return kept or about.original_schema or about.schema or pa.schema([])


def noted_table(frame: pd.DataFrame, told: pa.Schema, name: str = PLACE) -> pa.Table:
    """A frame with its index as a table, with the units and notes that are told of its columns."""
    table = table_of(frame, name)
    return table.cast(with_notes(table.schema, told))


def carrying(catalog: LsdbCatalog, schema: pa.Schema) -> LsdbCatalog:
    """The catalog with units and provenance as a property, which goes along when LSDB writes it."""
    about = copy(catalog.hc_structure)
    about.catalog_info = about.catalog_info.copy_and_update(**{SCHEMA: packed_schema(schema)})
    catalog.hc_structure = about
    return catalog


def score_frame(frame: pd.DataFrame, plan: FramePlan) -> pd.DataFrame:
    """The rows of a frame with the columns of `score_rows`, in the same order.

    Its columns and index stay as they are; those added are of Arrow types. The `attrs` have units
    and provenance, for whatever takes a table here; LSDB keeps those of the frame of no rows.

    Raises
    ------
    CatalogError
        If ids are missing or repeated within the frame, or positions cannot be.
    CutoutError
        If the cutouts cannot be read.
    OutputError
        If networks or cutouts are others than when the work was planned.
    """
    schema = plan.schema
    rows = _scored(frame, plan, schema) if len(frame) else schema.empty_table()
    return with_columns(frame, rows, schema)


def with_columns(frame: pd.DataFrame, rows: pa.Table, schema: pa.Schema) -> pd.DataFrame:
    """A frame with the columns of a table of the same rows that it has not; `schema` has notes."""
    import pandas as pd

    own = {*frame.columns, *frame.index.names}
    added = {
        name: pd.Series(pd.arrays.ArrowExtensionArray(rows[name]), index=frame.index)
        for name in rows.column_names
        if name not in own
    }
    whole = type(frame)(pd.concat([frame, pd.DataFrame(added, index=frame.index)], axis=1))
    whole.attrs[NOTES] = schema.serialize().to_pybytes().hex()
    return whole


def _scored(frame: pd.DataFrame, plan: FramePlan, schema: pa.Schema) -> pa.Table:
    ensemble, store = _read(plan.networks, plan.identity)
    one_thread()
    names = dict(plan.columns)
    table = noted_table(frame, schema)
    catalog = Catalog.read(table, names["ra"], names["dec"], names["source_id"])
    needed: NeededRows | None = None
    if plan.rules:
        needed = _bound(plan.rules, schema).needed(lambda: iter([catalog.table]))
    chunk, whole = Chunk(0, catalog, needed), None
    own = store.around(catalog.healpix)
    for piece in chunk.pieces(ROWS_PER_CHUNK):
        cutouts = cut_out(piece.sources, own)
        rows = score_inputs(piece.sources, cutouts, ensemble, plan.networks.options)
        whole = chunk.with_scored(piece.place, rows)
    assert whole is not None  # with the last piece
    return whole


def _bound(rules: Sequence[Rules], schema: pa.Schema) -> Asked:
    """The rules bound to the columns of the scored catalog.

    Raises
    ------
    RuleError
        If they do not fit them, or need to know more than one partition.
    """
    asked = Asked(rules, schema)
    values = asked.quantile_values(lambda: iter([schema.empty_table()]))
    for each, quantiles in zip(rules, values, strict=True):
        if quantiles:
            raise RuleError(
                f"{each.name}: asks for a quantile over the whole catalog, which a partition does "
                "not know. Score without rules, or score the folder of the catalog with "
                "'targetsel score --rules', which takes it over all partitions."
            )
    return asked


def _identity(store: Described, ensemble: Ensemble, options: ScoreOptions) -> str:
    return json.dumps(provenance_of(store, ensemble, options), sort_keys=True)


def _read(networks: Networks, identity: str) -> tuple[Ensemble, PartitionedStore]:
    with _one_at_a_time:
        return _read_once(networks, identity)


@lru_cache(maxsize=2)
def _read_once(networks: Networks, identity: str) -> tuple[Ensemble, PartitionedStore]:
    """What frames are scored with, read once in a process."""
    ensemble, store = networks.read()
    now: dict[str, Any] = json.loads(_identity(store, ensemble, networks.options))
    for name, value in json.loads(identity).items():
        if now[name] != value:
            raise OutputError(
                f"{networks.ensemble}, {networks.cutouts}: their {name} is not what it was when "
                "score_catalog was called. Score it again, with the same targetsel everywhere."
            )
    return ensemble, store
