"""`dedup` and ``limit``: steps 8 to 11 of `rules.plan`, which compare the members of a class.

The outcome does not depend on the order or the pieces in which the members come.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

import numpy as np
import pyarrow as pa

from targetsel.feature_cells.columns import CELL, CELL_KNOWN, cell_numbers, diminished
from targetsel.rules.cells import has_information
from targetsel.rules.plan import ClassFormulas
from targetsel.rules.rule_file import TargetClass
from targetsel.rules.rules import Rules
from targetsel.scored.columns import column_names
from targetsel.scored.known_columns import KNOWN, REDSHIFT, WARNING, drops_known
from targetsel.selection.inclusion import (
    RandomPlaces,
    random_places,
    stated,
    with_inclusion,
)
from targetsel.selection.membership import Membership
from targetsel.sky.positions import SQUARE_DEGREES, Region, chord, coarser, unit_vectors
from targetsel.tables.columns import floats
from targetsel.tables.ids import uniform

# Once this many members have gathered, those beyond the limit are dropped; and again whenever
# their number has doubled.
ROWS_BEFORE_THINNING = 200_000


MEMBER = np.dtype(
    [
        ("row", np.int64),  # place among all sources of the membership
        ("rank", np.float64),  # NaN where it is missing, or where the class has none
        ("tie_break", np.float64),  # the larger goes first among equal ranks
        ("luck", np.float64),  # the larger goes first among places that chance gives
        ("target_id", np.int64),
        ("healpix", np.int64),
        ("ra", np.float64),  # [deg]
        ("dec", np.float64),  # [deg]
        ("cell", np.int64),  # -1 where it is in none, and where the class does not ask
        ("known", np.int64),  # spectra of the cell, where the class goes by `information`
    ]
)


def members_of(
    membership: Membership, c: int, seed: int, first_row: int, of_cells: Sequence[str] = ()
) -> np.ndarray:
    """The members of class number `c`, of type `MEMBER`, rows counted from `first_row`.

    `of_cells` names the columns of cells that are to be read.
    """
    rows = np.flatnonzero(membership.selected[:, c])
    names = column_names(membership.sources.schema)
    wanted = [*dict.fromkeys([*names.values(), "_healpix_29", *of_cells])]
    sources = membership.sources.select(wanted).take(pa.array(rows, pa.int64()))
    ids = sources[names["source_id"]].to_numpy()
    members = np.empty(len(rows), MEMBER)
    members["row"] = rows + first_row
    members["rank"] = membership.rank[rows, c]
    # The second of the class's numbers is that of `sample`.
    members["tie_break"], _, members["luck"] = uniform(ids, seed, membership.names[c], 3).T
    members["target_id"] = membership.target_id[rows]
    members["healpix"] = sources["_healpix_29"].to_numpy()
    for role in ("ra", "dec"):
        members[role] = floats(sources[names[role]])
    members["cell"] = cell_numbers(sources) if CELL.name in of_cells else -1
    known = CELL_KNOWN.name
    members["known"] = np.nan_to_num(floats(sources[known])) if known in of_cells else 0
    return members


def by_turns(members: np.ndarray) -> np.ndarray:
    """Members, best first, in the order of a rank that shrinks with every one of their cell."""
    rank = members["rank"]
    less = diminished(members["known"], _place_in_group(members["cell"]))
    turned = members.copy()
    turned["rank"] = np.where(rank > 0, rank * less, rank)
    return members[_order(turned)]


def best_first(members: np.ndarray, by: str = "rank") -> np.ndarray:
    """The members in the order of preference, by "rank" or "hash"."""
    return members[_order(members, by)]


def _order(members: np.ndarray, by: str = "rank") -> np.ndarray:
    rank = members["rank"] if by == "rank" else np.zeros(len(members))
    return np.lexsort((members["target_id"], -members["tie_break"], -rank))


def _of_best_rank(members: np.ndarray, n: int) -> np.ndarray:
    """The members of the `n` best ranks, and those of the same rank as the last of them."""
    if len(members) <= n:
        return members
    rank = np.where(np.isnan(members["rank"]), -np.inf, members["rank"])
    return members[rank >= np.partition(rank, -n)[-n]]


class ClassLimits:
    """`dedup` and ``limit`` of one class.

    Members are added piece by piece. Those beyond the limit are dropped now and then, so that a
    limit bounds the memory too. With `dedup` all are kept until the end, when it is known which of
    them stay.

    Attributes
    ----------
    copies : ndarray of int64, shape (K, 2)
        After `kept`: the target ids of members that dedup has dropped, and of those that were
        kept instead.
    random : RandomPlaces or None
        After `kept`: the places that chance gave, where the class has a random share.
    inclusion : ndarray, shape (M,)
        After `kept`: the probability with which each of those kept was chosen of the members, 1
        without a random share.
    """

    def __init__(
        self, target_class: TargetClass, region: Region | None = None, takes_turns: bool = False
    ) -> None:
        self.rules = target_class
        self.takes_turns = takes_turns and target_class.limit.by == "rank"
        self.region = region
        self.copies = np.empty((0, 2), dtype=np.int64)
        self.random: RandomPlaces | None = None
        self.inclusion = np.empty(0)
        self._n_members = 0
        self._n_random = random_places(target_class.limit)
        self._pieces: list[np.ndarray] = []
        self._enough = ROWS_BEFORE_THINNING
        self._least = -np.inf  # no member of a lower rank can be kept any more

    @property
    def active(self) -> bool:
        """Whether the class has a `dedup` or ``limit``."""
        return bool(self.rules.limit) or self.rules.dedup is not None

    @property
    def of_cells(self) -> list[str]:
        """The columns of cells that matter."""
        if self.takes_turns:
            return [CELL.name, CELL_KNOWN.name]
        return [CELL.name] if self.rules.limit.per_cell is not None else []

    def add(self, members: np.ndarray) -> None:
        """Take these members, of type `MEMBER`, into account."""
        self._n_members += len(members)
        self._pieces.append(members[self.may_keep(members["rank"])])
        n = sum(map(len, self._pieces))
        if self.rules.dedup is None and n > self._enough:
            self._thin(np.concatenate(self._pieces))

    def _thin(self, members: np.ndarray) -> None:
        """Keep only those of the members that may be kept in the end."""
        limit = self.rules.limit
        if limit.per_deg2 is not None and self.of_cells:
            # A member that its cell leaves out comes back if a better one leaves out, in its
            # pixel, another of that cell; so only pixels can decide before all are there.
            best = self._of_pixels(best_first(members, limit.by))
        else:
            best, lucky = self._chosen(members)
            if limit.by == "rank" and not self.takes_turns and len(best) == limit.total:
                self._least = best["rank"].min()
            best = np.concatenate([best, lucky])
        self._pieces = [best]
        self._enough = max(self._enough, 2 * len(best))

    def may_keep(self, rank: np.ndarray) -> np.ndarray:
        """Whether members of these ranks may still be kept, shape (N,)."""
        if self._least > -np.inf:
            return rank >= self._least
        return np.ones(len(rank), dtype=bool)

    def kept(self) -> np.ndarray:
        """The rows of the members that are kept, in increasing order."""
        members = np.concatenate([np.empty(0, MEMBER), *self._pieces])
        if self.rules.dedup is not None:
            members = self._without_copies(members, self.rules.dedup.within)
            self._n_members = len(members)
        best, lucky = self._chosen(members)
        if self.rules.limit.random is not None:
            self.random = RandomPlaces(len(lucky), self._n_members - len(best))
        chance = np.full(len(lucky), self.random.inclusion if self.random else 1.0)
        rows = np.concatenate([best["row"], lucky["row"]])
        order = np.argsort(rows)
        self.inclusion = np.concatenate([np.ones(len(best)), chance])[order]
        return rows[order]

    def _chosen(self, members: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The members that rank and limits choose, and of the others those that chance does.

        If members are added, who is chosen by neither of the two is never chosen later: a cell or
        the total has room for those of a rank alone, whatever comes.
        """
        best = self._within_limits(members)
        if not self._n_random:
            return best, members[:0]
        others = members[~np.isin(members["row"], best["row"])]
        order = np.lexsort((others["target_id"], -others["luck"]))
        return best, others[order[: self._n_random]]

    def _without_copies(self, members: np.ndarray, radius: float) -> np.ndarray:
        """The members without a better one that is kept within the radius."""
        from scipy.spatial import cKDTree  # which takes a quarter of a second to import

        members = best_first(members)
        tree = cKDTree(unit_vectors(members["ra"], members["dec"]))
        pairs = np.sort(tree.query_pairs(chord(radius), output_type="ndarray"), axis=1)
        pairs = pairs[np.lexsort((pairs[:, 1], pairs[:, 0]))]
        kept_instead: dict[int, int] = {}
        for better, worse in pairs.tolist():
            if better not in kept_instead:
                kept_instead.setdefault(worse, better)
        copies = np.array(sorted(kept_instead.items()), dtype=np.int64).reshape(-1, 2)
        self.copies = members["target_id"][copies]
        return np.delete(members, copies[:, 0])

    def _within_limits(self, members: np.ndarray) -> np.ndarray:
        """The best of each pixel, of these those of each cell, and of these the best in all."""
        limit = self.rules.limit
        if not limit:
            return members
        total = None if limit.total is None else limit.total - self._n_random
        only_total = limit.per_deg2 is None and not self.of_cells
        if limit.by == "rank" and only_total and total:
            members = _of_best_rank(members, total)
            if len(members) <= total:
                return members
        members = self._of_pixels(best_first(members, limit.by))
        if self.takes_turns:
            members = by_turns(members)
        if limit.per_cell is not None:
            members = members[_place_in_group(members["cell"]) < limit.per_cell]
        return members[:total]

    def _of_pixels(self, members: np.ndarray) -> np.ndarray:
        """The first ones of each pixel."""
        limit = self.rules.limit
        if limit.per_deg2 is None:
            return members
        order = limit.nside.bit_length() - 1
        pixels, own = np.unique(coarser(members["healpix"], order), return_inverse=True)
        return members[_place_in_group(own) < self._caps(pixels, order)[own]]

    def _caps(self, pixels: np.ndarray, order: int) -> np.ndarray:
        """The largest number of members in each pixel.

        The density times the area of the pixel inside the footprint, rounded up or down by a hash
        of the pixel such that it is right on average.
        """
        assert self.rules.limit.per_deg2 is not None
        area = np.full(len(pixels), SQUARE_DEGREES / (12 * 4**order))
        if self.region is not None:
            area = area * self.region.covered(pixels, order)
        purpose = f"{self.rules.name}/pixels"
        fraction = uniform(pixels, self.rules.preamble.seed, purpose)[:, 0]
        return np.floor(self.rules.limit.per_deg2 * area + fraction)


class Limits:
    """`dedup` and ``limit`` of all classes, applied to a membership that comes in pieces.

    Every piece is added; then `applied` goes through what `add` has left of them, in the same
    order.

    Attributes
    ----------
    passed, selected : ndarray of int64, shape (C,)
        Sources added of each class, and those of them that are kept.
    expected_true : ndarray, shape (C,)
        The sum of the probabilities of those that are kept.
    known_kept, failed_kept : dict of str to int
        Those of each class that are kept and have a spectrum already; and those of which spectra
        were taken that all failed.
    known_redshifts : dict of str to list of ndarray
        Redshifts of the former, in pieces.
    n_sources, n_targets : int
        Sources added, and those that any class keeps.
    overlaps : Counter of tuple of str
        Targets that are in several classes, by the classes.
    """

    def __init__(self, rules: Rules, classes: Sequence[ClassFormulas]) -> None:
        self.names = [each.name for each in classes]
        self.stated = stated(rules)  # classes of which the pieces tell the inclusion
        self.passed, self.selected = np.zeros((2, len(classes)), dtype=np.int64)
        self.expected_true = np.zeros(len(classes))
        self.known_kept = dict.fromkeys(self.names, 0)
        self.failed_kept = dict.fromkeys(self.names, 0)
        self.known_redshifts: dict[str, list[np.ndarray]] = {name: [] for name in self.names}
        self.n_sources = self.n_targets = 0
        self._n_left = 0
        self.overlaps: Counter[tuple[str, ...]] = Counter()
        self._classes = [
            ClassLimits(each, formulas.region, has_information(formulas.rank))
            for each, formulas in zip(rules.classes, classes, strict=True)
        ]

    def add(self, piece: Membership) -> Membership:
        """Take the members of this piece into account; returns the sources that may be kept."""
        self.passed += piece.selected.sum(axis=0)
        self.n_sources += len(piece)
        possible = np.zeros(len(piece), dtype=bool)
        for c, each in enumerate(self._classes):
            possible |= piece.selected[:, c] & each.may_keep(piece.rank[:, c])
        left = piece if possible.all() else piece.take(np.flatnonzero(possible))
        for c, each in enumerate(self._classes):
            if each.active:
                seed = each.rules.preamble.seed
                each.add(members_of(left, c, seed, self._n_left, each.of_cells))
        self._n_left += len(left)
        return left

    def applied(self, pieces: Iterable[Membership]) -> Iterator[Membership]:
        """The pieces, with only those members that are kept."""
        kept = [each.kept() if each.active else None for each in self._classes]
        first = 0
        for piece in pieces:
            selected = piece.selected.copy()
            for c, rows in enumerate(kept):
                if rows is not None:
                    low, high = np.searchsorted(rows, [first, first + len(piece)])
                    selected[:, c] = False
                    selected[rows[low:high] - first, c] = True
            piece = self._with_inclusion(piece, kept, first)
            first += len(piece)
            targets = piece.only(selected)
            self.selected += targets.selected.sum(axis=0)
            self.expected_true += np.nansum(targets.probability, axis=0)
            self.n_targets += len(targets)
            self._count_known(targets)
            self._count_overlaps(targets.selected)
            yield targets

    def _with_inclusion(
        self, piece: Membership, kept: Sequence[np.ndarray | None], first: int
    ) -> Membership:
        """The piece, from row `first` on, with the columns of inclusion that the list states."""
        if not self.stated:
            return piece
        values = []
        for each, rows in zip(self._classes, kept, strict=True):
            if rows is not None and each.rules.name in self.stated:
                found = np.full(len(piece), np.nan)
                low, high = np.searchsorted(rows, [first, first + len(piece)])
                found[rows[low:high] - first] = each.inclusion[low:high] * (each.rules.sample or 1)
                values.append(found)
        return replace(piece, sources=with_inclusion(piece.sources, self.stated, values))

    def beside(self, nothing: Membership) -> Membership:
        """A membership of no sources with the columns that pieces have once limits were applied."""
        empty = [np.empty(0) for _ in self.stated]
        return replace(nothing, sources=with_inclusion(nothing.sources, self.stated, empty))

    @property
    def random(self) -> dict[str, RandomPlaces]:
        """The places that chance gave, of every class with a random share."""
        pairs = zip(self.names, self._classes, strict=True)
        return {name: each.random for name, each in pairs if each.random is not None}

    def _count_known(self, targets: Membership) -> None:
        if not drops_known(targets.sources.schema):
            return
        known, failed = (targets.sources.column(each.name).to_numpy() for each in (KNOWN, WARNING))
        redshift = floats(targets.sources.column(REDSHIFT.name))
        for c, name in enumerate(self.names):
            selected = targets.selected[:, c]
            self.known_kept[name] += int((selected & known).sum())
            self.failed_kept[name] += int((selected & failed).sum())
            self.known_redshifts[name].append(redshift[selected & known])

    def _count_overlaps(self, selected: np.ndarray) -> None:
        several = selected[selected.sum(axis=1) > 1]
        combinations, counts = np.unique(several, axis=0, return_counts=True)
        for combination, n in zip(combinations, counts.tolist(), strict=True):
            names = tuple(self.names[c] for c in np.flatnonzero(combination))
            self.overlaps[names] += n

    @property
    def copies(self) -> dict[str, list[list[int]]]:
        """The `ClassLimits.copies` of every class that has some."""
        pairs = zip(self.names, self._classes, strict=True)
        return {name: each.copies.tolist() for name, each in pairs if len(each.copies)}


def _place_in_group(group: np.ndarray) -> np.ndarray:
    """For each member how many of its group come before it, shape (N,)."""
    order = np.argsort(group, kind="stable")
    first = np.searchsorted(group[order], group[order])
    place = np.empty(len(group), dtype=np.int64)
    place[order] = np.arange(len(group)) - first
    return place
