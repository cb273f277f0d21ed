"""Sources of known nature: what the posterior said of them, and what turned out to be true."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from targetsel.calibration.known_sources import STATUS, Join, Truth
from targetsel.errors import CatalogError, RuleError, did_you_mean
from targetsel.rules import formula as f
from targetsel.rules.plan import ClassFormulas
from targetsel.rules.rules import Rules
from targetsel.selection.candidates import classes_in, ids_of
from targetsel.selection.evaluation import all_hold, holds, probability
from targetsel.selection.scan import scored_file
from targetsel.selection.sources import DrawnSources, Sources


@dataclass(frozen=True)
class ClaimOutcomes:
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
    ) -> ClaimOutcomes:
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
            See `Truth.read`; it must have the proxies that the class speaks of. Sources that only
            one of the files has, or without a posterior, are left out.
        quantiles : mapping, optional
            Of the catalog that targets are chosen from (see `quantiles_in`), if the rules
            name any; otherwise those of the calibration sources themselves.

        Raises
        ------
        RuleError
            If the class claims nothing.
        CatalogError
            If one is not such a file, or they share no source of which something is known.
        """
        rules[name]
        with scored_file(scored) as file:
            classes = classes_in(file, rules, quantiles)
            claim = claim_of(classes[name])
            conditions = asked(rules, classes, name)
            known = Truth.read(truth, file.schema)
            for proxy in sorted(f.proxies(claim) - {*known.names}):
                raise CatalogError(
                    f"{truth}: no column '{proxy}', of which class {name} speaks."
                    f"{did_you_mean(proxy, known.names)}"
                )
            join = Join(known, scored)
            wanted = [*conditions, f.Probability(claim), ids_of(file)]
            if STATUS in file.schema.names:
                wanted.append(f.Column(STATUS, type="other"))
            pieces = []
            for block in file.sources(wanted):
                rows, places = join.rows(block.table)
                pieces.append(_piece(conditions, claim, block.take(rows), known, places))
            join.finish()
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
    conditions: list[f.Formula], claim: f.Formula, sources: Sources, known: Truth, rows: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The columns of `ClaimOutcomes` for a block of sources, which have these rows in `known`."""
    passed, likely = all_hold(conditions, sources), probability(claim, sources)
    values = {name: known.proxies[name][rows, None] for name in f.proxies(claim)}
    true = np.broadcast_to(holds(claim, DrawnSources(sources, values)), (len(sources), 1))[:, 0]
    predicted = np.isfinite(likely)
    return passed[predicted], likely[predicted], true[predicted]
