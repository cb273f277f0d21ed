"""Sources of known nature: what the posterior said of them, and what turned out to be true."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from targetsel.errors import CatalogError, RuleError, did_you_mean
from targetsel.rules import formula as f
from targetsel.rules.plan import ClassFormulas
from targetsel.rules.rules import Rules
from targetsel.selection.candidates import classes_in, ids_of
from targetsel.selection.evaluation import all_hold, holds, probability
from targetsel.selection.scan import scored_file
from targetsel.selection.sources import DrawnSources, Sources, numbers
from targetsel.tables.parquet import read_footer


@dataclass(frozen=True)
class Calibration:
    """n scored sources with spectra, for one target class.

    Attributes
    ----------
    passed : ndarray of bool, shape (n,)
        Whether the class's ``where`` is true and its ``unless`` is not. Footprint, exclusions and
        sampling say nothing about a source's spectrum and are not looked at.
    probability : ndarray, shape (n,)
        The probability of what the class claims.
    true : ndarray of bool, shape (n,)
        Whether the claim holds for the proxies measured on the spectrum. A source of which that
        could not be measured does not count as true: it would be no success as a target either.
    """

    passed: np.ndarray
    probability: np.ndarray
    true: np.ndarray

    def __len__(self) -> int:
        return len(self.true)

    @classmethod
    def read(
        cls,
        rules: Rules,
        name: str,
        scored: Path,
        truth: Path,
        quantiles: Mapping[f.Formula, float] | None = None,
    ) -> Calibration:
        """The calibration of class `name` from a scored file and the truth about its sources.

        Parameters
        ----------
        rules : Rules
        name : str
            The target class; it must claim something about its members' proxies.
        scored : Path
            A scored file, of the same kind of sources that targets are chosen from, and scored by
            networks that have not been trained on them.
        truth : Path
            Parquet with a column of the same ids, under the same name or `source_id`, and true
            proxies under the names and in the units of the scored file. Sources that only one of
            the files has, or without a posterior, are left out.
        quantiles : mapping, optional
            Of the catalog that targets are chosen from (see `quantiles_in`), if the rules
            name any; otherwise those of the calibration sources themselves.
        """
        rules[name]
        with scored_file(scored) as file:
            classes = classes_in(file, rules, quantiles)
            claim = claim_of(classes[name])
            conditions = asked(rules, classes, name)
            table = _read_truth(truth, sorted(f.proxies(claim)), file.schema, file.names)
            ids = table.column(0).combine_chunks()
            pieces = []
            for block in file.sources((*conditions, f.Probability(claim), ids_of(file))):
                places = pc.index_in(
                    block.table.column(file.names["source_id"]).cast(ids.type), ids
                )
                known = places.is_valid().to_numpy(zero_copy_only=False)
                measured = table.take(places.filter(pa.array(known)))
                pieces.append(_piece(conditions, claim, block.take(known), measured))
        if not pieces:
            return cls(np.zeros(0, bool), np.zeros(0), np.zeros(0, bool))
        return cls(*(np.concatenate(part) for part in zip(*pieces, strict=True)))


def claim_of(target_class: ClassFormulas) -> f.Formula:
    """What the class claims about its members' true proxies.

    Raises
    ------
    RuleError
        If it claims nothing.
    """
    if target_class.truth is None:
        raise RuleError(
            f"class {target_class.name} claims nothing about its members' spectra, so that no "
            "spectrum can prove it right or wrong; add a condition such as "
            "P(ew_halpha > 20 Angstrom) >= 0.5"
        )
    return target_class.truth


def asked(rules: Rules, classes: Mapping[str, ClassFormulas], name: str) -> list[f.Formula]:
    """The conditions of ``where``, and that those of the classes under ``unless`` do not hold."""
    own = [each.formula for each in classes[name].conditions if each.step == "where"]
    others = [f.All(tuple(asked(rules, classes, each))) for each in rules[name].unless]
    return own + [f.Except(each) for each in others]


def _piece(
    conditions: list[f.Formula], claim: f.Formula, sources: Sources, measured: pa.Table
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The columns of a `Calibration` for a block of sources."""
    passed, likely = all_hold(conditions, sources), probability(claim, sources)
    values = {name: numbers(measured.column(name))[:, None] for name in f.proxies(claim)}
    true = np.broadcast_to(holds(claim, DrawnSources(sources, values)), (len(sources), 1))[:, 0]
    known = np.isfinite(likely)
    return passed[known], likely[known], true[known]


def _read_truth(
    path: Path, proxies: list[str], schema: pa.Schema, names: dict[str, str]
) -> pa.Table:
    """The ids, and the true proxies that matter, of a truth file."""
    read_footer(path)
    there = pq.read_schema(path)
    ids = names["source_id"] if names["source_id"] in there.names else "source_id"
    for name in (ids, *proxies):
        if name not in there.names:
            raise CatalogError(
                f"{path}: no column '{name}'; a truth file holds the ids and the measured proxies "
                f"that the rules speak of.{did_you_mean(name, there.names)}"
            )
    ours, theirs = schema.field(names["source_id"]).type, there.field(ids).type
    if pa.types.is_integer(ours) != pa.types.is_integer(theirs):
        raise CatalogError(f"{path}: ids in '{ids}' are {theirs}; the scored file's are {ours}")
    for name in proxies:
        ours, theirs = (_unit(each.field(name)) for each in (schema, there))
        if ours and theirs and ours != theirs:
            raise CatalogError(
                f"{path}: column '{name}' is in {theirs}, the scored file has it in {ours}; "
                "convert it"
            )
    table = pq.read_table(path, columns=[ids, *proxies]).select([ids, *proxies])
    if len(pc.unique(table.column(0))) < table.num_rows:
        raise CatalogError(f"{path}: ids in '{ids}' are repeated; keep one row per source")
    return table


def _unit(field: pa.Field) -> str:
    return (field.metadata or {}).get(b"unit", b"").decode()
