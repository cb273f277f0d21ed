"""Errors of a decoder trained on mock spectra for real ones, beside principal components.

    python benchmarks/real_spectra.py FOLDER [--decoder DECODER]

FOLDER holds SDSS spec or spec-lite files, gzipped or not. Each spectrum is brought to the rest
frame, its gaps are filled, and it is encoded and decoded. Beside this stands the best fit of the
ten principal components of the same mock training spectra (the shipped basis, which also fills the
gaps; the fit
sees the measured pixels with their weights, the encoder sees every pixel alike). All errors are
over measured pixels only. At the end stand the equivalent widths that are measured on the spectra
themselves beside those of the survey's own line fits (see `line_strengths.py`).
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
from line_strengths import beside_survey, spectra_in
from scipy.stats import spearmanr

from targetsel.scoring.ensemble import find_ensemble
from targetsel.spectra.decoder import Decoder
from targetsel.spectra.encoding import EncodedSpectra, encode
from targetsel.spectra.formats import sdss_spec
from targetsel.spectra.lines import PROXIES, UNITS, LineTable, measure
from targetsel.spectra.lines.strengths import measure_observed
from targetsel.spectra.reading import read_spectra
from targetsel.spectra.rest_frame import Basis
from targetsel.spectra.spectrum import Spectra

REGIONS = {
    "blue end": (3388, 3700),
    "[OII]": (3706, 3750),
    "4000 A break": (3850, 4100),
    "4100-4800": (4100, 4800),
    "Hbeta, [OIII]": (4840, 5030),
    "Mg b": (5100, 5300),
    "5300-6500": (5300, 6500),
    "Halpha, [NII]": (6536, 6602),
    "[SII]": (6700, 6750),
    "6800-8310": (6800, 8311),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path, help="folder of SDSS spec files")
    parser.add_argument("--decoder", type=Path, help="default: the shipped ensemble's")
    arguments = parser.parse_args()
    paths = spectra_in(arguments.folder)
    if not paths:
        parser.error(f"{arguments.folder}: no .fits files there")
    decoder = Decoder.read(arguments.decoder or find_ensemble("mock-ps1"))
    encoded = encode([read_spectra(path)[0] for path in paths], decoder)
    spectra, basis = encoded.spectra, Basis.shipped()
    fitted = np.array(
        [basis.reconstruct(*each) for each in zip(spectra.flux, spectra.ivar, strict=True)]
    )
    models = {f"decoder ({decoder.space.name})": encoded.reconstruction, "10 components": fitted}
    each_spectrum(encoded, models)
    along_wavelength(encoded, models)
    proxies(encoded, models)
    latents(encoded)
    print("\nSide-band widths of the spectra beside SPZLINE, the survey's line fits")
    beside_survey(paths)
    masked(paths)


def each_spectrum(encoded: EncodedSpectra, models: dict[str, np.ndarray]) -> None:
    """Print the reconstruction error of every spectrum."""
    spectra = encoded.spectra
    print(f"{'spectrum':24}{'measured':>9}{'noise':>8}", end="")
    print("".join(f"{name + ': |res|':>24}{'chi2/px':>9}" for name in models))
    with np.errstate(divide="ignore"):
        noise = np.where(spectra.mask, np.nan, 1 / np.sqrt(spectra.ivar) / np.abs(spectra.flux))
    noise = 0.6745 * np.nanmedian(noise, axis=1)
    fits = {name: replace(encoded, reconstruction=model) for name, model in models.items()}
    sizes = {name: fit.residual for name, fit in fits.items()}
    chi2 = {name: fit.chi2 for name, fit in fits.items()}
    for row, name in enumerate(spectra.source_id):
        print(f"{name!s:24}{encoded.covered[row]:9.1%}{noise[row]:8.2%}", end="")
        print("".join(f"{sizes[m][row]:24.2%}{chi2[m][row]:9.2f}" for m in models))
    print(f"{'median':24}{np.median(encoded.covered):9.1%}{np.median(noise):8.2%}", end="")
    print("".join(f"{np.median(sizes[m]):24.2%}{np.median(chi2[m]):9.2f}" for m in models))
    print("noise: median |residual| that a perfect model would have, by the pixels' errors\n")


def along_wavelength(encoded: EncodedSpectra, models: dict[str, np.ndarray]) -> None:
    """Print where along wavelength the light is lost: chi squared, and the bias of the mean."""
    spectra = encoded.spectra
    print(f"{'region':18}" + "".join(f"{n + ': chi2/px':>26}{'bias':>8}" for n in models))
    excess = {}
    for region, (low, high) in REGIONS.items():
        found = []
        inside = (spectra.wavelength >= low) & (spectra.wavelength < high)
        flux, ivar = spectra.flux[:, inside], spectra.ivar[:, inside]
        print(f"{region:18}", end="")
        for model in models.values():
            difference = model[:, inside] - flux
            chi2 = (difference**2 * ivar).sum() / (ivar > 0).sum()
            good = ivar > 0
            seen = good.any(axis=1)
            bias = np.median(
                (difference * good).sum(axis=1)[seen] / (flux * good).sum(axis=1)[seen]
            )
            print(f"{chi2:26.2f}{bias:8.1%}", end="")
            found.append(chi2)
        excess[region] = found[0] - found[1]
        print()
    print("bias: median over spectra of (model - flux) / flux, summed over the region")
    lost = sorted(excess, key=lambda region: excess[region], reverse=True)[:3]
    print(
        "the decoder loses most against the components in "
        + "; ".join(f"{region} (chi2/px {excess[region]:+.1f})" for region in lost)
        + "\n"
    )


def proxies(encoded: EncodedSpectra, models: dict[str, np.ndarray]) -> None:
    """Print how line strengths and indices of the models compare with the measured spectra's."""
    spectra = encoded.spectra
    ids = spectra.source_id

    def values(flux: np.ndarray) -> np.ndarray:
        return measure(Spectra(ids, flux[:, None], spectra.wavelength)).values[:, 0]

    direct = values(spectra.flux)
    print(f"{'proxy':16}{'range measured':>20}", end="")
    print("".join(f"{name + ': rho':>24}{'difference':>12}" for name in models))
    for k, name in enumerate(PROXIES):
        span = f"{direct[:, k].min():.2f} to {direct[:, k].max():.2f}"
        print(f"{name:16}{span:>20}", end="")
        for model in models.values():
            found = values(model)[:, k]
            both = np.isfinite(direct[:, k]) & np.isfinite(found)
            rho = spearmanr(direct[both, k], found[both]).statistic
            print(f"{rho:24.2f}{np.median(found[both] - direct[both, k]):+12.2f}", end="")
        print(f"  {UNITS[name]}")
    print(
        "rho: rank correlation with the measured spectrum; difference: median, model - measured\n"
    )


def latents(encoded: EncodedSpectra) -> None:
    """Print which latents mean something."""
    std = np.median(encoded.latent_std, axis=0)
    outside = (np.abs(encoded.latent_mean) > 3).sum(axis=0)
    print("latent          " + "".join(f"{k + 1:8}" for k in range(len(std))))
    print("encoder's std   " + "".join(f"{value:8.2f}" for value in std))
    print("spectra beyond 3" + "".join(f"{count:8}" for count in outside))
    print(
        "std: in units of the latent's scatter over mock spectra; near or above 1, it says nothing"
    )


def masked(paths: list[Path]) -> None:
    """Print how many indices have no value for the pixels that `and_mask` calls bad."""
    table, bits = LineTable.shipped(), sdss_spec.BAD_PIXEL
    missing = []
    for sdss_spec.BAD_PIXEL in (bits, 0):
        found = [measure_observed(read_spectra(path)[0], table).values[0] for path in paths]
        missing.append(int(np.isnan(found).sum()))
    sdss_spec.BAD_PIXEL = bits
    print(
        f"of {len(paths) * len(table.names)} indices {missing[0]} have no value; with pixels that "
        f"and_mask calls bad, {missing[1]}"
    )


if __name__ == "__main__":
    main()
