"""The empirical copula: how proxies of sources alike go together, learnt from known spectra.

A posterior's correlations alone make a Gaussian copula. True values lie at normal scores z of their
predicted marginals; were that copula right, w = L^-1 z would be independent standard normals, with
L the lower Cholesky factor of the source's own correlations. They are not: a quiescent galaxy lacks
all of its lines at once. So the w of many labelled ones are kept as samples, by groups of sources
with similar predictions, and the scores of a new source of such a group are the ranks of L w.

An index whose window holds those of others, such as the complex of Halpha and [NII], is more
narrowly tied to them than two ranks can be. It is the sum a + sum b_k x_k of its parts x_k, with
constants of the group, plus a rest that belongs to the sample. In joint probabilities this sum
takes the place of its own marginal.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, cached_property, lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy  # whose `special` is imported when it is first used

from targetsel.errors import CatalogError

if TYPE_CHECKING:
    import pyarrow as pa

NOTE = b"copula"  # key in the metadata of the column `GROUP`
GROUP = "copula_group"
STEP = 0.04  # of whitened scores as they are stored
FARTHEST = 8.0  # normal score of a sum that its own marginal excludes
SOFTENING = 10.0  # [Angstrom] rests grow in proportion to this plus the absolute sum


@dataclass(frozen=True, eq=False)
class Complex:
    """A proxy that is the sum of others and a rest, for G groups.

    Attributes
    ----------
    parts : tuple of K strings
    terms : ndarray, shape (G, K + 1)
        Constant and factors of the parts.
    rests : ndarray, shape (G, S)
        Of each sample, as a share of `SOFTENING` plus the absolute sum.
    """

    parts: tuple[str, ...]
    terms: np.ndarray
    rests: np.ndarray

    def total(self, group: np.ndarray, parts: list[np.ndarray]) -> np.ndarray:
        """The proxy of N sources in S samples, (N, S), from its parts in them."""
        total = self.terms[group, 0, None] + np.zeros_like(parts[0])
        for k, part in enumerate(parts, start=1):
            total += self.terms[group, k, None] * part
        return total + self.rests[group] * (SOFTENING + np.abs(total))


@dataclass(frozen=True, eq=False)
class Copula:
    """Samples of whitened normal scores of P proxies, S for each of G groups of sources.

    Attributes
    ----------
    names : tuple of P strings
        In the order in which scores were whitened.
    whitened : ndarray, shape (G, P, S)
    complexes : mapping of name to Complex
        Proxies that are sums of some of `names`; none of these is among them.
    """

    names: tuple[str, ...]
    whitened: np.ndarray
    complexes: Mapping[str, Complex]

    def needed(self, names: tuple[str, ...]) -> tuple[str, ...]:
        """Names of the proxies to draw for these names; each depends only on those before it."""
        own = [self.names.index(name) for name in self.valued(names) if name in self.names]
        first = self.names[: max(own, default=-1) + 1]
        complexes = tuple(name for name in self.complexes if name in names)
        others = tuple(n for n in names if n not in self.names and n not in self.complexes)
        return (*first, *complexes, *others)

    def valued(self, names: tuple[str, ...]) -> set[str]:
        """These names and the parts of complexes among them: those whose values are needed."""
        complexes = [self.complexes[name] for name in names if name in self.complexes]
        return {*names, *(part for each in complexes for part in each.parts)}

    def scores(
        self,
        names: tuple[str, ...],
        factor: np.ndarray,
        group: np.ndarray,
        value: Callable[[str, np.ndarray], np.ndarray],
        score: Callable[[str, np.ndarray], np.ndarray],
    ) -> dict[str, np.ndarray]:
        """Normal scores of N sources in S samples, each of shape (N, S).

        Parameters
        ----------
        names : tuple of strings
            What is not in this copula has samples of its own that are independent.
        factor : ndarray, shape (N, K, K)
            Lower Cholesky factors of the correlations of the K names that are `needed`.
        group : ndarray of int, shape (N,)
        value : function of name and scores (N, S)
            Values of a proxy at its normal scores.
        score : function of name and values (N, S)
            Normal scores at which a proxy has these values.
        """
        size, wanted = self.whitened.shape[2], self.valued(names)
        own = {*self.names, *self.complexes}
        # Only where there are others: scipy.stats takes a third of a second to import.
        others = iter(independent_normals(len(names), size) if {*names} - own else ())
        normals: list[np.ndarray] = []
        scores: dict[str, np.ndarray] = {}
        for i, name in enumerate(self.needed(names)):
            if name in self.names:
                normals.append(self.whitened[group, self.names.index(name)])
            elif name in self.complexes:
                parts = [value(part, scores[part]) for part in self.complexes[name].parts]
                total = self.complexes[name].total(group, parts)
                scores[name] = np.clip(score(name, total), -FARTHEST, FARTHEST)
                before = _combined(factor[:, i, :i], normals)
                normals.append((scores[name] - before) / factor[:, i, i, None])
            else:
                normals.append(np.broadcast_to(next(others), (len(group), size)))
            if name in wanted and name not in scores:
                scores[name] = _ranked(_combined(factor[:, i, : i + 1], normals))
        return scores

    # --- as it is stored ---

    def to_card(self) -> dict[str, Any]:
        """JSON-ready description; arrays in base64, whitened scores in steps of `STEP`."""
        steps = np.clip(np.round(self.whitened / STEP), -127, 127).astype(np.int8)
        complexes = {
            name: {
                "parts": list(each.parts),
                "terms": np.round(each.terms, 6).tolist(),
                "rests": _packed(each.rests.astype("<f2")),
            }
            for name, each in self.complexes.items()
        }
        return {
            "names": list(self.names),
            "groups": len(steps),
            "scores": _packed(steps),
            "complexes": complexes,
        }

    @classmethod
    def from_card(cls, card: Mapping[str, Any]) -> Copula:
        """Copula from the result of `to_card`.

        Raises
        ------
        ValueError, KeyError, TypeError
            If it is damaged.
        """
        names, groups = tuple(map(str, card["names"])), int(card["groups"])
        if groups < 1 or not names or len({*names}) < len(names):
            raise ValueError("a copula is of no group, or of no or repeated proxies")
        steps = _unpacked(card["scores"], np.int8).reshape(groups, len(names), -1)
        size = steps.shape[2]
        complexes = {}
        for name, told in card["complexes"].items():
            parts, terms = tuple(told["parts"]), np.array(told["terms"], dtype=np.float64)
            rests = _unpacked(told["rests"], "<f2").reshape(groups, size).astype(np.float64)
            if terms.shape != (groups, len(parts) + 1) or not {*parts} <= {*names}:
                raise ValueError(f"the parts of '{name}' do not fit its terms")
            if not (np.isfinite(terms).all() and np.isfinite(rests).all()):
                raise ValueError(f"the terms of '{name}' are not all finite")
            complexes[str(name)] = Complex(parts, terms, rests)
        if size < 2 or {*complexes} & {*names}:
            raise ValueError("a copula has too few samples, or a proxy twice")
        return cls(names, steps * STEP, complexes)

    @cached_property
    def _note(self) -> bytes:
        return json.dumps(self.to_card(), sort_keys=True).encode()

    def noted(self, field: pa.Field) -> pa.Field:
        """The field of the column `GROUP` with this copula in its metadata."""
        return field.with_metadata({**(field.metadata or {}), NOTE: self._note})


def stored_copula(field: pa.Field) -> Copula | None:
    """The copula in the metadata of the field of the column `GROUP`, if there is one.

    Raises
    ------
    CatalogError
        If it is damaged.
    """
    note = (field.metadata or {}).get(NOTE)
    return None if note is None else _read(note)


@lru_cache(maxsize=8)
def _read(note: bytes) -> Copula:
    try:
        return Copula.from_card(json.loads(note))
    except (
        ValueError,
        KeyError,
        TypeError,
        AttributeError,
        ArithmeticError,
        RecursionError,
    ) as error:
        raise CatalogError(
            f"column '{GROUP}': its metadata describe no copula ({error}). Restore it from the "
            "original with 'targetsel restore', or score the catalog again."
        ) from None


@cache
def independent_normals(dimension: int, n_draws: int) -> np.ndarray:
    """Fixed scrambled-Sobol standard normals, shape (dimension, n_draws)."""
    from scipy.stats import qmc  # which takes a third of a second to import

    sobol = qmc.Sobol(dimension, scramble=True, rng=20200912)
    points = sobol.random_base2(int(np.ceil(np.log2(n_draws))))[:n_draws]
    return scipy.special.ndtri(np.clip(points, 1e-9, 1 - 1e-9)).T


def _combined(factors: np.ndarray, normals: list[np.ndarray]) -> np.ndarray:
    """Sums over K terms of factors (N, K) and normals (N, S), shape (N, S)."""
    total = np.zeros_like(normals[0]) if normals else np.zeros((len(factors), 1))
    for k, each in enumerate(normals):
        # Term by term: a matrix product would round differently beside other rows.
        total += factors[:, k, None] * each
    return total


def _ranked(values: np.ndarray) -> np.ndarray:
    """Normal scores of the ranks along the last axis."""
    order = np.argsort(values, axis=1, kind="stable")
    scores = np.empty_like(values)
    np.put_along_axis(scores, order, _levels(values.shape[1])[None], axis=1)
    return scores


@cache
def _levels(size: int) -> np.ndarray:
    return scipy.special.ndtri((np.arange(size) + 0.5) / size)


def _packed(array: np.ndarray) -> str:
    return base64.b64encode(np.ascontiguousarray(array).tobytes()).decode()


def _unpacked(text: str, kind: Any) -> np.ndarray:
    return np.frombuffer(base64.b64decode(text, validate=True), dtype=kind)
