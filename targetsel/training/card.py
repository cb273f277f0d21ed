"""The card of a trained ensemble: its training, precision, and errors on test sources."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from targetsel.networks.inputs import AnyInputs, InputsById
from targetsel.networks.network import Network
from targetsel.networks.posterior import LatentPosterior
from targetsel.scoring.card import SCHEMA
from targetsel.scoring.ensemble import Ensemble, halves
from targetsel.spectra.apertures import APERTURE
from targetsel.spectra.decoder import Decoder
from targetsel.spectra.lines import measure
from targetsel.spectra.photoz import COLUMNS
from targetsel.spectra.proxies import Proxies
from targetsel.statistics.redshift_errors import OUTLIER, redshift_error_figures
from targetsel.statistics.resampling import (
    Resampling,
    Statistic,
    half_width,
    mean_of,
    rank_correlation,
    variance_of,
)
from targetsel.tasks import tracked
from targetsel.training.examples import Examples, Split
from targetsel.training.labels import Labels
from targetsel.training.plan import TrainingPlan
from targetsel.version import __version__

ROWS_AT_ONCE = 256
N_DRAWS = 128
SOURCES_DECODED_AT_ONCE = 32
LARGEST_CHANGE = 0.01  # largest change of a proxy, in units of its posterior standard deviation
N_ROUNDED = 512  # sources on which half precision is tested
N_BINS = 20
N_RESAMPLINGS = 200
DIGITS = 4
# Catalog columns that describe a training's support: the first one present of each list.
SUPPORT = {
    "redshift": COLUMNS,
    "magnitude": ("rmag", "r_mag", "mag_r", "rpetro", "petromag_r", "petro_r", "rkronmag"),
    "size": ("r50", "petror50_r", "petro_r50", "half_light_radius", "shape_r", "radius"),
}
MAGNITUDES = (
    ("gmag", "rmag"),
    ("g_mag", "r_mag"),
    ("mag_g", "mag_r"),
    ("petromag_g", "petromag_r"),
)
FLUXES = (("flux_g", "flux_r"), ("g_flux", "r_flux"), ("flux_g_sdss", "flux_r_sdss"))


def describe(
    name: str,
    store: InputsById,
    labels: Labels,
    split: Split,
    plan: TrainingPlan,
    ensemble: Ensemble,
) -> dict[str, Any]:
    """The card of a trained ensemble before validation; labels of training and test sources."""
    network = ensemble.networks[0].plan
    members = f"{plan.members} network{'s' * (plan.members > 1)}"
    seen = _seen(labels, plan)
    if network.redshift is not None:
        seen += "; predicts the redshift too"
    return {
        "schema": SCHEMA,
        "name": name,
        "description": f"{members}, {seen}",
        "simulated": labels.simulated,
        "code_version": __version__,
        **plan.inputs.to_card(),
        "network": network.model_dump(mode="json"),
        "latents": _latents(ensemble.decoder),
        **({} if plan.aperture is None else {APERTURE: plan.aperture}),
        "training": {
            "store_sha256": store.sha256,
            "labels_sha256": labels.sha256,
            "started_from": None if plan.start is None else plan.start.sha256,
            "n_sources": len(labels),
            "n_groups": len(np.unique(labels.group.astype(str))),
            "left_out": {key: count for key, count in labels.left_out.items() if count},
            "recipe": plan.recipe.model_dump()
            | {"seed": [plan.recipe_of(k).seed for k in range(plan.members)]},
            "split": split.to_card(),
            "label_noise": _rounded(np.sqrt((labels.noise**2).mean(axis=0))),
            "support": support(labels.take(np.flatnonzero(split.fold >= 0))),
            **({} if plan.start is None else {"split_seed": plan.split[0]}),
            **(
                {}
                if labels.selection is None
                else {"selection": labels.selection.model_dump(mode="json")}
            ),
        },
        "files": {},
    }


def _seen(labels: Labels, plan: TrainingPlan) -> str:
    """What the networks take, in half a line."""
    simulated, words = "simulated " if labels.simulated else "", []
    if plan.input is not None:
        words.append(f"deconvolution {plan.network.deconvolution}; {simulated}images")
        if plan.network.photometry:
            words.append("their aperture photometry")
    if plan.vectors is not None:
        of_images = f" of {simulated}images" if labels.simulated and plan.input is None else ""
        words.append(plan.vectors.described + of_images)
    return " and ".join(words)


def _latents(decoder: Decoder) -> dict[str, Any]:
    network = decoder.network
    return {
        "decoder": f"{decoder.space.name} on the rest-frame grid 10**(3.53 + 0.00039 i) A",
        "scaler_mean": _rounded(network.latent_mean.numpy()),
        "scaler_std": _rounded(network.latent_std.numpy()),
    }


def support(labels: Labels) -> dict[str, dict[str, Any]]:
    """Histograms of redshift, r magnitude, g - r and size, of those that the catalog has."""
    columns = {name.lower(): values for name, values in labels.about.items()}
    found = {}
    for quantity, names in SUPPORT.items():
        name = next((name for name in names if name in columns), None)
        if name is not None:
            found[quantity] = _histogram(name, columns[name])
    pairs = [pair for pair in (*MAGNITUDES, *FLUXES) if set(pair) <= columns.keys()]
    if pairs:
        blue, red = pairs[0]
        found["colour"] = _histogram(f"{blue}, {red}", _colour(columns, blue, red))
    return found


def _colour(columns: dict[str, np.ndarray], blue: str, red: str) -> np.ndarray:
    """A colour [mag] from two magnitudes or two fluxes, NaN where there is none."""
    if (blue, red) in MAGNITUDES:
        return columns[blue] - columns[red]
    with np.errstate(divide="ignore", invalid="ignore"):
        return -2.5 * np.log10(columns[blue] / columns[red])


def _histogram(name: str, values: np.ndarray) -> dict[str, Any]:
    counts, edges = np.histogram(values[np.isfinite(values)], N_BINS)
    return {"column": name, "edges": _rounded(edges), "counts": counts.tolist()}


def _rounded(values: Any) -> list[float]:
    return [round(float(value), 6) for value in values]


# ---------------------------------------------------------------------- half precision


def in_half_precision(ensemble: Ensemble, inputs: AnyInputs) -> tuple[Ensemble, float]:
    """The ensemble with rounded weights, and the largest change of any proxy of these sources.

    The change is that of a proxy's posterior median, in units of its posterior standard deviation.
    """
    networks = [_halved(network) for network in ensemble.networks]
    rounded = Ensemble(networks, ensemble.decoder, ensemble.novelty, ensemble.card)
    posterior, of_rounded = ensemble.predict(inputs), rounded.predict(inputs)
    (middle, spread), (other, _) = medians(ensemble, posterior), medians(ensemble, of_rounded)
    if posterior.has_redshift:
        one, another = redshifts(posterior), redshifts(of_rounded)
        middle, other = np.column_stack([middle, one[0]]), np.column_stack([other, another[0]])
        spread = np.column_stack([spread, one[1]])
    change = np.abs(other - middle)[spread > 0] / spread[spread > 0]
    return rounded, float(np.nanmax(change, initial=0.0))


def _halved(network: Network) -> Network:
    other = copy.deepcopy(network)
    other.load_state_dict(halves(network))
    return other.eval()


def medians(ensemble: Ensemble, posterior: LatentPosterior) -> tuple[np.ndarray, np.ndarray]:
    """Posterior median and standard deviation of every proxy of `measure`, each (N, P)."""
    middle, spread = [], []
    for start in range(0, len(posterior), SOURCES_DECODED_AT_ONCE):
        part = posterior.take(slice(start, start + SOURCES_DECODED_AT_ONCE))
        values = decoded(ensemble, part.draw(N_DRAWS)).values
        with warnings.catch_warnings():  # of sources where no draw can be measured
            warnings.simplefilter("ignore", RuntimeWarning)
            middle.append(np.nanmedian(values, axis=1))
            spread.append(np.nanstd(values, axis=1))
    return np.concatenate(middle), np.concatenate(spread)


def redshifts(posterior: LatentPosterior) -> tuple[np.ndarray, np.ndarray]:
    """Median and about the standard deviation of each source's redshift, each (N,)."""
    median = np.expm1(posterior.quantile(0.5)[:, -1])
    return median, (1 + median) * np.sqrt(posterior.cov[:, -1, -1])


def decoded(ensemble: Ensemble, latents: np.ndarray) -> Proxies:
    """The proxies of decoded latents (N, S, D)."""
    return measure(ensemble.decoder.decode(latents))


# ---------------------------------------------------------------------- validation


@torch.inference_mode()
def latent_rmse(networks: Sequence[Network], examples: Sequence[Examples]) -> tuple[float, ...]:
    """Root mean square error in each target of networks on their own validation sources."""
    squares = []
    for network, each in zip(networks, examples, strict=True):
        rows = each.validation
        parts = (rows[start : start + ROWS_AT_ONCE] for start in range(0, len(rows), ROWS_AT_ONCE))
        mean = torch.cat([network(torch.from_numpy(each.read(part)))[0] for part in parts])
        squares.append(((mean.numpy() - each.targets[rows]) ** 2).mean(axis=0))
    return tuple(float(value) for value in np.sqrt(np.mean(squares, axis=0)))


def validated(ensemble: Ensemble, store: InputsById, test: Labels) -> tuple[Ensemble, bool]:
    """The ensemble with its card's entry "validation", and whether its weights are halved.

    Weights are rounded to half precision if that changes no proxy by more than 1 % of its
    posterior standard deviation; everything is measured with the weights that are kept.
    """
    first = store.read(test.source_id[:N_ROUNDED])
    rounded, change = in_half_precision(ensemble, first)
    half = change < LARGEST_CHANGE
    kept = rounded if half else ensemble
    kept.card["half_precision"] = {
        "weights": half,
        "largest_change": float(f"{change:.3g}"),
        "of": "the median of any proxy, in units of its posterior standard deviation, on "
        f"{len(first)} test sources; accepted under {LARGEST_CHANGE:g}",
    }
    parts = []
    starts = range(0, len(test), ROWS_AT_ONCE)
    some = (test.source_id[start : start + ROWS_AT_ONCE] for start in starts)
    for ids in tracked(some, "testing", len(test), "sources", len):
        parts.append(kept.predict(store.read(ids)))
    kept.card["validation"] = validation(kept, LatentPosterior.joined(parts), test)
    return kept, half


def validation(ensemble: Ensemble, posterior: LatentPosterior, test: Labels) -> dict[str, Any]:
    """Errors of predictions for sources that were not used in training."""
    whole, posterior = posterior, posterior.latents
    groups = test.group.astype(str)
    resampling = Resampling(groups, test.weight, N_RESAMPLINGS)
    error = (posterior.mean - test.mean) ** 2
    of_members = (posterior.member_mean - test.mean[:, None]) ** 2
    images = " (simulated images)" if test.simulated else ""

    def r2(weight: np.ndarray) -> np.ndarray:
        with np.errstate(divide="ignore", invalid="ignore"):  # of few sources all may be the same
            return 1 - mean_of(error)(weight) / variance_of(test.mean)(weight)

    figures = {
        "rmse": lambda w: np.sqrt(mean_of(error)(w).mean()),
        "rmse_of_each_member": lambda w: np.sqrt(mean_of(of_members)(w).mean(axis=1)),
        "rmse_per_latent": lambda w: np.sqrt(mean_of(error)(w)),
        "r2": lambda w: r2(w).mean(),
        "r2_per_latent": r2,
        "mean_mahalanobis_squared_per_latent": mean_of(_mahalanobis(posterior, test)),
    }
    return {
        "on": f"{len(test)} test sources{images}",
        "intervals": f"68 %, from {N_RESAMPLINGS} samples of {resampling.n_groups} groups; "
        "sources count by their weight",
        **{name: _figure(resampling, statistic) for name, statistic in figures.items()},
        "proxies": _proxies(ensemble, posterior, test),
        **({"redshift": _redshift(whole, test)} if whole.has_redshift else {}),
    }


def _figure(resampling: Resampling, statistic: Statistic) -> dict[str, Any]:
    """Value and 68 % interval of a statistic, a number or several."""
    estimate = resampling.estimate(statistic)
    low, high = estimate.interval(0.68)
    parts = {"value": estimate.value, "low": low, "high": high}
    return {name: np.round(part, DIGITS).tolist() for name, part in parts.items()}


def _mahalanobis(posterior: LatentPosterior, test: Labels) -> np.ndarray:
    """Squared Mahalanobis distance per latent of the labels, their noise included, (N,)."""
    error = posterior.mean - test.mean
    cov = posterior.cov + np.eye(error.shape[1]) * test.noise[:, None] ** 2
    return (error * np.linalg.solve(cov, error[:, :, None])[:, :, 0]).mean(axis=1)


def _proxies(ensemble: Ensemble, posterior: LatentPosterior, test: Labels) -> dict[str, Any]:
    """Rank correlation and scatter of posterior medians with the labels' proxies."""
    truth = decoded(ensemble, test.mean[:, None])
    predicted, _ = medians(ensemble, posterior)
    found: dict[str, Any] = {}
    for column, name in enumerate(truth.names):
        found[name] = {"decoded labels": _agreement(predicted[:, column], truth[name][:, 0], test)}
        if name in test.measured:
            found[name]["spectra"] = _agreement(predicted[:, column], test.measured[name], test)
    return found


def _redshift(posterior: LatentPosterior, test: Labels) -> dict[str, Any]:
    """Errors of the median redshifts, and how wide the posteriors are beside them."""
    assert test.redshift is not None
    predicted, _ = redshifts(posterior)
    resampling = Resampling(test.group.astype(str), test.weight, N_RESAMPLINGS)
    square = (np.log1p(test.redshift) - posterior.mean[:, -1]) ** 2 / posterior.cov[:, -1, -1]
    figures = redshift_error_figures(predicted, test.redshift)
    figures["mean_square_over_variance"] = mean_of(square)
    return {
        "of": "median of photoz; bias, nmad and outliers of dz / (1 + z), outliers beyond "
        f"{OUTLIER:g}",
        **{name: _figure(resampling, statistic) for name, statistic in figures.items()},
    }


def _agreement(predicted: np.ndarray, truth: np.ndarray, test: Labels) -> dict[str, Any]:
    known = np.flatnonzero(np.isfinite(predicted) & np.isfinite(truth))
    if len(known) < 2:
        return {"n": len(known)}
    one, other = predicted[known], truth[known]
    resampling = Resampling(test.group[known].astype(str), test.weight[known], N_RESAMPLINGS)
    return {
        "n": len(known),
        "rank_correlation": _figure(resampling, rank_correlation(one, other)),
        "scatter": _figure(resampling, half_width(one - other)),
    }
