"""Update of the priors in a file with the measured spectra in others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from targetsel.errors import SpectrumError
from targetsel.priors.files import OK, PriorFile
from targetsel.priors.redshift_prior import RedshiftPrior
from targetsel.priors.update import Posterior, UpdateOptions, update
from targetsel.spectra.grid import N_PIXELS
from targetsel.spectra.lines import DESCRIPTIONS, PROXIES, UNITS
from targetsel.spectra.reading import attempts
from targetsel.spectra.spectrum import ObservedSpectrum
from targetsel.tables.files import check_output
from targetsel.tables.parquet import ParquetSink, described
from targetsel.version import __version__

ROWS_AT_ONCE = 64
LEVELS = {"_q05": 0.05, "_q16": 0.16, "": 0.5, "_q84": 0.84, "_q95": 0.95}


@dataclass(frozen=True)
class UpdateSummary:
    """The number of spectra, and the errors of those that could not be used."""

    n_spectra: int
    errors: tuple[SpectrumError, ...]


def update_files(
    priors: PriorFile,
    spectra: Sequence[Path],
    output: Path,
    redshift: RedshiftPrior | None = None,
    options: UpdateOptions = UpdateOptions(),
) -> UpdateSummary:
    """Update the priors of all sources with spectra; write one row for each spectrum.

    A spectrum that cannot be used keeps its row, with the reason in `status`.

    Parameters
    ----------
    spectra : sequence of Path
        Files that `spectra.reading` reads; their redshifts are ignored.
    redshift : RedshiftPrior, optional
        Prior of every source's redshift. Default: redshift and error in the file of priors.

    Raises
    ------
    SpectrumError, OutputError
        If no spectrum can be used; then no file is left.
    """
    check_output(output, [priors.path, *spectra])
    schema = pa.schema([pa.field("source_id", pa.string(), nullable=False), *_fields(options)])

    def updated(spectrum: ObservedSpectrum) -> Posterior:
        return update(priors.prior(spectrum.source_id), spectrum, redshift, options)

    errors: list[SpectrumError] = []
    n_spectra = 0
    with ParquetSink(output, schema, row_group_size=ROWS_AT_ONCE) as sink:
        for attempt in attempts(spectra, updated, redshift=0.0):
            row: dict[str, Any] = {"source_id": attempt.source_id, "status": OK}
            if isinstance(attempt.result, SpectrumError):
                errors.append(attempt.result)
                row["status"] = str(attempt.result)
            else:
                row |= _numbers(attempt.result)
            sink.write(pa.Table.from_pylist([row], schema=schema))
            n_spectra += 1
        if len(errors) == n_spectra:
            raise errors[0] if errors else SpectrumError("no spectra were given")
        sink.footer.update(
            schema="targetsel/updated/v1",
            code_version=__version__,
            options=vars(options),
            decoder_sha256=priors.model.residual.decoder_sha256,
        )
    return UpdateSummary(n_spectra, tuple(errors))


def _numbers(found: Posterior) -> dict[str, Any]:
    """The columns of one posterior."""
    row: dict[str, Any] = {
        "redshift_best": found.best_redshift,
        "redshift_confidence": found.confidence,
        "redshift_draws": found.redshift.tolist(),
        "wavelength": found.wavelength.tolist(),
        "flux_mean": found.flux.mean(axis=0).tolist(),
        "amplitude": float(np.median(found.amplitude)),
        "log_evidence": found.log_evidence,
        "effective_size": found.effective_size,
    }
    for suffix, level in LEVELS.items():
        row[f"redshift{suffix}"] = float(np.quantile(found.redshift, level))
    for name in ("_q16", "", "_q84"):
        row[f"flux{name or '_q50'}"] = np.quantile(found.flux, LEVELS[name], axis=0).tolist()
    proxies = found.proxies()
    for name in PROXIES:
        draws = proxies[name][0]
        draws = draws[np.isfinite(draws)]
        for suffix, level in LEVELS.items():
            row[name + suffix] = float(np.quantile(draws, level)) if len(draws) else None
    return row


def _fields(options: UpdateOptions) -> list[pa.Field]:
    f32, f64 = pa.float32(), pa.float64()
    words = {s: "median of " if not s else f"{100 * q:.0f}th percentile of "
             for s, q in LEVELS.items()}  # fmt: skip
    spectrum = pa.list_(f32, N_PIXELS)
    flux = "relative flux density per unit wavelength, rest frame"
    return [
        described("redshift_best", f64, "", "src.redshift", "that most draws are near"),
        described("redshift_confidence", f32, "", "stat.probability",
                  "probability of being within 0.003 (1 + redshift) of redshift_best"),
        *(described(f"redshift{s}", f64, "", "src.redshift", f"{words[s]}the redshift")
          for s in LEVELS),
        described("redshift_draws", pa.list_(f64, options.n_draws), "", "", "equal draws of it"),
        described("wavelength", spectrum, "Angstrom", "em.wl", "rest frame, vacuum"),
        *(described(f"flux_{s}", spectrum, "", "phot.flux.density", f"{flux}, {what}")
          for s, what in (("mean", "mean"), ("q16", "16th percentile"), ("q50", "median"),
                          ("q84", "84th percentile"))),
        described("amplitude", f64, "", "", "of flux in the measured spectrum, in its unit"),
        *(described(n + s, f32, UNITS[n], "", words[s] + DESCRIPTIONS[n])
          for n in PROXIES for s in LEVELS),
        described("log_evidence", f64, "", "", "natural logarithm, but for a constant of the data"),
        described("effective_size", f32, "", "", "independent draws that the result is worth"),
        described("status", pa.string(), "", "meta.code.status", "ok, or why not", nullable=False),
    ]  # fmt: skip
