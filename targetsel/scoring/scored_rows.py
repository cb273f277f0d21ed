"""The scored catalog: what `score` writes for every source and `select` reads.

A scored row keeps the catalog's columns and adds the latent posterior, every proxy's median,
scatter and 68 % interval, and the proxies' joint posterior in the form that rules evaluate: for
each proxy a column of quantiles, and one of its correlations with the proxies before it, so that
a rule only reads what it names.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from targetsel.errors import CatalogError
from targetsel.imaging.cutout import Cutouts
from targetsel.imaging.measurements import MAGNITUDE
from targetsel.networks.posterior import LatentPosterior
from targetsel.networks.stored_posterior import with_deviations
from targetsel.sky.catalog import HEALPIX, Catalog
from targetsel.spectra.lines import BPT_CLASSES, DESCRIPTIONS, PROXIES, UNITS, bpt_probabilities
from targetsel.spectra.proxies import (
    CORRELATION,
    NORMAL_SCORES,
    QUANTILES,
    Proxies,
    ProxyPosterior,
)
from targetsel.tables.parquet import FOOTER_KEY, described

if TYPE_CHECKING:
    from targetsel.novelty.familiarity import Familiarity

EPISTEMIC = (
    "disagreement of the ensemble's members: rms over latents of the scatter of their means, in "
    "units of the training spectra's scatter"
)
BRIGHTNESS = "AB magnitude of the light near the cutout's centre, in its r or else its middle band"
TYPICALITY = "share of held-out training sources that look at least as strange; small means novel"
TYPICALITY_FEATURES = "the same by the networks' features alone"
TYPICALITY_IMAGE = "the same by what can be wrong with a cutout alone"
TYPICALITY_REASON = (
    "what is strangest, whether or not it is strange: features, or a check of the image"
)
SUPPORT = "whether training sources have such a magnitude, colour and size on their cutouts"
COLOUR = "of the light near the cutout's centre: the band before the reference band, and that one"
SIZE = "radius of half the light near the cutout's centre, share of its side"
LOOKS = (MAGNITUDE, "cutout_colour", "cutout_size")


def prediction_fields(n_latents: int, n_members: int) -> list[pa.Field]:
    """The columns that scoring adds, in their order."""
    triangle = n_latents * (n_latents + 1) // 2
    f32 = pa.float32()
    fields = [
        _list("latent_mean", n_latents, "mean of the standardised latents"),
        _list("latent_cov", triangle, "their covariance, lower triangle by rows"),
        _list("member_mean", n_members * n_latents, "each member's mean"),
        _list("member_cov", n_members * triangle, "each member's covariance, lower triangle"),
    ]
    for k, name in enumerate(PROXIES):
        about, what = DESCRIPTIONS[name], _ucd(name)
        for suffix, kind, ucd in (
            ("", "median of ", f"{what};stat.median"),
            ("_std", "standard deviation of ", f"stat.stdev;{what}"),
            ("_q16", "16th percentile of ", f"stat.percentile;{what}"),
            ("_q84", "84th percentile of ", f"stat.percentile;{what}"),
        ):
            fields.append(described(name + suffix, f32, UNITS[name], ucd, kind + about))
        fields += posterior_fields(name, PROXIES[:k])
    for name in BPT_CLASSES:
        about = f"probability of the class '{name[4:]}' in the [NII] diagram"
        fields.append(described(name, f32, "", "stat.probability", about))
    fields += [
        described(MAGNITUDE, f32, "mag", "phot.mag", BRIGHTNESS),
        described("cutout_colour", f32, "mag", "phot.color", COLOUR),
        described("cutout_size", f32, "", "phys.angSize", SIZE),
        described("epistemic", f32, "", "stat.error", EPISTEMIC),
        described("typicality", f32, "", "stat.probability", TYPICALITY),
        described("typicality_features", f32, "", "stat.probability", TYPICALITY_FEATURES),
        described("typicality_image", f32, "", "stat.probability", TYPICALITY_IMAGE),
        described("typicality_reason", pa.string(), "", "meta.code", TYPICALITY_REASON),
        described("support", pa.bool_(), "", "meta.code", SUPPORT),
        described(
            "masked_fraction", f32, "", "stat.value;obs.image", "share of pixels without data"
        ),
        described("status", pa.string(), "", "meta.code.status", "ok, or why not", nullable=False),
    ]
    return fields


def _list(name: str, size: int, description: str, unit: str = "") -> pa.Field:
    return described(name, pa.list_(pa.float32(), size), unit, "", description)


def posterior_fields(name: str, before: tuple[str, ...]) -> list[pa.Field]:
    """The fields of a proxy's posterior, given the proxies before it (see `ProxyPosterior`)."""
    return quantile_fields(name, DESCRIPTIONS[name], UNITS[name], before)


def quantile_fields(name: str, about: str, unit: str, before: tuple[str, ...]) -> list[pa.Field]:
    """The fields of the posterior of any predicted quantity, given those before it."""
    scores = ",".join(f"{score:g}" for score in NORMAL_SCORES)
    quantiles = _list(
        name + QUANTILES,
        len(NORMAL_SCORES),
        f"quantiles of {about}, at normal scores {scores}",
        unit,
    )
    notes = {b"normal_scores": scores.encode()}
    fields = [quantiles.with_metadata({**quantiles.metadata, **notes})]
    if before:
        others = f"correlations of its normal scores with those of {', '.join(before)}"
        correlation = _list(name + CORRELATION, len(before), others)
        notes = {b"with": ",".join(before).encode()}
        fields.append(correlation.with_metadata({**correlation.metadata, **notes}))
    return fields


def _ucd(proxy: str) -> str:
    return "spect.index" if proxy in ("d4000", "hdelta_a") else "spect.line.eqWidth"


def check_names(catalog: pa.Schema, place: str) -> None:
    """Refuse a catalog that already has a column of a name that scoring adds.

    Raises
    ------
    CatalogError
    """
    added = {field.name for field in prediction_fields(1, 1)}
    clash = [name for name in catalog.names if name in added]
    if clash:
        names = ", ".join(f"'{name}'" for name in clash[:5])
        raise CatalogError(
            f"{place}: has the column{'s' if len(clash) > 1 else ''} {names}, which score would "
            "write. Rename or drop them (is this a scored catalog already?)"
        )


def scored(
    catalog: Catalog, cutouts: Cutouts, posterior: LatentPosterior, proxies: Proxies
) -> pa.Table:
    """The scored rows of a catalog, in its order.

    The four speak of the same N sources in the same order. Sources whose cutout's status is not
    "ok" have nulls instead of predictions.
    """
    summary = summarise(proxies)
    return assemble(catalog, cutouts, posterior, summary)


def summarise(proxies: Proxies) -> dict[str, np.ndarray]:
    """What is kept of the proxies' draws: arrays of N rows by column name.

    A proxy that cannot be measured in more than a few draws of a source is NaN there.
    """
    posterior = ProxyPosterior.from_draws(proxies, PROXIES)
    middle = {"": 0.0, "_q16": -1.0, "_q84": 1.0}
    columns: dict[str, np.ndarray] = {}
    for k, name in enumerate(PROXIES):
        knots = posterior.knots(name)
        for suffix, score in middle.items():
            columns[name + suffix] = knots[:, list(NORMAL_SCORES).index(score)]
        usable = np.isfinite(columns[name])
        spread = np.nanstd(np.where(usable[:, None], proxies[name], 0.0), axis=1)
        columns[f"{name}_std"] = np.where(usable, spread, np.nan)
        columns[name + QUANTILES] = knots
        if k:
            pairs = [posterior.correlation[other, name] for other in PROXIES[:k]]
            columns[name + CORRELATION] = np.stack(pairs, axis=1)
    return columns | bpt_probabilities(proxies)


def familiar_columns(seen: Familiarity) -> dict[str, np.ndarray]:
    """What is said of how familiar sources are, by column name."""
    return {
        "typicality": seen.novelty.share,
        "typicality_features": seen.novelty.by_features,
        "typicality_image": seen.novelty.by_image,
        "typicality_reason": seen.novelty.reason,
        "support": seen.support,
        "cutout_colour": seen.looks[:, 1],
        "cutout_size": seen.looks[:, 2],
    }


def assemble(
    catalog: Catalog,
    cutouts: Cutouts,
    posterior: LatentPosterior,
    summary: Mapping[str, np.ndarray],
) -> pa.Table:
    """The scored rows from the pieces; `summary` as `summarise` and `familiar_columns` give it.

    Without the latter all that is known of a source's novelty is what its features tell.
    """
    n, m, d = posterior.member_mean.shape
    lower = np.tril_indices(d)
    columns = {
        "latent_mean": posterior.mean,
        "latent_cov": posterior.cov[:, lower[0], lower[1]],
        "member_mean": posterior.member_mean.reshape(n, -1),
        "member_cov": posterior.member_cov[:, :, lower[0], lower[1]].reshape(n, -1),
        MAGNITUDE: posterior.magnitude,
        "epistemic": posterior.epistemic,
        "typicality": posterior.novelty,
        "typicality_features": posterior.novelty,
        **summary,
    }
    good = cutouts.status == "ok"
    table = catalog.table
    if HEALPIX.name not in table.column_names:
        table = table.append_column(HEALPIX, pa.array(catalog.healpix))
    for field in prediction_fields(d, m):
        if field.name == "status":
            values = pa.array(cutouts.status, pa.string())
        elif field.name == "masked_fraction":
            values = pa.array(cutouts.masked_fraction.astype(np.float32), mask=~cutouts.present)
        else:
            found = columns.get(field.name, np.full(n, np.nan))
            values = _column(found, field.type, good)
        if field.name == "member_cov":
            field = with_deviations(field, posterior)
        table = table.append_column(field, values)
    names = json.dumps({"columns": dict(catalog.columns)})
    return table.replace_schema_metadata({FOOTER_KEY: names.encode()})


def column_of(values: np.ndarray, kind: pa.DataType) -> pa.Array:
    """An Arrow column of text, or of float32 numbers or lists; null where not a number."""
    if pa.types.is_string(kind):
        return pa.array(values, kind)
    return _column(values, kind, np.ones(len(values), dtype=bool))


def _column(values: np.ndarray, kind: pa.DataType, good: np.ndarray) -> pa.Array:
    """An Arrow column; null where not good, or not a number."""
    if not (pa.types.is_floating(kind) or pa.types.is_fixed_size_list(kind)):
        known = good if values.dtype in (bool, object) else np.zeros_like(good)
        return pa.array(values.astype(object), kind, mask=~known)
    values = values.astype(np.float32)
    if not pa.types.is_fixed_size_list(kind):
        return pa.array(values, mask=~good | ~np.isfinite(values))
    missing = np.broadcast_to(~good[:, None], values.shape).ravel()
    flat = pa.array(values.ravel(), mask=missing)
    return pa.FixedSizeListArray.from_arrays(flat, type=kind)
