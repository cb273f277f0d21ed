"""Outcomes of a class's claim for sources with spectra: its probability, and whether it is true."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from targetsel.errors import CatalogError, did_you_mean
from targetsel.rules import formula as f
from targetsel.rules.rules import Rules
from targetsel.scored.columns import STATUS
from targetsel.scored.known_sources import Join, Truth
from targetsel.selection.evaluation import all_hold, probability
from targetsel.selection.membership import comes_true
from targetsel.selection.scored_file import scored_catalog


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
            claim, conditions = catalog[name].claim, catalog.of_spectra(name)
            known = Truth.read(truth, catalog.file.schema)
            for proxy in sorted(f.proxies(claim) - {*known.names}):
                raise CatalogError(
                    f"{truth}: no column '{proxy}', of which class {name} speaks."
                    f"{did_you_mean(proxy, known.names)}"
                )
            join = Join(known, scored)
            pieces = []
            formulas = (*conditions, f.Probability(claim))
            for block in catalog.file.sources(formulas, ["source_id", STATUS]):
                rows, places = join.rows(block.table)
                sources = block.take(rows)
                likely = probability(claim, sources)
                measured = {each: known.proxies[each][places] for each in f.proxies(claim)}
                true = comes_true(claim, sources, measured)
                piece = (all_hold(conditions, sources), likely, true)
                pieces.append([values[np.isfinite(likely)] for values in piece])
            join.finish()
        return cls(*(np.concatenate(part) for part in zip(*pieces, strict=True)))
