"""A class of targets as a few cuts on the catalog alone, and what that loses.

Surveys publish cuts. Those that are found here keep as many sources as the class's list has, and of
these the most for which the class's claim is probable. They are found on one half of the sky; what
they lose is measured on the other.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from targetsel.documents.text_table import text_table
from targetsel.errors import CatalogError, OutputError
from targetsel.rules import formula as f
from targetsel.rules.catalog_part import unseen_columns
from targetsel.rules.rules import Rules
from targetsel.scored.truth import GROUP
from targetsel.selection.cut_search import PlainCut, best_cuts
from targetsel.selection.evaluation import holds, probability
from targetsel.selection.membership import apply_rules
from targetsel.selection.needed import n_not_needed
from targetsel.selection.plain_quantities import (
    PlainQuantity,
    linear_combination,
    plain_quantities,
)
from targetsel.selection.scored_sources import ScoredCatalog, scored_catalog
from targetsel.selection.select import preview
from targetsel.sky.positions import coarser
from targetsel.statistics.resampling import Estimate, Resampling
from targetsel.tables.files import written_beside
from targetsel.tables.ids import uniform

MOST_CUTS = 20
LARGEST_GROUP = 0.05  # share of the sources
FEWEST = 10  # members that each half of the sky must have
MOST_LEARNT = 20_000  # sources from which cuts are found
ENOUGH_CELLS = 64
ORDERS = range(2, 13)  # of HEALPix cells; the first is taken that gives enough of them


@dataclass(frozen=True)
class ListQuality:
    """A list on the half of the sky that was kept aside.

    Attributes
    ----------
    name : str
    n_sources : int
    purity : Estimate
        Share of its sources for which the class's claim holds, as predicted.
    completeness : Estimate
        Share of all such sources that it has.
    """

    name: str
    n_sources: int
    purity: Estimate
    completeness: Estimate


@dataclass(frozen=True)
class DistilledRules:
    """A class as cuts on a catalog.

    Attributes
    ----------
    path : Path
        The rule file.
    text : str
        What it says.
    cuts : tuple of str
        Its conditions.
    lists : tuple of two ListQuality
        The class's list and that of the cuts, on the other half of the sky.
    kept_purity : Estimate
        Purity of the cuts over that of the list.
    shared : float
        Share of the class's list that the cuts have, too.
    """

    path: Path
    text: str
    cuts: tuple[str, ...]
    lists: tuple[ListQuality, ListQuality]
    kept_purity: Estimate
    shared: float

    @property
    def rules(self) -> Rules:
        """The rules as they are written."""
        return Rules.parse(self.text)

    def __repr__(self) -> str:
        headings = ("on the other half of the sky", "sources", "purity", "completeness")
        rows = [
            (each.name, f"{each.n_sources:,}", _percent(each.purity), _percent(each.completeness))
            for each in self.lists
        ]
        return "\n".join(
            [
                *self.cuts,
                "",
                *text_table(headings, rows),
                f"The cuts keep {_percent(self.kept_purity)} of the list's purity, and "
                f"{self.shared:.0%} of its sources; intervals are of 95 %.",
            ]
        )


def _percent(estimate: Estimate) -> str:
    low, high = estimate.interval()
    return f"{float(estimate.value):.1%} ({low:.1%} to {high:.1%})"


def distil(
    scored: Path, rules: Rules, name: str, output: Path, cuts: int, columns: Sequence[str] = ()
) -> DistilledRules:
    """Write a rule file of a few cuts on catalog columns that come closest to a class.

    Parameters
    ----------
    scored : Path, or a scored catalog in memory
    rules : Rules
    name : str
        The class.
    output : Path
        The rule file to be written; there must be none yet.
    cuts : int
        The most cuts.
    columns : sequence of str
        Columns to compare besides magnitudes, colours and sizes in arcsec.

    Raises
    ------
    CatalogError
        If the scored catalog cannot be read, lacks predictions or columns, or has too few members.
    RuleError
        If the rules do not fit, or have no such class.
    OutputError
        If the file is there already, or cannot be written.
    """
    if output.exists():
        raise OutputError(f"{output}: is there already. Name another file with -o, or remove it.")
    rules[name]
    sample = _Sample.read(scored, rules, name)
    fitted = sample.fitted
    quantities = plain_quantities(sample.table, columns)
    if (combined := linear_combination(sample.table, sample.wanted, fitted)) is not None:
        quantities.append(combined)
    rows = sample.learnt
    n_kept = max(round(sample.listed[fitted].sum() * len(rows) / fitted.sum()), 1)
    values = np.stack([each.values[rows] for each in quantities])
    found = best_cuts(values, sample.wanted[rows], n_kept, cuts)
    if not found:
        raise CatalogError(
            f"{sample.place}: no quantity of the catalog is known for as many sources as the list "
            f"of {name} has. Name other columns with --column."
        )
    written = tuple(_condition(each, quantities) for each in found)
    text = _rule_text(output, rules, name, written, "")
    kept = apply_rules(Rules.parse(text), sample.table).selected[:, 0]
    lists, ratio = sample.quality(kept, name)
    other = ~fitted
    shared = float(kept[other & sample.listed].mean())
    told = DistilledRules(output, text, written, lists, ratio, shared)
    text = _rule_text(output, rules, name, written, _figures(told))
    with written_beside(output) as beside:
        beside.write_text(text, encoding="utf-8", newline="\n")
    return DistilledRules(output, text, written, lists, ratio, shared)


@dataclass(frozen=True, eq=False)
class _Sample:
    """All sources, in the order of the sky: catalog columns, and what the class makes of them."""

    place: Path | str
    table: pa.Table
    wanted: np.ndarray  # probability of the class's claim, 0 where the catalog rules it out
    listed: np.ndarray  # whether the class's list has the source
    group: np.ndarray  # sources that stand on the same half

    @classmethod
    def read(cls, scored: Path, rules: Rules, name: str) -> _Sample:
        with scored_catalog(scored, rules) as catalog:
            file = catalog.file
            if n := n_not_needed(file):
                raise CatalogError(
                    f"{file.path}: {n:,} sources were not needed when it was scored, so that "
                    "nothing is known of them. Score the catalog without --rules."
                )
            if not len(file):
                raise CatalogError(
                    f"{file.path}: has no sources, and cuts are found from some. Name another."
                )
            table, wanted, claims = _predicted(catalog, name)
            targets = preview(catalog).table
            chosen = ((targets["target_bits"].to_numpy() >> rules[name].bit) & 1).astype(bool)
            ids = table[file.names["source_id"]].to_pylist()
            members = {*targets["source_id"].filter(pa.array(chosen)).to_pylist()}
            listed = np.array([each in members for each in ids], dtype=bool)
            keys = [("_healpix_29", "ascending"), (file.names["source_id"], "ascending")]
            order = pa.compute.sort_indices(table, sort_keys=keys).to_numpy()
            table, listed, wanted = table.take(pa.array(order)), listed[order], wanted[order]
            sample = cls(
                file.path, table, wanted if claims else listed.astype(float), listed, _groups(table)
            )
        for half in (sample.fitted, ~sample.fitted):
            if (n := int(sample.listed[half].sum())) < FEWEST:
                raise CatalogError(
                    f"{sample.place}: one half of the sky has {n:,} members of {name}, and cuts "
                    f"need {FEWEST} on each. Score more of the sky, or loosen the class."
                )
        return sample

    @property
    def fitted(self) -> np.ndarray:
        """Sources on the half of the sky on which cuts are found, shape (N,)."""
        return half_of(self.group)

    @property
    def learnt(self) -> np.ndarray:
        """The rows from which cuts are found: those of the half, or some of them by a hash."""
        rows = np.flatnonzero(self.fitted)
        if len(rows) > MOST_LEARNT:
            drawn = uniform(self.table["_healpix_29"].to_numpy()[rows], 0, "distil sources")[:, 0]
            rows = np.sort(rows[np.argsort(drawn, kind="stable")[:MOST_LEARNT]])
        return rows

    def quality(
        self, kept: np.ndarray, name: str
    ) -> tuple[tuple[ListQuality, ListQuality], Estimate]:
        """The two lists on the other half, and the ratio of their purities."""
        other = ~self.fitted
        wanted, groups = self.wanted[other], self.group[other]
        resampling = Resampling(groups)
        found = []
        for title, chosen in (
            (f"{name}, with networks", self.listed[other]),
            ("cuts", kept[other]),
        ):
            purity = resampling.estimate(_share(wanted, chosen))
            completeness = resampling.estimate(_share(chosen.astype(float), wanted))
            found.append(ListQuality(title, int(chosen.sum()), purity, completeness))
        first, second = found
        with np.errstate(divide="ignore", invalid="ignore"):
            ratio = Estimate(second.purity.values / first.purity.values)
        return (first, second), ratio


def half_of(group: np.ndarray) -> np.ndarray:
    """Whether groups stand on the half of the sky on which cuts are found, shape (N,)."""
    found: np.ndarray = uniform(group, 0, "distil halves")[:, 0] < 0.5
    return found


def _share(values: np.ndarray, among: np.ndarray):  # type: ignore[no-untyped-def]
    """The weighted mean of values among some sources, as a function of weights."""

    def of(weight: np.ndarray) -> float:
        total = float((weight * among).sum())
        return float((weight * among * values).sum()) / total if total > 0 else np.nan

    return of


def _predicted(catalog: ScoredCatalog, name: str) -> tuple[pa.Table, np.ndarray, bool]:
    """Catalog columns of all sources, the probability of the class's claim, and if it has one."""
    one, file = catalog.classes[name], catalog.file
    allowed = catalog.part.of_class(
        [each for each in one.conditions if each.step == "where"], with_sample=False
    )
    formulas: list[f.Formula] = [] if isinstance(allowed, bool) else [allowed]
    if one.truth is not None:
        formulas.append(f.Probability(one.truth))
    unseen = unseen_columns(file.schema)
    names = [each for each in file.schema.names if each not in unseen]
    tables, wanted = [], []
    for block in file.sources(formulas, [*names, "_healpix_29"]):
        likely = np.ones(len(block))
        if one.truth is not None:
            likely = np.nan_to_num(probability(one.truth, block))
        if not isinstance(allowed, bool):
            likely = np.where(holds(allowed, block), likely, 0.0)
        wanted.append(np.broadcast_to(likely, len(block)))
        tables.append(block.table.select([*dict.fromkeys([*names, "_healpix_29"])]))
    return pa.concat_tables(tables), np.concatenate(wanted), one.truth is not None


def _groups(table: pa.Table) -> np.ndarray:
    """The HEALPix cell of every source, or its group of images of one galaxy where they have one.

    The cells are the largest of which there are enough. A column of which one group has more than
    `LARGEST_GROUP` of the sources, such as -1 for those in none, is not of images of galaxies.
    """
    if GROUP in table.column_names and not table[GROUP].null_count:
        groups: np.ndarray = table[GROUP].to_numpy()
        number = np.unique(groups, return_counts=True)[1]
        if number.max(initial=0) <= LARGEST_GROUP * len(groups):
            few = len(number) < ENOUGH_CELLS
            return coarser(_healpix(table), ORDERS[-1]) if few else groups
    for order in ORDERS:
        cells = coarser(_healpix(table), order)
        if len(np.unique(cells)) >= ENOUGH_CELLS:
            break
    return cells


def _healpix(table: pa.Table) -> np.ndarray:
    found: np.ndarray = table["_healpix_29"].to_numpy()
    return found


def _condition(cut: PlainCut, quantities: Sequence[PlainQuantity]) -> str:
    quantity = quantities[cut.quantity]
    threshold = repr(cut.threshold).removesuffix(".0")
    return f"{quantity.text} {'>' if cut.above else '<'} {threshold} {quantity.unit}".rstrip()


def _figures(told: DistilledRules) -> str:
    """Comment lines that say what the cuts lose."""
    first, second = told.lists
    lines = ["Measured on the half of the sky on which they were not found, as predicted:"]
    for each in (first, second):
        lines.append(
            f"  {each.name}: {each.n_sources:,} sources, purity {_percent(each.purity)}, "
            f"completeness {_percent(each.completeness)}"
        )
    return "".join(f"# {line}\n" for line in lines)


def _rule_text(
    output: Path, rules: Rules, name: str, conditions: Sequence[str], figures: str
) -> str:
    stem = re.sub(r"[^A-Za-z0-9_-]+", "-", output.stem).strip("-") or "cuts"
    priority = rules[name].priority
    where = "".join(f"      - {each}\n" for each in conditions)
    return (
        f"# Cuts on the catalog alone that come closest to the class {name}.\n{figures}"
        "schema: targetsel/rules/v1\n"
        f"name: {stem}\n"
        f"description: Cuts on catalog columns in place of the class {name}.\n\n"
        "classes:\n"
        f"  {name}:\n"
        "    description: Cuts that need no images.\n"
        f"    priority: {priority if isinstance(priority, int) else 3000}\n"
        "    where:\n"
        f"{where}"
    )
