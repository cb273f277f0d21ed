"""Novelty: how unlike its training sources a source looks, to the members and in its pixels.

Two parts are calibrated on held-out training sources: the distance of the members' features from
their mean, and checks of the cutout (`imaging.measurements`). Each becomes the share of held-out
sources that are at least as strange; the smaller of the two measures how strange the source is, and
is converted to such a share once more, so that it is uniform for ordinary sources again.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from targetsel.documents.brief import brief
from targetsel.imaging.cutout import Cutouts
from targetsel.imaging.measurements import (
    CHECKS,
    TWO_SIDED,
    appearance,
    central_magnitude,
    quality,
    reference_band,
)
from targetsel.novelty.support import Support

if TYPE_CHECKING:
    from targetsel.networks.input_plan import InputPlan
    from targetsel.networks.inputs import AnyInputs, InputPlans, Inputs

N_LEVELS = 201
EDGE = 1e-4  # share beyond the outermost quantile
# Levels of the stored quantiles: close together at both ends.
LEVELS = EDGE + (1 - 2 * EDGE) * np.sin(np.linspace(0, np.pi / 2, N_LEVELS)) ** 2
FEATURES = "features"  # reason for sources strange by features, not by a check of the image
COPIED_AT_ONCE = 32  # cutouts, a multiple of `measurements.AT_ONCE`
SMALLEST = 1e-12  # smallest share whose logarithm is taken


@brief
@dataclass(frozen=True)
class Typicality:
    """Typicality of N sources among the training sources; small for strange ones.

    Attributes
    ----------
    share : ndarray, shape (N,)
        Share of held-out training sources that look at least as strange, by both parts.
    by_features, by_image : ndarray, shape (N,)
        The same by the members' features alone, and by the image's checks alone; NaN where
        unknown.
    reason : ndarray of object, shape (N,)
        The strangest part: `FEATURES`, or a name in `imaging.measurements.CHECKS`; None where
        there is no cutout.
    appearance : ndarray, shape (N, 3)
        Magnitude, colour and size on the cutout (`imaging.measurements.appearance`).
    support : ndarray of bool, shape (N,)
        Whether training sources have such an appearance.
    """

    share: np.ndarray
    by_features: np.ndarray
    by_image: np.ndarray
    reason: np.ndarray
    appearance: np.ndarray
    support: np.ndarray


@brief
@dataclass(frozen=True)
class NoveltyReference:
    """Features and image measurements of held-out training sources, as quantiles at `LEVELS`.

    Attributes
    ----------
    mean : ndarray, shape (M, F)
        Mean feature vector of each member.
    whitening : ndarray, shape (M, F, F)
        Matrix that whitens a centred feature vector (as a row, from the left).
    distances : ndarray, shape (201,)
        Quantiles of the distance of features.
    checks : ndarray, shape (9, 201)
        Quantiles of each of the image's checks.
    image, both : ndarray, shape (201,)
        Quantiles of the strangeness of the oddest check, and of the odder part.
    appearance : ndarray, shape (R, 3)
        Magnitude, colour and size of the sources that define the support.
    """

    mean: np.ndarray
    whitening: np.ndarray
    distances: np.ndarray
    checks: np.ndarray
    image: np.ndarray
    both: np.ndarray
    appearance: np.ndarray

    @cached_property
    def support(self) -> Support:
        """Support of the training sources in magnitude, colour and size."""
        return Support(self.appearance)

    @classmethod
    def unknown(cls, n_members: int, n_features: int) -> NoveltyReference:
        """A reference without training sources: every share is NaN."""
        identity = np.broadcast_to(np.eye(n_features), (n_members, n_features, n_features))
        nothing = np.full(N_LEVELS, np.nan)
        checks = np.full((len(CHECKS), N_LEVELS), np.nan)
        mean = np.zeros((n_members, n_features))
        return cls(mean, np.array(identity), nothing, checks, nothing, nothing, np.zeros((0, 3)))

    @classmethod
    def fit(
        cls, features: np.ndarray, checks: np.ndarray, appearance: np.ndarray
    ) -> NoveltyReference:
        """The reference from held-out sources: every second one is measured against the others.

        Parameters
        ----------
        features : ndarray, shape (M, N, F)
            Pooled features of each member; N is at least 4.
        checks : ndarray, shape (N, 9)
            Result of `imaging.measurements.quality`; NaN without images.
        appearance : ndarray, shape (R, 3)
            Result of `imaging.measurements.appearance`, or what photometry tells of it; rows with
            NaN in what is known of any are left out.
        """
        first, second = features[:, ::2], features[:, 1::2]
        mean = first.mean(axis=1)
        found = replace(
            cls.unknown(*mean.shape),
            mean=mean,
            whitening=np.array([_whitening(each) for each in first - mean[:, None]]),
            checks=np.quantile(checks[::2], LEVELS, axis=0).T,
            appearance=_known(appearance),
        )
        found = replace(found, distances=np.quantile(found.distance(second), LEVELS))
        oddest = _strangeness(found.shares(checks[1::2]).min(axis=1))
        found = replace(found, image=np.quantile(oddest, LEVELS))
        odder = np.fmin(found.novelty(second), share_above(found.image, oddest))
        return replace(found, both=np.quantile(_strangeness(odder), LEVELS))

    def distance(self, features: np.ndarray) -> np.ndarray:
        """Root mean square over members of the Mahalanobis distance per feature, (M, N, F) to (N,).

        Lee et al. (2018, arXiv:1807.03888), eq. 2, with one class.
        """
        squares = [
            (((row - mean) @ white) ** 2).mean(axis=1)
            for row, mean, white in zip(features, self.mean, self.whitening, strict=True)
        ]
        return np.sqrt(np.mean(squares, axis=0))

    def novelty(self, features: np.ndarray) -> np.ndarray:
        """Share of held-out training sources at least as far from the centre, shape (N,).

        Uniform between 0 and 1 for sources like the training ones; near 0 for strange ones.
        """
        return share_above(self.distances, self.distance(features))

    def shares(self, checks: np.ndarray) -> np.ndarray:
        """Share of held-out training sources at least as odd in each check, (N, 9) to (N, 9)."""
        found = []
        for name, quantiles, values in zip(CHECKS, self.checks, checks.T, strict=True):
            share = share_above(quantiles, values)
            if name in TWO_SIDED:
                other = share_above(-quantiles[::-1], -values)
                share = np.minimum(2 * np.minimum(share, other), 1.0)
            found.append(share)
        return np.stack(found, axis=1)

    def typicality(
        self, by_features: np.ndarray, checks: np.ndarray, appearance: np.ndarray
    ) -> Typicality:
        """Typicality of N sources, by features and image together.

        Parameters
        ----------
        by_features : ndarray, shape (N,)
            Result of `novelty`; NaN where nothing was predicted.
        checks : ndarray, shape (N, 9)
        appearance : ndarray, shape (N, 3)
        """
        support = self.support.holds(appearance)
        shares = self.shares(checks)
        by_image = share_above(self.image, _strangeness(shares.min(axis=1)))
        reason = np.array(tuple(CHECKS), dtype=object)[shares.argmin(axis=1)]
        reason[~(by_image < by_features)] = FEATURES
        odder = np.where(np.isnan(by_features), np.nan, np.fmin(by_features, by_image))
        share = share_above(self.both, _strangeness(odder))
        return Typicality(share, by_features, by_image, reason, appearance, support)


def typicality(
    reference: NoveltyReference, plan: InputPlans, inputs: AnyInputs, by_features: np.ndarray
) -> Typicality:
    """Typicality of N sources; NaN and None where the status of the inputs is not "ok".

    Parameters
    ----------
    plan : InputPlans
        Plans of the ensemble that the reference belongs to.
    by_features : ndarray, shape (N,)
        `LatentPosterior.typicality` of the same sources.
    """
    chosen = plan.select(inputs)
    known = np.flatnonzero(chosen.status == "ok")
    if len(known) == len(chosen):
        return reference.typicality(by_features, *measured_numbers(chosen, plan))
    # In parts, as a copy of all their pixels takes longer than to measure some of them.
    starts = range(0, max(len(known), 1), COPIED_AT_ONCE)
    parts = [measured_numbers(chosen.take(known[k : k + COPIED_AT_ONCE]), plan) for k in starts]
    numbers = (np.concatenate(each) for each in zip(*parts, strict=True))
    found = reference.typicality(by_features[known], *numbers)
    whole = {}
    for name, values in vars(found).items():
        empty = {object: None, bool: False}.get(values.dtype.type, np.nan)
        whole[name] = np.full((len(chosen), *values.shape[1:]), empty, dtype=values.dtype)
        whole[name][known] = values
    return Typicality(**whole)


def measured_numbers(inputs: Inputs, plan: InputPlans) -> tuple[np.ndarray, np.ndarray]:
    """The numbers of the checks (N, 9) and the appearance (N, 3) of whole inputs.

    Without cutouts there are no checks, and the appearance is what photometry tells of it.
    """
    if plan.cutouts is not None:
        assert inputs.cutouts is not None
        return image_numbers(inputs.cutouts, plan.cutouts)
    assert plan.vectors is not None
    assert inputs.vectors is not None
    return np.full((len(inputs), len(CHECKS)), np.nan), plan.vectors.appearance(inputs.vectors)


def image_numbers(cutouts: Cutouts, plan: InputPlan) -> tuple[np.ndarray, np.ndarray]:
    """The numbers of the checks (N, 9) and the appearance (N, 3) of whole cutouts."""
    sky = np.array(plan.stretch.sky_sigma) / plan.binning
    magnitude = central_magnitude(cutouts, reference_band(plan.bands))
    return quality(cutouts.flux, sky), appearance(cutouts.flux, plan.bands, magnitude)


def share_above(quantiles: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Share of a distribution at or above each value, by its quantiles at `LEVELS`, shape (N,).

    Above the largest quantile the share keeps falling with the distance from it, so that very
    strange sources can still be ordered; below the smallest it is 1. NaN for NaN.
    """
    last = N_LEVELS - 1
    right = np.searchsorted(quantiles, values, "right").clip(1, last)
    left = np.searchsorted(quantiles, values, "left")
    low, high = quantiles[right - 1], quantiles[right]
    with np.errstate(divide="ignore", invalid="ignore"):
        part = np.where(high > low, (values - low) / (high - low), 0.0).clip(0, 1)
    share = 1 - (LEVELS[right - 1] + part * (LEVELS[right] - LEVELS[right - 1]))
    tied = (left <= last) & (quantiles[left.clip(0, last)] == values)
    share = np.where(tied, 1 - LEVELS[left.clip(0, last)], share)
    share = np.where(values <= quantiles[0], 1.0, share)
    reach = quantiles[last] - quantiles[last // 2] + 1e-3
    beyond = values > quantiles[last]
    share = np.where(beyond, EDGE * reach / (reach + values - quantiles[last]), share)
    return np.where(np.isnan(values) | np.isnan(quantiles[0]), np.nan, share)


def _known(appearance: np.ndarray) -> np.ndarray:
    """The rows (R, 3) in which all is known that is known of any source; none if nothing is."""
    used = np.isfinite(appearance).any(axis=0)
    if not used.any():
        return appearance[:0]
    return appearance[np.isfinite(appearance[:, used]).all(axis=1)]


def _strangeness(share: np.ndarray) -> np.ndarray:
    """Strangeness of a share: -log10, its orders of magnitude below 1."""
    return -np.log10(np.maximum(share, SMALLEST))


def _whitening(centred: np.ndarray) -> np.ndarray:
    """Matrix that whitens centred rows (N, F), shape (F, F)."""
    cov = np.cov(centred.T)
    ridge = 1e-3 * np.trace(cov) / len(cov) * np.eye(len(cov))
    return np.linalg.inv(np.linalg.cholesky(cov + ridge)).T
