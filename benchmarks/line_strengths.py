"""Line strengths of real spectra beside what others find, and of simulated ones beside truth.

    python benchmarks/line_strengths.py FOLDER

FOLDER holds SDSS spec or spec-lite files. Prints

1. where pyphot is installed, its Lick indices of every spectrum beside ours, on the same pixels
   without errors or masks;
2. the equivalent widths of the survey's own line fits (table SPZLINE; stars' absorption taken away)
   beside our side-band widths, as they are, with the stars' mean absorption put back
   (`ew_halpha_gas`, `ew_hbeta_gas`), and with blends parted (`ew_halpha_fit`, `ew_nii_fit`). The
   survey's continuum at Halpha lies within the stars' line; how deep is printed too;
3. how well lines survive the decoder: SIMULATED noise-free spectra are encoded, decoded and
   measured, and the widths ranked against those of the same spectra before, and against the
   emission that was put in. The one is the decoder's doing; the other also holds what a side-band
   width is by itself: stars' absorption, and light outside of the window.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from astropy.io import fits
from measuring import Figure, print_figures
from scipy.stats import spearmanr

from targetsel.mock.galaxies import Galaxies
from targetsel.mock.sky import observe
from targetsel.scoring.ensemble import find_ensemble
from targetsel.spectra.decoder import Decoder
from targetsel.spectra.grid import wavelengths
from targetsel.spectra.lines import LineTable
from targetsel.spectra.lines.strengths import LineStrengths, measure_observed
from targetsel.spectra.lines.width_maps import MOCK_PAIRS, WidthMap
from targetsel.spectra.reading import read_spectra

PYPHOT = {
    "hdelta_a": "Hdelta_A", "hgamma_a": "Hgamma_A", "hbeta_lick": "H_beta", "mg2": "Mg_2",
    "mgb": "Mg_b", "fe5270": "Fe5270", "fe5335": "Fe5335", "nad": "Na_D",
}  # fmt: skip
SPZLINE = {
    "ew_oii": ("[O_II] 3725", "[O_II] 3727"), "ew_hbeta": ("H_beta",),
    "ew_hbeta_gas": ("H_beta",), "ew_oiii": ("[O_III] 5007",), "ew_oi": ("[O_I] 6300",),
    "ew_halpha": ("H_alpha",), "ew_halpha_fit": ("H_alpha",), "ew_halpha_gas": ("H_alpha",),
    "ew_nii": ("[N_II] 6583",), "ew_nii_fit": ("[N_II] 6583",),
    "ew_halpha_nii": ("[N_II] 6548", "H_alpha", "[N_II] 6583"),
    "ew_sii": ("[S_II] 6716", "[S_II] 6730"),
}  # fmt: skip

SEEN = 1.0  # [Angstrom] put in: what weaker lines rank by is lost in the stars' absorption


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path, help="folder of SDSS spec files")
    parser.add_argument("--mock", type=int, default=1000, help="simulated spectra for part 3")
    parser.add_argument(
        "--decoder", type=Path, help="for part 3. Default: the shipped one's folder"
    )
    arguments = parser.parse_args()
    paths = spectra_in(arguments.folder)
    if not paths:
        parser.error(f"{arguments.folder}: no .fits files there")
    beside_pyphot(paths)
    beside_survey(paths)
    print("SIMULATED: noise-free spectra, encoded and decoded")
    print_figures(figures(None, arguments.mock, arguments.decoder))
    print(
        f"above {SEEN:g}: of sources with more than {SEEN:g} Angstrom put in. error, mapped: root "
        "mean\nsquare over every other source, as it is and mapped by the others'.\n"
        "A line of less than that is drowned by what the stars' absorption scatters by at one break"
    )


def spectra_in(folder: Path) -> list[Path]:
    """The FITS files of a folder, gzipped or not."""
    return sorted([*folder.glob("*.fits"), *folder.glob("*.fits.gz")])


def beside_pyphot(paths: list[Path]) -> None:
    """Print the largest difference from pyphot's Lick indices."""
    try:
        from astropy import units as u
        from pyphot import LickLibrary
    except ImportError:
        print("pyphot: not installed\n")
        return
    library, table = LickLibrary(), LineTable.shipped().choose(PYPHOT)
    ours, theirs, errors = [], [], []
    for path in paths:
        (spectrum,) = read_spectra(path)
        rest = spectrum.wavelength / (1 + spectrum.redshift)
        ours.append(table.measure(spectrum.flux, rest))
        errors.append(measure_observed(spectrum, table).errors[0])
        # pyphot's windows are in air, and it takes wavelengths to be.
        air = rest / (1 + 2.735182e-4 + 131.4182 / rest**2 + 2.76249e8 / rest**4)
        flux = spectrum.flux * u.Unit("erg / (s cm2 AA)")
        theirs.append([float(library[name].get(air * u.AA, flux)) for name in PYPHOT.values()])
    difference, error = np.array(ours) - np.array(theirs), np.array(errors)
    print(f"{'index':12}{'range of ours':>20}{'median ours - pyphot':>22}{'largest':>10}", end="")
    print(f"{'median error':>14}{'largest/error':>15}")
    for k, name in enumerate(PYPHOT):
        found = np.array(ours)[:, k]
        worst = np.argmax(np.abs(difference[:, k]))
        relative = np.nanmax(np.abs(difference[:, k]) / error[:, k])
        span = f"{found.min():.2f} to {found.max():.2f}"
        print(f"{name:12}{span:>20}{np.median(difference[:, k]):22.3f}", end="")
        print(f"{difference[worst, k]:10.3f}{np.nanmedian(error[:, k]):14.3f}{relative:15.2f}")
    print()


def beside_survey(paths: list[Path]) -> None:
    """Print our widths beside those of the survey's fits."""
    table = LineTable.shipped().choose(SPZLINE)
    found: list[LineStrengths] = []
    fitted = np.full((len(paths), len(SPZLINE)), np.nan)
    depth = []
    for row, path in enumerate(paths):
        found.append(measure_observed(read_spectra(path)[0], table))
        with fits.open(path) as hdus:
            lines = hdus["SPZLINE"].data
        for k, names in enumerate(SPZLINE.values()):
            fitted[row, k] = sum(_survey_width(lines, name) for name in names)
        level = {line["LINENAME"].strip(): float(line["LINECONTLEVEL"]) for line in lines}
        depth.append(1 - level["H_alpha"] / level["[N_II] 6583"])
    ours = np.concatenate([each.values for each in found])
    error = np.concatenate([each.errors for each in found])
    print(f"{'index':16}{'range of SPZLINE':>20}{'rho':>7}{'median ours - SPZLINE':>23}", end="")
    print(f"{'scatter':>9}{'median error':>14}  [Angstrom]")
    for k, name in enumerate(SPZLINE):
        both = np.isfinite(ours[:, k]) & np.isfinite(fitted[:, k])
        difference = (ours - fitted)[both, k]
        span = f"{fitted[both, k].min():.1f} to {fitted[both, k].max():.1f}"
        rho = spearmanr(ours[both, k], fitted[both, k]).statistic
        low, high = np.quantile(difference, [0.16, 0.84])
        print(f"{name:16}{span:>20}{rho:7.2f}{np.median(difference):+23.2f}", end="")
        print(f"{(high - low) / 2:9.2f}{np.median(error[both, k]):14.2f}")
    print(
        f"SPZLINE's continuum at Halpha lies {np.median(depth):.1%} (median) below that at [NII], "
        "which makes its widths of Halpha as much larger\n"
    )


def _survey_width(lines: np.ndarray, name: str) -> float:
    """The equivalent width of one line, NaN where it was not fitted [Angstrom, rest frame]."""
    row = lines[np.char.strip(lines["LINENAME"].astype(str)) == name][0]
    return float(row["LINEEW"]) / (1 + float(row["LINEZ"])) if row["LINEEW_ERR"] > 0 else np.nan


def figures(
    folder: Path | None = None, mock: int = 1000, decoder: Path | None = None
) -> dict[str, Figure]:
    """How widths of decoded true latents rank among their spectra's, and among the input."""
    read = Decoder.read(decoder or find_ensemble("mock-ps1"))
    galaxies = Galaxies.of_demonstration()
    sources = list(observe(galaxies.take(np.arange(min(mock, len(galaxies)))), seed=42))
    spectra = np.concatenate([each.spectra for each in sources])
    table = LineTable.shipped().choose([*MOCK_PAIRS, "ew_halpha_gas", "ew_hbeta_gas", "d4000"])
    mean, _ = read.encode(spectra)
    reconstructed = read.decode(mean[:, None]).flux[:, 0]
    direct, decoded = (table.measure(flux, wavelengths()) for flux in (spectra, reconstructed))
    found = {}
    for k, name in enumerate(table.names):
        ranks = {"decoded among direct": _rank(decoded[:, k], direct[:, k])}
        if column := MOCK_PAIRS.get(name.removesuffix("_gas")):
            line, factor = column[0].removeprefix("input_"), column[1]
            truth = factor * np.concatenate([each.widths[line] for each in sources])
            ranks["direct among the input"] = _rank(direct[:, k], truth)
            ranks["decoded among the input"] = _rank(decoded[:, k], truth)
            above = truth > SEEN
            ranks[f"the same above {SEEN:g}"] = _rank(decoded[above, k], truth[above])
            for what, each in zip(("error", "mapped"), _errors(decoded[:, k], truth), strict=True):
                found[f"{name}, {what}"] = Figure.of(each, "accuracy", "Angstrom")
        for what, each in ranks.items():
            unit = "rank correlation"
            found[f"{name}, {what}"] = Figure.of(each, "accuracy", unit, higher=True)
    return found


def _rank(values: np.ndarray, truth: np.ndarray) -> float:
    return float(spearmanr(values, truth).statistic)


def _errors(found: np.ndarray, truth: np.ndarray) -> list[float]:
    """Root mean square of every other source's error, as it is and mapped by the others."""
    fitted = np.arange(len(truth)) % 2 == 0
    mapped = WidthMap.fit(found[fitted], truth[fitted])(found[~fitted])
    return [
        float(np.sqrt(((each - truth[~fitted]) ** 2).mean())) for each in (found[~fitted], mapped)
    ]


if __name__ == "__main__":
    main()
