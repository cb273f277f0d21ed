"""The evaluation of a scored file against the truth: from two files to all figures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from targetsel.errors import CatalogError, OutputError
from targetsel.extras import installed
from targetsel.photometry.brightness import with_brightness
from targetsel.report.agreement import agreement_picture
from targetsel.report.canvas import Picture
from targetsel.report.claims import claims, list_figures, member_figures, reliability_figures
from targetsel.report.counts import (
    MOST_SOURCES,
    Count,
    by_kind,
    drawn_counts,
    stated_counts,
    write_counts,
)
from targetsel.report.distributions import (
    joint_figures,
    latent_scores,
    marginal_figures,
    proxy_scores,
)
from targetsel.report.drawn_claims import CLOSED, KINDS, SEED
from targetsel.report.figures import Figures, Subset, subsets
from targetsel.report.joint_proxies import copula_figures, copula_scores
from targetsel.report.local_coverage import local_figures, n_cells
from targetsel.report.page import write_page
from targetsel.report.photometry import features
from targetsel.report.redshifts import redshift_figures
from targetsel.scored.file import ScoredFile
from targetsel.scored.labelled_sources import LabelledSources
from targetsel.scored.simulated_training import caution_in
from targetsel.spectra.apertures import of_other_light
from targetsel.statistics.resampling import N_RESAMPLINGS, Resampling
from targetsel.tables.any_format import footer_of
from targetsel.tables.files import check_output, sha256_of_file
from targetsel.tables.folders import sha256_of_table
from targetsel.tables.parquet import says_simulated
from targetsel.tasks import task
from targetsel.version import __version__

TABLE, COUNTS, PAGE = "evaluation.parquet", "claims.parquet", "evaluation.html"


@dataclass(frozen=True)
class Evaluation:
    """All figures, with the provenance that a reader needs.

    Attributes
    ----------
    figures : Figures
    counts : tuple of Count
        Expected against true counts of claims.
    subsets : tuple of Subset
    about : dict
        Ensemble, calibration, whether images were simulated, counts of sources, and what was left
        out; as it stands in the footer of the table.
    agreement : Picture, optional
        Predicted against true values of the proxies.
    """

    figures: Figures
    counts: tuple[Count, ...]
    subsets: tuple[Subset, ...]
    about: dict[str, Any]
    agreement: Picture | None = None


def write_evaluation(
    scored: Path,
    truth: Path,
    folder: Path,
    rules: Sequence[str] = (),
    conditions: Sequence[str] | None = None,
    joint: bool = False,
    brightness: Sequence[str] = (),
) -> Evaluation:
    """Evaluate, and write `evaluation.parquet`, `claims.parquet` and `evaluation.html`.

    The folder is made if it is missing. Parameters and errors as of `evaluate`, and OutputError.
    """
    if folder.is_file():
        raise OutputError(f"{folder}: is a file; expected a folder. Choose another name.")
    for place in (folder / TABLE, folder / COUNTS, folder / PAGE) if folder.is_dir() else (folder,):
        check_output(place, (scored, truth))
    found = evaluate(scored, truth, rules, conditions, joint, brightness)
    folder.mkdir(exist_ok=True)
    found.figures.write(folder / TABLE, found.about)
    write_counts(found.counts, folder / COUNTS, found.about)
    write_page(
        found.figures, found.counts, found.subsets, found.about, folder / PAGE, found.agreement
    )
    return found


def evaluate(
    scored: Path,
    truth: Path,
    rules: Sequence[str] = (),
    conditions: Sequence[str] | None = None,
    joint: bool = False,
    brightness: Sequence[str] = (),
) -> Evaluation:
    """Every figure of the sources that a scored and a truth file share.

    Parameters
    ----------
    scored, truth : Path
        See `LabelledSources.read`.
    rules : sequence of str
        Rule files whose classes are evaluated. Default: the shipped ones, as far as they suit.
    conditions : sequence of str, optional
        On proxies; the reliability of their probabilities is shown. Default: `claims.CLAIMS`.
    joint : bool
        Also count claims whose probabilities take draws, such as those of sums and ratios.
    brightness : sequence of str
        Which columns of the scored file hold which band's fluxes or magnitudes, such as
        "r_sdss=rmag"; the first bins the sources. By default what the YAML file beside the
        catalog says, and usual names.

    Raises
    ------
    CatalogError, RuleError
    """
    known = _known(scored, truth, brightness)
    resampling = Resampling(known.group_number, known.weight)
    parts = tuple(subsets(known, brightness))
    stated, left_out = claims(scored, known, conditions, rules)
    photometry, names = features(known.scored)
    usable = bool(names) and installed("evaluate")
    with task("evaluating", 2 + 2 * len(stated), "parts") as advance:
        of_latents, together = latent_scores(known)
        found = list(marginal_figures(of_latents, parts, resampling))
        if together is not None:
            found += joint_figures(together, parts, resampling)
        advance(1)
        of_proxies = proxy_scores(known)
        found += marginal_figures(of_proxies, parts, resampling)
        found += redshift_figures(of_proxies, parts, resampling)
        found += local_figures(known, of_proxies, resampling)
        try:
            if (of_pairs := copula_scores(known)) is not None:
                found += copula_figures(of_pairs, parts, known.group_number, resampling)
        except CatalogError as error:  # such as correlations that the file has lost
            left_out.append(f"the joint test of proxies: {error}")
        advance(1)
        for each in stated:
            found += reliability_figures(each, parts, resampling)
            found += member_figures(each, resampling)
            advance(1)
        for each in stated:
            found += list_figures(each, photometry if usable else None, known, resampling)
            advance(1)
    kinds = [*KINDS] if joint else CLOSED
    counts, without = drawn_counts(scored, known, SEED, kinds)
    counts += stated_counts(stated, known)
    left_out += without
    about = _provenance(scored, truth) | _about(known, resampling)
    about |= {
        "not_evaluated": left_out,
        "photometry": names if usable else [],
        "no_photometry_because": _no_photometry(names),
        "claims": _about_claims(counts),
        "cells": n_cells(found),
    }
    picture = agreement_picture(of_proxies, known.weight)
    return Evaluation(Figures(found), tuple(counts), parts, about, picture)


def _known(scored: Path, truth: Path, brightness: Sequence[str]) -> LabelledSources:
    """Sources in the order of their ids, so that no figure depends on the order of the rows.

    The columns of brightness in the scored file have notes that say what they hold.
    """
    known = LabelledSources.read(scored, truth, all_columns=True)
    known = known.take(np.argsort(known.source_id, kind="stable"))
    schema = with_brightness(known.scored.schema, brightness, scored)
    return replace(known, scored=known.scored.cast(schema))


def _provenance(scored: Path, truth: Path) -> dict[str, Any]:
    """Ensemble, calibration and hashes of both files, and whether one says it is simulated."""
    with ScoredFile(scored) as file:
        ours = file.footer
    theirs = footer_of(truth)
    return {
        "ensemble": ours.get("ensemble"),
        "calibration": ours.get("calibration"),
        "simulated": says_simulated(ours) or says_simulated(theirs),
        "caution": caution_in(ours),
        "apertures": of_other_light(ours, theirs),
        "scored_sha256": sha256_of_table(scored),
        "truth_sha256": sha256_of_file(truth),
    }


def _about(known: LabelledSources, resampling: Resampling) -> dict[str, Any]:
    return {
        "code_version": __version__,
        "n": len(known),
        "n_groups": resampling.n_groups,
        "n_resamplings": N_RESAMPLINGS,
        "weighted": bool(np.ptp(known.weight) > 0),
        "left_out": {why: count for why, count in known.left_out.items() if count},
        "truth_unknown": {
            name: int(np.isnan(values).sum()) for name, values in known.proxies.items()
        },
        "measurement_errors": bool(known.noise.any()),
    }


def _about_claims(counts: Sequence[Count]) -> dict[str, Any]:
    """Seed of the drawn claims, and how many are off, by kind."""
    off = {each.kind: {"n": each.n, "off": each.n_off} for each in by_kind(counts)}
    return {"seed": SEED, "most_sources": MOST_SOURCES, "by_kind": off}


def _no_photometry(names: list[str]) -> str:
    if not names:
        return "the scored file has no magnitudes or fluxes"
    if installed("evaluate"):
        return ""
    return "scikit-learn is not installed (pip install 'targetsel[evaluate]')"
