"""An evaluation in plain words: three sentences, and a list of its terms."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa

from targetsel.imaging.measurements import MAGNITUDE
from targetsel.photometry.columns import photometric_columns
from targetsel.report.distributions import coverage
from targetsel.report.figures import BY_CHANCE, Figures

FEW = 300  # sources: with fewer, intervals are the main message
TERMS = {
    "source in a group": "sources of one galaxy or field belong together and are resampled "
    "together, so that intervals count independent galaxies only",
    "latents": "the six numbers from which the decoder makes a spectrum",
    "proxy": "a number measured on a decoded spectrum, such as the equivalent width EW(Hα)",
    "RMSE and R2": "root mean square error, and the share of the true values' variance that is "
    "predicted (1 is perfect, 0 no better than their mean)",
    "CRPS": "continuous ranked probability score, the error of a whole distribution in the unit of "
    "the value; the smaller the better",
    "coverage": "the share of true values inside an interval that promises to hold, say, 90 %",
    "energy score": "the CRPS of all latents together",
    "Mahalanobis, TARP": "two tests whether all latents together are as uncertain as stated",
    "calibration error": "mean difference between stated probabilities and the shares that came "
    "true, in ten bins (Naeini et al. 2015). By chance: what right probabilities would show with "
    "as many sources, from the scatter of resamplings around the sample (Hall 1992, section 1.3)",
    "joint departure": "how wrong the stated correlations of proxies' errors are; 0 is right",
    "Dawid-Sebastiani score": "a score of all proxies' errors together; the lower the better",
    "log score": "minus the logarithm of the probability of what came out; the lower the better",
    "purity, completeness": "share of a list that is true, and share of what is true that is in it",
    "intervals of shares": "the wider of resampled groups and Wilson's for a binomial share (1927, "
    "JASA 22, 209), which stays honest for small numbers",
}


def three_sentences(figures: Figures, about: dict[str, Any], ensemble: str) -> tuple[str, str, str]:
    """Three sentences: the sources, the quality of predictions, and the biggest caution."""
    images = "SIMULATED " if about["simulated"] else ""
    what = (
        f"Predictions of {ensemble} are compared with the known spectra of {about['n']:,} "
        f"{images}sources."
    )
    return what, _how_good(figures), _caution(figures, about)


def in_words(column: str) -> str:
    """A catalog's column in words, such as "r magnitude (SDSS)" for ``flux_r_sdss``."""
    if column == MAGNITUDE:
        return "magnitude on the cutout"
    for found in photometric_columns(pa.schema([pa.field(column, pa.float64())])):
        band = found.band
        return f"{band.name} magnitude" + (
            f" ({band.survey})" if band.system and band.survey else ""
        )
    return column.replace("_", " ")


def _how_good(figures: Figures) -> str:
    held = [f for f in figures.named(coverage(0.9)) if not f.of.startswith("latent")]
    lists = figures.named("purity at completeness 0.50")
    parts = []
    if held:
        low, high = min(f.value for f in held), max(f.value for f in held)
        parts.append(
            f"intervals that promise 90 % hold {100 * low:.0f} to {100 * high:.0f} % of true values"
        )
    lists = [f for f in lists if f.of.endswith(", ensemble") and np.isfinite(f.value)]
    if lists:
        low, high = min(f.value for f in lists), max(f.value for f in lists)
        parts.append(
            f"lists that find half of a class are {100 * low:.0f} to {100 * high:.0f} % pure"
        )
    if not parts:
        return "Neither line strengths nor lists of targets could be judged."
    joined = "; ".join(parts)
    return f"{joined[0].upper()}{joined[1:]}."


def _caution(figures: Figures, about: dict[str, Any]) -> str:
    return next(_cautions(figures, about))


def _cautions(figures: Figures, about: dict[str, Any]) -> Iterator[str]:
    """Cautions, the biggest first."""
    calibration = about["calibration"]
    if isinstance(calibration, dict) and calibration.get("truth_sha256") == about["truth_sha256"]:
        yield "The calibration was fitted to these same sources, so all this is too good."
    if about.get("caution"):
        yield f"{about['caution'][0].upper()}{about['caution'][1:]}."
    if about.get("apertures"):
        yield f"{about['apertures'][0].upper()}{about['apertures'][1:]}."
    if about["simulated"]:
        yield "All of it is about simulated data, and says nothing about real images."
    if about["n"] < FEW:
        yield f"{about['n']} sources are few: read the intervals, not the values."
    beyond = [
        (error.value, error.of)
        for error in figures.named("calibration error")
        if (chance := figures.find("calibration error" + BY_CHANCE, error.of)) is not None
        and error.value > chance.high
    ]
    if beyond:
        value, of = max(beyond)
        yield f"The probability of {of} is off by {value:.3f} on average, more than by chance."
    yield "It holds for sources like these only: others may be fainter or of other kinds."
