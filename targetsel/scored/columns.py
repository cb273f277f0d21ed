"""The columns of a scored file: what `score` writes for every source and `select` reads.

A scored row keeps the catalog's columns and adds the latent posterior, every proxy's median,
scatter and 68 % interval, and the proxies' joint posterior in the form that rules evaluate: for
each proxy a column of quantiles, and one of its correlations with the proxies before it, so that
a rule only reads what it names; and the source's group in the calibration's copula, which is kept
in that column's metadata. Where the ensemble predicts the redshift too, `photoz` stands behind the
proxies with the same columns, unless the catalog has a column of that name, which then stays.
"""

from __future__ import annotations

import math
from dataclasses import replace
from functools import cache

import numpy as np
import pyarrow as pa

from targetsel.errors import CatalogError
from targetsel.imaging.measurements import MAGNITUDE
from targetsel.spectra.copula import GROUP
from targetsel.spectra.lines import (
    BPT_CLASSES,
    DESCRIPTIONS,
    PREDICTABLE,
    PROXIES,
    UCDS,
    UNITS,
)
from targetsel.spectra.photoz import OF_MEMBERS, PHOTOZ
from targetsel.spectra.proxies import CORRELATION, NORMAL_SCORES, QUANTILES
from targetsel.tables.columns import ANYTHING, ID, NEVER, Column, FileKind
from targetsel.tables.parquet import footer_in

APPEARANCE = (MAGNITUDE, "cutout_colour", "cutout_size")  # quantities that support depends on
STATUS = "status"
REDSHIFT_LEFT_OUT = "redshift_left_out"  # entry of a footer: why a predicted one is not written
NOT_NEEDED = "not needed"  # of sources that no rule could choose, where score was given rules
UNMEASURED_PROXIES = "unmeasured"
WITHOUT = "there is no prediction (see status)"
UNMEASURED = (
    f"{WITHOUT}, or the proxy cannot be measured in more than 5 % of its draws (see "
    f"{UNMEASURED_PROXIES})"
)
UNKNOWN = f"{WITHOUT}, or the ensemble knows no training sources"
LACKING = "; slim rows lack it"
LATENT_COV = (
    "covariance of the posterior (calibrated, as the footer says), lower triangle by rows. The "
    "posterior is skewed with heavy tails: ellipsoids of a Gaussian of this covariance hold less "
    "of the outer truths than they say. For regions take draws of all members, with the metadata "
    "of member_cov: 'targetsel priors write', or targetsel.networks.posterior.stored_posterior"
)
# The latents' posterior, which slim rows lack (see `scored.slim`), with the redshift's in it.
LATENTS = ("latent_mean", "latent_cov", "member_mean", "member_cov", *OF_MEMBERS)
_F32 = pa.float32()
_SHARE = "stat.probability"
_ZERO_TO_ONE = (0.0, 1.0)
_POSITIVE = (0.0, math.inf)

# Columns that every scored file has from its catalog, whatever the names of the first three there.
CATALOG = (
    Column("source_id", ID, null_when=NEVER),
    Column("ra", pa.float64(), "deg", null_when=NEVER, range=(0, 360)),
    Column("dec", pa.float64(), "deg", null_when=NEVER, range=(-90, 90)),
    Column("_healpix_29", pa.int64(), null_when=NEVER),
)

SUMMARIES = (  # columns of a proxy: end of the name, meaning, UCD, and normal score
    ("", "median", "{};stat.median", 0.0),
    ("_std", "standard deviation", "stat.stdev;{}", None),
    ("_q16", "16th percentile", "stat.percentile;{}", -1.0),
    ("_q84", "84th percentile", "stat.percentile;{}", 1.0),
)

OF_CUTOUTS = (
    Column(
        MAGNITUDE, _F32, "mag", "phot.mag",
        "AB magnitude of the light near the cutout's centre, in its r or else its middle band; of "
        "an ensemble without images, that of the catalog's photometry",
        f"{WITHOUT}, or the ensemble takes neither images nor photometry",
    ),
    Column(
        "cutout_colour", _F32, "mag", "phot.color",
        "of the light near the cutout's centre: the band before the reference band, and that one; "
        "of an ensemble without images, that of the catalog's photometry",
        f"{WITHOUT}, or there is no light in one of the two bands",
    ),
    Column(
        "cutout_size", _F32, "", "phys.angSize",
        "radius of half the light near the cutout's centre, share of its side",
        f"{WITHOUT}, there is no light, or the ensemble takes no images", range=_POSITIVE,
    ),
    Column(
        "epistemic", _F32, "", "stat.error",
        "disagreement of the ensemble's members: rms over latents of the scatter of their means, "
        "in units of the training spectra's scatter",
        WITHOUT, range=_POSITIVE,
    ),
    Column(
        "typicality", _F32, "", _SHARE,
        "share of held-out training sources that look at least as strange; small means novel",
        UNKNOWN, range=_ZERO_TO_ONE,
    ),
    Column(
        "typicality_features", _F32, "", _SHARE, "the same by the networks' features alone",
        UNKNOWN, range=_ZERO_TO_ONE,
    ),
    Column(
        "typicality_image", _F32, "", _SHARE,
        "the same by what can be wrong with a cutout alone",
        f"{UNKNOWN}, or the ensemble takes no images", range=_ZERO_TO_ONE,
    ),
    Column(
        "typicality_reason", pa.string(), "", "meta.code",
        "what is strangest, whether or not it is strange: features, or a check of the image",
        WITHOUT,
    ),
    Column(
        "support", pa.bool_(), "", "meta.code",
        "whether training sources have such a magnitude, colour and size on their cutouts",
        f"{WITHOUT}, or the magnitude is not known",
    ),
    Column(
        "masked_fraction", _F32, "", "stat.value;obs.image", "share of pixels without data",
        "there is no cutout, it was not needed, or the ensemble takes no images",
        range=_ZERO_TO_ONE,
    ),
    Column(
        UNMEASURED_PROXIES, pa.string(), "", "meta.code",
        "proxies without a posterior, since they cannot be measured in more than 5 % of the draws, "
        "such as where the decoded continuum is not positive; rules take them as missing",
        f"{WITHOUT}, or all proxies have one",
    ),
    Column(
        STATUS, pa.string(), "", "meta.code.status",
        "ok, or why there is no prediction; 'not needed' where score was given rules, none of "
        "which could choose the source by its catalog alone", NEVER,
    ),
)  # fmt: skip


@cache
def scored_columns(n_latents: int, n_members: int, redshift: bool = False) -> tuple[Column, ...]:
    """The columns that scoring adds to a catalog, in their order.

    Parameters
    ----------
    redshift : bool
        Whether the ensemble predicts the redshift too.
    """
    triangle = n_latents * (n_latents + 1) // 2
    columns = [
        _list("latent_mean", n_latents, f"mean of the standardised latents{LACKING}", WITHOUT),
        _list("latent_cov", triangle, LATENT_COV + LACKING, WITHOUT),
        _list("member_mean", n_members * n_latents, f"each member's mean{LACKING}", WITHOUT),
        _list(
            "member_cov",
            n_members * triangle,
            f"each member's covariance, lower triangle{LACKING}",
            WITHOUT,
        ),
    ]
    if redshift:
        columns += _of_redshift(n_latents, n_members)
    predicted = PREDICTABLE if redshift else PROXIES
    for k, name in enumerate(predicted):
        about, unit, ucd = DESCRIPTIONS[name], UNITS[name], UCDS[name]
        columns += [
            Column(
                name + end,
                _F32,
                unit,
                form.format(ucd),
                f"{kind} of {about}",
                UNMEASURED,
                range=_POSITIVE if end == "_std" else ANYTHING,
            )
            for end, kind, form, _ in SUMMARIES
        ]
        columns += posterior_columns(name, about, unit, predicted[:k])
    about = (  # pandas turns whole numbers with nulls into floats
        "group of labelled sources that tell how the proxies of this one go together; -1 "
        "where there is no posterior of all, or the calibration has no copula"
    )
    columns.append(Column(GROUP, pa.int8(), "", "meta.code", about, NEVER))
    for name in BPT_CLASSES:
        about = f"probability of the class '{name[4:]}' in the [NII] diagram"
        columns.append(Column(name, _F32, "", _SHARE, about, UNMEASURED, range=_ZERO_TO_ONE))
    return (*columns, *OF_CUTOUTS)


def _of_redshift(n_latents: int, n_members: int) -> list[Column]:
    """Columns of the redshift in the members' posteriors, behind those of the latents."""
    mean, cov = OF_MEMBERS
    about = "each member's covariances of ln(1 + redshift) with the latents, and its variance"
    return [
        _list(mean, n_members, "each member's mean of ln(1 + redshift)", WITHOUT),
        _list(cov, n_members * (n_latents + 1), about, WITHOUT),
    ]


def predicts_redshift(schema: pa.Schema) -> bool:
    """Whether the columns of a scored file are of an ensemble that predicts the redshift.

    A column `photoz` alone may be the catalog's own.
    """
    return PHOTOZ + QUANTILES in schema.names


def posterior_columns(name: str, about: str, unit: str, before: tuple[str, ...]) -> list[Column]:
    """Columns of a predicted quantity's posterior, given those before it (see `ProxyPosterior`)."""
    scores = ",".join(f"{score:g}" for score in NORMAL_SCORES)
    meaning = f"quantiles of {about}, at normal scores {scores}"
    notes = {"normal_scores": scores}
    columns = [_list(name + QUANTILES, len(NORMAL_SCORES), meaning, UNMEASURED, unit, notes)]
    if before:
        meaning = f"correlations of its normal scores with those of {', '.join(before)}"
        notes = {"with": ",".join(before)}
        columns.append(_list(name + CORRELATION, len(before), meaning, UNMEASURED, notes=notes))
    return columns


def is_scored(schema: pa.Schema) -> bool:
    """Whether scoring has added its columns to a catalog."""
    return STATUS in schema.names or CATALOG[-1].name in schema.names


def not_needed(table: pa.Table) -> np.ndarray:
    """Rows that were not needed when the catalog was scored, shape (N,)."""
    if STATUS not in table.column_names:
        return np.zeros(table.num_rows, dtype=bool)
    import pyarrow.compute as pc  # which 'rules lint' need not load

    same = pc.fill_null(pc.equal(table[STATUS], NOT_NEEDED), False)
    found: np.ndarray = same.to_numpy()
    return found


def ranges(schema: pa.Schema) -> dict[str, tuple[float, float]]:
    """The ranges of the columns of a scored file that have one, by their names there."""
    names = column_names(schema)
    return {
        names.get(each.name, each.name): each.range
        for each in (*CATALOG, *scored_columns(1, 1, predicts_redshift(schema)))
        if each.range != ANYTHING
    }


def column_names(schema: pa.Schema) -> dict[str, str]:
    """The names in a scored file of the columns `source_id`, `ra` and `dec`."""
    named = footer_in(schema.metadata).get("columns", {})
    return {name: named.get(name, name) for name in ("source_id", "ra", "dec")}


def scored_kind(schema: pa.Schema) -> FileKind:
    """The columns that every scored file has from its catalog, under their names in this one."""
    names = column_names(schema)
    columns = (replace(column, name=names.get(column.name, column.name)) for column in CATALOG)
    return FileKind("a scored catalog", tuple(columns), "Make one with 'targetsel score'.")


def n_latents(schema: pa.Schema) -> int:
    """Latents of the posteriors in a scored file, or 0 where it was written without them."""
    if not {"member_mean", "member_cov"} <= {*schema.names}:
        return 0
    mean, cov = (schema.field(name).type.list_size for name in ("member_mean", "member_cov"))
    return 2 * cov // mean - 1 if mean else 0


def has_whole_posteriors(schema: pa.Schema) -> bool:
    """Whether the members' means and covariances, where there are any, fit together."""
    if not {"member_mean", "member_cov"} <= {*schema.names}:
        return True
    d = n_latents(schema)
    mean, cov = (schema.field(name).type.list_size for name in ("member_mean", "member_cov"))
    if {*OF_MEMBERS} <= {*schema.names} and d:
        sizes = tuple(schema.field(name).type.list_size for name in OF_MEMBERS)
        if sizes not in ((0, 0), (mean // d, mean // d * (d + 1))):
            return False
    return mean == cov == 0 or (d > 0 and cov * d == mean * (d * (d + 1) // 2))


def own_redshifts(catalog: pa.Schema) -> tuple[str, ...]:
    """The columns of a catalog that are called as those of a predicted redshift, such as `photoz`.

    Rules mean these by their names, so that scoring leaves them as they are.
    """
    ours = {each.name for each in scored_columns(1, 1, redshift=True)}
    ours -= {each.name for each in scored_columns(1, 1)}
    return tuple(name for name in catalog.names if name in ours)


def why_left_out(catalog: pa.Schema) -> str:
    """Why a predicted redshift is not written beside a catalog's columns; empty where it is."""
    own = own_redshifts(catalog)
    if not own:
        return ""
    names = ", ".join(f"'{name}'" for name in own)
    columns, them = ("columns", "them") if len(own) > 1 else ("column", "it")
    return (
        f"redshifts are predicted but not written: the catalog has the {columns} {names} of its "
        f"own. Rename {them} to have both"
    )


def check_names(catalog: pa.Schema, place: str) -> None:
    """Refuse a catalog that already has a column of a name that scoring adds.

    Names of a predicted redshift may be there (see `own_redshifts`).

    Raises
    ------
    CatalogError
        Names the column and `place`.
    """
    added = {column.name for column in scored_columns(1, 1)}
    clash = [name for name in catalog.names if name in added]
    if clash:
        names = ", ".join(f"'{name}'" for name in clash[:5])
        raise CatalogError(
            f"{place}: has the column{'s' if len(clash) > 1 else ''} {names}, which score would "
            "write. Rename or drop them (is this a scored catalog already?)"
        )


def _list(
    name: str,
    size: int,
    meaning: str,
    null_when: str,
    unit: str = "",
    notes: dict[str, str] | None = None,
) -> Column:
    kind = pa.list_(pa.float32(), size)
    return Column(name, kind, unit, "", meaning, null_when, notes=notes or {})
