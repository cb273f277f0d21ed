"""The posterior of the latents given a cutout: a mixture of the members' Gaussians.

An ensemble that predicts redshifts has ln(1 + redshift) as one more target behind the latents, in
the same Gaussians. A scored file stores the members' moments of each source, those of the redshift
in columns of their own. The `deviations`, which are the same for
all sources of a file, are stored as JSON in the metadata of the column `member_cov`.
"""

from __future__ import annotations

import contextlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from scipy.special import logsumexp, ndtr, ndtri

from targetsel.documents.brief import brief
from targetsel.errors import CatalogError
from targetsel.networks.deviations import Deviations
from targetsel.spectra.photoz import OF_MEMBERS
from targetsel.spectra.proxies import NORMAL_SCORES
from targetsel.statistics.even_points import even_points
from targetsel.statistics.gaussian_mixture import GaussianMixture
from targetsel.tables.columns import matrix
from targetsel.tables.ids import uniform
from targetsel.tables.parquet import DECODER_KEY

if TYPE_CHECKING:
    import torch
    from torch import Tensor

N_HALVINGS = 34  # halvings of the interval that is searched for a quantile
WIDEST = 12.0  # that interval's half width [widest standard deviation of a Gaussian]
OF_SOURCES = ("source_id", "member_mean", "member_factor", "typicality", "magnitude")
DEVIATIONS = b"deviations"
ROUNDING = 1e-6  # of a covariance's largest element


@brief
@dataclass(frozen=True, eq=False)
class LatentPosterior:
    """p(latents given cutout) for each source, as an equal mixture over M members.

    A network gives a Gaussian. A calibration may find that true latents follow another
    distribution about it, and replaces it by a mixture of J Gaussians, so that the whole stays a
    Gaussian mixture.

    With `has_redshift`, the last of the D dimensions is ln(1 + redshift), and those before are
    latents; otherwise all are. `latents` is the posterior of the latents alone.

    Attributes
    ----------
    source_id : ndarray, shape (N,)
    member_mean : ndarray, shape (N, M, D)
        Means of the members' Gaussians, in standardised latents. NaN for a source without a
        prediction.
    member_factor : ndarray, shape (N, M, D, D)
        Lower Cholesky factors of the members' covariances.
    typicality : ndarray, shape (N,)
        Share of held-out training sources whose features are at least as strange.
    magnitude : ndarray, shape (N,)
        Magnitude of the cutout's central light (`imaging.measurements`); NaN where it is unknown.
    deviations : Deviations
        Distribution of latents about a member's mean, in units of its factor; standard normal by
        default. The same for all sources.
    has_redshift : bool
        Whether the last dimension is ln(1 + redshift).
    """

    source_id: np.ndarray
    member_mean: np.ndarray
    member_factor: np.ndarray
    typicality: np.ndarray
    magnitude: np.ndarray = None  # type: ignore[assignment]
    deviations: Deviations = None  # type: ignore[assignment]
    has_redshift: bool = False

    def __post_init__(self) -> None:
        if self.magnitude is None:
            object.__setattr__(self, "magnitude", np.full(len(self.source_id), np.nan))
        if self.deviations is None:
            standard = Deviations.standard(self.member_mean.shape[2])
            object.__setattr__(self, "deviations", standard)

    def __len__(self) -> int:
        return len(self.source_id)

    @property
    def n_latents(self) -> int:
        """Number of the latents among the D dimensions."""
        return self.member_mean.shape[2] - self.has_redshift

    @cached_property
    def latents(self) -> LatentPosterior:
        """The posterior of the latents alone, whatever the redshift."""
        if not self.has_redshift:
            return self
        d = self.n_latents
        return replace(
            self,
            member_mean=self.member_mean[..., :d],
            member_factor=self.member_factor[..., :d, :d],
            deviations=self.deviations.first(d),
            has_redshift=False,
        )

    @property
    def known(self) -> np.ndarray:
        """Sources that have a posterior: boolean mask, shape (N,)."""
        finite = np.isfinite(self.member_factor).all(axis=(1, 2, 3))
        return np.asarray(finite & np.isfinite(self.member_mean).all(axis=(1, 2)))

    @property
    def centre(self) -> np.ndarray:
        """Mean of the members' means, shape (N, D)."""
        return self.member_mean.mean(axis=1)

    @property
    def member_cov(self) -> np.ndarray:
        """The covariances of the members' Gaussians, shape (N, M, D, D)."""
        return self.member_factor @ self.member_factor.swapaxes(-1, -2)

    @cached_property
    def share(self) -> np.ndarray:
        """Share of each Gaussian in a member's mixture, shape (N, J)."""
        return np.exp(self.deviations.log_share(self.centre))

    @cached_property
    def component_mean(self) -> np.ndarray:
        """Means of all Gaussians, shape (N, M, J, D)."""
        offset = np.einsum("nmij,kj->nmki", self.member_factor, self.deviations.offset)
        return self.member_mean[:, :, None] + offset

    @cached_property
    def component_factor(self) -> np.ndarray:
        """Lower Cholesky factors of all Gaussians' covariances, shape (N, M, J, D, D)."""
        return self.member_factor[:, :, None] @ self.deviations.factor

    @property
    def mean(self) -> np.ndarray:
        """Mean of the mixture, shape (N, D)."""
        return self._of_members.mean(axis=1)

    @property
    def cov(self) -> np.ndarray:
        """Covariance of the mixture, shape (N, D, D): aleatoric plus epistemic part.

        Lakshminarayanan et al. (2017, arXiv:1612.01474), section 2.4, with full covariances.
        """
        delta = self.component_mean - self._of_members[:, :, None]
        within = np.einsum("nj,nmji,nmjk->nik", self.share, delta, delta)
        factor = self.component_factor
        within += np.einsum("nj,nmjab,nmjcb->nac", self.share, factor, factor)
        return within / factor.shape[1] + self.epistemic_cov

    @property
    def epistemic_cov(self) -> np.ndarray:
        """Covariance of the members' means, shape (N, D, D)."""
        delta = self._of_members - self.mean[:, None]
        return np.einsum("nmi,nmj->nij", delta, delta) / delta.shape[1]

    @property
    def epistemic(self) -> np.ndarray:
        """The members' disagreement, shape (N,): root mean square over latents of the scatter of
        their means, in units of the training spectra's own scatter."""
        cov = self.latents.epistemic_cov
        return np.sqrt(np.trace(cov, axis1=1, axis2=2) / self.n_latents)

    @property
    def _of_members(self) -> np.ndarray:
        """Mean of each member's mixture, shape (N, M, D)."""
        return np.einsum("nj,nmjd->nmd", self.share, self.component_mean)

    # ------------------------------------------------------------------ other posteriors

    def take(self, rows: np.ndarray | slice) -> LatentPosterior:
        """The posterior of some of the sources, by mask, indices or slice."""
        columns: dict[str, Any] = {name: getattr(self, name)[rows] for name in OF_SOURCES}
        return replace(self, **columns)

    def mixture(self, row: int) -> GaussianMixture:
        """The posterior of one source as K = M J Gaussians, members equally likely."""
        one = self.take(slice(row, row + 1))
        _, m, d = one.member_mean.shape
        return GaussianMixture(
            np.tile(one.share[0] / m, m),
            one.component_mean.reshape(-1, d),
            factor=one.component_factor.reshape(-1, d, d),
        )

    @classmethod
    def joined(cls, pieces: Sequence[LatentPosterior]) -> LatentPosterior:
        """One posterior of the sources of several, with the deviations of the first."""
        columns: dict[str, Any] = {
            n: np.concatenate([getattr(p, n) for p in pieces]) for n in OF_SOURCES
        }
        return replace(pieces[0], **columns)

    def stretched(self, factor: np.ndarray) -> LatentPosterior:
        """The posterior with every deviation from its centre multiplied, latent by latent.

        Members' means move away from the common mean as their covariances grow, so that the
        aleatoric and epistemic parts keep their ratio, and quantiles move in proportion.

        Parameters
        ----------
        factor : ndarray, shape (N, D)
            Factor of each latent's deviations.
        """
        centre = self.centre[:, None]
        return replace(
            self,
            member_mean=centre + factor[:, None] * (self.member_mean - centre),
            member_factor=factor[:, None, :, None] * self.member_factor,
        )

    def with_noise(self, noise: np.ndarray) -> LatentPosterior:
        """The posterior of latents measured with Gaussian errors of this scatter, (N, D)."""
        variance = np.eye(noise.shape[1]) * noise[:, None, None, :] ** 2
        return replace(self, member_factor=np.linalg.cholesky(self.member_cov + variance))

    # ------------------------------------------------------------------ numbers

    def probability_below(self, latents: np.ndarray) -> np.ndarray:
        """Marginal P(latent < value) of each latent; values and result of shape (N, D)."""
        deviation = (latents[:, None, None] - self.component_mean) / self._spread
        below = np.einsum("nj,nmjd->nd", self.share, ndtr(deviation))
        return below / deviation.shape[1]

    def quantile(self, probability: float) -> np.ndarray:
        """Marginal quantile of each latent at `probability` (0 to 1), shape (N, D)."""
        reach, mean = WIDEST * self._spread.max(axis=(1, 2)), self.component_mean
        low, high = mean.min(axis=(1, 2)) - reach, mean.max(axis=(1, 2)) + reach
        for _ in range(N_HALVINGS):
            middle = (low + high) / 2
            above = self.probability_below(middle) < probability
            low, high = np.where(above, middle, low), np.where(above, high, middle)
        return (low + high) / 2

    def knots(self) -> np.ndarray:
        """Quantiles of each latent at `NORMAL_SCORES`, as proxies have them, shape (N, D, L)."""
        return np.stack([self.quantile(float(p)) for p in ndtr(NORMAL_SCORES)], axis=2)

    @cached_property
    def _spread(self) -> np.ndarray:
        """Standard deviation of each latent in each Gaussian, shape (N, M, J, D)."""
        return np.sqrt((self.component_factor**2).sum(axis=4))

    def log_density(self, latents: np.ndarray) -> np.ndarray:
        """Natural logarithm of the density at one point for each source, (N, D) to (N,)."""
        parts = self.deviations.log_densities(self.whitened(latents)) - self.log_size[..., None]
        log_share = self.deviations.log_share(self.centre)[:, None]
        return logsumexp(parts + log_share, axis=(1, 2)) - np.log(parts.shape[1])

    def whitened(self, latents: np.ndarray) -> np.ndarray:
        """Whitened deviations of a point from each member's mean, (N, D) to (N, M, D)."""
        deviation = (latents[:, None] - self.member_mean)[..., None]
        return np.linalg.solve(self.member_factor, deviation)[..., 0]

    @property
    def log_size(self) -> np.ndarray:
        """Logarithm of the determinant of each member's factor, shape (N, M)."""
        return np.log(np.diagonal(self.member_factor, axis1=2, axis2=3)).sum(axis=2)

    # ------------------------------------------------------------------ draws

    def draw(self, n_draws: int, seed: int = 0) -> np.ndarray:
        """Draws of the latents, shape (N, S, D) with S the multiple of M next to `n_draws`.

        In single precision; see `drawn`. Of a posterior with a redshift, D is that of the latents.
        """
        draws = self.drawn(n_draws, seed).cpu().numpy().astype(np.float64)
        return draws[..., : self.n_latents]

    def drawn(self, n_draws: int, seed: int = 0, device: str | torch.device = "cpu") -> Tensor:
        """Draws of the latents, and of ln(1 + redshift) behind them, as a tensor of shape
        (N, S, D) with S the multiple of M next to `n_draws`.

        Each member gives the same number of draws, from points of a scrambled Sobol sequence of
        normals (Owen 1998) that all sources share. A hash of the source's id and the seed chooses
        the signs of its axes and the points of each member, so that the small errors of one set of
        points do not add up over sources.
        """
        import torch

        n, m, d = self.member_mean.shape

        def tensor(values: np.ndarray) -> Tensor:
            return torch.from_numpy(np.ascontiguousarray(values, np.float32)).to(device)

        normals, place = _points(m, -(-n_draws // m), d, seed)
        random = uniform(self.source_id, seed, "latents", d + 2)
        turned = (np.arange(m) + (random[:, d, None] * m).astype(np.intp)) % m
        signs = tensor(np.where(random[:, :d] < 0.5, -1.0, 1.0))
        points = tensor(normals)[turned] * signs[:, None, None]
        places = tensor((place[turned] + random[:, d + 1, None, None]) % 1.0)
        ends = tensor(np.cumsum(self.share, axis=1)[:, :-1])
        chosen = (places[..., None] >= ends[:, None, None]).sum(dim=3)[..., None]
        deviations = points  # replaced below, since each draw is of one of the parts
        for j, offset in enumerate(self.deviations.offset):
            part = _scaled(points, tensor(self.deviations.factor[j])) + tensor(offset)
            deviations = torch.where(chosen == j, part, deviations)
        factors = tensor(self.member_factor)[:, :, None]
        draws = tensor(self.member_mean)[:, :, None] + _scaled(deviations, factors)
        return draws.reshape(n, -1, d)


def _scaled(points: Tensor, factor: Tensor) -> Tensor:
    """Points (..., D) times lower triangular factors (..., D, D).

    Term by term: a matrix product may round differently for another place in memory.
    """
    total = points[..., 0, None] * factor[..., 0]
    for j in range(1, points.shape[-1]):
        total[..., j:] += points[..., j, None] * factor[..., j:, j]
    return total


@cache
def _points(n_members: int, each: int, dimension: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Normals (M, S, D) and uniform numbers (M, S) of members' S draws."""
    points = even_points(n_members * each, dimension + 1, seed)
    points = points.reshape(n_members, each, dimension + 1)
    return ndtri(points[..., :dimension]), points[..., dimension]


# ---------------------------------------------------------------- columns of a scored file


def moments_to_store(posterior: LatentPosterior) -> dict[str, np.ndarray]:
    """Columns that `stored_posterior` reads, by their names: arrays of N rows."""
    latents = posterior.latents
    lower = np.tril_indices(latents.n_latents)
    found = {
        "member_mean": _flat(latents.member_mean),
        "member_cov": _flat(latents.member_cov[:, :, lower[0], lower[1]]),
    }
    if posterior.has_redshift:
        last = posterior.member_mean[..., -1], _flat(posterior.member_cov[:, :, -1])
        found |= dict(zip(OF_MEMBERS, last, strict=True))
    return found


def _flat(values: np.ndarray) -> np.ndarray:
    """A row for each source, of which there may be none."""
    return values.reshape(len(values), math.prod(values.shape[1:]))


def stored_posterior(
    table: pa.Table, source_id: np.ndarray, with_redshift: bool = False
) -> LatentPosterior:
    """Posterior stored in the columns `member_mean` and `member_cov`.

    All NaN where a member's mean or covariance is null or damaged: no finite numbers, or none
    that are the covariance of anything.

    Parameters
    ----------
    table : pa.Table
        N sources in the scored layout; `typicality_features` may be missing.
    source_id : ndarray, shape (N,)
    with_redshift : bool
        Also of the redshift where the table has its columns (`photoz.OF_MEMBERS`); otherwise of the
        latents alone.
    """
    n, field = table.num_rows, table.schema.field("member_cov")
    width = table.schema.field("member_mean").type.list_size
    d = 2 * field.type.list_size // width - 1
    m = width // d
    mean = matrix(table["member_mean"]).reshape(n, m, d)
    triangle = matrix(table["member_cov"]).reshape(n, m, d * (d + 1) // 2)
    with_redshift &= {*OF_MEMBERS} <= {*table.column_names}
    if with_redshift:
        own_mean, own_cov = (matrix(table[name]).reshape(n, m, -1) for name in OF_MEMBERS)
        mean, triangle = (
            np.concatenate(parts, axis=2) for parts in ((mean, own_mean), (triangle, own_cov))
        )
        d += 1
    lower = np.tril_indices(d)
    cov = np.zeros((n, m, d, d))
    cov[..., lower[0], lower[1]] = triangle
    cov += np.tril(cov, -1).swapaxes(2, 3)
    # Rounding to float32 could make the narrowest direction's variance negative.
    variance = np.diagonal(cov, axis1=2, axis2=3).copy()
    latents = slice(0, d - with_redshift)  # a redshift's variance is much smaller
    variance[..., latents] = variance[..., latents].max(axis=2, keepdims=True)
    with np.errstate(invalid="ignore"):
        cov += ROUNDING * variance[..., None] * np.eye(d)
    factor = _factors(cov)
    mean[np.isnan(factor).any(axis=(1, 2, 3))] = np.nan
    factor[~np.isfinite(mean).all(axis=(1, 2))] = np.nan
    typicality = np.full(n, np.nan)
    if "typicality_features" in table.column_names:
        typicality = table["typicality_features"].to_numpy().astype(np.float64)
    return LatentPosterior(
        source_id,
        mean,
        factor,
        typicality,
        deviations=stored_deviations(field, d),
        has_redshift=with_redshift,
    )


def _factors(cov: np.ndarray) -> np.ndarray:
    """Lower Cholesky factors of N sources' covariances (N, M, D, D); NaN for sources without."""
    factor = np.full_like(cov, np.nan)
    there = np.isfinite(cov).all(axis=(1, 2, 3))
    try:
        factor[there] = np.linalg.cholesky(cov[there])
    except np.linalg.LinAlgError:  # which does not say of which source
        for row in np.flatnonzero(there):
            with contextlib.suppress(np.linalg.LinAlgError):
                factor[row] = np.linalg.cholesky(cov[row])
    return factor


def with_deviations(field: pa.Field, posterior: LatentPosterior) -> pa.Field:
    """The field of `member_cov` with the deviations of the posterior."""
    note = json.dumps(posterior.deviations.to_card()).encode()
    return field.with_metadata({**(field.metadata or {}), DEVIATIONS: note})


def stored_deviations(field: pa.Field, n_latents: int) -> Deviations:
    """Deviations stored in the metadata of the field `member_cov`; standard normal if none are.

    Raises
    ------
    CatalogError
        If they are damaged, or not of `n_latents` latents.
    """
    note = (field.metadata or {}).get(DEVIATIONS)
    if note is None:
        return Deviations.standard(n_latents)
    try:
        card = json.loads(note)
        n = len(card["offset"][0])  # one more than asked for where a redshift is left out
        return Deviations.from_card(card, n if n == n_latents + 1 else n_latents).first(n_latents)
    except (ValueError, KeyError, TypeError, IndexError) as error:
        raise CatalogError(
            f"column 'member_cov': its metadata describe no deviations ({error}). Score the "
            "catalog again."
        ) from None


def check_decoder(truth: Path, told: Mapping[str, Any], scored: Mapping[str, Any]) -> None:
    """Refuse true latents of another decoder than the predicted ones, if both footers name one.

    Raises
    ------
    CatalogError
        If the two decoders differ.
    """
    true, predicted = (footer.get(DECODER_KEY) for footer in (told, scored))
    if true and predicted and true != predicted:
        raise CatalogError(
            f"{truth}: its latents are of the decoder {true[:12]}, but those predicted are of "
            f"{predicted[:12]}. Encode the spectra with the ensemble's decoder, or drop the column."
        )
