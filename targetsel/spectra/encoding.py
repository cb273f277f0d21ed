"""Latents of measured spectra, the quality of their reconstruction, and a plot of both."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from targetsel.errors import OutputError
from targetsel.extras import require
from targetsel.spectra.reading import Attempt, attempts, results_table, stated_marks, usable
from targetsel.spectra.redshifts import SpectrumOptions
from targetsel.spectra.rest_frame import fill_gaps, rest_frame
from targetsel.spectra.spectrum import MeasuredSpectra, ObservedSpectrum
from targetsel.tables.columns import Column
from targetsel.tables.files import check_output, sha256_of_file, written_beside
from targetsel.tables.ids import keys_of
from targetsel.tables.parquet import write_table
from targetsel.version import __version__

if TYPE_CHECKING:
    from targetsel.plots import Axes
    from targetsel.spectra.decoder import Decoder

REPEATS = 8  # encodings under fresh noise, from which the errors of latents are estimated
MOST_PANELS = 12
MEASURED, FILLED, DECODED = "#8a8f98", "#e08a1e", "#b3261e"
LINES = {
    "[OII]": 3728.5, "Hδ": 4102.9, "Hβ": 4862.7, "[OIII]": 5008.2, "Mg b": 5176.0, "Na D": 5894.6,
    "Hα": 6564.6, "[SII]": 6725.5,
}  # fmt: skip


@dataclass(frozen=True)
class EncodedSpectra:
    """Spectra, their latents, and the decoder's reconstruction.

    Attributes
    ----------
    spectra : MeasuredSpectra
        Measured spectra scaled to a sum of squares of 1, gaps filled.
    latent_mean, latent_std : ndarray, shape (N, D)
        Standardised latents, and their `scatter_under_noise`.
    reconstruction : ndarray, shape (N, 1000)
        The decoded latents, in units of `spectra`.
    """

    spectra: MeasuredSpectra
    latent_mean: np.ndarray
    latent_std: np.ndarray
    reconstruction: np.ndarray

    @property
    def covered(self) -> np.ndarray:
        """Share of the grid's pixels that were measured, not filled, shape (N,)."""
        return 1 - self.spectra.mask.mean(axis=1)

    @property
    def chi2(self) -> np.ndarray:
        """Mean over measured pixels of the squared residual over its variance, shape (N,)."""
        squared = (self.spectra.flux - self.reconstruction) ** 2 * self.spectra.ivar
        return squared.sum(axis=1) / (self.spectra.ivar > 0).sum(axis=1)

    @property
    def residual(self) -> np.ndarray:
        """Median over measured pixels of ``|reconstruction / flux - 1|``, shape (N,)."""
        with np.errstate(divide="ignore", invalid="ignore"):
            size = np.abs(self.reconstruction / self.spectra.flux - 1)
        return np.nanmedian(np.where(self.spectra.mask, np.nan, size), axis=1)


def encode(spectra: Sequence[ObservedSpectrum], decoder: Decoder) -> EncodedSpectra:
    """The latents of measured spectra.

    Spectra are brought to the rest frame and their gaps filled. Filled pixels count as noise-free
    in the latents' standard deviation, so check `covered`.
    """
    measured = fill_gaps(rest_frame(spectra))
    norm = np.sqrt((measured.flux**2).sum(axis=1, keepdims=True))
    unit = replace(measured, flux=measured.flux / norm, ivar=measured.ivar * norm**2)
    mean, _ = decoder.encode(unit.flux)
    std = scatter_under_noise(unit.source_id, unit.flux, unit.ivar, decoder)
    decoded = decoder.decode(mean[:, None]).flux[:, 0].astype(np.float64)
    return EncodedSpectra(unit, mean, std, decoded)


def scatter_under_noise(
    ids: np.ndarray, flux: np.ndarray, ivar: np.ndarray, decoder: Decoder, seed: int = 0
) -> np.ndarray:
    """Standard deviation of the latents over `REPEATS` encodings under fresh noise, (N, D).

    The encoder's own estimate is the width of a posterior, not the error of its mean: for a decoder
    trained on noise-free spectra it is several times too small.

    Parameters
    ----------
    ids : ndarray, shape (N,)
        Ids, which determine the noise together with the seed.
    flux, ivar : ndarray, shape (N, 1000)
        Flux density with gaps filled, and inverse variance. Pixels without it get no noise.
    """
    sigma = np.divide(1.0, np.sqrt(ivar), out=np.zeros_like(ivar), where=ivar > 0)
    repeats = np.empty((len(ids), REPEATS, flux.shape[1]), dtype=np.float32)
    for row, key in enumerate(keys_of(ids)):
        rng = np.random.default_rng([seed, int(key)])
        repeats[row] = rng.standard_normal(repeats.shape[1:], dtype=np.float32)
    repeats = flux[:, None] + repeats * sigma[:, None]
    latents, _ = decoder.encode(repeats.reshape(-1, flux.shape[1]))
    scatter: np.ndarray = latents.reshape(len(ids), REPEATS, -1).std(axis=1, ddof=1)
    return scatter


def encode_files(
    paths: Sequence[Path],
    decoder: Decoder,
    redshift: float | None = None,
    options: SpectrumOptions = SpectrumOptions(),
) -> list[Attempt[EncodedSpectra]]:
    """Encode every spectrum of some files, one at a time."""
    make = lambda each: encode([each], decoder)  # noqa: E731
    return list(attempts(paths, make, redshift, "encoding", options))


def latent_columns(n_latents: int) -> tuple[Column, ...]:
    """The columns of encoded spectra."""
    latents, number = pa.list_(pa.float32(), n_latents), pa.float32()
    null = "there are no latents"
    return (
        Column("latent_mean", latents, "", "", "standardised latents", null),
        Column("latent_std", latents, "", "",
               "their standard deviations over encodings under fresh noise", null),
        Column("chi2", number, "", "",
               "mean over measured pixels of squared residual over variance", null),
        Column("residual", number, "", "",
               "median over measured pixels of |reconstruction / flux - 1|", null),
        Column("covered", number, "", "",
               "share of the rest-frame grid that was measured, not filled", null),
    )  # fmt: skip


def table(tried: Sequence[Attempt[EncodedSpectra]], n_latents: int) -> pa.Table:
    """One row for each spectrum that was tried; see `reading.results_table`."""
    columns = latent_columns(n_latents)

    def values(encoded: EncodedSpectra) -> dict[str, object]:
        return {each.name: getattr(encoded, each.name)[0].tolist() for each in columns}

    return results_table(tried, columns, values)


def write_encoded(
    paths: Sequence[Path],
    decoder: Path,
    output: Path,
    redshift: float | None = None,
    picture: Path | None = None,
    options: SpectrumOptions = SpectrumOptions(),
) -> tuple[Attempt[EncodedSpectra], ...]:
    """Write the latents of the spectra in some files, and perhaps a picture of the first of them.

    Parameters
    ----------
    decoder : Path
        File of the decoder.
    redshift : float, optional
        Of every spectrum; by default as in the files.
    options : SpectrumOptions
        Where else redshifts come from, and which are taken.

    Raises
    ------
    SpectrumError, EnsembleError, OutputError
        If no spectrum can be used, too; nothing is written then.
    """
    from targetsel.spectra.decoder import Decoder

    check_output(output, [*paths, decoder])
    if picture is not None:
        require("plots", "A picture")
        check_output(picture, [*paths, decoder])
        if picture.resolve() == output.resolve():
            raise OutputError(f"{picture}: is the output, too. Choose another name.")
    network = Decoder.read(decoder)
    tried = encode_files(paths, network, redshift, options)
    encoded = usable(tried)
    footer = {
        "code_version": __version__,
        "decoder_sha256": sha256_of_file(decoder),
        "latent_space": network.space.name,
        **stated_marks(tried),
    }
    write_table(table(tried, network.n_latents), output, footer)
    if picture is not None:
        draw_spectra(encoded, picture)
    return tuple(tried)


def draw_spectra(encoded: Sequence[EncodedSpectra], path: Path) -> int:
    """Plot the first spectra, measured, filled and decoded, as PNG; return the number plotted."""
    from targetsel.plots import Figure

    shown = encoded[:MOST_PANELS]
    figure = Figure(figsize=(11, 2.3 * len(shown) + 0.7), layout="constrained")
    panels = figure.subplots(len(shown), 1, sharex=True, squeeze=False)[:, 0]
    for panel, each in zip(panels, shown, strict=True):
        # Above the first panel stand the names of the lines.
        _draw_one(panel, each, 24 if panel is panels[0] else 2)
    for name, wavelength in LINES.items():
        panels[0].annotate(
            name, (wavelength, 1.0), xycoords=("data", "axes fraction"), xytext=(0, 14),
            textcoords="offset points", ha="center", fontsize=7, color="0.35",
        )  # fmt: skip
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower right", ncols=3, fontsize=8, frameon=False)
    panels[-1].set_xlabel("rest-frame vacuum wavelength [Å]")
    figure.supylabel("flux density per unit wavelength, scaled", fontsize=9)
    with written_beside(path) as beside:
        figure.savefig(beside, format="png", dpi=110)
    return len(shown)


def _draw_one(panel: Axes, encoded: EncodedSpectra, pad: float) -> None:
    spectra = encoded.spectra
    wavelength, gap = spectra.wavelength, spectra.mask[0]
    level = np.median(spectra.flux[0])
    flux = spectra.flux[0] / level
    panel.plot(wavelength, np.where(gap, np.nan, flux), color=MEASURED, lw=0.8, label="measured")
    panel.plot(wavelength, np.where(gap, flux, np.nan), color=FILLED, lw=1.6, label="filled")
    model = encoded.reconstruction[0] / level
    panel.plot(wavelength, model, color=DECODED, lw=0.9, label="decoded from latents")
    for line in LINES.values():
        panel.axvline(line, color="0.85", lw=0.6, zorder=0)
    top = np.percentile(np.concatenate([flux[~gap], model]), 99.8)
    panel.set_ylim(0, 1.15 * top)
    panel.set_xlim(wavelength[0], wavelength[-1])
    panel.tick_params(labelsize=7)
    panel.set_title(
        f"{spectra.source_id[0]}   redshift {spectra.redshift[0]:.4f}   "
        f"median residual {encoded.residual[0]:.1%}   χ² per pixel {encoded.chi2[0]:.2f}   "
        f"{encoded.covered[0]:.0%} measured",
        fontsize=8, loc="left", pad=pad,
    )  # fmt: skip
