"""The posterior of a prior and a measured spectrum: importance sampling of latents and redshift.

The exact posterior density can be calculated at any point, so draws from a proposal similar to
it, weighted by posterior over proposal, represent it. The proposal's Student-t peaks come from
`proposal`; later rounds refit them to the weighted draws so far (population Monte Carlo; Cappe et
al. 2004, J. Comp. Graph. Stat. 13, 907), until their effective number suffices. The draws of all
rounds are weighted by the average proposal (Veach & Guibas 1995). The effective sample size
measures the accuracy of the result.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from scipy.special import logsumexp

from targetsel.errors import SpectrumError
from targetsel.priors.columns import NEAR, UPDATED, update_columns
from targetsel.priors.files import PriorFile
from targetsel.priors.likelihood import Likelihood, ObservedPixels
from targetsel.priors.prior import Prior, RedshiftPrior, generator
from targetsel.priors.proposal import N_STARTS, Proposal, climb, landscape, refitted, worth
from targetsel.redshifts.qp_files import check_qp_output, write_qp
from targetsel.sky.positions import check_same_places
from targetsel.spectra.grid import LOG_STEP, wavelengths
from targetsel.spectra.lines import PROXIES, measure
from targetsel.spectra.proxies import Proxies
from targetsel.spectra.reading import OK, attempts
from targetsel.spectra.spectrum import ObservedSpectrum, Spectra
from targetsel.tables.columns import schema_of
from targetsel.tables.files import check_apart, check_table_output
from targetsel.tables.ids import as_id
from targetsel.tables.parquet import ParquetSink
from targetsel.version import __version__

N_BASIS = 256  # draws of the prior's spectra in the search for redshifts
MOST_ROUNDS = 16
ENOUGH = 300.0  # effective draws at which sampling ends
MOST_CALIBRATION = 10.0
ROWS_AT_ONCE = 64
PERCENTILES = np.arange(1, 100) / 100  # of a redshift, in files of qp


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

    def __post_init__(self) -> None:
        if not 0 <= self.calibration <= MOST_CALIBRATION:
            raise SpectrumError(
                f"error of the flux calibration is {self.calibration:g}, expected 0 to "
                f"{MOST_CALIBRATION:g}"
            )
        if min(self.n_proposed, self.n_draws) < 1:
            raise SpectrumError("expected at least one point in a round, and one draw")


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
    points, log_weight = sampler.weighted(Proposal.of(prior.latents, peaks, found), rng)
    weight = np.exp(log_weight - logsumexp(log_weight))
    chosen = _even(weight, options.n_draws, rng)
    latents, stretch = points[chosen, :-1], points[chosen, -1] * LOG_STEP
    flux, amplitude = likelihood.draw_spectra(latents, stretch, rng)
    return Posterior(
        prior.source_id,
        latents,
        10**stretch - 1,
        flux,
        amplitude,
        float(logsumexp(log_weight) - np.log(len(log_weight))),
        worth(log_weight),
    )


@dataclass(frozen=True)
class _Sampler:
    """Weighted points of the posterior, in rounds of proposals."""

    prior: Prior
    likelihood: Likelihood
    redshift: RedshiftPrior
    n_proposed: int

    def weighted(self, first: Proposal, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Points (n, D + 1) and the logarithms of their weights, from two rounds or more."""
        proposals = [first]
        points, target, total = np.empty((0, first.mean.shape[1])), np.empty(0), np.empty(0)
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


# ---------------------------------------------------------------- files


@dataclass(frozen=True)
class UpdateSummary:
    """The outcome of `update_priors`.

    Attributes
    ----------
    n_spectra : int
        Spectra in the files.
    errors : tuple of SpectrumError
        One for each spectrum that could not be used.
    """

    n_spectra: int
    errors: tuple[SpectrumError, ...]


def update_files(
    priors: PriorFile,
    spectra: Sequence[Path],
    output: Path,
    redshift: RedshiftPrior | None = None,
    options: UpdateOptions = UpdateOptions(),
    qp_output: Path | None = None,
) -> UpdateSummary:
    """Update the priors of all sources with spectra; write one row for each spectrum.

    A spectrum that cannot be used keeps its row, with the reason in `status`. Ids are whole
    numbers or text as those of the priors.

    Parameters
    ----------
    spectra : sequence of Path
        Files that `spectra.reading` reads; their redshifts are ignored. A spectrum belongs to the
        prior of its id, or else of another id or the name of its file.
    redshift : RedshiftPrior, optional
        Prior of every source's redshift. Default: redshift and error in the file of priors.
    qp_output : Path, optional
        File of qp to write the redshifts to, as quantiles of the spectra that were combined.

    Raises
    ------
    SpectrumError, OutputError
        If no spectrum can be used; then no file is left.
    """
    check_table_output(output, [priors.path, *spectra], parquet=True)
    if qp_output is not None:
        check_qp_output(qp_output, [priors.path, *spectra])
        check_apart([output, qp_output], [])
    schema = schema_of(update_columns(options.n_draws, priors.id_type))

    def updated(spectrum: ObservedSpectrum) -> Posterior:
        names = (spectrum.source_id, *spectrum.other_names)
        known = (each for each in names if str(each) in priors.rows)
        prior = priors.prior(next(known, spectrum.source_id))
        check_same_places(
            np.array([prior.source_id]),
            (np.array(spectrum.position[:1]), np.array(spectrum.position[1:])),
            (np.array(prior.position[:1]), np.array(prior.position[1:])),
            spectrum.place,
            priors.path,
            SpectrumError,
        )
        return update(prior, spectrum, redshift, options)

    errors: list[SpectrumError] = []
    ids: list[int | str] = []
    redshifts: list[np.ndarray] = []
    n_spectra = 0
    with ParquetSink(output, schema, row_group_size=ROWS_AT_ONCE) as sink:
        for attempt in attempts(spectra, updated, 0.0, "combining"):
            if isinstance(attempt.result, SpectrumError):
                errors.append(attempt.result)
                row: dict[str, Any] = {
                    "source_id": as_id(attempt.source_id, priors.id_type),
                    "status": str(attempt.result),
                }
            else:
                row = {"source_id": attempt.result.source_id, "status": OK}
                row |= _numbers(attempt.result)
                ids.append(attempt.result.source_id)
                redshifts.append(np.quantile(attempt.result.redshift, PERCENTILES))
            sink.write(pa.Table.from_pylist([row], schema=schema))
            n_spectra += 1
        if len(errors) == n_spectra:
            raise (
                errors[0]
                if errors
                else SpectrumError("no spectra were given; expected at least one")
            )
        sink.footer.update(
            schema="targetsel/updated/v1",
            code_version=__version__,
            options=asdict(options),
            decoder_sha256=priors.model.residual.decoder_sha256,
        )
    if qp_output is not None:
        write_qp(qp_output, np.array(ids), PERCENTILES, np.array(redshifts))
    return UpdateSummary(n_spectra, tuple(errors))


def _numbers(found: Posterior) -> dict[str, Any]:
    """The columns of one posterior."""
    row: dict[str, Any] = {
        "redshift_best": found.best_redshift,
        "redshift_confidence": found.confidence,
        "redshift_draws": found.redshift.tolist(),
        "wavelength": found.wavelength.tolist(),
        "flux_mean": found.flux.mean(axis=0).tolist(),
        "amplitude": float(np.median(found.amplitude)),
        "log_evidence": found.log_evidence,
        "effective_size": found.effective_size,
    }
    for suffix, level in UPDATED.items():
        row[f"redshift{suffix}"] = float(np.quantile(found.redshift, level))
    for name in ("_q16", "", "_q84"):
        row[f"flux{name or '_q50'}"] = np.quantile(found.flux, UPDATED[name], axis=0).tolist()
    proxies = found.proxies()
    for name in PROXIES:
        draws = proxies[name][0]
        draws = draws[np.isfinite(draws)]
        for suffix, level in UPDATED.items():
            row[name + suffix] = float(np.quantile(draws, level)) if len(draws) else None
    return row
