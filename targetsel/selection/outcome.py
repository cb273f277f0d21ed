"""Outcome of a selection: counts by class, guarantees and cautions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from targetsel.scored.known_match import KnownMatch
from targetsel.selection.funnel import Funnel
from targetsel.selection.guarantees import Guarantee
from targetsel.selection.inclusion import RandomPlaces
from targetsel.selection.known_by_class import KnownOfClass


@dataclass(frozen=True)
class ClassSummary:
    """The outcome of a selection for one target class.

    Attributes
    ----------
    name : str
    bit : int
        Of ``target_bits``.
    priority : int or str
        An expression where sources have their own.
    n_passed : int
        Sources for which every condition is true.
    n_selected : int
        Sources that `dedup` and ``limit`` keep.
    expected_true : float or None
        Expected number of the selected for which the class's claim is true; None where it claims
        nothing about spectra.
    n_known_left_out, n_known : int or None
        Sources that it leaves out for having a spectrum already, of those that obey all else; None
        where its rules say what becomes of them. And those of its selected that have one. Both are
        None where no files of spectra were given.
    random : RandomPlaces or None
        The places that chance gave, where the class has a random share.
    """

    name: str
    bit: int
    priority: int | str
    n_passed: int
    n_selected: int
    expected_true: float | None
    n_known_left_out: int | None = None
    n_known: int | None = None
    random: RandomPlaces | None = None

    @property
    def expected_purity(self) -> float | None:
        """The expected share of true members among the selected; None where there is no claim."""
        if self.expected_true is None or self.n_selected == 0:
            return None
        return self.expected_true / self.n_selected


@dataclass(frozen=True)
class Selection:
    """The outcome of `select`.

    Attributes
    ----------
    output : Path or None
        The file that was written; None for a list in memory.
    n_sources, n_targets : int
        Sources of the catalog, and those in the list.
    classes : tuple of ClassSummary
    funnels : tuple of Funnel
        One for each class, where they were asked for.
    left_out : mapping of str to int
        Number of sources that every list under ``exclude`` leaves out.
    guarantees : mapping of str to Guarantee
        Of the classes that ask for a purity, by their names.
    overlaps : mapping of tuple of str to int
        Number of targets in several classes, by the classes, the most first.
    caution : str
        What to know where an ensemble learnt from simulated images only; else empty.
    brightness : tuple of str
        Lines on what the list keeps of it.
    known : KnownMatch or None
        Which sources have a spectrum already, where files of spectra were given.
    cautions : tuple of str
        What the rules calculate is to be taken with care, such as nights years ahead.
    known_of_classes : tuple of KnownOfClass
        How many of each class have a spectrum already, and at which redshifts; one for each class
        where files of spectra were given.
    """

    output: Path | None
    n_sources: int
    n_targets: int
    classes: tuple[ClassSummary, ...]
    funnels: tuple[Funnel, ...] = ()
    left_out: Mapping[str, int] = field(default_factory=dict)
    guarantees: Mapping[str, Guarantee] = field(default_factory=dict)
    overlaps: Mapping[tuple[str, ...], int] = field(default_factory=dict)
    caution: str = ""
    brightness: tuple[str, ...] = ()
    known: KnownMatch | None = None
    cautions: tuple[str, ...] = ()
    known_of_classes: tuple[KnownOfClass, ...] = ()
