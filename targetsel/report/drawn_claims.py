"""Claims about proxies that a seed draws, with limits from the quantiles of true values alone.

Every proxy and every pair of proxies has its turn; which limits, which side of them and which
numerator is left to the seed. So nobody chooses claims that come out well.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from targetsel.spectra.lines import PASSIVE, WEAK
from targetsel.spectra.lines.table import FormulaDefinition, LineDefinition, LineTable
from targetsel.statistics.resampling import quantiles

LEVELS = (0.2, 0.7, 0.95)  # of the true values; limits are these quantiles
DENOMINATOR = 0.7  # level above which lines divide others
MOST_PAIRS = 36  # of each kind
SEED = 0


# What each class of ionisation asks of proxies, as `spectra.lines.bpt_probabilities` and
# `whan_probabilities` have it. Balmer lines are those of the gas.
def _gas(name: str) -> str:
    corrected = LineTable.shipped()[f"{name}_gas"]
    assert isinstance(corrected, FormulaDefinition)
    return f"({corrected.formula})"


def _log_ratio(above: str, below: str) -> str:
    return f"log10(max({above}, {0.1 * WEAK:g}) / max({below}, {0.1 * WEAK:g}))"


_HALPHA, _HBETA = _gas("ew_halpha"), _gas("ew_hbeta")
_NII, _OIII = _log_ratio("ew_nii", _HALPHA), _log_ratio("ew_oiii", _HBETA)
_STRONG = (
    f"{_HALPHA} > {WEAK:g} and ew_nii > {WEAK:g} and ({_HBETA} > {WEAK:g} or ew_oiii > {WEAK:g})"
)
_KAUFFMANN = f"({_NII} < 0.05 and {_OIII} < 0.61 / ({_NII} - 0.05) + 1.30)"
_KEWLEY = f"({_NII} < 0.47 and {_OIII} < 0.61 / ({_NII} - 0.47) + 1.19)"
_PASSIVE = f"{_HALPHA} < {PASSIVE:g} and ew_nii < {PASSIVE:g}"
BPT = {
    "bpt_sf": f"{_STRONG} and {_KAUFFMANN}",
    "bpt_composite": f"{_STRONG} and not {_KAUFFMANN} and {_KEWLEY}",
    "bpt_agn": f"{_STRONG} and not {_KEWLEY}",
    "bpt_weak": f"not ({_STRONG})",
}
WHAN = {
    "whan_sf": f"{_HALPHA} >= 3 and {_NII} < -0.4",
    "whan_strong_agn": f"{_HALPHA} >= 6 and not {_NII} < -0.4",
    "whan_weak_agn": f"{_HALPHA} >= 3 and {_HALPHA} < 6 and not {_NII} < -0.4",
    "whan_retired": f"{_HALPHA} < 3 and not ({_PASSIVE})",
    "whan_passive": _PASSIVE,
}


@dataclass(frozen=True)
class DrawnClaim:
    """A condition on proxies in the language of rules.

    Attributes
    ----------
    kind : str
        One of `KINDS`.
    name, condition : str
        The name is the condition itself, unless it is a class of ionisation.
    """

    kind: str
    name: str
    condition: str

    @classmethod
    def of(cls, kind: str, condition: str) -> DrawnClaim:
        """A claim that is named by its condition."""
        return cls(kind, condition, condition)


def drawn_claims(
    true: Mapping[str, np.ndarray], weight: np.ndarray, seed: int, kinds: Sequence[str]
) -> list[DrawnClaim]:
    """The claims of these kinds that the seed draws.

    Each kind has its own stream of random numbers, so that its claims do not depend on the others.

    Parameters
    ----------
    true : mapping of str to ndarray, shape (N,)
        True proxies, NaN where one was not measured.
    weight : ndarray, shape (N,)
    """
    known = {name: values for name, values in true.items() if np.isfinite(values).any()}
    return [
        DrawnClaim.of(kind, each) if isinstance(each, str) else DrawnClaim(kind, *each)
        for kind in kinds
        for each in KINDS[kind](_Limits(known, weight, [seed, [*KINDS].index(kind)]))
    ]


class _Limits:
    """Draws limits at the quantiles of true values."""

    def __init__(self, true: Mapping[str, np.ndarray], weight: np.ndarray, seed: list[int]) -> None:
        self.true, self._weight = true, weight
        self.rng = np.random.default_rng(seed)

    def at(self, values: np.ndarray, level: float, rows: np.ndarray | None = None) -> float:
        """A quantile of true values, or of those in `rows`; NaN where there are none."""
        known = np.isfinite(values) & (self._weight > 0)
        known = known if rows is None else known & rows
        if not known.any():
            return np.nan
        return float(quantiles(values[known], (level,))(self._weight[known])[0])

    def spread(self, name: str) -> str:
        """Half the width of the central 68 % of a proxy, as rules write it."""
        low, high = (self.at(self.true[name], level) for level in (0.16, 0.84))
        return f"{(high - low) / 2:.3g}"

    def level(self) -> float:
        return float(self.rng.choice(LEVELS))

    def side(self) -> str:
        return str(self.rng.choice(["<", ">"]))

    def limit(self, of: str, values: np.ndarray, level: float | None = None) -> str:
        """A comparison of `of`, whose true values are given, with the limit at a level."""
        return f"{of} {self.side()} {self.at(values, level or self.level()):.4g}"

    def pairs(self, names: Sequence[str]) -> Iterator[tuple[str, str]]:
        """All pairs in either order, or as many as `MOST_PAIRS`."""
        pairs = list(combinations(names, 2))
        for k in np.sort(self.rng.permutation(len(pairs))[:MOST_PAIRS]):
            one, other = pairs[k]
            yield (one, other) if self.rng.random() < 0.5 else (other, one)


# ---------------------------------------------------------------------- one kind after another


def _single_lines(limits: _Limits) -> Iterator[str]:
    for name, values in limits.true.items():
        for level in LEVELS:
            yield limits.limit(name, values, level)


def _joined(word: str) -> Callable[[_Limits], Iterator[str]]:
    def of(limits: _Limits) -> Iterator[str]:
        for pair in limits.pairs([*limits.true]):
            yield f" {word} ".join(limits.limit(name, limits.true[name]) for name in pair)

    return of


def _summed(sign: str) -> Callable[[_Limits], Iterator[str]]:
    def of(limits: _Limits) -> Iterator[str]:
        for pair in limits.pairs([*limits.true]):
            one, other = (limits.spread(name) for name in pair)
            if 0.0 in (float(one), float(other)):
                continue
            a, b = (limits.true[name] for name in pair)
            second = b / float(other) if sign == "+" else -b / float(other)
            text = f"{pair[0]} / {one} {sign} {pair[1]} / {other}"
            yield limits.limit(text, a / float(one) + second)

    return of


def _ratios(limits: _Limits) -> Iterator[str]:
    for above, below in limits.pairs(_emission_lines(limits.true)):
        least = f"{max(limits.at(limits.true[below], DENOMINATOR), 0.0):.4g}"
        strong = limits.true[below] > float(least)
        ratio = limits.true[above] / np.where(strong, limits.true[below], np.nan)
        if np.isfinite(ratio).any():
            yield f"{limits.limit(f'{above} / {below}', ratio)} and {below} > {least}"


def _rests(limits: _Limits) -> Iterator[str]:
    """A band less the lines inside it, at all levels."""
    definitions = {name: LineTable.shipped()[name] for name in _emission_lines(limits.true)}
    bands = {
        name: each.band("line")
        for name, each in definitions.items()
        if isinstance(each, LineDefinition)
    }
    for whole, band in bands.items():
        parts = [
            name
            for name, inner in bands.items()
            if name != whole and band.start <= inner.start and inner.end <= band.end
        ]
        if len(parts) > 1:
            rest = limits.true[whole] - sum(limits.true[name] for name in parts)
            for level in LEVELS:
                yield limits.limit(" - ".join([whole, *parts]), rest, level)


def _classes(conditions: Mapping[str, str]) -> Callable[[_Limits], Iterator[tuple[str, str]]]:
    def of(limits: _Limits) -> Iterator[tuple[str, str]]:
        needed = ("ew_hbeta", "ew_oiii", "ew_halpha", "ew_nii", "d4000")
        if {*needed} <= {*limits.true}:
            yield from conditions.items()

    return of


def _emission_lines(true: Mapping[str, np.ndarray]) -> list[str]:
    table = LineTable.shipped()
    return [name for name in true if name in table.names and table[name].is_emission]


KINDS: dict[str, Callable[[_Limits], Iterator[str] | Iterator[tuple[str, str]]]] = {
    "single line": _single_lines,
    "and": _joined("and"),
    "or": _joined("or"),
    "sum": _summed("+"),
    "difference": _summed("-"),
    "ratio": _ratios,
    "rest of a complex": _rests,
    "BPT": _classes(BPT),
    "WHAN": _classes(WHAN),
}
CLOSED = ("single line", "and", "or")  # kinds whose probabilities take no draws
