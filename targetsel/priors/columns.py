"""Columns of files of priors, and of those that measured spectra have updated.

They stand by themselves so that the manual can tell them without importing torch.
"""

from __future__ import annotations

import pyarrow as pa

from targetsel.spectra.grid import N_PIXELS
from targetsel.spectra.lines import DESCRIPTIONS, PROXIES, UNITS
from targetsel.tables.columns import NEVER, Column

LEVELS = (0.16, 0.50, 0.84)  # of the quantiles of a prior's pixels
BANDS = tuple(f"flux_q{level * 100:.0f}" for level in LEVELS)
# Of the quantiles of an updated prior, by the endings of its columns.
UPDATED = {"_q05": 0.05, "_q16": 0.16, "": 0.5, "_q84": 0.84, "_q95": 0.95}
NEAR = 0.003  # |difference of redshifts| / (1 + redshift) that counts as the same


def prior_columns(n_components: int, n_latents: int, n_draws: int) -> tuple[Column, ...]:
    """The columns of a file of priors, after the id's."""
    flux = "relative flux density per unit wavelength"
    triangle = n_latents * (n_latents + 1) // 2
    lists = [
        ("latent_weight", n_components, "", "weight of each Gaussian of the latents' mixture"),
        ("latent_mean", n_components * n_latents, "", "its mean, in standardised latents"),
        ("latent_factor", n_components * triangle, "",
         "Cholesky factor of its covariance, lower triangle by rows"),
        ("wavelength", N_PIXELS, "Angstrom", "vacuum wavelength; rest frame without a redshift"),
        *((name, N_PIXELS, "", f"{flux}, {level:.0%} quantile of each pixel")
          for name, level in zip(BANDS, LEVELS, strict=True)),
    ]  # fmt: skip
    if n_draws:
        about = f"{n_draws} draws, all of a pixel together"
        lists.append(("flux_draws", N_PIXELS * n_draws, "", about))
    null = "the source has no prior"
    return (
        Column("ra", pa.float64(), "deg", "pos.eq.ra;meta.main", "ICRS"),
        Column("dec", pa.float64(), "deg", "pos.eq.dec;meta.main", "ICRS"),
        Column("redshift", pa.float64(), "", "src.redshift", "redshift of the observed frame"),
        Column("redshift_error", pa.float64(), "", "stat.error;src.redshift", "its error"),
        *(Column(name, pa.list_(pa.float32(), size), unit, "", what, null)
          for name, size, unit, what in lists),
        Column("status", pa.string(), "", "meta.code.status", "ok, or why there is no prior",
               NEVER),
    )  # fmt: skip


def update_columns(n_draws: int, id_type: pa.DataType) -> tuple[Column, ...]:
    """The columns of a file of results."""
    f32, f64 = pa.float32(), pa.float64()
    words = {s: "median of " if not s else f"{100 * q:.0f}th percentile of "
             for s, q in UPDATED.items()}  # fmt: skip
    spectrum = pa.list_(f32, N_PIXELS)
    flux = "relative flux density per unit wavelength, rest frame"
    null = "there is no result"
    columns = [
        ("redshift_best", f64, "", "src.redshift", "that most draws are near"),
        ("redshift_confidence", f32, "", "stat.probability",
         f"probability of being within {NEAR} (1 + redshift) of redshift_best"),
        *((f"redshift{s}", f64, "", "src.redshift", f"{words[s]}the redshift") for s in UPDATED),
        ("redshift_draws", pa.list_(f64, n_draws), "", "", "equal draws of it"),
        ("wavelength", spectrum, "Angstrom", "em.wl", "rest frame, vacuum"),
        *((f"flux_{s}", spectrum, "", "phot.flux.density", f"{flux}, {what}")
          for s, what in (("mean", "mean"), ("q16", "16th percentile"), ("q50", "median"),
                          ("q84", "84th percentile"))),
        ("amplitude", f64, "", "", "of flux in the measured spectrum, in its unit"),
        *((name + s, f32, UNITS[name], "", words[s] + DESCRIPTIONS[name])
          for name in PROXIES for s in UPDATED),
        ("log_evidence", f64, "", "", "natural logarithm, up to a constant of the spectrum"),
        ("effective_size", f32, "", "", "effective number of independent draws"),
    ]  # fmt: skip
    return (
        Column("source_id", id_type, null_when="ids are whole numbers, and the spectrum's is none"),
        *(Column(*each, null) for each in columns),
        Column("status", pa.string(), "", "meta.code.status", "ok, or why there is no result",
               NEVER),
    )  # fmt: skip
