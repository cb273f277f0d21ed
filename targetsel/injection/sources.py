"""Sources of a scored catalog or a target list whose images are changed, chosen by hash."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from copy import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa

from targetsel.errors import CatalogError, CutoutError, EnsembleError
from targetsel.networks.inputs import InputsById
from targetsel.report.companions import is_scored
from targetsel.rules.catalog_part import unseen_columns
from targetsel.rules.rules import Rules
from targetsel.scored.columns import scored_columns
from targetsel.scoring.ensemble import Ensemble
from targetsel.selection.scored_sources import ScoredSources, scored_catalog
from targetsel.selection.target_list import TARGETS, TargetList
from targetsel.sky.catalog import HEALPIX, Catalog
from targetsel.spectra.lines import PROXIES
from targetsel.spectra.photoz import PHOTOZ
from targetsel.tables.any_form import AnyTable, is_path
from targetsel.tables.columns import in_one_piece
from targetsel.tables.ids import keys_of, uniform

AnySources: TypeAlias = "TargetList | AnyTable"
PURPOSE = "inject"  # of the hash that chooses sources
ROLES = ("source_id", "ra", "dec")
_LINES = "|".join(each.removeprefix("ew_") for each in PROXIES)
# Columns that `observe` adds, by their names in a target list.
_OBSERVED = re.compile(
    rf"(lineflux|snr|exposure_time|wavelength|in_range|clear_of_sky)_({_LINES})(_\w+)?"
)


@dataclass(frozen=True)
class Chosen:
    """The sources whose images are changed.

    Attributes
    ----------
    catalog : Catalog
        In the order of the sky and of ids, with the columns that the catalog had before it was
        scored.
    place : Path or str
        The file that they are from, or a name for errors.
    is_list : bool
        Whether that is a target list.
    footer : dict
        Its provenance.
    added : pa.Schema
        Columns that came after the predictions, on which they may depend.
    quantiles : tuple of float, or None
        Values of the quantiles over all sources that the rules name, in the rules' order; None
        where they are not known.
    n_all, n_with_cutout : int
        Sources of the file, and those of them that have a cutout, from which the hash chose.
    """

    catalog: Catalog
    place: Path | str
    is_list: bool
    footer: dict[str, Any]
    added: pa.Schema
    quantiles: tuple[float, ...] | None
    n_all: int
    n_with_cutout: int

    def __len__(self) -> int:
        return len(self.catalog)

    def ensemble_as_it_scored(self, ensemble: Ensemble) -> Ensemble:
        """The ensemble, calibrated as when it scored the file.

        Raises
        ------
        EnsembleError
            If another ensemble scored it, or its calibration was another one.
        """
        by = self.footer.get("ensemble")
        if not isinstance(by, dict):
            raise EnsembleError(
                f"{self.place}: does not say which ensemble scored it, so that nobody knows what "
                "selected its sources. Give a file that 'targetsel score' or 'select' wrote."
            )
        if by.get("sha256") != ensemble.sha256:
            raise EnsembleError(
                f"{self.place}: scored by the ensemble '{by.get('name')}' "
                f"({str(by.get('sha256'))[:12]}), not by '{ensemble.name}' "
                f"({ensemble.sha256[:12]}). Name the one that scored it with --ensemble."
            )
        told, own = self.footer.get("calibration"), ensemble.calibration
        if not told:
            found = copy(ensemble)
            found.calibration = None
            return found
        if own is None or own.provenance["sha256"] != told.get("sha256"):
            has = "none" if own is None else str(own.provenance["sha256"])[:12]
            raise EnsembleError(
                f"{self.place}: scored with the calibration {str(told.get('sha256'))[:12]}; the "
                f"ensemble '{ensemble.name}' has {has}. Score the catalog again."
            )
        return ensemble


def choose_sources(
    given: AnySources, images: InputsById, rules: Rules, n: int, seed: int
) -> Chosen:
    """At most n sources of a file that have a cutout: those of the smallest hashes of seed and id.

    Raises
    ------
    CatalogError
        If it is neither a scored catalog nor a target list, or repeats a source.
    CutoutError
        If no source has a cutout.
    """
    if n < 1:
        raise CatalogError(f"--sources {n}: expected at least 1 source.")
    if seed < 0:
        raise CatalogError(f"--seed {seed}: expected a whole number that is not negative.")
    with _opened(given, rules) as file:
        ids = file.ids()
        if not len(ids):
            raise CatalogError(f"{file.place}: has no sources. Give a file that has some.")
        _check_unique(ids, file.place)
        there = np.flatnonzero(images.has(ids))
        if not len(there):
            raise CutoutError(
                f"{images.path}: has a cutout of none of the {len(ids):,} sources of {file.place} "
                f"(such as {ids[0]}; it has {images.source_ids(1)[0]}). Name the store that was "
                "scored with --cutouts."
            )
        hashes = uniform(ids[there], seed, PURPOSE)[:, 0]
        rows = np.sort(there[np.argsort(hashes, kind="stable")[:n]])
        table = file.rows(rows)
    catalog = Catalog(table, file.names)
    own = np.array(catalog.source_id.tolist())
    order = np.lexsort((own, table[HEALPIX.name].to_numpy()))
    return Chosen(
        catalog.take(order),
        file.place,
        isinstance(file, _List),
        file.footer,
        file.added,
        file.quantiles,
        len(ids),
        len(there),
    )


def _check_unique(ids: np.ndarray, place: Path | str) -> None:
    _, first, counts = np.unique(keys_of(ids), return_index=True, return_counts=True)
    if (counts > 1).any():
        again = ids[first[counts > 1][0]]
        raise CatalogError(
            f"{place}: {int((counts > 1).sum()):,} of its sources are there more than once, such "
            f"as {again}. Remove the repeated rows."
        )


# --- the two kinds of files ----------------------------------------------------------------------


@contextmanager
def _opened(given: AnySources, rules: Rules) -> Iterator[_List | _Scored]:
    if isinstance(given, TargetList):
        yield _List(given, given.path or "the target list")
    elif is_path(given) and not is_scored(path := Path(str(given))):
        try:
            targets = TargetList.read(path, needs_footer=False)
        except CatalogError as error:
            if "no column 'target_id'" not in str(error):
                raise
            raise CatalogError(
                f"{path}: neither a scored catalog nor a target list. Give one that 'targetsel "
                "score' or 'targetsel select' wrote."
            ) from None
        yield _List(targets, path)
    else:
        with scored_catalog(Path(str(given)) if is_path(given) else given, rules) as catalog:
            wanted = tuple(catalog.quantiles.values())
            yield _Scored(catalog.file, wanted)


class _Scored:
    """Sources of a scored catalog."""

    def __init__(self, file: ScoredSources, quantiles: Sequence[float]) -> None:
        self._file, self.place, self.footer = file, file.path, file.footer
        self.names = {role: file.names[role] for role in ROLES}
        self.quantiles = tuple(quantiles)
        unseen = unseen_columns(file.schema)
        written = {each.name for each in scored_columns(1, 1, redshift=True)}
        self.added = pa.schema(
            [each for each in file.schema if each.name in unseen and each.name not in written]
        )
        self._columns = [each for each in file.schema.names if each not in unseen]
        if HEALPIX.name not in self._columns:
            self._columns.append(HEALPIX.name)

    def ids(self) -> np.ndarray:
        name = self.names["source_id"]
        pieces = [in_one_piece(each[name]) for each in self._file.tables([name])]
        return np.concatenate(
            [each.to_numpy(zero_copy_only=False) for each in pieces] or [np.empty(0, np.int64)]
        )

    def rows(self, rows: np.ndarray) -> pa.Table:
        """Rows with these ascending numbers."""
        first, found = 0, []
        for table in self._file.tables(self._columns):
            own = rows[(rows >= first) & (rows < first + len(table))] - first
            found.append(table.take(pa.array(own)))
            first += len(table)
        return pa.concat_tables(found).combine_chunks()


class _List:
    """Sources of a target list."""

    quantiles = None

    def __init__(self, targets: TargetList, place: Path | str) -> None:
        self.place, self.footer = place, targets.footer
        self.names = {role: role for role in ROLES}
        names = targets.table.column_names
        redshift = {PHOTOZ, f"{PHOTOZ}_std", f"{PHOTOZ}_q16"} <= {*names}
        written = {each.name for each in scored_columns(1, 1, redshift)}
        own = {each.name for each in TARGETS.columns} - {*ROLES, HEALPIX.name}
        kept = [each for each in names if each not in written and each not in own]
        later = [each for each in kept if _OBSERVED.fullmatch(each)]
        self.added = pa.schema([targets.table.schema.field(each) for each in later])
        self._table = targets.table.select([each for each in kept if each not in later])

    def ids(self) -> np.ndarray:
        return self._table["source_id"].to_numpy()

    def rows(self, rows: np.ndarray) -> pa.Table:
        """Rows with these numbers."""
        return self._table.take(pa.array(rows)).combine_chunks()
