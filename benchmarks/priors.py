"""Gain from spectral priors from images, on shallow spectra of mock galaxies.

    python benchmarks/priors.py SKY SCORED [--ensemble ENSEMBLE] [--n 200] [-o priors]

SKY is a folder that `targetsel mock` wrote, of galaxies that the ensemble has not learnt from;
SCORED is its catalog as the ensemble scored it. Images and spectra are SIMULATED. The galaxies are
parted by their ids: on one half the decoder's residual and the population prior are fitted, from
the other N sources are taken. Each is observed at four signal-to-noise ratios, with an error of the
flux calibration, and given a photometric redshift of +-0.03. Three priors see the same spectra:

image       the latents' posterior given the image, as scored
population  a mixture of 16 Gaussians fitted to the latents of the other galaxies' true spectra
none        these Gaussians, each as likely as any other and twice as wide: it favours no kind of
            galaxy, but knows what the decoder has learnt to decode

Latents are those of the ensemble's own decoder; what a sky's truth says of them may be of another.

A redshift succeeds within |dz| / (1 + z) < 0.003. Errors of widths are medians over sources of
|posterior's median - true|, and what 84 % of them stay below; coverage is the share of true values
in central 90 % intervals. True widths are measured on the noise-free spectra. The table goes to
-o .txt, the picture to -o .png and each update's numbers to -o .parquet.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from scipy.stats import binomtest
from sklearn import mixture

from targetsel.mock.spectra import measure_spectra
from targetsel.networks.posterior import stored_posterior
from targetsel.priors.columns import NEAR
from targetsel.priors.prior import Prior, RedshiftPrior
from targetsel.priors.spectral_model import SpectralModel, SpectralResidual
from targetsel.priors.update import Posterior, UpdateOptions, update
from targetsel.scoring.ensemble import find_ensemble
from targetsel.spectra.decoder import Decoder
from targetsel.spectra.grid import wavelengths
from targetsel.spectra.spectrum import ObservedSpectrum
from targetsel.statistics.gaussian_mixture import GaussianMixture
from targetsel.tables.columns import matrix
from targetsel.tables.files import sha256_of_file

SNRS = (0.5, 1.0, 2.0, 5.0)
PRIORS = ("image", "population", "none")
LINES = {"ew_halpha": "Halpha", "ew_oiii": "[OIII]"}
PHOTOMETRIC = 0.03
CALIBRATION = 0.05
LEVELS = (0.05, 0.5, 0.95)


@dataclass(frozen=True)
class Sky:
    """N scored sources of a mock sky and their truth, row by row."""

    source_id: np.ndarray
    fitted: np.ndarray
    redshift: np.ndarray
    flux: np.ndarray
    widths: dict[str, np.ndarray]
    scored: pa.Table

    @classmethod
    def read(cls, folder: Path, scored: Path) -> Sky:
        names = ["source_id", "group_id", *LINES]
        whole = pq.read_table(folder / "truth.parquet", columns=names)
        spectra = pq.read_table(folder / "spectra.parquet", columns=["source_id", "flux_true"])
        predicted = pq.read_table(
            scored, columns=["source_id", "redshift", "status", "member_mean", "member_cov"]
        )
        predicted = predicted.filter(pc.equal(predicted["status"], "ok"))
        ids = predicted["source_id"]
        whole = whole.take(pc.index_in(ids, whole["source_id"].combine_chunks()))
        spectra = spectra.take(pc.index_in(ids, spectra["source_id"].combine_chunks()))
        return cls(
            ids.to_numpy(),
            whole["group_id"].to_numpy() % 2 == 1,
            predicted["redshift"].to_numpy().astype(float),
            matrix(spectra["flux_true"]),
            {name: whole[name].to_numpy().astype(float) for name in LINES},
            predicted,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("sky", type=Path, help="folder with truth.parquet and spectra.parquet")
    parser.add_argument("scored", type=Path, help="its scored catalog")
    parser.add_argument("--ensemble", default="mock-ps1", help="ensemble of SCORED")
    parser.add_argument("--n", type=int, default=200, help="sources to observe")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("-o", "--output", type=Path, default=Path("priors"))
    arguments = parser.parse_args()
    sky = Sky.read(arguments.sky, arguments.scored)
    ensemble = find_ensemble(arguments.ensemble)
    decoder = Decoder.read(ensemble)
    residual = SpectralResidual.fit(
        sky.flux[sky.fitted], decoder, sha256_of_file(ensemble / "decoder.safetensors")
    )
    model = SpectralModel(decoder, residual)
    done: list[dict[str, float]] = []
    for updates in observe_all(sky, model, arguments.n, arguments.seed):
        done += updates
        pq.write_table(pa.Table.from_pylist(done), arguments.output.with_suffix(".parquet"))
    rows = pa.Table.from_pylist(done)
    text = table(rows)
    arguments.output.with_suffix(".txt").write_text(text)
    print(text)
    draw(rows, arguments.output.with_suffix(".png"))


def observe_all(
    sky: Sky, model: SpectralModel, n: int, seed: int
) -> Iterator[list[dict[str, float]]]:
    """For each of n held-out sources its updates, one for each S/N and prior."""
    held_out = np.flatnonzero(~sky.fitted)
    chosen = np.random.default_rng([seed, 1]).permutation(held_out)[:n]
    posterior = stored_posterior(sky.scored, sky.source_id)
    known = population(encoded(sky.flux[sky.fitted], model.decoder))
    shared = {"population": known, "none": wide(known)}
    for k in map(int, chosen):
        latents = {"image": posterior.mixture(k), **shared}
        rows = []
        for snr in SNRS:
            rng = np.random.default_rng([seed, int(sky.source_id[k]), int(10 * snr)])
            spectrum, photometric = observe(sky, k, snr, rng)
            for name in PRIORS:
                prior = Prior(int(sky.source_id[k]), latents[name], model)
                found = update(prior, spectrum, photometric, UpdateOptions(calibration=CALIBRATION))
                rows.append({"prior": name, "snr": snr, **numbers(found, sky, k)})
        yield rows


def encoded(flux: np.ndarray, decoder: Decoder) -> np.ndarray:
    """Latents of spectra (N, 1000), shape (N, D)."""
    parts = [decoder.encode(flux[k : k + 1024])[0] for k in range(0, len(flux), 1024)]
    return np.concatenate(parts).astype(np.float64)


def population(latents: np.ndarray) -> GaussianMixture:
    """The population prior: a mixture of 16 Gaussians fitted to the latents."""
    fitted = mixture.GaussianMixture(16, reg_covar=1e-3, random_state=0).fit(latents)
    return GaussianMixture(fitted.weights_, fitted.means_, covariance=fitted.covariances_)


def wide(known: GaussianMixture) -> GaussianMixture:
    """The broad prior: the same Gaussians with equal weights and twice the width."""
    n = len(known.weight)
    return GaussianMixture(np.full(n, 1 / n), known.mean, factor=2.0 * known.factor)


def observe(
    sky: Sky, k: int, snr: float, rng: np.random.Generator
) -> tuple[ObservedSpectrum, RedshiftPrior]:
    """A source's shallow spectrum, and what photometry says of its redshift."""
    z = sky.redshift[k]
    noise = rng.standard_normal((1, sky.flux.shape[1]))
    tilt = np.linspace(-1, 1, sky.flux.shape[1])
    bent = 1 + CALIBRATION * (rng.standard_normal(2) @ np.stack([tilt, 2 * tilt**2 - 1]))
    flux, ivar = measure_spectra(sky.flux[k : k + 1] * bent, np.array([z]), np.array([snr]), noise)
    flux, ivar = flux.astype(float), ivar.astype(float)
    place, observed = f"source {sky.source_id[k]}", wavelengths() * (1 + z)
    spectrum = ObservedSpectrum(place, 0, observed, flux[0], ivar[0], 0.0)
    guess = max(z + PHOTOMETRIC * rng.standard_normal(), 0.0)
    return spectrum, RedshiftPrior.gaussian(guess, PHOTOMETRIC)


def numbers(found: Posterior, sky: Sky, k: int) -> dict[str, float]:
    """The results of one update, as a row of the output."""
    z = sky.redshift[k]
    row = {
        "source_id": int(sky.source_id[k]),
        "redshift_error": (found.best_redshift - z) / (1 + z),
        "redshift_below": float((found.redshift < z).mean()),
        "confidence": found.confidence,
        "log_evidence": found.log_evidence,
        "effective_size": found.effective_size,
    }
    proxies = found.proxies()
    for name in LINES:
        draws, true = proxies[name][0], sky.widths[name][k]
        row[f"{name}_error"] = float(np.nanmedian(draws) - true)
        row[f"{name}_below"] = float(np.nanmean(draws < true))
        low, _, high = np.nanquantile(draws, LEVELS)
        row[f"{name}_length"] = float(high - low)
    return row


# ---------------------------------------------------------------------- what comes out


def table(rows: pa.Table) -> str:
    """The table as text."""
    n = rows.num_rows // (len(SNRS) * len(PRIORS))
    lines = [
        f"SIMULATED images and spectra: {n} held-out mock sources, photometric redshift +-"
        f"{PHOTOMETRIC}",
        f"{'S/N':>4} {'prior':11}{'z right':>9}{'|Halpha|':>10}{'84 %':>7}{'|[OIII]|':>10}"
        f"{'84 %':>7}{'90 % holds: z':>15}{'Halpha':>8}{'[OIII]':>8}{'ln evidence':>13}"
        f"{'eff. draws':>12}",
    ]
    for snr in SNRS:
        for name in PRIORS:
            lines.append(_line(rows, snr, name))
    lines.append("all S/N together, 90 % intervals hold [+- one standard error]:")
    for name in PRIORS:
        some = rows.filter(pc.equal(rows["prior"], name))
        shares = [f"{what} {_covered(some, key)}" for key, what in _QUANTITIES.items()]
        lines.append(f"     {name:11} " + ", ".join(shares))
    for snr in SNRS:
        one, other = (_right(rows, snr, name) for name in ("image", "population"))
        only = (one & ~other).sum(), (other & ~one).sum()
        chance = binomtest(int(only[0]), int(sum(only))).pvalue if sum(only) else 1.0
        lines.append(
            f"S/N {snr:g}: z right with image alone {only[0]}, with population alone {only[1]}; "
            f"as uneven by chance: {chance:.2f}"
        )
    lines.append(
        "z right: |dz|/(1+z) < 0.003; errors of widths [Angstrom]: median and 84th percentile; "
        "ln evidence: mean, above that of none"
    )
    return "\n".join(lines) + "\n"


_QUANTITIES = {"redshift": "z", **LINES}


def _line(rows: pa.Table, snr: float, name: str) -> str:
    at = rows.filter(pc.equal(rows["snr"], snr))
    some, none = (at.filter(pc.equal(at["prior"], each)) for each in (name, "none"))
    right = np.abs(some["redshift_error"].to_numpy()) < NEAR
    errors = ""
    for line in LINES:
        sizes = np.abs(some[f"{line}_error"].to_numpy())
        errors += f"{np.median(sizes):10.2f}{np.quantile(sizes, 0.84):7.2f}"
    held = [_inside(some, key).mean() for key in _QUANTITIES]
    gain = (some["log_evidence"].to_numpy() - none["log_evidence"].to_numpy()).mean()
    size = np.median(some["effective_size"].to_numpy())
    return (
        f"{snr:4.1f} {name:11}{right.mean():9.1%}{errors}{held[0]:15.1%}{held[1]:8.1%}"
        f"{held[2]:8.1%}{gain:13.1f}{size:12.0f}"
    )


def _right(rows: pa.Table, snr: float, name: str) -> np.ndarray:
    """Which redshifts are right, in the order of the sources."""
    some = rows.filter(pc.and_(pc.equal(rows["snr"], snr), pc.equal(rows["prior"], name)))
    error = some.sort_by("source_id")["redshift_error"].to_numpy()
    return np.abs(error) < NEAR


def _inside(rows: pa.Table, key: str) -> np.ndarray:
    below = rows[f"{key}_below"].to_numpy()
    return (below >= LEVELS[0]) & (below <= LEVELS[2])


def _covered(rows: pa.Table, key: str) -> str:
    """The share, with an error from the scatter between sources, whose S/N share their truth."""
    inside = _inside(rows, key)
    _, source = np.unique(rows["source_id"].to_numpy(), return_inverse=True)
    each = np.bincount(source, inside) / np.bincount(source)
    return f"{inside.mean():.1%} [{each.std() / np.sqrt(len(each)):.1%}]"


def draw(rows: pa.Table, path: Path) -> None:
    """Success and errors against signal to noise, one line for each prior."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 3.2), layout="constrained")
    axes = figure.subplots(1, 3)
    for name in PRIORS:
        parts = [
            rows.filter(pc.and_(pc.equal(rows["snr"], snr), pc.equal(rows["prior"], name)))
            for snr in SNRS
        ]
        right = [np.mean(np.abs(each["redshift_error"].to_numpy()) < NEAR) for each in parts]
        axes[0].plot(SNRS, right, "o-", label=name)
        for axis, line in zip(axes[1:], LINES, strict=True):
            sizes = [np.median(np.abs(each[f"{line}_error"].to_numpy())) for each in parts]
            axis.plot(SNRS, sizes, "o-", label=name)
            axis.set_ylabel(f"median |error| of EW({LINES[line]}) [Angstrom]")
    axes[0].set_ylabel("share of right redshifts")
    for axis in axes:
        axis.set_xscale("log")
        axis.set_xticks(SNRS, [f"{snr:g}" for snr in SNRS])
        axis.minorticks_off()
        axis.set_xlabel("S/N per pixel")
    axes[0].legend(frameon=False, title="prior")
    figure.suptitle("Simulated images and spectra")
    figure.savefig(path, dpi=120)


if __name__ == "__main__":
    main()
