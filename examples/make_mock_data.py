"""Make the data that the mock sky is built on: the anchor model, and the catalog of galaxies.

    python examples/make_mock_data.py anchor --bins FILE.npz --kcorrect DIR -o anchor.npz
    python examples/make_mock_data.py galaxies --kcorrect DIR -o galaxies.parquet
    python examples/make_mock_data.py ultraviolet --kcorrect DIR -o ultraviolet.npz
    python examples/make_mock_data.py infrared --kcorrect DIR -o infrared.npz

The anchor model takes a quarter of an hour on one core for 97,749 galaxies, of which the 30,014
brightest are fitted. The catalog is made after it. Stellar templates are the five of the package
`kcorrect` (Blanton & Roweis 2007, AJ 133, 734; BSD-3-Clause), which describe star-formation
histories with nebular lines; the lines are cut out, and the result ships in the anchor model.
"""

from __future__ import annotations

import argparse
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from targetsel.mock import infrared, ultraviolet
from targetsel.mock.anchor import (
    KNOWN,
    LUMINOSITY,
    N_COLOURS,
    N_FEATURES,
    OLD,
    SOFTENING,
    WAVELENGTH,
    Anchor,
    quadratic,
)
from targetsel.mock.continuum import N_NORMALS, break_strength, draw_continuum, running_median
from targetsel.mock.galaxies import SDSS
from targetsel.photometry.bands import passbands, synthetic_photometry
from targetsel.photometry.flux import NANOMAGGY_ZERO_POINT, NJY_PER_NANOMAGGY, ab_magnitude
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
# What the templates make of the two colour components: this share of them, and an offset, as found
# with mock galaxies whose components are known.
TOLD_SHARE, TOLD_OFFSET = np.array([0.94, 0.62]), np.array([0.0, 0.015])

POST_BURST = 4  # A stars: Balmer absorption without emission

# Balmer absorption of the templates with lines, as a share of the post-burst template's. Their own
# is hidden under the emission, so this is set by hand: old and young stars dilute the A stars.
BALMER_SHARE = {0: 0.4, 1: 0.4, 2: 0.7}
# The old population's Halpha alone is filled up. With this share, spectra absorb 1.2 Angstrom
# there, as those of quiescent SDSS galaxies do.
OLD_HALPHA_SHARE = 0.55

_BALMER = (4102.90, 4341.69, 4862.69, 6564.61)
_HALPHA = (6549.86, 6564.61, 6585.27)
_GROUPS = (
    (3728.5,), (3869.86,), (4102.90,), (4341.69,), (4862.69,), (4960.3, 5008.24),
    (6302.0, 6313.8), _HALPHA, (6680.0, 6718.29, 6732.68), (7137.8,),
    (7321.0, 7332.0), (7753.2,),
    (9071.1,),
    (9533.2,),
)  # fmt: skip


# ---------------------------------------------------------------------- templates


def read_templates(kcorrect: Path, wavelength: np.ndarray = WAVELENGTH) -> np.ndarray:
    """The templates with their nebular lines, from kcorrect's data folder, shape (5, L).

    On some wavelengths, by default `WAVELENGTH`; their mean is 1 at 5500-5800 Angstrom.
    """
    from astropy.io import fits

    with fits.open(kcorrect / "templates" / "kcorrect-default-v4.fits") as hdus:
        table = hdus[1].data
        wave = table["wave"][0].astype(float)
        flux = table["flux"][0].astype(float).reshape(-1, len(wave))
    base = np.array([np.interp(WAVELENGTH, wave, row) for row in flux])
    level = base[:, (WAVELENGTH > 5500) & (WAVELENGTH < 5800)].mean(axis=1)
    return np.array([np.interp(wavelength, wave, row) for row in flux]) / level[:, None]


def stellar_templates(templates: np.ndarray) -> np.ndarray:
    """The same templates without lines, shape (5, L)."""
    base = templates.copy()
    absorption = base[POST_BURST] / running_median(base[POST_BURST], 61) - 1.0
    for k, share in BALMER_SHARE.items():
        base[k] = _without_lines(base[k], share, absorption, _GROUPS)
    base[OLD] = _without_lines(base[OLD], OLD_HALPHA_SHARE, absorption, (_HALPHA,))
    return base


def _without_lines(
    row: np.ndarray, share: float, absorption: np.ndarray, groups: tuple[tuple[float, ...], ...]
) -> np.ndarray:
    """One template with some groups of emission lines cut out.

    Under each group of lines the template becomes a parabola through both sides; the Balmer
    lines' absorption hides there, so `share` of the post-burst template's `absorption` is put in.
    """
    clean = row.copy()
    every_line = np.concatenate(_GROUPS)
    clear = np.abs(WAVELENGTH[:, None] - every_line).min(axis=1) >= 28
    for group in groups:
        distance = np.abs(WAVELENGTH[:, None] - np.array(group)).min(axis=1)
        under, beside = distance < 28, clear & (distance < 90)
        parabola = np.polynomial.Polynomial.fit(WAVELENGTH[beside], row[beside], 2)
        clean[under] = parabola(WAVELENGTH[under])
        if set(group) & set(_BALMER):
            clean[under] *= 1.0 + share * absorption[under]
    return np.maximum(clean, 0.0)


# ---------------------------------------------------------------------- the anchor model


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
    rng = np.random.default_rng(3)
    features = anchor.mixture.draw(n, rng)
    continuum = draw_continuum(features, rng.standard_normal((n, N_NORMALS)), anchor)
    d4000 = break_strength(continuum.total)
    design = quadratic(features[:, KNOWN])
    expected = np.linalg.lstsq(design, d4000, rcond=None)[0]
    # The mean log of a normal's absolute value is 0.635 below the log of its scatter.
    log_offset = np.log(np.abs(d4000 - design @ expected) + 1e-4) + 0.635
    return np.stack([expected, np.linalg.lstsq(design, log_offset, rcond=None)[0]])


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


def make_anchor(bins: Path, kcorrect: Path, output: Path, n_components: int, n_steps: int) -> None:
    """Fit the distribution of galaxies' continua, luminosities and lines, and write it."""
    features, noise, mean, axes, edges = read_features(bins)
    mixture = fit_held_out(features, noise, n_components, n_steps)
    templates = stellar_templates(read_templates(kcorrect))
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
    np.savez_compressed(output, **small)


# ---------------------------------------------------------------------- the catalog


def features_from_bands(
    flux: np.ndarray, redshift: np.ndarray, templates: np.ndarray, anchor: Anchor
) -> np.ndarray:
    """Two colour components and log10 luminosity from ugriz, shape (N, 3).

    The templates are fitted to the fluxes without negative weights; the 12 bins of the same
    combination of the anchor's templates, which have no lines, give the colours, after what the
    templates get wrong (`TOLD_SHARE`) has been put right. The luminosity is the flux density at
    5500-6100 Angstrom in 1e-17 erg/s/cm2/Angstrom, times the luminosity distance in Mpc squared
    and 1 + redshift.

    Parameters
    ----------
    flux : ndarray, shape (N, 5)
        [nanomaggy]
    templates : ndarray, shape (5, L)
        The anchor's templates with their nebular lines, which the bands hold too.
    """
    from astropy.cosmology import FlatLambdaCDM
    from scipy.optimize import nnls

    distance = FlatLambdaCDM(H0=70, Om0=0.3).luminosity_distance(redshift).value
    known = np.empty((len(flux), 3))
    inside = [(WAVELENGTH >= a) & (WAVELENGTH < b) for a, b in pairwise(anchor.bin_edges)]
    for n in range(len(flux)):
        bands = synthetic_photometry(passbands("sdss", SDSS), WAVELENGTH, redshift[n : n + 1])
        design = bands[0] @ templates.T
        error = np.hypot(0.02 * flux[n], 0.05 * flux[n].max() * np.array([1, 0, 0, 0, 0.2]))
        weights, _ = nnls(design / error[:, None], flux[n] / error)
        spectrum = weights @ anchor.templates
        bins = np.array([spectrum[pixels].mean() for pixels in inside])
        known[n, :2] = (anchor.colours(bins[None])[0, :2] - TOLD_OFFSET) / TOLD_SHARE
        known[n, 2] = np.log10(bins[7:9].mean() * distance[n] ** 2 * (1 + redshift[n]))
    return known


def make_galaxies(kcorrect: Path, output: Path) -> None:
    """Write the catalog of real galaxies, from those in the tests of the package kcorrect."""
    from astropy.io import fits

    with fits.open(kcorrect / "test" / "gst_tests_small.fits") as hdus:
        data = hdus[1].data
        clear = 10 ** (0.4 * np.asarray(data["EXTINCTION"], dtype=float))
        petrosian = np.asarray(data["PETROFLUX"], dtype=float) * clear
        model = np.asarray(data["MODELFLUX"], dtype=float) * clear
        redshift = np.asarray(data["Z"], dtype=float)
        ra, dec = np.asarray(data["RA"], dtype=float), np.asarray(data["DEC"], dtype=float)
    r = ab_magnitude(np.maximum(petrosian[:, 2], 1e-3), NANOMAGGY_ZERO_POINT)
    good = (redshift > 0.02) & (redshift < 0.28) & (r > 13.5) & (r < 18.5)
    good &= (model > 0).all(axis=1) & (petrosian > 0).all(axis=1)
    rows = np.flatnonzero(good)
    templates = read_templates(kcorrect)
    known = features_from_bands(model[rows], redshift[rows], templates, Anchor.shipped())
    columns = {
        "source_id": (rows + 1).astype(np.int64),
        "ra": ra[rows],
        "dec": dec[rows],
        "redshift": redshift[rows].astype(np.float32),
    }
    for k, band in enumerate(SDSS):
        columns[f"flux_{band}"] = (petrosian[rows, k] * NJY_PER_NANOMAGGY).astype(np.float32)
    for k in range(3):
        columns[f"known_{k}"] = known[:, k].astype(np.float32)
    pq.write_table(pa.table(columns), output, compression="zstd")


def make_beyond(kcorrect: Path, output: Path, wavelength: np.ndarray) -> None:
    """Write the templates' light below the anchor model's first pixel, or beyond its last."""
    templates = read_templates(kcorrect, wavelength)
    np.savez_compressed(output, templates=templates.astype(np.float32))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    made = parser.add_subparsers(dest="made", required=True)
    for name in ("anchor", "galaxies", "ultraviolet", "infrared"):
        one = made.add_parser(name)
        one.add_argument(
            "--kcorrect", type=Path, required=True, help="data folder of the package kcorrect"
        )
        one.add_argument("-o", "--output", type=Path, required=True)
    anchor = made.choices["anchor"]
    anchor.add_argument("--bins", type=Path, required=True, help="measured galaxies, .npz")
    anchor.add_argument("-n", "--components", type=int, default=N_COMPONENTS)
    anchor.add_argument("--steps", type=int, default=N_STEPS)
    given = parser.parse_args()
    if given.made == "galaxies":
        make_galaxies(given.kcorrect, given.output)
    elif given.made == "ultraviolet":
        make_beyond(given.kcorrect, given.output, ultraviolet.WAVELENGTH)
    elif given.made == "infrared":
        make_beyond(given.kcorrect, given.output, infrared.WAVELENGTH)
    else:
        make_anchor(given.bins, given.kcorrect, given.output, given.components, given.steps)


if __name__ == "__main__":
    main()
