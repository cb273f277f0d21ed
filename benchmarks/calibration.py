"""Calibration of posteriors and probabilities on a mock sky: SIMULATED images.

    targetsel mock --n 7311 --seed 7 --held-out -o sky/
    python benchmarks/calibration.py sky/ --ensemble ENSEMBLE --scratch scratch/

No galaxy of the sky may have had a part in training or calibration. The sky is scored twice,
without the ensemble's calibration and with it, and every figure is printed for both. Latents are
compared with encodings of the noise-free spectra, proxies with indices measured on them.

Intervals (68 and 95 %) are from resampling the real galaxies behind the sources. A star marks what
misses its goal: coverage within 1 point over all sources and within 3 in every bin of at least
`FEWEST_IN_BIN` sources by r magnitude, joint coverage within 0.03 at every level, an expected
calibration error of at most 0.02, and as many true members as the probabilities add up to, within
5 % or the interval.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from scipy.stats import chi2
from skies import HEADING, Sky

from targetsel.networks.posterior import LatentPosterior, stored_posterior
from targetsel.rules.rules import Rules, shipped_rules
from targetsel.scoring.ensemble import Ensemble
from targetsel.scoring.stream import score
from targetsel.selection.claims import truth
from targetsel.selection.membership import apply_rules
from targetsel.selection.sources import Sources
from targetsel.sky.catalog import CatalogFile
from targetsel.spectra.lines import PROXIES, bpt_probabilities
from targetsel.spectra.photoz import PHOTOZ
from targetsel.spectra.proxies import Proxies, ProxyPosterior
from targetsel.statistics.resampling import Estimate, Resampling, Statistic
from targetsel.tables.columns import matrix

INTERVAL = 0.9
OVERALL, IN_BIN, JOINT, ERROR, MEMBERS = 0.01, 0.03, 0.03, 0.02, 0.05  # goals
FEWEST_IN_BIN, MOST_BINS = 300, 10
N_RELIABILITY = 10  # bins of a probability
N_DRAWS = 256  # for joint coverage
LEVELS = np.linspace(0.02, 0.98, 49)
CLAIMS = {
    "STRONG_HALPHA": "ew_halpha > 30 Angstrom",
    "STRONG_BOTH": "ew_oiii > 10 Angstrom and ew_halpha > 30 Angstrom",
    "OLD": "d4000 > 1.6",
}


@dataclass(frozen=True)
class Known:
    """N scored sources of a sky, those with a prediction alone.

    Attributes
    ----------
    sky : Sky
    table : pa.Table
        In the scored layout.
    latents : ndarray, shape (N, D)
        True ones.
    """

    sky: Sky
    table: pa.Table
    latents: np.ndarray

    @cached_property
    def posterior(self) -> LatentPosterior:
        return stored_posterior(self.table, self.sky.source_id).latents

    @cached_property
    def proxies(self) -> ProxyPosterior:
        """The joint posterior of the proxies, from which rules' probabilities are computed."""
        return Sources(self.table.combine_chunks()).posterior

    @cached_property
    def below(self) -> dict[str, np.ndarray]:
        """The share of each latent's, proxy's and redshift's posterior below the truth, (N,)."""
        found = self.posterior.probability_below(self.latents)
        shares = {f"latent {k + 1}": column for k, column in enumerate(found.T)}
        true = self.sky.proxies
        shares |= {n: self.proxies.probability_below(n, true[n]) for n in PROXIES}
        if PHOTOZ in self.proxies.quantiles:
            shares[PHOTOZ] = self.proxies.probability_below(PHOTOZ, self.sky.redshift)
        return shares


def known(sky: Sky, ensemble: Ensemble, scored: Path, threads: int) -> Known:
    """A sky as the ensemble scores it, into a file."""
    catalog = CatalogFile.open(sky.folder / "catalog.parquet")
    score(catalog, sky.store, ensemble, scored, threads=threads)
    table = pq.read_table(scored)
    table = table.filter(pa.array(np.array(table["status"].to_pylist()) == "ok"))
    place = {key: row for row, key in enumerate(sky.source_id.tolist())}
    sky = sky.take(np.array([place[key] for key in table["source_id"].to_pylist()]))
    return Known(sky, table, sky.labels(ensemble.decoder, "flux_true"))


def scored_twice(sky: Sky, given: argparse.Namespace) -> tuple[Ensemble, dict[str, Known]]:
    """The calibrated ensemble, and a sky as it scores it "before" calibration and "after"."""
    given.scratch.mkdir(exist_ok=True)
    scored = {}
    for when in ("before", "after"):
        ensemble = Ensemble.read(given.ensemble, calibrated=when == "after")
        scored[when] = known(sky, ensemble, given.scratch / f"{when}.parquet", given.threads)
    if ensemble.calibration is None:
        raise SystemExit(f"--ensemble {given.ensemble}: has no calibration.json")
    return ensemble, scored


def share(inside: np.ndarray) -> Statistic:
    """The weighted share of what is 1; NaN does not count."""
    there = np.isfinite(inside)
    inside = np.where(there, inside, 0.0)
    return lambda weight: float(weight @ inside / (weight @ there))


def bins_of(x: np.ndarray, most: int = MOST_BINS) -> list[np.ndarray]:
    """Rows of equally many sources by x, at least `FEWEST_IN_BIN` in each if there are any."""
    n_bins = int(np.clip(len(x) // FEWEST_IN_BIN, 1, most))
    return np.array_split(np.argsort(x, kind="stable"), n_bins)


# ---------------------------------------------------------------------- one at a time


def print_coverage(scored: dict[str, Known], resampling: Resampling) -> None:
    """Print the coverage of every latent and proxy, of all and in the worst bin."""
    magnitude = next(iter(scored.values())).table["rmag"].to_numpy()
    rows, weight = bins_of(magnitude), resampling.weight
    title(f"share of sources in their 90 % interval, of all and in {len(rows)} bins of rmag")
    print(f"{'':15}{'':8}{'all':42}{'worst bin':12}bins off by > 3 points")
    for name in next(iter(scored.values())).below:
        for when, each in scored.items():
            below = each.below[name]
            inside = np.where(np.isnan(below), np.nan, np.abs(below - 0.5) < INTERVAL / 2)
            whole = resampling.estimate(share(inside))
            parts = np.array([share(inside[part])(weight[part]) for part in rows]) - INTERVAL
            off = int((np.abs(parts) > IN_BIN).sum())
            missed = abs(whole.value - INTERVAL) > OVERALL
            print(
                f"{name:15}{when:8}{whole.text() + _star(missed):42}"
                f"{INTERVAL + parts[np.argmax(np.abs(parts))]:.3f}{_star(off):7}{off}"
            )


# ---------------------------------------------------------------------- all together


def print_joint(scored: dict[str, Known], resampling: Resampling) -> None:
    """Print how far joint coverage is from its level, at the worst level."""
    title("joint coverage (TARP): largest deviation from its level")
    print(f"{'':15}{'':8}{'all':42}worst of 5 bins of rmag (chance alone: 95 % below)")
    first = next(iter(scored.values()))
    parts = bins_of(first.table["rmag"].to_numpy(), 5)
    chance = _chance(min(map(len, parts)))
    for what, ranks in (("latents", latent_ranks), ("proxies", proxy_ranks)):
        for when, each in scored.items():
            found = ranks(each)
            whole = resampling.estimate(deviation(found))
            worst = max(float(deviation(found[p])(resampling.weight[p])) for p in parts)
            text = whole.text() + _star(whole.value > JOINT)
            print(f"{what:15}{when:8}{text:42}{worst:.3f} ({chance:.3f})")


def print_ellipsoids(scored: dict[str, Known], resampling: Resampling) -> None:
    """Print the share of true latents in ellipsoids of a Gaussian of the stored covariance."""
    title("share of sources in the ellipsoid of latent_mean and latent_cov, as of a Gaussian")
    for when, each in scored.items():
        distance = distance_of(each.table, each.latents)
        for level in (0.5, INTERVAL, 0.95):
            inside = distance < chi2.ppf(level, each.latents.shape[1])
            text = resampling.estimate(share(np.where(np.isnan(distance), np.nan, inside))).text()
            print(f"{level:<15.0%}{when:8}{text}")


def distance_of(table: pa.Table, latents: np.ndarray) -> np.ndarray:
    """Squared Mahalanobis distance of latents (N, D) from the stored mean, shape (N,)."""
    n, d = latents.shape
    lower = np.tril_indices(d)
    cov = np.zeros((n, d, d))
    cov[:, lower[0], lower[1]] = matrix(table["latent_cov"])
    cov += np.tril(cov, -1).swapaxes(1, 2)
    apart = (latents - matrix(table["latent_mean"]))[..., None]
    return (apart * np.linalg.solve(cov, apart)).sum(axis=(1, 2))


def latent_ranks(scored: Known) -> np.ndarray:
    """Ranks of the latents; see `tarp_ranks`."""
    draws = scored.posterior.draw(N_DRAWS)
    return tarp_ranks(draws, scored.latents)


def proxy_ranks(scored: Known) -> np.ndarray:
    """Ranks of the proxies, each scaled to be uniform over the sky; see `tarp_ranks`."""
    drawn = scored.proxies.draw(PROXIES, N_DRAWS)
    draws, true = [], []
    for name in PROXIES:
        values = scored.sky.proxies[name]
        ladder = np.sort(values[np.isfinite(values)])
        levels = (np.arange(len(ladder)) + 0.5) / len(ladder)
        draws.append(np.interp(drawn[name], ladder, levels))
        true.append(np.where(np.isnan(values), np.nan, np.interp(values, ladder, levels)))
    return tarp_ranks(np.stack(draws, axis=2), np.stack(true, axis=1))


def tarp_ranks(draws: np.ndarray, true: np.ndarray) -> np.ndarray:
    """The share of draws (N, S, D) nearer to a random point than the truth (N, D) is.

    Lemos et al. (2023, arXiv:2302.03026): uniform over sources, whatever the points, if the
    posterior is right. The points are the truth of another source. NaN where truth is unknown.
    """
    points = true[np.random.default_rng(0).permutation(len(true))]
    far = np.linalg.norm(true - points, axis=1)
    with np.errstate(invalid="ignore"):
        nearer = np.linalg.norm(draws - points[:, None], axis=2) < far[:, None]
    return np.where(np.isnan(far), np.nan, nearer.mean(axis=1))


def deviation(ranks: np.ndarray) -> Callable[[np.ndarray], float]:
    """The largest difference between the share of ranks below a level and the level."""
    there = np.isfinite(ranks)
    order = np.argsort(ranks[there], kind="stable")
    places = np.searchsorted(ranks[there][order], LEVELS)

    def statistic(weight: np.ndarray) -> float:
        reached = np.concatenate([[0.0], np.cumsum(weight[there][order])])
        return float(np.abs(reached[places] / reached[-1] - LEVELS).max())

    return statistic


def _chance(n: int) -> float:
    """95th percentile of the deviation for perfect posteriors of n independent sources."""
    rng = np.random.default_rng(0)
    return float(
        np.quantile([deviation(rng.uniform(size=n))(np.ones(n)) for _ in range(500)], 0.95)
    )


# ---------------------------------------------------------------------- probabilities


def print_reliability(scored: dict[str, Known], resampling: Resampling) -> None:
    """Print the calibration error of probabilities of given claims."""
    title(f"probabilities, in {N_RELIABILITY} bins: expected calibration error")
    print(f"{'P of':52}{'':8}error")
    rules = Rules.parse(_rules(CLAIMS))
    for name, claim in CLAIMS.items():
        for when, each in scored.items():
            chance, true = claimed(each, rules, name)
            found = resampling.estimate(calibration_error(chance, true))
            print(f"{claim:52}{when:8}{found.text() + _star(found.value > ERROR)}")


def _rules(claims: dict[str, str]) -> str:
    head = "schema: targetsel/rules/v1\nname: claims\nclasses:\n"
    return head + "".join(
        f"  {name}: {{bit: {k}, priority: 1, where: P({claim}) >= 0}}\n"
        for k, (name, claim) in enumerate(claims.items())
    )


def claimed(scored: Known, rules: Rules, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Probability of a class's claim for its members, NaN for others; and its truth."""
    membership = apply_rules(rules, scored.table)
    k = membership.names.index(name)
    chance = np.where(membership.selected[:, k], membership.probability[:, k], np.nan)
    return chance, truth(rules, name, scored.table, scored.sky.proxies)


def calibration_error(chance: np.ndarray, true: np.ndarray) -> Statistic:
    """Weighted mean over bins of |mean probability - share of true sources|.

    Naeini et al. (2015, AAAI 29). Noise only adds to it, and resampling adds noise: its intervals
    lie a little too high.
    """
    there = np.isfinite(chance)
    place = np.minimum(np.where(there, chance, 0.0) * N_RELIABILITY, N_RELIABILITY - 1).astype(int)
    excess = np.where(there, chance - true, 0.0)

    def statistic(weight: np.ndarray) -> float:
        return float(np.abs(np.bincount(place, weight * excess)).sum() / (weight @ there))

    return statistic


def print_members(scored: dict[str, Known], resampling: Resampling) -> None:
    """Print, for every shipped class, what its probabilities add up to and its true members."""
    title("shipped classes: expected and actual true members, and expected less actual")
    print(f"{'class':18}{'':8}{'selected':>9}{'expected':>10}{'actual':>8}  difference")
    for path in shipped_rules():
        rules = Rules.read(path)
        for each in rules.classes:
            for when, one in scored.items():
                if (found := _members(one, rules, each.name)) is not None:
                    _print_members(each.name, when, *found, resampling)


def _members(scored: Known, rules: Rules, name: str) -> tuple[np.ndarray, np.ndarray] | None:
    """Probability and truth of what a class means; None where it means nothing of spectra."""
    bpt = f"bpt_{name.lower()}"
    if bpt not in scored.table.column_names:
        chance, true = claimed(scored, rules, name)
        nothing = np.isnan(chance) | (chance == 1)
        return None if nothing.all() else (chance, true)
    membership = apply_rules(rules, scored.table)
    member = membership.selected[:, membership.names.index(name)]
    values = np.stack([scored.sky.proxies[each] for each in PROXIES], axis=-1)
    one = bpt_probabilities(Proxies(scored.sky.source_id, PROXIES, values[:, None]))
    return np.where(member, scored.table[bpt].to_numpy(), np.nan), one[bpt] == 1


def _print_members(
    name: str, when: str, chance: np.ndarray, true: np.ndarray, resampling: Resampling
) -> None:
    selected = np.isfinite(chance)
    sums = np.where(selected, [chance, true, np.ones(len(true))], 0.0)
    found: Estimate = resampling.estimate(lambda weight: sums @ weight)
    difference = found[0] - found[1]
    low, high = difference.interval(0.95)
    missed = abs(difference.value) > MEMBERS * found[1].value and not low <= 0 <= high
    counts = f"{found.value[2]:9.0f}{found.value[0]:10.1f}{found.value[1]:8.0f}"
    print(f"{name:18}{when:8}{counts}  {difference.text(1, '+')}{_star(missed)}")


def _star(missed: object) -> str:
    return " *" if missed else ""


def title(text: str) -> None:
    print(f"\n{HEADING} | {text}")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("sky", type=Path, help="folder of the held-out sky")
    parser.add_argument("--ensemble", default="mock-ps1", help="directory, or a shipped one's name")
    parser.add_argument("--scratch", type=Path, required=True, help="folder for scored files")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--resamplings", type=int, default=500)
    given = parser.parse_args()
    ensemble, scored = scored_twice(Sky.read(given.sky), given)
    assert ensemble.calibration is not None
    sky = scored["after"].sky
    resampling = Resampling(sky.group, sky.weight, given.resamplings)
    print(f"ensemble {ensemble.card.get('name', '')}, SHA-256 {ensemble.sha256[:16]}, posteriors")
    print(f"{ensemble.calibration.summary}; before: without, after: with that calibration")
    title(f"{sky.name}: {len(sky)} sources of {resampling.n_groups} real galaxies; * misses a goal")
    print_coverage(scored, resampling)
    print_joint(scored, resampling)
    print_ellipsoids(scored, resampling)
    print_reliability(scored, resampling)
    print_members(scored, resampling)


if __name__ == "__main__":
    main()
