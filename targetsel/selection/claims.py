"""Claims of classes about their members' spectra, tested on sources with known spectra.

A class claims what its ``where`` says about true proxies (see `formula.truth`). Sources with known
spectra show whether the claim is true of them, and so how pure a class is.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from targetsel.documents.brief import brief
from targetsel.errors import CatalogError, did_you_mean
from targetsel.rules import formula as f
from targetsel.rules.plan import plan
from targetsel.rules.rules import Rules
from targetsel.scored.columns import STATUS, column_names
from targetsel.scored.file import ScoredFile
from targetsel.scored.known_match import add_nothing_known
from targetsel.scored.labelled_sources import Join
from targetsel.scored.truth import GROUP, Truth, check_groups
from targetsel.selection.evaluation import all_hold, holds, probability
from targetsel.selection.scored_sources import scored_catalog
from targetsel.selection.sources import DrawnSources, Sources
from targetsel.sky.positions import SAME_PLACE, separation
from targetsel.spectra.photoz import column_of_truth
from targetsel.tables.columns import floats
from targetsel.tables.ids import IdIndex, uniform

# --- claims on known spectra ---------------------------------------------------------------------


def truth(
    rules: Rules, name: str, scored: pa.Table, measured: Mapping[str, np.ndarray] | pa.Table
) -> np.ndarray:
    """Whether what class `name` claims about its members holds for each source, shape (N,).

    `Membership.probability` is the probability of the same claim; here it is evaluated on proxies
    measured on real spectra.

    Parameters
    ----------
    rules : Rules
    name : str
        The target class.
    scored : pa.Table
        N sources in the scored layout; for the meaning of names, and for measured columns.
    measured : mapping of proxy name to ndarray, shape (N,)
        True proxies of the same sources in the same order, in the units of `scored`; NaN where
        one could not be measured. An Arrow table with such columns serves as well.

    Raises
    ------
    CatalogError
        If a proxy that the class names was not measured.
    """
    rules[name]
    (claim,) = (each.truth for each in plan(rules, scored.schema).classes if each.name == name)
    if claim is None:
        return np.ones(scored.num_rows, dtype=bool)
    values = {}
    for proxy in sorted(f.proxies(claim)):
        try:
            column = measured[proxy]
        except KeyError:
            raise CatalogError(
                f"class {name} speaks of '{proxy}', which was not measured. Measure "
                "it with 'targetsel spectra measure', or leave the class out."
            ) from None
        is_arrow = isinstance(column, pa.Array | pa.ChunkedArray)
        values[proxy] = floats(column) if is_arrow else np.asarray(column)
    return comes_true(claim, Sources(scored), values)


def comes_true(
    claim: f.Formula, sources: Sources, measured: Mapping[str, np.ndarray]
) -> np.ndarray:
    """Whether a claim holds for proxies measured on real spectra, shape (N,).

    `measured` gives every proxy of the claim, shape (N,), NaN where it could not be measured; the
    sources give everything else.
    """
    values = {proxy: measured[proxy][:, None].astype(np.float64) for proxy in f.proxies(claim)}
    true = holds(claim, DrawnSources(sources, values))
    return np.broadcast_to(true, (len(sources), 1))[:, 0]


@brief
@dataclass(frozen=True)
class ClaimOutcomes:
    """n scored sources with spectra, for one target class.

    Attributes
    ----------
    passed : ndarray of bool, shape (n,)
        Whether the class's ``where`` is true and its ``unless`` is not. Footprint, exclusions and
        sampling say nothing about a source's spectrum and are ignored.
    probability : ndarray, shape (n,)
        The probability of what the class claims.
    true : ndarray of bool, shape (n,)
        Whether the claim holds for the proxies measured on the spectrum. A source for which they
        could not be measured does not count as true: it would be no success as a target either.
    independent : ndarray of bool, shape (n,)
        See `independent_sources`.
    group : ndarray of int, shape (n,)
        Number of each source's group, from 0 up; each source's own where no groups are known.
    weight : ndarray, shape (n,)
        Number of sources that each stands for.
    """

    passed: np.ndarray
    probability: np.ndarray
    true: np.ndarray
    independent: np.ndarray
    group: np.ndarray
    weight: np.ndarray

    def __len__(self) -> int:
        return len(self.true)

    @classmethod
    def none(cls) -> ClaimOutcomes:
        """The outcomes of no source."""
        nobody, nothing = np.zeros(0, bool), np.zeros(0)
        return cls(nobody, nothing, nobody, nobody, np.zeros(0, int), nothing)

    @classmethod
    def read(
        cls,
        rules: Rules,
        name: str,
        scored: Path,
        truth: Path,
        quantiles: Mapping[f.Formula, float] | None = None,
    ) -> ClaimOutcomes:
        """The outcomes of class `name` from a scored file and the truth about its sources.

        Parameters
        ----------
        rules : Rules
        name : str
            The target class; it must claim something about its members' proxies.
        scored : Path
            A scored file, of the same kind of sources that targets are chosen from, and scored by
            networks that have not been trained on them.
        truth : Path
            See `Truth.read`; it must have the proxies that the class speaks of. Sources that only
            one of the files has, or without a posterior, are left out.
        quantiles : mapping, optional
            Quantiles of the catalog that targets are chosen from (`ScoredCatalog.quantiles`); by
            default those of the calibration sources themselves.

        Raises
        ------
        RuleError
            If the class claims nothing.
        CatalogError
            If one is not such a file, or they share no source of which something is known.
        """
        with scored_catalog(scored, rules, quantiles) as catalog:
            add_nothing_known(catalog.file)  # to choose those again is not the question here
            claim, conditions = catalog[name].claim, catalog.of_spectra(name)
            known = Truth.read(truth, catalog.file.schema)
            for proxy in sorted(f.proxies(claim) - {*known.names}):
                column = column_of_truth(proxy)
                of = "" if column == proxy else f", the truth of '{proxy}'"
                raise CatalogError(
                    f"{truth}: no column '{column}'{of}, of which class {name} speaks."
                    f"{did_you_mean(column, known.columns)}"
                )
            join = Join(known, catalog.file.path)
            pieces, unmeasured = [], f.proxies(claim)
            formulas = (*conditions, f.Probability(claim))
            columns = ["source_id", "ra", "dec", STATUS, GROUP]
            for block in catalog.file.sources(formulas, columns):
                rows, places = join.rows(block.table)
                sources = block.take(rows)
                likely = probability(claim, sources)
                measured = {each: known.proxies[each][places] for each in f.proxies(claim)}
                unmeasured = {n for n in unmeasured if not np.isfinite(measured[n]).any()}
                true = comes_true(claim, sources, measured)
                ids = catalog.file.ids(sources).to_numpy(zero_copy_only=False)
                group = _groups(known, places, sources.table, catalog.file.path)
                passed = all_hold(conditions, sources)
                groups = ids if group is None else group
                piece = (passed, likely, true, ids, groups, known.weight[places])
                pieces.append([values[np.isfinite(likely)] for values in piece])
            join.finish()
            if unmeasured:
                column = column_of_truth(min(unmeasured))
                raise CatalogError(
                    f"{truth}, column '{column}': has no finite number for any source of "
                    f"{scored}, and class {name} speaks of it. Measure it on the spectra."
                )
        parts = [np.concatenate(part) for part in zip(*pieces, strict=True)]
        passed, likely, true, ids, groups, weight = parts
        group = np.unique(groups, return_inverse=True)[1]
        independent = independent_sources(ids, group, weight)
        return cls(passed, likely, true, independent, group, weight)


def _groups(
    known: Truth, places: np.ndarray, table: pa.Table, scored: Path | str
) -> np.ndarray | None:
    """Group of each source, from the truth or the scored file; None where neither has groups."""
    if known.group is not None:
        return known.group[places]
    if GROUP not in table.column_names:
        return None
    check_groups(table, scored)
    return table[GROUP].to_numpy()


def independent_sources(ids: np.ndarray, group: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Sources that may be counted as independent: boolean mask, shape (n,).

    Several sources of one group (images of one galaxy, galaxies of one field) tell less than as
    many of different groups. So one of each is kept, with a chance in proportion to its weight;
    and of the groups a share in proportion to their mean weight, so that those kept are a sample
    of what the weights stand for. A hash of the ids decides. Without weights every group counts
    once.

    Parameters
    ----------
    ids, group : ndarray, shape (n,)
    weight : ndarray, shape (n,)
        0 or more, some more.
    """
    pick, keep = uniform(ids, 0, "one source of each group", 2).T
    _, place = np.unique(group, return_inverse=True)
    mean = np.bincount(place, weight) / np.bincount(place)
    with np.errstate(divide="ignore"):
        # The largest of u^(1/w) is drawn in proportion to w (Efraimidis & Spirakis 2006).
        order = np.lexsort((np.log(pick) / weight, place))
    last = np.flatnonzero(np.diff(place[order], append=-1))
    independent = np.zeros(len(ids), dtype=bool)
    independent[order[last]] = True
    return independent & (keep * mean.max(initial=0.0) < mean[place])


# --- targets that are calibration sources --------------------------------------------------------


def count_shared(scored: Path, labelled: tuple[Path, Path]) -> tuple[int, int]:
    """Sources of a catalog that are calibration sources, and all, with a prediction or without.

    They are the same if their ids are, and their positions agree.

    Parameters
    ----------
    scored : Path
        The scored catalog that targets are chosen from.
    labelled : pair of Path
        A scored catalog and the truth about its sources (see `ClaimOutcomes.read`).
    """
    with ScoredFile(labelled[0]) as file:
        join = Join(Truth.read(labelled[1], file.schema), file.path)
        pieces = [_where_and_which(batch.take(join.rows(batch)[0])) for batch in _places(file)]
    ids, ra, dec = (np.concatenate(part) for part in zip(*pieces, strict=True))
    index, shared, total = IdIndex(ids), 0, 0
    with ScoredFile(scored) as file:
        for batch in _places(file):
            ours, here_ra, here_dec = _where_and_which(batch)
            rows = index.rows(ours)
            found, there = rows >= 0, rows[rows >= 0]
            apart = separation(here_ra[found], here_dec[found], ra[there], dec[there]) * 3600
            shared += int((apart <= SAME_PLACE).sum())
            total += len(ours)
    return shared, total


def _places(file: ScoredFile) -> Iterator[pa.Table]:
    wanted = (*file.names.values(), STATUS)
    return file.tables([name for name in file.schema.names if name in wanted])


def _where_and_which(rows: pa.Table) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Ids, ra and dec [deg] of rows of a scored file."""
    named = column_names(rows.schema)
    ids = rows[named["source_id"]].to_numpy()
    return ids, floats(rows[named["ra"]]), floats(rows[named["dec"]])
