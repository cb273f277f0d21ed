"""Scored rows: stations 2 to 6 of the walk, from a catalog's sources to their predictions."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from targetsel.calibration.joint import JointCalibration
from targetsel.imaging.measurements import MAGNITUDE
from targetsel.networks.inputs import AnyInputs, AnyStore, Inputs, InputsById
from targetsel.networks.posterior import LatentPosterior, moments_to_store, with_deviations
from targetsel.novelty.novelty import Typicality, typicality
from targetsel.scored.columns import (
    STATUS,
    SUMMARIES,
    UNMEASURED_PROXIES,
    own_redshifts,
    scored_columns,
)
from targetsel.scored.slim import slimmed
from targetsel.scoring.recalibrating import recalibrated_rows
from targetsel.sky.catalog import HEALPIX, Catalog
from targetsel.spectra.copula import GROUP
from targetsel.spectra.lines import PREDICTABLE
from targetsel.spectra.proxies import (
    CORRELATION,
    NORMAL_SCORES,
    QUANTILES,
    ProxyPosterior,
)
from targetsel.tables.columns import arrow_column
from targetsel.tables.parquet import FOOTER_KEY

if TYPE_CHECKING:
    from targetsel.scoring.ensemble import Ensemble

N_DRAWS = 192


@dataclass(frozen=True)
class ScoreOptions:
    """Settings that change a score, beside catalog, cutouts and ensemble.

    Attributes
    ----------
    seed : int
        Seed of the draws.
    n_draws : int
        Draws of the latents for each source.
    slim : bool
        Whether rows are written without the latents' posterior and with rounded predictions (see
        `scored.slim`).
    """

    seed: int = 0
    n_draws: int = N_DRAWS
    slim: bool = False


def score_rows(
    catalog: Catalog, images: AnyStore, ensemble: Ensemble, options: ScoreOptions = ScoreOptions()
) -> pa.Table:
    """The scored rows of a catalog, in its order.

    A row depends on its own source, the ensemble and the options alone, to the last bit: not on
    the other rows. Sources whose cutout's status is not "ok" have nulls instead of predictions.

    Parameters
    ----------
    catalog : Catalog
        N sources.
    images : CutoutStore, Folder, Embeddings or InputsById
        Where their cutouts come from, or the embeddings that the ensemble takes, or both.
    ensemble : Ensemble
    options : ScoreOptions
        Seed and number of draws.

    Returns
    -------
    pa.Table
        The catalog's columns and those of `scored.columns.scored_columns`; of slim rows, all but
        the latents' posterior. A catalog's own column `photoz` stays, and no redshift is added.

    Raises
    ------
    CutoutError
        If the images cannot be read, or do not suit the ensemble.

    See Also
    --------
    score : The same for files of any length.
    apply_rules : Apply rules to the rows.

    Examples
    --------
    >>> import targetsel as ts
    >>> catalog = ts.read("catalog.parquet", "catalog")[:3]
    >>> images = ts.read("cutouts", "cutouts")
    >>> rows = ts.score_rows(catalog, images, ts.Ensemble.read("mock-ps1"))
    >>> rows["status"].to_pylist()
    ['ok', 'ok', 'ok']
    """
    inputs = InputsById.of(images).seen(catalog, ensemble.inputs, "the catalog")  # 2
    return score_inputs(catalog, inputs, ensemble, options)


def score_inputs(
    catalog: Catalog, given: AnyInputs, ensemble: Ensemble, options: ScoreOptions = ScoreOptions()
) -> pa.Table:
    """The scored rows of a catalog whose inputs were read, in the same order; see `score_rows`."""
    inputs = Inputs.of(given)
    posterior = ensemble.predict(inputs)  # 3
    proxies = ensemble.predict_proxies(posterior, options.n_draws, options.seed)  # 4 to 6
    summary = summarise(proxies.posterior) | {**ensemble.class_probabilities(proxies.shares)}
    typical = typicality(ensemble.novelty, ensemble.inputs, inputs, posterior.typicality)
    rows = assemble(catalog, inputs, posterior, summary, typical, ensemble.joint, options.slim)
    learnt = ensemble.calibration.recalibrations if ensemble.calibration else ()
    return recalibrated_rows(rows, learnt, options.slim)


def summarise(posterior: ProxyPosterior) -> dict[str, np.ndarray]:
    """Columns of the proxies' posterior: arrays of N rows by column name.

    NaN where there is no posterior.
    """
    columns: dict[str, np.ndarray] = {}
    for k, name in enumerate(posterior.names):
        knots = posterior.knots(name)
        for end, _, _, score in SUMMARIES:
            place = None if score is None else list(NORMAL_SCORES).index(score)
            columns[name + end] = posterior.std(name) if place is None else knots[:, place]
        columns[name + QUANTILES] = knots
        if k:
            pairs = [posterior.correlation[other, name] for other in posterior.names[:k]]
            columns[name + CORRELATION] = np.stack(pairs, axis=1)
    return columns


def unmeasured_proxies(summary: Mapping[str, np.ndarray]) -> np.ndarray:
    """The proxies of which a summary has no posterior, such as "ew_oii, d4000", shape (N,)."""
    names = [name for name in PREDICTABLE if name + QUANTILES in summary]
    lacking = [np.isnan(summary[name + QUANTILES]).any(axis=1) for name in names]
    named = [", ".join(np.array(names)[row]) for row in np.stack(lacking, axis=1)]
    return np.array(named, dtype=object)


def assemble(
    catalog: Catalog,
    inputs: Inputs,
    posterior: LatentPosterior,
    summary: Mapping[str, np.ndarray],
    typical: Typicality,
    joint: JointCalibration | None = None,
    slim: bool = False,
) -> pa.Table:
    """The scored rows of N sources from their pieces, which are in the same order.

    Parameters
    ----------
    summary : mapping of column name to ndarray of N rows
        Result of `summarise`, with class probabilities calibrated.
    joint : JointCalibration, optional
        Its groups follow from the whole summary, whatever is written of it.
    slim : bool
        Whether the rows shall be slim (see `scored.slim`).
    """
    (n, m, _), d = posterior.member_mean.shape, posterior.n_latents
    lower, latents = np.tril_indices(d), posterior.latents
    good = inputs.status == "ok"
    redshift = posterior.has_redshift and not own_redshifts(catalog.table.schema)
    written = scored_columns(d, m, redshift)
    own = {column.name for column in written}
    told = {name: each for name, each in summary.items() if name in own}
    unmeasured = unmeasured_proxies(told)
    values = {
        "latent_mean": latents.mean,
        "latent_cov": latents.cov[:, lower[0], lower[1]],
        **moments_to_store(posterior),
        **told,
        GROUP: np.where(good, joint.groups(summary), -1) if joint else np.full(n, -1),
        MAGNITUDE: posterior.magnitude,
        "cutout_colour": typical.appearance[:, 1],
        "cutout_size": typical.appearance[:, 2],
        "epistemic": posterior.epistemic,
        "typicality": typical.share,
        "typicality_features": typical.by_features,
        "typicality_image": typical.by_image,
        "typicality_reason": typical.reason,
        "support": typical.support,
        "masked_fraction": inputs.masked_fraction,
        STATUS: inputs.status,
        UNMEASURED_PROXIES: unmeasured,
    }
    if slim:
        values = slimmed(values)
    known = {
        "masked_fraction": inputs.present,
        "support": good & np.isfinite(posterior.magnitude),
        STATUS: None,
        UNMEASURED_PROXIES: good & (unmeasured != ""),
        GROUP: None,
    }
    table = catalog.table
    if HEALPIX.name not in table.column_names:
        table = table.append_column(HEALPIX, pa.array(catalog.healpix))
    for column in (each for each in written if each.name in values):
        field = column.field
        if column.name == "member_cov":
            field = with_deviations(field, posterior)
        if column.name == GROUP and joint:
            field = joint.copula.noted(field)
        array = arrow_column(values[column.name], field.type, known.get(column.name, good))
        table = table.append_column(field, array)
    names = json.dumps({"columns": dict(catalog.columns)})
    return table.replace_schema_metadata({FOOTER_KEY: names.encode()})
