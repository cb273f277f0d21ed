"""The posterior of a prior and a measured spectrum: importance sampling of latents and redshift.

The exact posterior density can be calculated at any point, so draws from a proposal similar to
it, weighted by posterior over proposal, represent it. The proposal's Student-t peaks come from
`search`; later rounds refit them to the weighted draws so far (population Monte Carlo; Cappe et
al. 2004, J. Comp. Graph. Stat. 13, 907), until their effective number suffices. The draws of all
rounds are weighted by the average proposal (Veach & Guibas 1995). The effective sample size
measures the accuracy of the result.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.special import gammaln, logsumexp

from targetsel.calibration.conformal import effective_size
from targetsel.errors import SpectrumError
from targetsel.priors.likelihood import Likelihood, ObservedPixels
from targetsel.priors.prior import Prior, generator
from targetsel.priors.redshift_prior import RedshiftPrior
from targetsel.priors.search import N_STARTS, Landscape, Peaks, climb, landscape
from targetsel.spectra.grid import LOG_STEP, wavelengths
from targetsel.spectra.lines import measure
from targetsel.spectra.proxies import Proxies
from targetsel.spectra.spectrum import ObservedSpectrum, Spectra
from targetsel.statistics.gaussian_mixture import GaussianMixture

FREEDOM = 4.0  # degrees of freedom of the Student-t peaks
WIDER = 1.1  # width of the Student-t peaks over that of the fitted Gaussians
DEFENSE = 0.2  # share drawn from the prior itself (Hesterberg 1995)
LEAST_MASS = 0.01  # least share of the weight of a peak that is kept
FEWEST = 20.0  # effective draws that a peak is refitted from
FLOOR = 100.0  # effective draws that all peaks together are refitted from
RIDGE = 1e-6
N_BASIS = 256  # draws of the prior's spectra in the search for redshifts
MOST_ROUNDS = 16
ENOUGH = 300.0  # effective draws at which sampling ends
NEAR = 0.003  # |difference of redshifts| / (1 + redshift) that counts as the same


@dataclass(frozen=True)
class Proposal:
    """Proposal density: Student-t peaks, and the prior's latents at redshifts of the landscape.

    Points are latents, and log10(1 + redshift) in pixels.

    Attributes
    ----------
    weight : ndarray, shape (B,)
        Weights of the peaks, which add to 1.
    mean : ndarray, shape (B, D + 1)
    factor : ndarray, shape (B, D + 1, D + 1)
        Lower Cholesky factors of the t distributions' scale matrices.
    prior : GaussianMixture
    edges, chance : ndarray, shapes (Z + 1,) and (Z,)
        Cells of log10(1 + redshift) in pixels, and the probability of each.
    """

    weight: np.ndarray
    mean: np.ndarray
    factor: np.ndarray
    prior: GaussianMixture
    edges: np.ndarray
    chance: np.ndarray

    @classmethod
    def of(cls, prior: GaussianMixture, peaks: Peaks, found: Landscape) -> Proposal:
        """Proposal with peaks weighted by the square root of their approximate mass."""
        weight = np.exp((peaks.log_height - peaks.log_height.max()) / 2)
        middle = (found.stretch[1:] + found.stretch[:-1]) / 2
        edges = np.concatenate([found.stretch[:1], middle, found.stretch[-1:]]) / LOG_STEP
        mass = np.exp((found.log_posterior - found.log_posterior.max()) / 2) * np.diff(edges)
        chance = 0.9 * mass / mass.sum() + 0.1 * np.diff(edges) / (edges[-1] - edges[0])
        factor = WIDER * np.linalg.cholesky(peaks.cov)
        return cls(weight / weight.sum(), peaks.mean, factor, prior, edges, chance)

    def draw(self, n: int, rng: np.random.Generator) -> np.ndarray:
        """Draws of points, shape (n, D + 1)."""
        n_prior = round(DEFENSE * n)
        places = (np.arange(n - n_prior) + rng.random()) / (n - n_prior)
        chosen = np.searchsorted(np.cumsum(self.weight)[:-1], places)
        normals = rng.standard_normal((len(chosen), self.mean.shape[1]))
        normals /= np.sqrt(rng.chisquare(FREEDOM, (len(chosen), 1)) / FREEDOM)
        near = self.mean[chosen] + np.einsum("nij,nj->ni", self.factor[chosen], normals)
        cells = np.searchsorted(np.cumsum(self.chance)[:-1], rng.random(n_prior))
        width = np.diff(self.edges)[cells]
        place = self.edges[cells] + rng.random(n_prior) * width
        far = np.concatenate([self.prior.draw(n_prior, rng), place[:, None]], axis=1)
        return np.concatenate([near, far])

    def log_density(self, points: np.ndarray) -> np.ndarray:
        """Natural logarithm of the density at points (n, D + 1), shape (n,)."""
        with np.errstate(divide="ignore"):
            near = logsumexp(self._of_peaks(points) + np.log(self.weight)[:, None], axis=0)
            far = self.prior.log_density(points[:, :-1]) + np.log(self._of_place(points[:, -1]))
        return np.logaddexp(near + np.log(1 - DEFENSE), far + np.log(DEFENSE))

    def _of_peaks(self, points: np.ndarray) -> np.ndarray:
        """Natural logarithms of the peaks' densities, shape (B, n)."""
        d = points.shape[1]
        away = points[None] - self.mean[:, None]
        white = np.linalg.solve(self.factor, away.swapaxes(1, 2))
        size = np.log(np.diagonal(self.factor, axis1=1, axis2=2)).sum(axis=1)
        constant = (
            gammaln((FREEDOM + d) / 2) - gammaln(FREEDOM / 2) - d / 2 * np.log(FREEDOM * np.pi)
        )
        shape = -(FREEDOM + d) / 2 * np.log1p((white**2).sum(axis=1) / FREEDOM)
        return constant - size[:, None] + shape

    def _of_place(self, place: np.ndarray) -> np.ndarray:
        cell = np.clip(
            np.searchsorted(self.edges, place, side="right") - 1, 0, len(self.chance) - 1
        )
        inside = (place >= self.edges[0]) & (place <= self.edges[-1])
        return np.where(inside, self.chance[cell] / np.diff(self.edges)[cell], 0.0)


def refitted(proposal: Proposal, points: np.ndarray, log_weight: np.ndarray) -> Proposal:
    """The proposal with peaks refitted to the weighted points.

    Weights concentrated on few points are flattened first. Every point is shared among the peaks
    in proportion to their densities there. A peak with too few effective points keeps its shape.
    """
    log_weight = flattened(log_weight)
    with np.errstate(divide="ignore"):
        parts = proposal._of_peaks(points) + np.log(proposal.weight)[:, None]
    share = np.exp(parts - logsumexp(parts, axis=0))
    weight = share * np.exp(log_weight - logsumexp(log_weight))
    mass = weight.sum(axis=1)
    mean, factor = proposal.mean.copy(), proposal.factor.copy()
    for k in np.flatnonzero(mass > LEAST_MASS):
        normed = weight[k] / mass[k]
        if 1 / (normed**2).sum() < FEWEST:
            continue
        mean[k] = normed @ points
        away = points - mean[k]
        cov = (normed[:, None] * away).T @ away
        cov[np.diag_indices_from(cov)] *= 1 + RIDGE
        factor[k] = WIDER * np.linalg.cholesky(cov)
    kept = np.maximum(mass, LEAST_MASS / len(mass))
    return replace(proposal, weight=kept / kept.sum(), mean=mean, factor=factor)


def flattened(log_weight: np.ndarray) -> np.ndarray:
    """Log weights raised to the highest power up to 1 that gives 100 effective draws.

    Peaks fitted to a few heavy points would be too narrow, and draws from them would miss the
    rest (Koblents & Miguez 2015, Stat. Comput. 25, 407, who transform weights to that end).
    """
    low, high = 1e-6, 1.0
    if worth(log_weight) >= FLOOR:
        return log_weight
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (middle, high) if worth(middle * log_weight) >= FLOOR else (low, middle)
    return low * log_weight


def worth(log_weight: np.ndarray) -> float:
    """Effective number of weighted draws, from the logarithms of their weights."""
    return effective_size(np.exp(log_weight - log_weight.max()))


@dataclass(frozen=True)
class UpdateOptions:
    """Settings of an update.

    Attributes
    ----------
    seed : int
    n_proposed : int
        Number of points in each round; there are at least two rounds.
    n_draws : int
        Number of draws of the posterior to return.
    calibration : float
        Error of the flux calibration: standard deviation of the coefficients of the first two
        Chebyshev polynomials.
    """

    seed: int = 0
    n_proposed: int = 256
    n_draws: int = 256
    calibration: float = 0.05


@dataclass(frozen=True)
class Posterior:
    """p(latents, redshift, spectrum given image and measured spectrum), as S equal draws.

    Attributes
    ----------
    source_id : int or str
    latents : ndarray, shape (S, D)
    redshift : ndarray, shape (S,)
    flux : ndarray, shape (S, 1000)
        Rest-frame spectra in units where the decoder's have a sum of squares of about 1.
    amplitude : ndarray, shape (S,)
        Factor of `flux` in the measured spectrum, in its unit.
    log_evidence : float
        Natural logarithm of p(measured spectrum given prior). The spectrum is in units of its own
        weighted mean, so only differences between priors over the same redshifts are meaningful.
    effective_size : float
        Effective number of independent draws (Kong 1992).
    """

    source_id: int | str
    latents: np.ndarray
    redshift: np.ndarray
    flux: np.ndarray
    amplitude: np.ndarray
    log_evidence: float
    effective_size: float

    @property
    def wavelength(self) -> np.ndarray:
        """Rest-frame vacuum wavelength [Angstrom], shape (1000,)."""
        return wavelengths()

    @property
    def best_redshift(self) -> float:
        """Median of the draws around the redshift that has the most draws near it."""
        z = np.sort(self.redshift)
        reach = NEAR * (1 + z)
        counts = np.searchsorted(z, z + reach, "right") - np.searchsorted(z, z - reach, "left")
        best = z[np.argmax(counts)]
        return float(np.median(z[np.abs(z - best) <= NEAR * (1 + best)]))

    @property
    def confidence(self) -> float:
        """Probability that the redshift is near the best one."""
        best = self.best_redshift
        return float((np.abs(self.redshift - best) <= NEAR * (1 + best)).mean())

    def proxies(self) -> Proxies:
        """The line strengths of every draw, `values` of shape (1, S, P)."""
        spectra = Spectra(np.array([self.source_id]), self.flux[None], self.wavelength)
        return measure(spectra)


def update(
    prior: Prior,
    spectrum: ObservedSpectrum,
    redshift: RedshiftPrior | None = None,
    options: UpdateOptions = UpdateOptions(),
) -> Posterior:
    """Posterior of a source given its prior and a measured spectrum of any depth.

    Parameters
    ----------
    spectrum : ObservedSpectrum
        Spectrum in the observed frame; its own `redshift` is ignored.
    redshift : RedshiftPrior, optional
        Prior of the redshift. Default: the prior's redshift and its error.

    Raises
    ------
    SpectrumError
        If there is neither, or too little of the spectrum is usable.
    """
    redshift = redshift or prior.redshift_prior()
    if redshift is None:
        raise SpectrumError(
            f"source {prior.source_id}: its prior has no redshift with an error. Write the priors "
            "with both, or give a range of redshifts."
        )
    pixels = ObservedPixels.of(spectrum, redshift.range)
    likelihood = Likelihood(prior.model, pixels, options.calibration)
    rng = generator(prior.source_id, options.seed, "update")
    starts = prior.latents.draw(N_BASIS, rng)
    found = landscape(likelihood, prior.model.draw(starts, rng), redshift)
    starts[0] = prior.latents.moments()[0]
    peaks = climb(likelihood, prior.latents, found, starts[:N_STARTS])
    sampler = _Sampler(prior, likelihood, redshift, options.n_proposed)
    return sampler.posterior(peaks, found, options.n_draws, rng)


@dataclass(frozen=True)
class _Sampler:
    prior: Prior
    likelihood: Likelihood
    redshift: RedshiftPrior
    n_proposed: int

    def posterior(
        self, peaks: Peaks, found: Landscape, n_draws: int, rng: np.random.Generator
    ) -> Posterior:
        points, log_weight = self._weighted(peaks, found, rng)
        weight = np.exp(log_weight - logsumexp(log_weight))
        chosen = _even(weight, n_draws, rng)
        latents, stretch = points[chosen, :-1], points[chosen, -1] * LOG_STEP
        flux, amplitude = self.likelihood.draw_spectra(latents, stretch, rng)
        return Posterior(
            self.prior.source_id,
            latents,
            10**stretch - 1,
            flux,
            amplitude,
            float(logsumexp(log_weight) - np.log(len(log_weight))),
            worth(log_weight),
        )

    def _weighted(
        self, peaks: Peaks, found: Landscape, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        """Points (n, D + 1) and the logarithms of their weights, from two rounds or more."""
        proposals = [Proposal.of(self.prior.latents, peaks, found)]
        points, target, total = np.empty((0, peaks.mean.shape[1])), np.empty(0), np.empty(0)
        for n_round in range(1, MOST_ROUNDS + 1):
            newest = proposals[-1]
            more = newest.draw(self.n_proposed, rng)
            total = np.logaddexp(total, newest.log_density(points))
            every = logsumexp([each.log_density(more) for each in proposals], axis=0)
            points = np.concatenate([points, more])
            target = np.concatenate([target, self._target(more)])
            total = np.concatenate([total, every])
            log_weight = target - total + np.log(n_round)
            if n_round > 1 and worth(log_weight) >= ENOUGH:
                break
            proposals.append(refitted(newest, points, log_weight))
        return points, log_weight

    def _target(self, points: np.ndarray) -> np.ndarray:
        """Logarithm of likelihood times prior density, per unit latent and pixel of redshift."""
        latents, stretch = points[:, :-1], points[:, -1] * LOG_STEP
        log = self.prior.latents.log_density(latents) + self.redshift.log_density(stretch)
        inside = np.isfinite(log)
        log[inside] += self.likelihood.log(latents[inside], stretch[inside])
        return log + np.log(LOG_STEP)


def _even(weight: np.ndarray, n: int, rng: np.random.Generator) -> np.ndarray:
    """Indices of n equal draws from weighted ones (systematic resampling; Kitagawa 1996)."""
    places = (np.arange(n) + rng.random()) / n
    chosen = np.minimum(np.searchsorted(np.cumsum(weight), places), len(weight) - 1)
    return chosen[rng.permutation(n)]
