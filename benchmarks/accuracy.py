"""Accuracy of an ensemble on a mock sky, whose images and spectra are SIMULATED.

    python benchmarks/accuracy.py TEST_SKY --ensemble ENSEMBLE --training-sky TRAINING_SKY
        --transfer seeing=SKY --transfer population=SKY --transfer no-link=SKY --transfer plain=SKY

Skies are folders that `targetsel mock` wrote, those of --transfer with the variations in
`examples/variations`. The plain one is that which shipped ensembles learnt from at first: another
population, near and bright, in tidy images. Sources are predicted as `score` does it; latents are
those of the ensemble's decoder, where 1 is their scatter over its training spectra. They are
compared with two recipes of labels: encodings of the noise-free spectra (`flux_true`), and of the
noisy ones (`flux`), which no predictor can reach. Sources count by their weight, so that figures
are those of the population that the sky stands for; with --as-drawn they count alike, so that an
over-sampled sky is a population of its own, with more strong emitters.

With a training sky, gradient boosting and a small network learn the same latents from aperture
photometry of its cutouts, and stand beside the ensemble; without it, they are left out. They are
ranked by the line strength of their decoded mean, the ensemble by its probability.

Every estimate is followed by its 68 and 95 % intervals, from resampling the real galaxies behind
the sources. Differences are paired. The intervals do not know that another training, with other
random numbers, would have given another ensemble.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from aperture_features import features, learnt
from figures_of_merit import average_precision, latent_errors, purity_at, weighted_quantile
from skies import HEADING, Sky

from targetsel.imaging.store import check_suits
from targetsel.scoring.ensemble import Ensemble
from targetsel.scoring.rows import N_DRAWS
from targetsel.spectra.lines import PROXIES, measure
from targetsel.statistics.resampling import Estimate, Resampling, rank_correlation

LABELS = ("flux_true", "flux")
LINE = "ew_halpha_nii"
STRONG = 50.0  # [Angstrom]
RAREST = 0.03
COMPLETENESS = 0.9
FEWEST = 10  # sources that a class must have to be measured
HEADLINES = ("ew_halpha_nii", "ew_oiii", "d4000")
RMSE, SCALED, R2 = 0, 1, 2  # places in `latent_errors`

# Predicted latents by who predicted them, each (N, D); the ensemble's is called ENSEMBLE.
Predictions = dict[str, np.ndarray]
ENSEMBLE = "ensemble"


@dataclass(frozen=True)
class Scored:
    """The sources of a sky that could be predicted, and what was predicted of them.

    Attributes
    ----------
    sky : Sky
    labels : dict of ndarray, shape (N, D)
        By recipe.
    means : dict of ndarray, shape (N, D)
        Of the ensemble, of its members, and of photometry alone.
    medians : dict of ndarray, shape (N,)
        The ensemble's medians of the proxies.
    chances : dict of ndarray, shape (N,)
        The ensemble's probability that the line is stronger, by the threshold's name.
    thresholds : dict of float
        [Angstrom], by name.
    n_lost : int
        Sources without a prediction: lost bands.
    """

    sky: Sky
    labels: dict[str, np.ndarray]
    means: Predictions
    medians: dict[str, np.ndarray]
    chances: dict[str, np.ndarray]
    thresholds: dict[str, float]
    n_lost: int


def scored(sky: Sky, ensemble: Ensemble, photometry: Predictions) -> Scored:
    """Predict every source of a sky; `photometry` holds all its rows."""
    plan = ensemble.input
    check_suits(sky.store, plan.bands, plan.pixel_scale, plan.size, "the ensemble")
    rarest = weighted_quantile(sky.proxies[LINE], sky.weight, 1 - RAREST)
    thresholds = {f"> {STRONG:g} A": STRONG, f"rarest {RAREST:.0%}, > {rarest:.1f} A": rarest}
    parts, means, medians, chances = [], [], [], []
    for cutouts in sky.cutouts():
        posterior = ensemble.predict(cutouts)
        parts.append(posterior.latents.member_mean)
        means.append(posterior.latents.mean)
        proxies = ensemble.predict_proxies(posterior, N_DRAWS).posterior
        medians.append(np.stack([proxies.quantile(name, 0.5) for name in PROXIES], axis=1))
        below = [proxies.probability_below(LINE, t) for t in thresholds.values()]
        chances.append(1 - np.stack(below, axis=1))
        _tell(f"{sky.name}: {sum(map(len, parts))} of {len(sky)} sources predicted")
    members, mean, middle, chance = (
        np.concatenate(each) for each in (parts, means, medians, chances)
    )
    good = np.isfinite(members[:, 0, 0])
    everyone = _by_members(members[good])
    if ensemble.calibration:
        everyone["calibrated means"] = mean[good]
    chosen = sky.take(good)
    return Scored(
        chosen,
        {recipe: chosen.labels(ensemble.decoder, recipe) for recipe in LABELS},
        everyone | {name: values[good] for name, values in photometry.items()},
        dict(zip(PROXIES, middle[good].T, strict=True)),
        dict(zip(thresholds, chance[good].T, strict=True)),
        thresholds,
        int((~good).sum()),
    )


def _by_members(members: np.ndarray) -> Predictions:
    """Predicted means of the ensemble and of each member, from `members` (N, M, D)."""
    found = {ENSEMBLE: members.mean(axis=1)}
    return found | {f"member {k}": each for k, each in enumerate(members.swapaxes(0, 1))}


def photometry_alone(
    training: Sky, skies: list[Sky], ensemble: Ensemble, recipe: str
) -> list[Predictions]:
    """Predictions for every other sky by models trained on the training sky's photometry."""
    latents = training.labels(ensemble.decoder, recipe)
    ends = np.cumsum([len(sky) for sky in skies])[:-1]
    found: list[Predictions] = [{} for _ in skies]
    for kind in ("basic", "rich"):
        seen, *unseen = (features(sky, kind, ensemble.input.bands) for sky in [training, *skies])
        for model in ("boosting", "network"):
            _tell(f"photometry: {model} learns from {kind}")
            predicted = learnt(model, seen, latents, training.weight, np.concatenate(unseen))
            for each, part in zip(found, np.split(predicted, ends), strict=True):
                each[f"{model}, {kind}"] = part
    for each in found:
        each["both, rich"] = (each["boosting, rich"] + each["network, rich"]) / 2
    return found


def decoded(latents: np.ndarray, ensemble: Ensemble) -> dict[str, np.ndarray]:
    """Proxies of the spectra that single latents (N, D) stand for."""
    parts = [
        measure(ensemble.decoder.decode(latents[start : start + 1024, None])).values[:, 0]
        for start in range(0, len(latents), 1024)
    ]
    return dict(zip(PROXIES, np.concatenate(parts).T, strict=True))


# ---------------------------------------------------------------------- tables


def print_latents(result: Scored, resampling: Resampling) -> dict[str, dict[str, Estimate]]:
    """Print the errors of all latents; by recipe and predictor, for the tables to come."""
    errors: dict[str, dict[str, Estimate]] = {}
    for recipe, labels in result.labels.items():
        means = dict(result.means)
        if recipe == "flux":
            means["noise-free labels"] = result.labels["flux_true"]
        errors[recipe] = {
            name: resampling.estimate(latent_errors(mean, labels)) for name, mean in means.items()
        }
        title(f"latents against encodings of `{recipe}`")
        print(f"{'':20}{'RMSE':35}{'RMSE / labels scatter here':35}{'mean R2':35}")
        for name, found in errors[recipe].items():
            print(f"{name:20}" + "".join(f"{found[k].text():35}" for k in (RMSE, SCALED, R2)))
        print(uncorrelated(result, labels, resampling))
        print(f"\n{'ensemble':20}{'RMSE':35}{'R2':35}")
        n_latents = labels.shape[1]
        for k in range(n_latents):
            found = errors[recipe][ENSEMBLE]
            cells = (found[3 + k].text(), found[3 + n_latents + k].text())
            print(f"latent {k + 1:<13}" + "".join(f"{cell:35}" for cell in cells))
        print(f"\n{'R2 of each latent':20}" + "".join(f"{k + 1:9}" for k in range(n_latents)))
        for name, found in errors[recipe].items():
            print(f"{name:20}" + "".join(f"{v:9.3f}" for v in found.value[3 + n_latents :]))
    return errors


def uncorrelated(result: Scored, labels: np.ndarray, resampling: Resampling) -> str:
    """The ensemble's line for the same latents made uncorrelated, of unit scatter on this sky.

    A decoder's latents may be correlated, and then a galaxy that is well known in one direction is
    well known in many of them. This mean R2 is the same for every rotation of the latents.
    """
    weight = result.sky.weight / result.sky.weight.sum()
    centre = weight @ labels
    covariance = (labels - centre).T @ (weight[:, None] * (labels - centre))
    whitening = np.linalg.inv(np.linalg.cholesky(covariance)).T
    errors = latent_errors(*((x - centre) @ whitening for x in (result.means[ENSEMBLE], labels)))
    found = resampling.estimate(errors)
    return f"{'... uncorrelated':20}" + "".join(f"{found[k].text():35}" for k in (RMSE, SCALED, R2))


def print_differences(errors: dict[str, dict[str, Estimate]]) -> None:
    """Print the ensemble's RMSE less that of its best member, and of others."""
    for recipe, found in errors.items():
        title(f"RMSE of the ensemble less that of others, paired, against `{recipe}`")
        members = [name for name in found if name.startswith("member ")]
        best = min(members, key=lambda name: found[name].value[RMSE])
        others = [name for name in found if name not in (ENSEMBLE, "noise-free labels", *members)]
        for name in [best, *others]:
            difference = found[ENSEMBLE][RMSE] - found[name][RMSE]
            share = difference.value / found[name].value[RMSE]
            label = f"{name} (best)" if name == best else name
            print(
                f"{label:20}{difference.text(4, '+'):50}{share:+7.1%}  "
                f"excludes zero: {'yes' if difference.excludes_zero else 'no'}"
            )


def print_proxies(result: Scored, resampling: Resampling, ensemble: Ensemble) -> None:
    """Print rank correlations of predicted proxies with those of the noise-free spectra."""
    title("rank correlation of predicted proxies with the noise-free spectra's")
    ceiling = decoded(result.labels["flux_true"], ensemble)
    print(f"{'':20}{'ensemble, posterior median':38}{'decoder, given the true latents'}")
    for name in PROXIES:
        true = result.sky.proxies[name]
        cells = (
            resampling.estimate(rank_correlation(values[name], true)).text()
            for values in (result.medians, ceiling)
        )
        print(f"{name:20}" + "".join(f"{cell:38}" for cell in cells))


def print_classes(result: Scored, resampling: Resampling, ensemble: Ensemble) -> None:
    """Print how pure lists of strong emitters are, by the ensemble and by photometry alone."""
    title(f"lists of sources by {LINE}")
    others = {
        name: decoded(mean, ensemble)[LINE]
        for name, mean in result.means.items()
        if name.endswith(("basic", "rich"))
    }
    weight, line = result.sky.weight, result.sky.proxies[LINE]
    for name, threshold in result.thresholds.items():
        true = line > threshold
        print(f"{name}: {int(true.sum())} sources, {weight @ true / weight.sum():.2%} by weight")
        if true.sum() < FEWEST:
            print("  too few to measure\n")
            continue
        print(
            f"  {'ranked by':28}{'average precision':35}"
            f"{'purity, 90 % complete':35}{'over a random list'}"
        )
        rankings = {"ensemble, P(EW > t)": result.chances[name]} | others
        for who, ranking in rankings.items():
            last = np.fmin.reduce(ranking, initial=0.0)  # for what cannot be measured
            ranking = np.nan_to_num(ranking, nan=last)
            precision = resampling.estimate(average_precision(true, ranking))
            purity = resampling.estimate(purity_at(COMPLETENESS, true, ranking))
            cells = (precision.text(), purity[0].text(), purity[1].text(1))
            print(f"  {who:28}" + "".join(f"{cell:35}" for cell in cells))
        print()


def print_summary(result: Scored, resampling: Resampling) -> None:
    """Print the few figures that skies are compared by."""
    title(f"{result.sky.name}, in short (latents against encodings of `flux_true`)")
    labels, true = result.labels["flux_true"], result.sky.proxies
    found = resampling.estimate(latent_errors(result.means[ENSEMBLE], labels))
    rows: dict[str, Estimate] = {
        "RMSE": found[RMSE],
        "RMSE / labels scatter here": found[SCALED],
        "mean R2": found[R2],
    }
    if (name := "both, rich") in result.means:
        other = resampling.estimate(latent_errors(result.means[name], labels))
        rows["RMSE less photometry's, rich"] = found[RMSE] - other[RMSE]
    for name in HEADLINES:
        statistic = rank_correlation(result.medians[name], true[name])
        rows[f"rank correlation, {name}"] = resampling.estimate(statistic)
    for name, threshold in result.thresholds.items():
        strong = true[LINE] > threshold
        if strong.sum() >= FEWEST:
            statistic = average_precision(strong, np.nan_to_num(result.chances[name]))
            rows[f"average precision, {name}"] = resampling.estimate(statistic)
    for name, estimate in rows.items():
        print(f"{name:42}{estimate.text(sign='+' if ' less ' in name else '')}")


def print_sky(result: Scored, resampling: Resampling, training: Sky | None) -> None:
    """Print how many sources there are, and whether any galaxy of theirs was learnt from."""
    sky = result.sky
    title(f"{sky.name}: {len(sky)} sources")
    print(f"{resampling.n_groups} distinct real galaxies behind them")
    print(f"{result.n_lost} more have no prediction (lost bands) and are left out")
    effective = sky.weight.sum() ** 2 / (sky.weight**2).sum()
    print(f"weights from {sky.weight.min():.3g} to {sky.weight.max():.3g}; worth {effective:.0f}")
    if training is not None:
        common = len(np.intersect1d(sky.group, training.group))
        print(f"{common} of these galaxies are in the training sky {training.name} too")


def title(text: str) -> None:
    print(f"\n{HEADING} | {text}")


def _tell(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _read_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("sky", type=Path, help="folder of the sky to test on")
    parser.add_argument("--ensemble", default="mock-ps1", help="directory, or a shipped one's name")
    parser.add_argument("--training-sky", type=Path, help="sky to train photometry models on")
    parser.add_argument("--labels", choices=LABELS, default=LABELS[0], help="kind of true latents")
    parser.add_argument("--transfer", action="append", default=[], metavar="NAME=DIR")
    parser.add_argument("--as-drawn", action="store_true", help="give all sources equal weight")
    parser.add_argument("--resamplings", type=int, default=1000)
    arguments = parser.parse_args()
    for each in arguments.transfer:
        if "=" not in each:
            parser.error(f"--transfer {each}: expected NAME=DIR")
    return arguments


def main() -> None:
    arguments = _read_arguments()
    ensemble = Ensemble.read(arguments.ensemble)
    further = (each.split("=", 1) for each in arguments.transfer)
    skies = [Sky.read(arguments.sky)] + [Sky.read(Path(path), name) for name, path in further]
    if arguments.as_drawn:
        skies = [replace(sky, weight=np.ones(len(sky))) for sky in skies]
    training, photometry = None, [{} for _ in skies]
    if arguments.training_sky:
        training = Sky.read(arguments.training_sky)
        photometry = photometry_alone(training, skies, ensemble, arguments.labels)
    print(f"ensemble {ensemble.card.get('name', '')}, SHA-256 {ensemble.sha256[:16]}")
    for k, (sky, baselines) in enumerate(zip(skies, photometry, strict=True)):
        result = scored(sky, ensemble, baselines)
        weight = result.sky.weight
        resampling = Resampling(result.sky.group, weight, arguments.resamplings)
        print_sky(result, resampling, training)
        if k == 0:
            print_differences(print_latents(result, resampling))
            print_proxies(result, resampling, ensemble)
            print_classes(result, resampling, ensemble)
        print_summary(result, resampling)


if __name__ == "__main__":
    main()
