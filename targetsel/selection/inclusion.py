"""Inclusion of classes with a random share: the probability with which each target was chosen.

Of a class with ``limit: {total: T, random: r}`` T - ceil(r T) places go to the best by rank, as far
as cells and members allow. The other n = ceil(r T) go by a hash to members that are not among
these, N of them; all have the same chance, n / N. So a target that its rank has chosen has
inclusion 1, every other member n / N, times the share of ``sample``. These are the two strata of a
sample drawn without replacement, the first of them whole: for any quantity y of members, given
their ranks, the sum over targets of y / inclusion is an unbiased estimate of the sum over members
(Horvitz & Thompson 1952, JASA 47, 663). The hash of places is none of those that break ties.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from targetsel.errors import counted
from targetsel.rules.plan import INCLUSION
from targetsel.rules.rule_file import Limit
from targetsel.rules.rules import Rules
from targetsel.tables.columns import Column


@dataclass(frozen=True)
class RandomPlaces:
    """The places of a class that chance gave.

    Attributes
    ----------
    n_places : int
    n_members : int
        Members that are not chosen by rank, of which it took them.
    """

    n_places: int
    n_members: int

    @property
    def inclusion(self) -> float:
        """The chance that each of these members had."""
        return self.n_places / self.n_members if self.n_members else 0.0

    @property
    def text(self) -> str:
        """It in words."""
        if not self.n_members:
            return "all members have places, so chance chose none: the inclusion of each is 1"
        return (
            f"chance gave {counted(self.n_places, 'place')}, to {self.n_members:,} members that "
            f"are not chosen by rank: the inclusion of each is {self.inclusion:.3g}"
        )


def random_places(limit: Limit) -> int:
    """How many of the places of a limit chance is to give."""
    if limit.random is None or limit.total is None:
        return 0
    return min(limit.total, math.ceil(limit.random * limit.total - 1e-9))


def inclusion_column(name: str) -> Column:
    """The column of a class's inclusion probabilities."""
    about = f"Probability that this candidate of {name} is chosen"
    where = "the target is no candidate of the class"
    return Column(INCLUSION + name, pa.float64(), "", "stat.probability", about, where)


def stated(rules: Rules) -> list[str]:
    """The classes whose targets' inclusion a list states: those with a random share."""
    return [each.name for each in rules.classes if each.limit.random is not None]


def with_inclusion(
    sources: pa.Table, names: Sequence[str], values: Sequence[np.ndarray]
) -> pa.Table:
    """Sources with a column of inclusion for each of these classes; null for NaN."""
    for name, inclusion in zip(names, values, strict=True):
        field = inclusion_column(name).field
        array = pa.array(inclusion, field.type, mask=np.isnan(inclusion))
        sources = sources.append_column(field, array)
    return sources
