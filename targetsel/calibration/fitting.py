"""Fit of a calibration to scored labelled sources, and its check on other such sources."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from scipy.stats import spearmanr

from targetsel.calibration.calibration import Calibration, CalibrationSteps, Coverage
from targetsel.calibration.conformal import Bins
from targetsel.calibration.joint import JointCalibration
from targetsel.calibration.latents import INTERVAL, LatentCalibration
from targetsel.calibration.local import LocalScores
from targetsel.calibration.prediction import PredictedProxies, predict_proxies
from targetsel.calibration.proxies import ClassMap, DecoderResidual, ScoreMap, mapped
from targetsel.errors import CatalogError, EnsembleError
from targetsel.imaging.measurements import MAGNITUDE
from targetsel.photometry.brightness import brightness_columns
from targetsel.photometry.selection_weights import SelectionRecord, weights_like
from targetsel.scored.columns import predicts_redshift
from targetsel.scored.file import RESTORE, ScoredFile
from targetsel.scored.labelled_sources import LabelledSources
from targetsel.sky.catalog import CatalogFile
from targetsel.spectra.decoder import Decoder, FoldedDecoder
from targetsel.spectra.lines import BPT_PROXIES, PROXIES, bpt_probabilities, measure
from targetsel.spectra.photoz import OF_MEMBERS, PHOTOZ
from targetsel.spectra.proxies import QUANTILES, Proxies, ProxyPosterior, proxy_names
from targetsel.statistics.resampling import effective_size
from targetsel.tables.columns import matrix
from targetsel.tables.files import sha256_of_file
from targetsel.tables.ids import uniform
from targetsel.tables.parquet import footer_in, says_simulated
from targetsel.tasks import task
from targetsel.version import __version__

CHECKED_SHARE = 0.3
FEWEST = 400  # sources to fit: with fewer the outermost quantiles are single sources
SOURCES_AT_ONCE = 512
_NO_PROXIES: dict[str, Any] = {"proxies": {}, "local": None, "joint": None, "classes": None}
WORST_AGREEMENT = 0.5  # rank correlation of a decoded proxy with the true one


class DecodingEnsemble(Protocol):
    """The part of an ensemble (`scoring.ensemble.Ensemble`) that a fit needs."""

    @property
    def name(self) -> str: ...

    @property
    def sha256(self) -> str: ...

    @property
    def decoder(self) -> Decoder: ...

    @property
    def draws_decoder(self) -> FoldedDecoder: ...


def calibrate(
    scored: Path,
    truth: Path,
    ensemble: DecodingEnsemble,
    local: bool = True,
    like: CatalogFile | None = None,
) -> Calibration:
    """Calibration fitted to labelled sources, with its coverage on some of them.

    A hash of their group splits the sources: a first calibration is fitted to most, and its
    coverage measured on the others (`CHECKED_SHARE`). The calibration itself is then fitted to
    all. The networks must not have been trained on any of them.

    Parameters
    ----------
    scored : Path
        A scored file of this ensemble, without a calibration.
    truth : Path
        Parquet with `source_id` and proxies measured on spectra, or latents (`latent_mean` of this
        ensemble's decoder, perhaps with `latent_std`, or a mock sky's `latent`), or both. `weight`
        is the number of sources that one stands for; sources of one `group_id` stay together.
    local : bool
        Also correct proxies by all that is predicted of a source (see `local.LocalScores`).
    like : CatalogFile, optional
        Target catalog that the labelled sources are weighted like, by the brightness in the scored
        file (`weights_like`).

    Raises
    ------
    CatalogError, EnsembleError
        If a file is unusable, labelled sources are too few, or the scored file is of another
        ensemble or calibrated already.
    """
    known, selection = read_known(scored, truth, ensemble, like is not None), None
    if like is not None:
        known, selection = _weighted_like(known, like, scored)
    footer = footer_in(known.scored.schema.metadata)
    options = footer.get("options", {})
    try:
        seed, n_draws = int(options["seed"]), int(options["n_draws"])
    except (KeyError, TypeError, ValueError):
        raise CatalogError(
            f"{scored}: its footer does not say with what seed and draws it was scored. {RESTORE}"
        ) from None
    checked = uniform(known.group, 0, "calibration")[:, 0] < CHECKED_SHARE
    fitted, others = known.take(~checked), known.take(checked)
    _check_size(truth, fitted, others)
    _check_any(truth, known)

    def predicted(steps: CalibrationSteps, some: LabelledSources) -> PredictedProxies | None:
        """Proxies after some steps; None if no proxy is known of any source."""
        if not some.proxies:
            return None
        posterior = steps.posterior(some.posterior(), some.magnitude)
        posterior = replace(posterior, magnitude=some.magnitude)
        parts = []
        for start in range(0, len(some), SOURCES_AT_ONCE):
            part = posterior.take(slice(start, start + SOURCES_AT_ONCE))
            parts.append(predict_proxies(ensemble.draws_decoder, steps, part, n_draws, seed))
            advance(len(part))
        return PredictedProxies.joined(parts)

    def fit(some: LabelledSources) -> CalibrationSteps:
        steps = _latent_steps(some, ensemble.decoder, truth)
        before = predicted(steps, some)
        if before is None:
            return steps
        maps = _maps(some, before.posterior)
        corrected = _local(some, before.posterior.quantiles, maps) if local and maps else None
        steps = steps.model_copy(update={"maps": maps, "local": corrected})
        found = predicted(steps, some)
        assert found is not None
        more = {"joint": _joint(some, found.posterior), "classes": _classes(some, found.shares)}
        return steps.model_copy(update=more)

    n_predicted = 2 * len(fitted) + len(others) + 2 * len(known) if known.proxies else 0
    with task("calibrating", n_predicted, "sources") as advance:
        first = fit(fitted)
        coverages = _coverages(first, others, predicted(first, others))
        last = fit(known)
    found = Calibration(
        **dict(last),
        code_version=__version__,
        ensemble={"name": ensemble.name, "sha256": ensemble.sha256},
        truth_sha256=sha256_of_file(truth),
        simulated=says_simulated(known.truth.footer) or says_simulated(footer),
        n_fitted=len(known),
        n_checked=len(others),
        left_out={why: count for why, count in known.left_out.items() if count},
        selection=selection,
        draws={"seed": seed, "n": n_draws},
        coverage_of_90_percent=coverages,
    )
    return found.of_predicted(proxy_names(known.scored.schema))


def read_known(
    scored: Path, truth: Path, ensemble: DecodingEnsemble, with_brightness: bool = False
) -> LabelledSources:
    """Sources that a calibration can be fitted to; see `calibrate`.

    Parameters
    ----------
    with_brightness : bool
        Also keep the scored file's columns of fluxes and magnitudes.

    Raises
    ------
    CatalogError, EnsembleError
        Also if the scored file is not of this ensemble, or calibrated already.
    """
    with ScoredFile(scored) as file:
        file.check_scored_by(ensemble.name, ensemble.sha256)
        calibrated, schema, place = file.footer.get("calibration"), file.schema, file.path
        joined = "redshifts" in file.footer
    if calibrated:
        raise CatalogError(
            f"{scored}: its posteriors are calibrated already. Score it with --uncalibrated first."
        )
    if joined:
        raise CatalogError(
            f"{scored}: has redshifts from elsewhere, which are no prediction of the ensemble. "
            "Give the scored catalog as it was."
        )
    predicted = (*PROXIES, PHOTOZ) if predicts_redshift(schema) else PROXIES
    needed = [MAGNITUDE, "member_mean", "member_cov", *(name + QUANTILES for name in predicted)]
    needed += OF_MEMBERS if predicts_redshift(schema) else ()
    needed += brightness_columns(schema, place) if with_brightness else ()
    known = LabelledSources.read(scored, truth, needed)
    counting = known.truth.known & (known.weight > 0)
    found = known.take(counting)
    left_out = known.left_out | {"with NaN for a truth": len(known) - len(found)}
    return replace(found, left_out=left_out)


def _weighted_like(
    known: LabelledSources, like: CatalogFile, scored: Path
) -> tuple[LabelledSources, SelectionRecord]:
    """The labelled sources with weights of selection, without those that get none."""
    with ScoredFile(scored) as file:
        place = file.path
    found = weights_like(like, known.scored, known.source_id, known.weight, place)
    none = found.weight == 0
    left_out = {f"unlike all sources of {found.record.like}": int(none.sum())}
    weighted = known.with_weights(found.weight).take(~none)
    return replace(weighted, left_out=known.left_out | left_out), found.record


def _check_size(truth: Path, fitted: LabelledSources, others: LabelledSources) -> None:
    n = int(effective_size(fitted.weight)) if len(fitted) else 0
    lopsided = not len(fitted) or not len(others)
    if len(fitted) + len(others) < FEWEST or (n < FEWEST and not lopsided):
        given = len(fitted) + len(others)
        needed = math.ceil(given * FEWEST / n if n else FEWEST / (1 - CHECKED_SHARE))
        counts = ", ".join(f"{count} {why}" for why, count in fitted.left_out.items() if count)
        raise CatalogError(
            f"{truth}: {given} labelled sources"
            f"{f' ({counts} left out)' if counts else ''}, of which {n} are for the fit and the "
            f"others check it; expected at least {FEWEST} for the fit. Give about {needed} such "
            f"sources, or {needed * 5} for a calibration by brightness."
        )
    if lopsided:
        raise CatalogError(
            f"{truth}: its {len(fitted) + len(others)} sources are of too few groups ('group_id') "
            "to be parted into some to fit and others to check. Give more groups."
        )


def _check_any(truth: Path, known: LabelledSources) -> None:
    """Refuse sources of which nothing is known often enough to be calibrated."""
    counts = {
        name: int(np.isfinite(true + matrix(known.scored[name + QUANTILES]).sum(axis=1)).sum())
        for name, true in known.proxies.items()
    }
    n_latents = int(np.isfinite(known.latents).all(axis=1).sum())
    if max(n_latents, *counts.values(), 0) >= FEWEST:
        return
    most = max(counts, key=lambda name: counts[name], default="")
    of_lines = f" and no line strength of more than {counts[most]} ('{most}')" if most else ""
    raise CatalogError(
        f"{truth}: of its {len(known)} scored sources, latents are known of {n_latents}{of_lines}. "
        f"A calibration needs {FEWEST} sources of known latents, or {FEWEST} of which one and the "
        "same line strength is known. Give more."
    )


def _latent_steps(known: LabelledSources, decoder: Decoder, truth: Path) -> CalibrationSteps:
    """Calibration of the latents and perhaps the redshift, and the decoder residual."""
    rows = np.flatnonzero(np.isfinite(known.latents).all(axis=1))
    if len(rows) < FEWEST:
        return CalibrationSteps(latents=None, residual=None, **_NO_PROXIES)
    residual = _residual(known.take(rows), decoder, truth)
    targets, noise = known.latents, known.noise
    redshift = _log_redshift(known)
    with_redshift = np.flatnonzero(np.isfinite(targets.sum(axis=1) + redshift))
    posterior = known.posterior()
    if posterior.has_redshift and len(with_redshift) >= FEWEST:
        rows = with_redshift
        targets = np.column_stack([targets, redshift])
        noise = np.column_stack([noise, np.zeros(len(known))])
    else:
        posterior = posterior.latents
    latents = LatentCalibration.fit(
        posterior.take(rows),
        targets[rows],
        noise[rows],
        known.magnitude[rows],
        known.weight[rows],
    )
    return CalibrationSteps(latents=latents, residual=residual, **_NO_PROXIES)


def _log_redshift(known: LabelledSources) -> np.ndarray:
    """ln(1 + redshift), shape (N,); NaN where it is not known."""
    nowhere = np.full(len(known), np.nan)
    return np.asarray(np.log1p(known.proxies.get(PHOTOZ, nowhere)))


def _residual(known: LabelledSources, decoder: Decoder, truth: Path) -> DecoderResidual | None:
    """Residual of the proxies that are known for every source with known latents."""
    decoded = measure(decoder.decode(known.latents[:, None]))
    pairs = {
        name: (decoded[name][:, 0], true)
        for name, true in known.proxies.items()
        if name in decoded.names and np.isfinite(true).sum() >= FEWEST
    }
    if not pairs:
        return None
    rows = np.flatnonzero(np.isfinite(sum(a + b for a, b in pairs.values())))
    if len(rows) < FEWEST:
        return None
    agreement = max(spearmanr(a[rows], b[rows]).statistic for a, b in pairs.values())
    if not agreement >= WORST_AGREEMENT:
        raise EnsembleError(
            f"{truth}: its latents decode to proxies that have nothing to do with its true ones "
            f"(rank correlation at most {agreement:.2f}): latents of another decoder? Encode the "
            "spectra with this ensemble's."
        )
    return DecoderResidual.fit(
        {name: a[rows] for name, (a, _) in pairs.items()},
        {name: b[rows] for name, (_, b) in pairs.items()},
        known.weight[rows],
    )


def _maps(known: LabelledSources, posterior: ProxyPosterior) -> dict[str, ScoreMap]:
    """Maps of the proxies that are known for enough sources."""
    maps: dict[str, ScoreMap] = {}
    for name, true in known.proxies.items():
        knots = posterior.knots(name)
        rows = np.flatnonzero(np.isfinite(true + knots.sum(axis=1)))
        if len(rows) >= FEWEST:
            about = known.magnitude[rows], known.weight[rows]
            maps[name] = ScoreMap.fit(knots[rows], true[rows], *about)
    return maps


def _local(
    known: LabelledSources, knots: Mapping[str, np.ndarray], maps: Mapping[str, ScoreMap]
) -> LocalScores:
    """Local corrections of the proxies that have maps."""
    after = mapped(knots, maps, known.magnitude)
    true = {name: known.proxies[name] for name in maps}
    return LocalScores.fit(after, true, known.magnitude, known.group, known.weight)


def _joint(known: LabelledSources, posterior: ProxyPosterior) -> JointCalibration | None:
    """The copula of the proxies that are known for enough sources, if these are two or more."""
    there = {
        name: np.isfinite(true + posterior.knots(name).sum(axis=1))
        for name, true in known.proxies.items()
    }
    names = [name for name, finite in there.items() if finite.sum() >= FEWEST]
    if len(names) < 2:
        return None
    rows = np.flatnonzero(np.all([there[name] for name in names], axis=0))
    if len(rows) < FEWEST:
        return None
    true = {name: known.proxies[name][rows] for name in names}
    return JointCalibration.fit(posterior.take(rows), true, known.weight[rows])


def _classes(known: LabelledSources, predicted: Mapping[str, np.ndarray]) -> ClassMap | None:
    """Map of the classes in the [NII] diagram, if enough sources of each are known."""
    if not known.proxies.keys() >= set(BPT_PROXIES):
        return None
    true = np.stack([known.proxies[name] for name in BPT_PROXIES], axis=1)
    classes = bpt_probabilities(Proxies(known.source_id, BPT_PROXIES, true[:, None]))
    known_of = np.where(np.isfinite(true).all(axis=1), 1.0, np.nan)
    shares = {name: predicted[name] for name in classes}
    return ClassMap.fit(shares, {n: each * known_of for n, each in classes.items()}, known.weight)


# ---------------------------------------------------------------------- checking


def _coverages(
    steps: CalibrationSteps, known: LabelledSources, predicted: PredictedProxies | None
) -> dict[str, Coverage]:
    """The coverage of every latent and proxy before and after calibration."""
    found = {}
    rows = np.flatnonzero(np.isfinite(known.latents).all(axis=1))
    if steps.latents is not None and len(rows):
        some = known.take(rows)
        before = some.posterior()
        applied = steps.posterior(before, some.magnitude)
        pairs = [
            _inside(each.latents.with_noise(some.noise).probability_below(some.latents))
            for each in (before, applied)
        ]
        for k in range(some.latents.shape[1]):
            found[f"latent {k + 1}"] = _coverage(some, *(each[:, k] for each in pairs))
    for name in steps.maps:
        assert predicted is not None  # which the maps were fitted to
        after = predicted.posterior.knots(name)
        rows = np.flatnonzero(np.isfinite(known.proxies[name] + after.sum(axis=1)))
        if len(rows):
            true = known.proxies[name][rows]
            scored = matrix(known.scored[name + QUANTILES])
            pairs = [_below(name, knots[rows], true) for knots in (scored, after)]
            found[name] = _coverage(known.take(rows), *map(_inside, pairs))
    return found


def _below(name: str, knots: np.ndarray, true: np.ndarray) -> np.ndarray:
    return ProxyPosterior((name,), {name: knots}, {}).probability_below(name, true)


def _inside(below: np.ndarray) -> np.ndarray:
    return np.abs(below - 0.5) < INTERVAL / 2


def _coverage(known: LabelledSources, before: np.ndarray, after: np.ndarray) -> Coverage:
    bins = Bins.of(known.magnitude, known.weight).rows()

    def share(inside: np.ndarray, rows: np.ndarray) -> float:
        return float(np.average(inside[rows], weights=known.weight[rows]))

    def worst(inside: np.ndarray) -> float:
        return max((share(inside, rows) for rows in bins), key=lambda s: abs(s - INTERVAL))

    everyone = np.arange(len(known))
    return Coverage(
        n=len(known),
        before=share(before, everyone),
        after=share(after, everyone),
        worst_before=worst(before),
        worst_after=worst(after),
    )
