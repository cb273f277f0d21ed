"""Target classes, as a rule file describes them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from targetsel.documents.source_location import SourceLocation
from targetsel.expressions.grammar import Branch, Name, Node
from targetsel.sky.footprint import Footprint


@dataclass(frozen=True)
class Exclusion:
    """Sources to leave out: those whose id a table lists, or those near a position it lists.

    Attributes
    ----------
    file : str
        Relative to the rule file.
    column : str
        Of ids; empty for the usual one.
    within : float or None
        Radius [deg]; None to go by id.
    """

    file: str
    column: str = ""
    within: float | None = None
    place: SourceLocation = field(default=SourceLocation(), compare=False, repr=False)


@dataclass(frozen=True)
class Limit:
    """How many targets a class may have.

    Attributes
    ----------
    per_deg2 : float or None
        The most per square degree, counted in HEALPix pixels of `nside`.
    total : int or None
        The most in all.
    by : str
        Whom to keep: "rank", the best, or "hash", any, so that all have the same chance.
    """

    per_deg2: float | None = None
    nside: int = 64
    total: int | None = None
    by: str = "rank"

    def __bool__(self) -> bool:
        return self.per_deg2 is not None or self.total is not None


@dataclass(frozen=True)
class Preamble:
    """What all classes of one rule file share.

    Attributes
    ----------
    define : mapping of name to Node
        Named conditions and numbers.
    footprint : Footprint
    exclude : tuple of Exclusion
    seed : int
        With the source's id, all that ties, samples and random order depend on.
    """

    define: Mapping[str, Node] = field(default_factory=dict)
    footprint: Footprint = field(default_factory=Footprint)
    exclude: tuple[Exclusion, ...] = ()
    seed: int = 0


@dataclass(frozen=True)
class TargetClass:
    """A target class: the conditions of membership and how its members are ordered.

    See `plan` for the order in which all this is applied.

    Attributes
    ----------
    name : str
    bit : int
        0 to 62, in the target list's `target_bits`.
    priority : int or Node
        Higher is more wanted; an expression gives every source its own.
    where : tuple of Node
        Conditions that must all be true.
    unless : tuple of str
        Classes of the same file, above this one, whose members are none of this class.
    exclude : tuple of Exclusion
        Beside those of the preamble.
    guarantee : float or None
        The purity that the list is to have.
    sample : float or None
        The share of the sources to keep, 0 to 1.
    dedup : float or None
        Of sources this close together [deg], only the best is kept.
    rank : Node or None
        A number; the largest comes first. Without it, members are in random order.
    limit : Limit
    places : mapping
        Where in the rule file the value of each key starts, and under "" the class's name.
    preamble : Preamble
    """

    name: str
    bit: int
    priority: int | Node
    where: tuple[Node, ...]
    rank: Node | None = None
    limit: Limit = field(default_factory=Limit)
    unless: tuple[str, ...] = ()
    exclude: tuple[Exclusion, ...] = ()
    guarantee: float | None = None
    sample: float | None = None
    dedup: float | None = None
    description: str = ""
    places: Mapping[str, SourceLocation] = field(default_factory=dict, compare=False, repr=False)
    preamble: Preamble = field(default_factory=Preamble, repr=False)

    @property
    def canonical(self) -> dict[str, Any]:
        """What the class means, without names that could be others, in a form JSON can hold."""
        digests: dict[str, str] = {}
        write = lambda node: _canonical(node, self.preamble.define, digests)  # noqa: E731
        excluded = (*self.preamble.exclude, *self.exclude)
        return {
            "bit": self.bit,
            "priority": self.priority if isinstance(self.priority, int) else write(self.priority),
            "where": [write(node) for node in self.where],
            "rank": write(self.rank) if self.rank else None,
            "limit": [self.limit.per_deg2, self.limit.nside, self.limit.total, self.limit.by],
            "unless": self.unless,
            "exclude": [[each.file, each.column, each.within] for each in excluded],
            "guarantee": self.guarantee,
            "sample": self.sample,
            "dedup": self.dedup,
            "footprint": self.preamble.footprint.canonical,
            "seed": self.preamble.seed,
        }


def _canonical(node: Node, define: Mapping[str, Node], digests: dict[str, str]) -> str:
    """The expression as text, every defined name replaced by a digest of its definition."""

    def written_out(node: Node) -> Node:
        if isinstance(node, Name) and node.name in define:
            if node.name not in digests:
                text = str(written_out(define[node.name]))
                digests[node.name] = hashlib.sha256(text.encode()).hexdigest()
            return Name(node.place, digests[node.name])
        if isinstance(node, Branch):
            return replace(node, parts=tuple(written_out(part) for part in node.parts))
        return node

    return str(written_out(node))
