"""How the shipped anchor model is made.

`python -m targetsel.mock.anchor_fit --bins FILE.npz --kcorrect DIR -o FILE.npz`: a quarter of an
hour on one core for 97,749 galaxies, of which the 30,014 brightest are fitted.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from targetsel.mock.anchor import (
    KNOWN,
    LUMINOSITY,
    N_COLOURS,
    N_FEATURES,
    SOFTENING,
    Anchor,
    quadratic,
)
from targetsel.statistics.gaussian_mixture import GaussianMixture

N_COMPONENTS, N_STEPS, N_LAST_STEPS = 32, 40, 5
SOME = 20_000  # galaxies that the first steps see
HELD_OUT = 5000  # galaxies, by which the number of components was chosen
# A width without a measurement is weak rather than unknown.
ABSENT, ABSENT_ERROR = 0.3, 0.5  # [Angstrom]
# Relative noise of the bins at a mean flux of 1; it falls as 1 / flux. Estimated from how the
# scatter at fixed colour grows towards faint galaxies.
BIN_NOISE = np.array(
    [0.20, 0.10, 0.068, 0.053, 0.048, 0.053, 0.050, 0.045, 0.040, 0.036, 0.045, 0.053]
)
# Mean flux [1e-17 erg/s/cm2/Angstrom] of the galaxies that are fitted. SDSS galaxies are as bright;
# fainter ones of the same colour and luminosity have weaker lines, and less that ties the two.
BRIGHT = 4.0


def features_of(
    flux12: np.ndarray, widths: np.ndarray, ivar: np.ndarray, log_luminosity: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Features (N, 13), covariance of their noise (N, 13, 13), and the colours' mean and axes.

    Mean and axes are those of the bright galaxies, in which noise hardly counts.

    Parameters
    ----------
    flux12 : ndarray, shape (N, 12)
        Mean flux per unit wavelength in the bins [1e-17 erg/s/cm2/Angstrom].
    widths, ivar : ndarray, shape (N, 6)
        Equivalent width [Angstrom] of `DRAWN_LINES`, and inverse variance; NaN where missing.
    log_luminosity : ndarray, shape (N,)
    """
    shape = np.log(flux12) - np.log(flux12).mean(axis=1, keepdims=True)
    level = flux12.mean(axis=1)
    bright = shape[level > BRIGHT]
    mean = bright.mean(axis=0)
    axes = np.linalg.svd(bright - mean, full_matrices=False)[2][:N_COLOURS]
    axes *= np.sign(axes[:, -1:] - axes[:, :1])  # red galaxies have the larger components
    lines, line_noise = _line_features(widths, ivar)
    noise = np.zeros((len(level), N_FEATURES, N_FEATURES))
    noise[:, :N_COLOURS, :N_COLOURS] = (axes * BIN_NOISE**2) @ axes.T / level[:, None, None] ** 2
    places = np.arange(N_COLOURS + 1, N_FEATURES)
    noise[:, places, places] = line_noise**2
    return np.column_stack([(shape - mean) @ axes.T, log_luminosity, lines]), noise, mean, axes


def _line_features(widths: np.ndarray, ivar: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """asinh of the widths, and its noise, each (N, 6)."""
    missing = ~np.isfinite(widths) | ~(ivar > 0)
    sigma = np.where(missing, ABSENT_ERROR, 1 / np.sqrt(np.where(missing, 1.0, ivar)))
    value = np.where(missing, ABSENT, widths)
    noise = sigma / np.sqrt(value**2 + SOFTENING**2)
    return np.arcsinh(value / SOFTENING), np.minimum(noise, 1.0)


def measured_lines(data: np.lib.npyio.NpzFile) -> tuple[np.ndarray, np.ndarray]:
    """Widths of `DRAWN_LINES` [Angstrom] and inverse variances, each (N, 6), doublets summed.

    Of doublets tied 1:3 only the stronger line is used: the weaker one is mostly noise.
    """
    column = {str(name): k for k, name in enumerate(data["lines"])}
    widths, ivar = data["ew_obs"].astype(float), data["ew_ivar"].astype(float)

    def summed(*names: str) -> tuple[np.ndarray, np.ndarray]:
        parts = [column[name] for name in names]
        return widths[:, parts].sum(axis=1), 1 / (1 / ivar[:, parts]).sum(axis=1)

    def strongest(name: str, ratio: float) -> tuple[np.ndarray, np.ndarray]:
        return widths[:, column[name]] * ratio, ivar[:, column[name]] / ratio**2

    with np.errstate(divide="ignore", invalid="ignore"):
        lines = [
            summed("OII_DOUBLET"), summed("HBETA"), strongest("OIII_5007", 4 / 3),
            summed("HALPHA"), strongest("NII_6584", 4 / 3), summed("SII_6716", "SII_6731"),
        ]  # fmt: skip
    return np.array([width for width, _ in lines]).T, np.array([each for _, each in lines]).T


def read_features(
    bins: Path,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """`features_of` the bright ones of a file of measured galaxies, and the edges of its bins."""
    from astropy.cosmology import FlatLambdaCDM

    data = np.load(bins, allow_pickle=False)
    distance = FlatLambdaCDM(H0=70, Om0=0.3).luminosity_distance(data["z"]).value
    flux12 = data["flux12"].astype(float)
    luminosity = np.log10(flux12[:, 7:9].mean(axis=1) * distance**2 * (1 + data["z"]))
    features, noise, mean, axes = features_of(flux12, *measured_lines(data), luminosity)
    bright = flux12.mean(axis=1) > BRIGHT
    return features[bright], noise[bright], mean, axes, data["bin_edges"]


def break_expectation(anchor: Anchor, n: int = 30_000) -> np.ndarray:
    """`Anchor.break_fit` of an anchor, from spectra drawn of it."""
    from targetsel.mock.continuum import N_NORMALS, break_strength, draw_continuum

    rng = np.random.default_rng(3)
    features = anchor.mixture.draw(n, rng)
    continuum = draw_continuum(features, rng.standard_normal((n, N_NORMALS)), anchor)
    d4000 = break_strength(continuum.total)
    design = quadratic(features[:, KNOWN])
    expected = np.linalg.lstsq(design, d4000, rcond=None)[0]
    # The mean log of a normal's absolute value is 0.635 below the log of its scatter.
    log_offset = np.log(np.abs(d4000 - design @ expected) + 1e-4) + 0.635
    return np.stack([expected, np.linalg.lstsq(design, log_offset, rcond=None)[0]])


def main() -> None:
    """Fit the shipped model (command line in the module's docstring)."""
    import argparse

    from targetsel.mock.templates import read_templates, stellar_templates

    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--bins", type=Path, required=True)
    parser.add_argument(
        "--kcorrect", type=Path, required=True, help="data folder of the package kcorrect"
    )
    parser.add_argument("-n", "--components", type=int, default=N_COMPONENTS)
    parser.add_argument("--steps", type=int, default=N_STEPS)
    parser.add_argument("-o", "--output", required=True)
    arguments = parser.parse_args()
    features, noise, mean, axes, edges = read_features(arguments.bins)
    mixture = fit_held_out(features, noise, arguments.components, arguments.steps)
    templates = stellar_templates(read_templates(arguments.kcorrect))
    anchor = Anchor(edges, mean, axes, mixture, np.zeros((2, 10)), templates)
    arrays = {
        "bin_edges": edges,
        "colour_mean": mean,
        "colour_axes": axes,
        "weights": mixture.weight,
        "means": mixture.mean,
        "covariances": mixture.covariance,
        "break_fit": break_expectation(anchor),
        "templates": templates,
    }
    small: dict[str, Any] = {name: array.astype(np.float32) for name, array in arrays.items()}
    np.savez_compressed(arguments.output, **small)


def fit_held_out(
    features: np.ndarray, noise: np.ndarray, n_components: int, n_steps: int
) -> GaussianMixture:
    """The mixture of the galaxies but some, whose likelihood is printed.

    Most steps see a part of the galaxies only, the last ones all of them.
    """
    order = np.random.default_rng(1).permutation(len(features))
    test, rest, some = order[:HELD_OUT], order[HELD_OUT:], order[HELD_OUT:][:SOME]
    # The luminosity, which has no noise, goes first.
    forth = np.concatenate([[LUMINOSITY], np.delete(np.arange(N_FEATURES), LUMINOSITY)])
    back = np.argsort(forth)
    features = features[:, forth]
    noise = noise[:, forth[1:]][:, :, forth[1:]]

    def report(step: int, likelihood: float) -> None:
        print(f"step {step}: mean log likelihood {likelihood:.4f}", flush=True)

    mixture = GaussianMixture.fit(features[some], noise[some], (n_components, 2), n_steps, report)
    mixture = GaussianMixture.fit(features[rest], noise[rest], mixture, N_LAST_STEPS, report)
    logs = mixture.log_parts(features[test], noise[test])
    held_out = np.logaddexp.reduce(logs, axis=1).mean()
    print(f"{n_components} components: mean log likelihood of held-out galaxies {held_out:.4f}")
    covariance = mixture.covariance[:, back][:, :, back]
    return GaussianMixture(mixture.weight, mixture.mean[:, back], covariance=covariance)


if __name__ == "__main__":
    main()
