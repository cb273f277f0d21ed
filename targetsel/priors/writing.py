"""Files of priors of a scored catalog's sources, written as Parquet or FITS.

A row has what a fitter needs: quantiles of each pixel of the spectrum, the quantiles of its line
strengths and their correlations as scored, and the mixture of the latents. The mixture suffices
for all the rest: with the ensemble, `files.PriorFile` makes of it the covariance of the pixels, an
update with a measured spectrum, and the very draws that `PriorOptions.n_draws` adds to the file.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import pyarrow as pa
from astropy.io import fits
from astropy.table import Table

from targetsel.documents.document import read_text
from targetsel.errors import CatalogError, OutputError, SpectrumError
from targetsel.networks.posterior import stored_deviations, stored_posterior
from targetsel.priors.columns import BANDS, prior_columns
from targetsel.priors.files import SCHEMA, lists_of, mixture_of
from targetsel.priors.prior import HIGHEST, Prior
from targetsel.priors.spectral_model import SpectralModel
from targetsel.scored.columns import n_latents
from targetsel.scored.file import ScoredFile
from targetsel.scoring.ensemble import find_ensemble
from targetsel.spectra.proxies import CORRELATION, QUANTILES, proxy_names
from targetsel.spectra.reading import OK
from targetsel.statistics.gaussian_mixture import GaussianMixture
from targetsel.tables.columns import (
    arrow_column,
    floats,
    numbers_named,
    schema_of,
)
from targetsel.tables.files import (
    check_apart,
    check_output,
    check_table_output,
    folder_written_beside,
    sha256_of_file,
)
from targetsel.tables.ids import exact_id_type, exact_ids
from targetsel.tables.parquet import ParquetSink
from targetsel.tables.types import held
from targetsel.tables.writing import as_astropy
from targetsel.tasks import tracked
from targetsel.version import __version__

ROWS_AT_ONCE = 256
BLOCK = 2880  # bytes of a FITS header's block


@dataclass(frozen=True)
class PriorOptions:
    """Choices for a file of priors.

    Attributes
    ----------
    redshift, redshift_error : str, float or None
        Redshift and its standard deviation: columns of the scored catalog, or one number for
        all sources. Without: rest frame.
    n_draws : int
        Number of draws of each spectrum to store. Python draws the same ones from the file at any
        time (`Prior.draw`).
    seed : int
        Seed of the draws.
    """

    redshift: str | float | None = None
    redshift_error: str | float | None = None
    n_draws: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        if self.n_draws < 0:
            raise SpectrumError(f"{self.n_draws} draws of every prior, expected 0 or more")
        if self.redshift is None and self.redshift_error is not None:
            raise SpectrumError("a redshift error without a redshift. Give --redshift too.")
        z, error = self.redshift, self.redshift_error
        if isinstance(z, int | float) and not 0 <= z <= HIGHEST:
            raise SpectrumError(f"redshift is {z:g}; expected 0 to {HIGHEST:g}.")
        if isinstance(error, int | float) and not 0 < error <= HIGHEST:
            raise SpectrumError(
                f"redshift error is {error:g}, expected more than 0, and {HIGHEST:g} at most"
            )

    @property
    def columns(self) -> list[str]:
        """Columns of the scored catalog that are read."""
        return [each for each in (self.redshift, self.redshift_error) if isinstance(each, str)]


@dataclass(frozen=True)
class NoPrior:
    """A source without a prior, and the reason."""

    source_id: int | str
    position: tuple[float, float]
    reason: str


@dataclass(frozen=True)
class PriorBatch:
    """Priors of some sources, and the scored columns of their line strengths, row by row."""

    priors: list[Prior | NoPrior]
    lines: pa.Table


@dataclass
class WrittenPriors:
    """The outcome of `write_priors`.

    Attributes
    ----------
    n_sources, n_priors : int
        Sources of the file, and those of them that have a prior.
    """

    n_sources: int = 0
    n_priors: int = 0


@dataclass(frozen=True)
class ScoredPosteriors:
    """The posteriors in a scored catalog, which are the priors of its sources' spectra.

    Attributes
    ----------
    path : Path
    model : SpectralModel
    options : PriorOptions
    schema : pa.Schema
    footer : dict
    names : dict
        The names in the file of the columns `source_id`, `ra` and `dec`.
    """

    path: Path
    model: SpectralModel
    options: PriorOptions
    schema: pa.Schema
    footer: dict[str, Any]
    names: dict[str, str]

    @classmethod
    def open(cls, path: Path, ensemble: str | Path, options: PriorOptions) -> ScoredPosteriors:
        """A scored catalog and the ensemble that scored it.

        Raises
        ------
        CatalogError, EnsembleError
            If it is no scored catalog, lacks a column, or was scored by another ensemble.
        """
        with ScoredFile(path, ("member_mean", "member_cov", "status")) as file:
            for name in options.columns:
                numbers_named(file.schema, name, path, expected="redshifts")
            for name in ("member_mean", "member_cov"):
                if not pa.types.is_fixed_size_list(kind := file.schema.field(name).type):
                    raise CatalogError(
                        f"{path}, column '{name}': holds {held(kind)}; expected lists of one "
                        "length, as score writes them. Score the catalog again."
                    )
            card = find_ensemble(ensemble) / "card.json"
            model = SpectralModel.read(ensemble)
            file.check_scored_by(str(ensemble), sha256_of_file(card))
            if n_latents(file.schema) != model.decoder.n_latents:
                raise CatalogError(
                    f"{path}: has posteriors of {n_latents(file.schema)} latents, but the decoder "
                    f"has {model.decoder.n_latents}. Score the catalog again."
                )
            return cls(Path(path), model, options, file.schema, file.footer, file.names)

    @property
    def lines(self) -> list[str]:
        """Columns of the scored catalog with the posteriors of line strengths."""
        ends = ("", "_q16", "_q84", QUANTILES, CORRELATION)
        every = (name + end for name in proxy_names(self.schema) for end in ends)
        return [name for name in every if name in self.schema.names]

    def batches(self, ids: set[str] | None) -> Iterator[PriorBatch]:
        """The priors in the catalog's order, and the reasons for those that are missing.

        Raises
        ------
        CatalogError
            After the last one, if some of `ids` are missing.
        """
        wanted = [*self.names.values(), "status", "member_mean", "member_cov",
                  *self.options.columns, *self.lines]  # fmt: skip
        left = None if ids is None else set(ids)
        with ScoredFile(self.path) as file:
            tables = file.tables(list(dict.fromkeys(wanted)), ROWS_AT_ONCE)
            for rows in tracked(tables, "writing priors", len(file), "sources", len):
                names = self._ids(rows)
                if left is not None:
                    chosen = np.array([str(name) in left for name in names])
                    left -= {str(name) for name in names}
                    rows, names = rows.filter(pa.array(chosen)), names[chosen]
                if rows.num_rows:
                    yield PriorBatch(self._priors(rows, names), rows.select(self.lines))
        if left:
            first = sorted(left)[0]
            raise CatalogError(
                f"{self.path}: has no source '{first}'"
                + (f", and lacks {len(left) - 1} more of those asked for" if len(left) > 1 else "")
                + ". Give ids of this catalog, or a file of them."
            )

    def _ids(self, rows: pa.Table) -> np.ndarray:
        column = self.names["source_id"]
        ids = exact_ids(rows[column], column, self.path)
        if ids.null_count:
            raise CatalogError(
                f"{self.path}, column '{column}': has rows without an id. Remove them, "
                "or score the catalog again."
            )
        return ids.to_numpy(zero_copy_only=False)

    def _priors(self, rows: pa.Table, ids: np.ndarray) -> list[Prior | NoPrior]:
        options, d = self.options, self.model.decoder.n_latents
        posterior = stored_posterior(rows, ids)
        known = posterior.known
        positions = zip(*(floats(rows[self.names[n]]).tolist() for n in ("ra", "dec")), strict=True)
        z, error = (
            floats(rows[given]).tolist() if isinstance(given, str) else [given] * len(ids)
            for given in (options.redshift, options.redshift_error)
        )
        found: list[Prior | NoPrior] = []
        for k, (name, position) in enumerate(zip(ids.tolist(), positions, strict=True)):
            reason = rows["status"][k].as_py()
            latents = None
            if reason == OK and known[k]:  # rounded as the file rounds them: same draws from both
                latents = mixture_of([*lists_of(posterior.mixture(k)).values()], d)
            if reason == OK:
                reason = self._trouble(latents, z[k], error[k])
            if reason == OK and latents:
                found.append(Prior(name, latents, self.model, z[k], error[k], position))
            else:
                found.append(NoPrior(name, position, str(reason)))
        return found

    def _trouble(
        self, latents: GaussianMixture | None, z: float | None, error: float | None
    ) -> str:
        """Why a scored source has no prior, or "ok"."""
        if latents is None:
            return "its posterior is missing or damaged"
        if z is not None and not 0 <= z <= HIGHEST:
            return f"{self.options.redshift} is {_said(z)}, expected 0 to {HIGHEST:g}"
        if error is not None and not 0 < error <= HIGHEST:
            return f"{self.options.redshift_error} is {_said(error)}, expected more than 0"
        return OK

    def provenance(self) -> dict[str, Any]:
        """The origin of the priors, for the footer of their file."""
        kept = ("ensemble", "calibration", "cutouts", "catalog", "images")
        return {
            "schema": SCHEMA,
            "code_version": __version__,
            "decoder_sha256": self.model.residual.decoder_sha256,
            "n_latents": self.model.decoder.n_latents,
            "frame": "rest" if self.options.redshift is None else "observed",
            "seed": self.options.seed,
            "columns": {"source_id": self.names["source_id"]},
            "scored": {name: self.footer[name] for name in kept if name in self.footer},
        }


def write_parquet(
    scored: ScoredPosteriors, output: Path, ids: set[str] | None = None
) -> WrittenPriors:
    """Write the priors of a scored catalog, or of some of its ids.

    Sources without a prior keep their row, with the reason in `status`.

    Raises
    ------
    CatalogError, OutputError
        If no source has a prior, too. Nothing is left there then.
    """
    check_table_output(output, [scored.path], parquet=True)
    schema = _schema(scored)
    with ParquetSink(output, schema, row_group_size=ROWS_AT_ONCE) as sink:
        sink.footer.update(scored.provenance())
        return _counted(scored, ids, lambda batch: sink.write(_rows(batch, schema, scored.options)))


def write_fits(
    scored: ScoredPosteriors, folder: Path, ids: set[str] | None = None
) -> WrittenPriors:
    """Write one FITS file for every prior into a folder.

    The folder appears when all are written, in place of one that holds priors alone. Sources
    without a prior have no file.

    Raises
    ------
    CatalogError, OutputError
        If no source has a prior, too. Nothing is left there then.
    """
    if folder.is_dir():
        check_apart([folder], [scored.path])
        for each in sorted(folder.iterdir()):
            if not _is_prior(each):
                raise OutputError(
                    f"{folder}: already exists, and {each.name} in it is no prior that targetsel "
                    "wrote. Choose another folder for the FITS files."
                )
    elif folder.exists():
        raise OutputError(f"{folder}: is a file; expected a folder's name. Choose another name.")
    else:
        check_output(folder, [scored.path])
    with folder_written_beside(folder) as beside:

        def write(batch: PriorBatch) -> None:
            for row, prior in enumerate(batch.priors):
                if isinstance(prior, Prior):
                    name = f"prior-{quote(str(prior.source_id), safe='')}.fits"
                    _hdus(prior, batch.lines.slice(row, 1), scored).writeto(beside / name)

        return _counted(scored, ids, write)


def _is_prior(path: Path) -> bool:
    """Whether a file is one that `write_fits` wrote, by its name and its header."""
    if not (path.is_file() and fnmatch(path.name, "prior-*.fits")):
        return False
    with path.open("rb") as file:
        return b"ORIGIN  = 'targetsel " in file.read(BLOCK)


def _counted(
    scored: ScoredPosteriors,
    ids: set[str] | None,
    write: Callable[[PriorBatch], None],
) -> WrittenPriors:
    """Write the priors of some ids, and count them; there must be one."""
    found, reason = WrittenPriors(), "the file is empty"
    for batch in scored.batches(ids):
        priors = batch.priors
        write(batch)
        found.n_sources += len(priors)
        found.n_priors += sum(isinstance(each, Prior) for each in priors)
        reason = next((each.reason for each in priors if isinstance(each, NoPrior)), reason)
    if not found.n_priors:
        raise CatalogError(
            f"{scored.path}: none of its {found.n_sources:,} sources has a prior ({reason}). Give "
            "another catalog, or score this one again."
        )
    return found


def _hdus(prior: Prior, lines: pa.Table, scored: ScoredPosteriors) -> fits.HDUList:
    """A prior as FITS: bands by pixel, the latents' mixture, and line strengths as scored."""
    spectra = _spectra(prior, scored.options)
    header = fits.Header()
    # Headers hold ASCII, and no NaN.
    header["SRCID"] = (ascii(str(prior.source_id))[1:-1], "source id")
    for key, value in zip(("RA", "DEC"), prior.position, strict=True):
        if np.isfinite(value):
            header[key] = (value, "deg, ICRS")
    header["REDSHIFT"] = (prior.redshift or 0.0, "of the observed frame; 0 is the rest frame")
    header["DECODER"] = (scored.model.residual.decoder_sha256[:40], "SHA-256, 40 digits of it")
    header["ORIGIN"] = f"targetsel {__version__}"
    spectrum = fits.BinTableHDU(Table({n: v.astype(np.float32) for n, v in spectra.items()}))
    spectrum.name = "SPECTRUM"
    spectrum.header["TUNIT1"] = "Angstrom"
    latents = lists_of(prior.latents)
    mixture = fits.BinTableHDU(Table(latents))
    mixture.name = "LATENTS"
    mixture.header["NLATENT"] = (
        prior.latents.n_features,
        "latents; factors are lower triangles by rows",
    )
    hdus = [fits.PrimaryHDU(header=header), spectrum, mixture]
    if lines.num_columns:
        hdus.append(fits.table_to_hdu(as_astropy(lines, scored.path, "fits"), name="LINES"))
    return fits.HDUList(hdus)


def read_ids(words: str) -> set[str]:
    """Ids from a file with one per line, or from words separated by commas.

    Raises
    ------
    CatalogError
        If there are none.
    """
    if "," not in words and Path(words).is_file():
        text = read_text(Path(words), CatalogError)
    else:
        text = words.replace(",", "\n")
    found = {line.strip() for line in text.splitlines()} - {""}
    if not found:
        raise CatalogError(f"{words}: holds no ids; expected one on each line.")
    return found


def _schema(scored: ScoredPosteriors) -> pa.Schema:
    cov = scored.schema.field("member_cov")
    d = scored.model.decoder.n_latents
    n_members = cov.type.list_size // (d * (d + 1) // 2)
    n_parts = stored_deviations(cov, d).n_parts
    own = scored.schema.field(scored.names["source_id"])
    own = own.with_type(exact_id_type(own, scored.path)).with_nullable(False)
    columns = prior_columns(n_members * n_parts, d, scored.options.n_draws)
    *numbers, status = schema_of(columns)
    lines = [scored.schema.field(name) for name in scored.lines]
    return pa.schema([own, *numbers, *lines, status])


def _said(value: float | None) -> str:
    return "missing" if value is None or np.isnan(value) else f"{value:.6g}"


def _spectra(prior: Prior, options: PriorOptions) -> dict[str, np.ndarray]:
    """Stored spectra of a prior by column name; pixels are the first axis."""
    found = {"wavelength": prior.wavelength, **dict(zip(BANDS, prior.bands(), strict=True))}
    if options.n_draws:
        found["flux_draws"] = prior.draw(options.n_draws, options.seed).T
    return found


def _rows(batch: PriorBatch, schema: pa.Schema, options: PriorOptions) -> pa.Table:
    """Rows of a file; those of missing priors have the reason."""
    priors = batch.priors
    there = [each if isinstance(each, Prior) else None for each in priors]
    good = np.array([each is not None for each in there])
    columns: dict[str, Any] = {
        schema.names[0]: [each.source_id for each in priors],
        "ra": [each.position[0] for each in priors],
        "dec": [each.position[1] for each in priors],
        "redshift": [each and each.redshift for each in there],
        "redshift_error": [each and each.redshift_error for each in there],
        "status": [OK if isinstance(each, Prior) else each.reason for each in priors],
        **{name: batch.lines[name] for name in batch.lines.column_names},
    }
    lists = [field for field in schema if field.name not in columns]
    values = {f.name: np.zeros((len(priors), f.type.list_size), np.float32) for f in lists}
    for row, each in enumerate(there):
        if each is not None:
            for name, array in {**lists_of(each.latents), **_spectra(each, options)}.items():
                values[name][row] = array.ravel()
    columns |= {f.name: arrow_column(values[f.name], f.type, good) for f in lists}
    return pa.table(columns, schema=schema)
