"""Spectra of one file that are held in memory, while the sources of a catalog pass by.

What is held grows with the number of spectra, and with that of sources near them; not with the
catalog.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from targetsel.scored.known_spectra import SpectraFile, TakenSpectra
from targetsel.sky.nearest import PAIR, HeldPlaces, Moving
from targetsel.tables.ids import quick_keys

_AT_ONCE = 500_000  # pairs that wait until those that matter are chosen
_FOUND = np.dtype([*((name, PAIR[name]) for name in PAIR.names or ()), ("by_id", bool)], align=True)
# Names of the fields of `TakenSpectra` that are kept for each spectrum.
_KEPT = ("redshift", "error", "failed", "primary")


@dataclass(frozen=True)
class Passing:
    """Some sources of a catalog.

    Attributes
    ----------
    first : int
        The number of their first row in the catalog.
    ids : pa.Array, shape (N,)
        Whole numbers or text.
    moving : Moving
        Their positions.
    """

    first: int
    ids: pa.Array
    moving: Moving


class HeldSpectra:
    """The spectra of a file, of which the sources they belong to are found.

    Parameters
    ----------
    file : SpectraFile
    radius : float
        How near to a source a spectrum belongs to it [arcsec].
    id_kind : pa.DataType
        The type of the catalog's ids.
    moves : bool
        Whether sources of the catalog may move.

    Attributes
    ----------
    n_of_sky, n_placed : int
        Spectra of the sky between sources, which are passed over, and others that have positions.
    """

    def __init__(self, file: SpectraFile, radius: float, id_kind: pa.DataType, moves: bool) -> None:
        self.file, self._radius = file, radius
        self._as_text = "id" in file.columns and file.id_type != id_kind
        self.n_of_sky = 0
        pieces = [self._kept(piece, moves) for piece in file.pieces()]
        # One after the other, so that little is there twice.
        kept = {name: np.concatenate([p.pop(name) for p in pieces]) for name in [*pieces[0]]}
        self._of_id = _ByKey(kept.pop("key"), np.flatnonzero(kept.pop("has_id")))
        ra, dec = kept.pop("ra"), kept.pop("dec")
        placed = ~np.isnan(ra)
        self.n_placed = int(placed.sum())
        # Numbers among the spectra with places, -1 for those without; and the reverse.
        self._place_of = np.where(placed, np.cumsum(placed) - 1, -1)
        self._placed = np.flatnonzero(placed)
        epoch = kept.pop("epoch")[placed] if moves else None
        self._places = HeldPlaces(ra[placed], dec[placed], epoch)
        self._values = kept
        self._found = np.empty(0, _FOUND)
        self._new: list[np.ndarray] = []

    def __len__(self) -> int:
        return len(self._place_of)

    def _kept(self, piece: TakenSpectra, moves: bool) -> dict[str, np.ndarray]:
        """What is kept of some spectra, without those of the sky."""
        wanted = ~piece.of_sky
        self.n_of_sky += int(piece.of_sky.sum())
        names = (*_KEPT, "ra", "dec", *(("epoch",) if moves else ()))
        values = {name: getattr(piece, name)[wanted] for name in names}
        if piece.ids is None:
            return values | {"key": np.empty(0, np.uint64), "has_id": np.empty(0, bool)}
        has_id = np.asarray(_is_id(piece.ids).to_numpy(zero_copy_only=False))
        return values | {"key": self._keys(piece.ids)[wanted], "has_id": has_id[wanted]}

    def _keys(self, ids: pa.Array) -> np.ndarray:
        """Numbers that are equal for equal ids, and else hardly ever: once in 10^19 pairs."""
        ids = ids.cast(pa.string()) if self._as_text else ids
        return quick_keys(pc.fill_null(ids, "" if pa.types.is_string(ids.type) else -1))

    # --- while sources pass ---

    def pass_by(self, sources: Passing) -> None:
        """Find the spectra near some sources, or of their ids."""
        near = self._places.near(sources.moving, self._radius)
        near["place"] = self._placed[near["place"]]
        self._new.append(_numbered(near, sources.first, by_id=False))
        if len(self._of_id):
            spectra, rows = self._of_id.found(self._keys(sources.ids))
            there = self._place_of[spectra] >= 0
            apart = np.zeros(len(spectra), PAIR)
            apart["sep"] = np.nan
            places = self._place_of[spectra[there]]
            apart[there] = self._places.pairs(sources.moving, places, rows[there])
            apart["place"], apart["source"] = spectra, rows
            self._new.append(_numbered(apart, sources.first, by_id=True))
        if sum(map(len, self._new)) > max(len(self._found), _AT_ONCE):
            self._settle()

    def _settle(self) -> None:
        """Keep what matters: for each spectrum the source of its id, the two nearest sources, and
        all that are as near as the second."""
        found = np.concatenate([self._found, *self._new])
        self._new = []
        by_id = _in_order(found[found["by_id"]], ("source",))
        near = _in_order(found[~found["by_id"]], ("sep", "source"))
        first = _firsts(near["place"])
        start = np.maximum.accumulate(np.where(first, np.arange(len(near)), 0))
        second = near["sep"][np.minimum(start + 1, len(near) - 1)] if len(near) else near["sep"]
        matters = (np.arange(len(near)) - start < 2) | (near["sep"] == second)
        self._found = np.concatenate([by_id[_firsts(by_id["place"])], near[matters]])

    # --- once all have passed ---

    def by_id(self) -> np.ndarray:
        """The source of each spectrum's id, of `PAIR` with rows of the catalog; NaN separations
        where the spectrum has no position."""
        self._settle()
        return self._found[self._found["by_id"]]

    def by_position(self, ids_of: Callable[[np.ndarray], Sequence[int | str]]) -> np.ndarray:
        """The nearest source of each spectrum, then the next, of `PAIR` with rows of the catalog.

        Parameters
        ----------
        ids_of : callable
            Gives the ids of sources in these rows, where some are at the same distance: the one
            of the smallest id comes first.

        Returns
        -------
        ndarray, shape (P,)
            Sorted by spectrum; one or two of each.
        """
        self._settle()
        near = self._found[~self._found["by_id"]]
        tied = (near["place"][1:] == near["place"][:-1]) & (near["sep"][1:] == near["sep"][:-1])
        if tied.any():
            rows = np.unique(near["source"][np.append(tied, False) | np.append(False, tied)])
            ids = np.array(ids_of(rows))
            rank = np.unique(ids, return_inverse=True)[1]
            place = np.minimum(np.searchsorted(rows, near["source"]), len(rows) - 1)
            order = np.where(rows[place] == near["source"], rank[place], 0)
            near = near[np.lexsort([order, near["sep"], near["place"]])]
        first = _firsts(near["place"])
        return near[first | np.append(False, first[:-1])[: len(near)]]

    def of(self, name: str, spectra: np.ndarray) -> np.ndarray:
        """A field of `TakenSpectra` for these spectra: redshift, error, failed or primary."""
        return self._values[name][spectra]

    def has_place(self, spectra: np.ndarray) -> np.ndarray:
        """Whether these spectra have positions."""
        return self._place_of[spectra] >= 0


class _ByKey:
    """Finds the spectra whose ids have these keys."""

    def __init__(self, keys: np.ndarray, spectra: np.ndarray) -> None:
        order = np.argsort(keys[spectra], kind="stable")
        self._spectra = spectra[order]
        sorted_keys = keys[self._spectra]
        first = np.flatnonzero(_firsts(sorted_keys))
        self._keys = sorted_keys[first]
        self._starts = np.append(first, len(sorted_keys))

    def __len__(self) -> int:
        return len(self._keys)

    def found(self, keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Spectra of these keys, and the row of each one's key."""
        place = np.minimum(np.searchsorted(self._keys, keys), len(self._keys) - 1)
        rows = np.flatnonzero(self._keys[place] == keys)
        starts, n = self._starts[place[rows]], np.diff(self._starts)[place[rows]]
        within = np.arange(n.sum()) - np.repeat(np.cumsum(n) - n, n)
        return self._spectra[np.repeat(starts, n) + within], np.repeat(rows, n)


def _is_id(ids: pa.Array) -> pa.Array:
    """Whether each is an id: no negative number, and not empty."""
    real = pc.greater_equal(ids, 0) if pa.types.is_integer(ids.type) else pc.not_equal(ids, "")
    return pc.fill_null(real, False)


def _numbered(pairs: np.ndarray, first: int, by_id: bool) -> np.ndarray:
    found = np.empty(len(pairs), _FOUND)
    for name in PAIR.names or ():
        found[name] = pairs[name]
    found["source"] += first
    found["by_id"] = by_id
    return found


def _in_order(pairs: np.ndarray, keys: Sequence[str]) -> np.ndarray:
    """Pairs sorted by place, and those of one place by keys, the first of which goes first."""
    pairs = pairs[np.argsort(pairs["place"], kind="stable")]
    first = _firsts(pairs["place"])
    several = np.flatnonzero(~(first & np.append(first[1:], True)[: len(pairs)]))
    some = pairs[several]
    pairs[several] = some[np.lexsort([some[key] for key in (*reversed(keys), "place")])]
    return pairs


def _firsts(values: np.ndarray) -> np.ndarray:
    """Whether each is the first of its value, of sorted ones."""
    return np.append(True, values[1:] != values[:-1])[: len(values)]
