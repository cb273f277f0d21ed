"""What a measured spectrum makes of a prior: importance sampling of latents and redshift.

The exact posterior density can be calculated at any point, so draws from a proposal that resembles
it, weighted by posterior over proposal, represent it. The proposal's Student-t peaks come from
`search`; later rounds take them from the weighted draws so far (population Monte Carlo; Cappe et
al. 2004, J. Comp. Graph. Stat. 13, 907), until these are worth enough. The draws of all rounds are
weighted by the average proposal (Veach & Guibas 1995). The effective sample size says how well that
went.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import logsumexp

from targetsel.errors import SpectrumError
from targetsel.priors.likelihood import Likelihood
from targetsel.priors.pixels import Pixels
from targetsel.priors.prior import Prior, generator
from targetsel.priors.proposal import Proposal, refitted, worth
from targetsel.priors.redshift import RedshiftPrior
from targetsel.priors.search import N_STARTS, Landscape, Peaks, climb, landscape
from targetsel.spectra.grid import LOG_STEP, wavelengths
from targetsel.spectra.lines import measure
from targetsel.spectra.proxies import Proxies
from targetsel.spectra.spectrum import ObservedSpectrum, Spectra

N_BASIS = 256  # of the prior's spectra that the search for redshifts is made with
MOST_ROUNDS = 16
ENOUGH = 300.0  # effective draws, with which sampling ends
NEAR = 0.003  # |difference of redshifts| / (1 + redshift) that counts as the same


@dataclass(frozen=True)
class Options:
    """What changes an update.

    Attributes
    ----------
    seed : int
    n_proposed : int
        Points in each round, of which there are at least two.
    n_draws : int
        Draws of the posterior that are kept.
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
        What these are multiplied by in the measured spectrum, in its unit.
    log_evidence : float
        Natural logarithm of p(measured spectrum given prior). The spectrum is in units of its own
        weighted mean, so only differences between priors over the same redshifts mean something.
    effective_size : float
        Of how many independent draws the weighted ones are worth (Kong 1992).
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
        """The median of the draws near the one that most others are near."""
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
    options: Options = Options(),
) -> Posterior:
    """The posterior of a source given its prior and a measured spectrum, however shallow.

    Parameters
    ----------
    spectrum : ObservedSpectrum
        In the observed frame; its own `redshift` is not looked at.
    redshift : RedshiftPrior, optional
        What is known of it beforehand. Default: the prior's redshift and its error.

    Raises
    ------
    SpectrumError
        If there is neither, or too little of the spectrum is of use.
    """
    redshift = redshift or prior.redshift_prior()
    if redshift is None:
        raise SpectrumError(
            f"source {prior.source_id}: its prior has no redshift with an error. Write the priors "
            "with both, or give a range of redshifts."
        )
    pixels = Pixels.of(spectrum, redshift.range)
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
        """Logarithm of likelihood times prior, per latent and pixel of redshift."""
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
