"""The joint distribution of galaxies' continua, luminosities and emission lines.

Fitted once to 97,749 real DESI galaxies (12 bins of the continuum and equivalent widths, from DESI
SV3 fastspecfit by Khederlarian et al. 2024, MNRAS 531, 1454; DESI data CC BY 4.0); what ships is
the fitted mixture, not the data. A real SDSS galaxy's broad-band colours and luminosity then pick
out the part of the distribution that its mock spectrum is drawn from.

`python -m targetsel.mock.anchor --bins FILE.npz --kcorrect DIR -o FILE.npz` makes the shipped file.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.resources import files

import numpy as np

from targetsel.mock.emission import DRAWN_LINES

N_COLOURS = 6  # principal components kept of the 12 bins' log-shape
SOFTENING = 1.0  # [Angstrom] widths are modelled as asinh(width / SOFTENING)
# Feature order: colour components, log10 luminosity, lines.
N_FEATURES = N_COLOURS + 1 + len(DRAWN_LINES)
# What a galaxy's broad bands tell: two colour components and the luminosity.
KNOWN = np.array([0, 1, N_COLOURS])


@dataclass(frozen=True)
class Anchor:
    """A Gaussian mixture over colour components, luminosity and line strengths.

    Attributes
    ----------
    bin_edges : ndarray, shape (13,)
        Rest-frame edges of the continuum bins [Angstrom].
    colour_mean, colour_axes : ndarray, shapes (12,) and (6, 12)
        Mean and principal axes of ln(bin flux / geometric mean over the bins).
    weights, means, covariances : ndarray, shapes (K,), (K, 13), (K, 13, 13)
    templates : ndarray, shape (15, L)
        `mock.templates.stellar_templates`.
    """

    bin_edges: np.ndarray
    colour_mean: np.ndarray
    colour_axes: np.ndarray
    weights: np.ndarray
    means: np.ndarray
    covariances: np.ndarray
    templates: np.ndarray

    @classmethod
    def shipped(cls) -> Anchor:
        """The model that comes with the package."""
        with (files("targetsel.mock") / "data" / "anchor.npz").open("rb") as stream:
            arrays = np.load(stream, allow_pickle=False)
            return cls(**{name: arrays[name].astype(np.float64) for name in arrays.files})

    def bins(self, colours: np.ndarray) -> np.ndarray:
        """Continuum in the 12 bins, geometric mean 1, from colour components (N, 6)."""
        return np.exp(self.colour_mean + colours @ self.colour_axes)

    def colours(self, bins: np.ndarray) -> np.ndarray:
        """Colour components (N, 6) of continua given in the 12 bins (N, 12)."""
        shape = np.log(bins) - np.log(bins).mean(axis=1, keepdims=True)
        return (shape - self.colour_mean) @ self.colour_axes.T

    def draw(self, known: np.ndarray, known_error: np.ndarray, normals: np.ndarray) -> np.ndarray:
        """One draw of all features for each galaxy, given what its broad bands tell.

        Parameters
        ----------
        known : ndarray, shape (N, 3)
            Two colour components and log10 luminosity.
        known_error : ndarray, shape (3,)
            Their Gaussian uncertainty, independent.
        normals : ndarray, shape (N, 14)
            Independent standard normals; the first one chooses the mixture component.

        Returns
        -------
        ndarray, shape (N, 13)
        """
        from scipy.special import ndtr

        chosen = self._choose(known, known_error, ndtr(normals[:, 0]))
        features = np.empty((len(known), N_FEATURES))
        for k in np.unique(chosen):
            rows = chosen == k
            gain, spread = self._conditional(k, known_error)
            mean = self.means[k] + (known[rows] - self.means[k][KNOWN]) @ gain.T
            features[rows] = mean + normals[rows, 1:] @ spread.T
        return features

    def _choose(self, known: np.ndarray, error: np.ndarray, uniform: np.ndarray) -> np.ndarray:
        """The mixture component of each galaxy, by its probability given what is known."""
        logs = np.empty((len(known), len(self.weights)))
        for k, weight in enumerate(self.weights):
            cov = self.covariances[k][np.ix_(KNOWN, KNOWN)] + np.diag(error**2)
            delta = known - self.means[k][KNOWN]
            distance = np.einsum("ni,ij,nj->n", delta, np.linalg.inv(cov), delta)
            logs[:, k] = np.log(weight) - 0.5 * distance - 0.5 * np.linalg.slogdet(cov)[1]
        share = np.exp(logs - logs.max(axis=1, keepdims=True))
        cumulative = np.cumsum(share / share.sum(axis=1, keepdims=True), axis=1)
        return np.minimum((cumulative < uniform[:, None]).sum(axis=1), len(self.weights) - 1)

    def _conditional(self, k: int, error: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Regression on the known features, and a Cholesky factor of what remains."""
        cov = self.covariances[k]
        gain = cov[:, KNOWN] @ np.linalg.inv(cov[np.ix_(KNOWN, KNOWN)] + np.diag(error**2))
        rest = cov - gain @ cov[KNOWN]
        return gain, np.linalg.cholesky(rest + 1e-8 * np.eye(N_FEATURES))


def features_of(
    flux12: np.ndarray, widths: np.ndarray, ivar: np.ndarray, log_luminosity: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Features (N, 13) and their noise variances (N, 13), with the colour mean and axes.

    A line without a measurement is weak rather than unknown: it enters as 0.3 +- 0.5 Angstrom.

    Parameters
    ----------
    flux12 : ndarray, shape (N, 12)
        Mean flux per unit wavelength in the bins.
    widths, ivar : ndarray, shape (N, 6)
        Equivalent width [Angstrom] of `DRAWN_LINES`, and inverse variance; NaN where missing.
    log_luminosity : ndarray, shape (N,)
    """
    shape = np.log(flux12) - np.log(flux12).mean(axis=1, keepdims=True)
    mean = shape.mean(axis=0)
    _, _, axes = np.linalg.svd(shape - mean, full_matrices=False)
    axes = axes[:N_COLOURS] * np.sign(axes[:N_COLOURS].sum(axis=1, keepdims=True))
    missing = ~np.isfinite(widths) | ~(ivar > 0)
    sigma = np.where(missing, 0.5, 1 / np.sqrt(np.where(missing, 1.0, ivar)))
    value = np.where(missing, 0.3, widths)
    lines = np.arcsinh(value / SOFTENING)
    noise = sigma / np.sqrt(value**2 + SOFTENING**2)
    features = np.column_stack([(shape - mean) @ axes.T, log_luminosity, lines])
    variance = np.column_stack([np.zeros((len(lines), N_COLOURS + 1)), np.minimum(noise, 1.0) ** 2])
    return features, variance, mean, axes


def fit_mixture(
    features: np.ndarray, variance: np.ndarray, n_components: int, n_steps: int, seed: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Weights, means and covariances of the noise-free features' Gaussian mixture.

    Extreme deconvolution (Bovy, Hogg & Roweis 2011, AOAS 5, 1657), eqs. 16 to 18.
    """
    rng = np.random.default_rng(seed)
    n, d = features.shape
    everything = np.cov(features.T)
    weights = np.full(n_components, 1 / n_components)
    means = features[rng.choice(n, n_components, replace=False)]
    covariances = np.repeat(everything[None], n_components, axis=0)
    prior = 20.0  # sources' worth of the whole sample's shape, shrunk: no component can collapse
    for _ in range(n_steps):
        logs, expected, spreads = [], [], []
        for weight, mean, cov in zip(weights, means, covariances, strict=True):
            total = cov + variance[:, :, None] * np.eye(d)
            solved = np.linalg.solve(total, (features - mean)[:, :, None])[:, :, 0]
            distance = ((features - mean) * solved).sum(axis=1)
            logs.append(np.log(weight) - 0.5 * (distance + np.linalg.slogdet(total)[1]))
            expected.append(mean + solved @ cov)
            spreads.append(cov - cov @ np.linalg.solve(total, np.broadcast_to(cov, total.shape)))
        log_share = np.array(logs) - np.logaddexp.reduce(logs, axis=0)
        share = np.exp(log_share)
        counts = share.sum(axis=1)
        weights = (counts + 1.0) / (counts + 1.0).sum()
        for k in range(n_components):
            mean = (share[k] @ expected[k] + means[k]) / (counts[k] + 1.0)
            delta = expected[k] - mean
            scatter = (delta * share[k][:, None]).T @ delta
            scatter += np.tensordot(share[k], spreads[k], axes=1) + prior * 0.1 * everything
            means[k], covariances[k] = mean, scatter / (counts[k] + prior)
    return weights, means, covariances


def main() -> None:
    """Fit the shipped model (command line in the module's docstring)."""
    import argparse

    from astropy.cosmology import FlatLambdaCDM
    from astropy.io import fits

    from targetsel.mock.templates import stellar_templates

    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--bins", required=True)
    parser.add_argument("--kcorrect", required=True, help="data folder of the package kcorrect")
    parser.add_argument("-o", "--output", required=True)
    arguments = parser.parse_args()

    data = np.load(arguments.bins, allow_pickle=False)
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
    distance = FlatLambdaCDM(H0=70, Om0=0.3).luminosity_distance(data["z"]).value
    flux12 = data["flux12"].astype(float)
    luminosity = np.log10(flux12[:, 7:9].mean(axis=1) * distance**2 * (1 + data["z"]))
    features, variance, mean, axes = features_of(
        flux12, np.array([w for w, _ in lines]).T, np.array([i for _, i in lines]).T, luminosity
    )
    rng = np.random.default_rng(1)
    rows = rng.choice(len(features), 15_000, replace=False)
    weights, means, covariances = fit_mixture(features[rows], variance[rows], 16, 30, seed=2)

    with fits.open(f"{arguments.kcorrect}/templates/kcorrect-default-v4.fits") as hdus:
        table = hdus[1].data
        templates = stellar_templates(
            table["wave"][0].astype(float), table["flux"][0].astype(float).reshape(5, -1)
        )
    np.savez_compressed(
        arguments.output,
        bin_edges=data["bin_edges"],
        colour_mean=mean.astype(np.float32),
        colour_axes=axes.astype(np.float32),
        weights=weights.astype(np.float32),
        means=means.astype(np.float32),
        covariances=covariances.astype(np.float32),
        templates=templates.astype(np.float32),
    )


if __name__ == "__main__":
    main()
