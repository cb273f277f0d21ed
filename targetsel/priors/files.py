"""Files of priors of a scored catalog's sources: Parquet or FITS, written and read."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from astropy.io import fits
from astropy.table import Table

from targetsel.errors import CatalogError, EnsembleError, OutputError, SpectrumError, did_you_mean
from targetsel.networks.posterior import stored_deviations, stored_posterior
from targetsel.priors.prior import HIGHEST, LEVELS, Prior
from targetsel.priors.spectral_model import SpectralModel
from targetsel.scoring.ensemble import find_ensemble
from targetsel.spectra.grid import N_PIXELS
from targetsel.spectra.reading import OK
from targetsel.statistics.gaussian_mixture import GaussianMixture
from targetsel.tables.columns import NEVER, Column, arrow_column, schema_of
from targetsel.tables.files import check_output, folder_written_beside, sha256_of_file
from targetsel.tables.parquet import ParquetSink, read_footer
from targetsel.version import __version__

SCHEMA = "targetsel/priors/v1"
ROWS_AT_ONCE = 64
BANDS = tuple(f"flux_q{level * 100:.0f}" for level in LEVELS)
LATENTS = ("latent_weight", "latent_mean", "latent_factor")
READ = ("redshift", "redshift_error", "status", *LATENTS)


@dataclass(frozen=True)
class PriorOptions:
    """Choices for a file of priors.

    Attributes
    ----------
    redshift, redshift_error : str, float or None
        Redshift and its standard deviation: columns of the scored catalog, or one number for
        all sources. Without: rest frame.
    n_draws : int
    seed : int
        Seed of the draws.
    """

    redshift: str | float | None = None
    redshift_error: str | float | None = None
    n_draws: int = 16
    seed: int = 0

    def __post_init__(self) -> None:
        if self.n_draws < 1:
            raise SpectrumError(f"{self.n_draws} draws of every prior, expected at least 1")
        if self.redshift is None and self.redshift_error is not None:
            raise SpectrumError("the redshift has an error but no value. Give both.")
        z, error = self.redshift, self.redshift_error
        if isinstance(z, int | float) and not 0 <= z <= HIGHEST:
            raise SpectrumError(f"redshift is {z:g}, expected 0 to {HIGHEST:g}")
        if isinstance(error, int | float) and not 0 < error <= HIGHEST:
            raise SpectrumError(
                f"redshift error is {error:g}, expected more than 0, and {HIGHEST:g} at most"
            )

    @property
    def columns(self) -> list[str]:
        """Columns of the scored catalog that are read."""
        return [each for each in (self.redshift, self.redshift_error) if isinstance(each, str)]


@dataclass(frozen=True)
class ScoredPosteriors:
    """The posteriors in a scored catalog, which are the priors of its sources' spectra."""

    path: Path
    model: SpectralModel
    footer: dict[str, Any]
    id_column: str
    options: PriorOptions

    @classmethod
    def open(cls, path: Path, ensemble: str | Path, options: PriorOptions) -> ScoredPosteriors:
        """A scored catalog and the ensemble that scored it.

        Raises
        ------
        CatalogError, EnsembleError
            If it is no scored catalog, lacks a column, or was scored by another ensemble.
        """
        footer, schema = read_footer(path), pq.read_schema(path)
        id_column = footer.get("columns", {}).get("source_id", "source_id")
        if missing := [n for n in (id_column, "member_mean", "member_cov", "status")
                       if n not in schema.names]:  # fmt: skip
            raise CatalogError(
                f"{path}: no column '{missing[0]}': not a scored catalog. Make one with "
                "'targetsel score'."
            )
        for name in options.columns:
            _check_number(path, schema, name)
        model = SpectralModel.read(ensemble)
        scored_by = footer.get("ensemble", {}).get("sha256", "")
        given = sha256_of_file(find_ensemble(ensemble) / "card.json")
        if scored_by != given:
            raise EnsembleError(
                f"{path}: was scored by the ensemble {scored_by[:12] or '(none)'}, but "
                f"'{ensemble}' is {given[:12]}. Name the one that scored it with --ensemble."
            )
        return cls(path, model, footer, id_column, options)

    def batches(self, ids: set[str] | None) -> Iterator[tuple[pa.Array, list[Prior | str]]]:
        """Ids and priors in the catalog's order; a text with the reason replaces a missing prior.

        Raises
        ------
        CatalogError
            After the last one, if some of `ids` are missing.
        """
        wanted = [self.id_column, "status", "member_mean", "member_cov", *self.options.columns]
        left = None if ids is None else set(ids)
        with pq.ParquetFile(self.path) as file:
            for batch in file.iter_batches(ROWS_AT_ONCE, columns=list(dict.fromkeys(wanted))):
                rows = pa.Table.from_batches([batch])
                if left is not None:
                    names = [str(each) for each in rows[self.id_column].to_pylist()]
                    rows = rows.filter(pa.array([name in left for name in names]))
                    left -= set(names)
                if rows.num_rows:
                    yield rows[self.id_column].combine_chunks(), self._priors(rows)
        if left:
            first = sorted(left)[0]
            raise CatalogError(
                f"{self.path}: has no source '{first}'"
                + (f", nor {len(left) - 1} others of those asked for" if len(left) > 1 else "")
                + ". Give ids of this file."
            )

    def _priors(self, rows: pa.Table) -> list[Prior | str]:
        ids = rows[self.id_column].to_pylist()
        posterior = stored_posterior(rows, np.array(ids))
        status = rows["status"].to_pylist()
        z, error = (
            rows[given].to_pylist() if isinstance(given, str) else [given] * len(ids)
            for given in (self.options.redshift, self.options.redshift_error)
        )
        return [
            status[k] if status[k] != OK else self._prior(ids[k], posterior, k, z[k], error[k])
            for k in range(len(ids))
        ]

    def _prior(self, source_id: Any, posterior: Any, k: int, z: Any, error: Any) -> Prior | str:
        options = self.options
        if options.redshift is not None and (z is None or not 0 <= z <= HIGHEST):
            return f"{options.redshift} is {_said(z)}, expected 0 to {HIGHEST:g}"
        if options.redshift_error is not None and (error is None or not 0 < error <= HIGHEST):
            return f"{options.redshift_error} is {_said(error)}, expected more than 0"
        return Prior(source_id, posterior.mixture(k), self.model, z, error)

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
            "columns": {"source_id": self.id_column},
            "scored": {name: self.footer[name] for name in kept if name in self.footer},
        }


def write_parquet(scored: ScoredPosteriors, output: Path, ids: set[str] | None = None) -> int:
    """Write the priors of a scored catalog, or of some of its ids; return the number of rows.

    Sources without a prior keep their row, with the reason in `status`.

    Raises
    ------
    CatalogError, OutputError
        Nothing is left there then.
    """
    check_output(output, [scored.path])
    schema = _schema(scored)
    n_rows = 0
    with ParquetSink(output, schema, row_group_size=ROWS_AT_ONCE) as sink:
        sink.footer.update(scored.provenance())
        for names, priors in scored.batches(ids):
            sink.write(_rows(names, priors, schema, scored.options))
            n_rows += len(priors)
    return n_rows


def write_fits(scored: ScoredPosteriors, folder: Path, ids: set[str] | None = None) -> int:
    """Write one FITS file for every prior into a new folder; return the number of files.

    The folder appears when all are written. Sources without a prior have no file.

    Raises
    ------
    CatalogError, OutputError
        Nothing is left there then.
    """
    if folder.exists():
        raise OutputError(f"{folder}: exists already. Choose a new folder for the FITS files.")
    check_output(folder, [scored.path])
    n_files = 0
    with folder_written_beside(folder) as beside:
        for _, priors in scored.batches(ids):
            for prior in priors:
                if isinstance(prior, Prior):
                    name = f"prior-{quote(str(prior.source_id), safe='')}.fits"
                    _hdus(prior, scored).writeto(beside / name)
                    n_files += 1
    return n_files


def _hdus(prior: Prior, scored: ScoredPosteriors) -> fits.HDUList:
    """A prior as FITS: spectra by pixel, and the latents' mixture."""
    arrays = _arrays(prior, scored.options)
    spectra = {n: v for n, v in arrays.items() if not n.startswith("latent")}
    header = fits.Header()
    header["SRCID"] = (str(prior.source_id), "source id")
    header["REDSHIFT"] = (prior.redshift or 0.0, "of the observed frame; 0 is the rest frame")
    header["DECODER"] = (scored.model.residual.decoder_sha256[:40], "SHA-256, 40 digits of it")
    header["ORIGIN"] = f"targetsel {__version__}"
    spectrum = fits.BinTableHDU(Table({n: v.astype(np.float32) for n, v in spectra.items()}))
    spectrum.name = "SPECTRUM"
    spectrum.header["TUNIT1"] = "Angstrom"
    latents = {n: arrays[n].astype(np.float32) for n in arrays if n.startswith("latent")}
    mixture = fits.BinTableHDU(Table(latents))
    mixture.name = "LATENTS"
    mixture.header["NLATENT"] = (
        prior.latents.n_features,
        "latents; factors are lower triangles by rows",
    )
    return fits.HDUList([fits.PrimaryHDU(header=header), spectrum, mixture])


def read_ids(words: str) -> set[str]:
    """Ids from a file with one per line, or from words separated by commas.

    Raises
    ------
    CatalogError
        If there are none.
    """
    is_file = "," not in words and Path(words).is_file()
    text = Path(words).read_text() if is_file else words.replace(",", "\n")
    found = {line.strip() for line in text.splitlines()} - {""}
    if not found:
        raise CatalogError(f"{words}: holds no ids; expected one on each line")
    return found


def _schema(scored: ScoredPosteriors) -> pa.Schema:
    schema = pq.read_schema(scored.path)
    cov = schema.field("member_cov")
    d = scored.model.decoder.n_latents
    n_members = cov.type.list_size // (d * (d + 1) // 2)
    n_parts = stored_deviations(cov, d).n_parts
    rank = d + scored.model.residual.factor.shape[2]
    own = schema.field(scored.id_column).with_nullable(False)
    columns = _columns(n_members * n_parts, d, rank, scored.options.n_draws)
    return pa.schema([own, *schema_of(columns)])


def _check_number(path: Path, schema: pa.Schema, name: str) -> None:
    if name not in schema.names:
        raise CatalogError(f"{path}: no column '{name}'.{did_you_mean(name, schema.names)}")
    kind = schema.field(name).type
    if not pa.types.is_floating(kind):
        raise CatalogError(f"{path}: column '{name}' holds {kind}, expected redshifts")


def _said(value: float | None) -> str:
    return "missing" if value is None or np.isnan(value) else f"{value:.6g}"


def _arrays(prior: Prior, options: PriorOptions) -> dict[str, np.ndarray]:
    """Stored arrays of a prior by column name; pixels are the first axis of every spectrum."""
    lower = np.tril_indices(prior.latents.n_features)
    cov = prior.cov
    return {
        "latent_weight": prior.latents.weight,
        "latent_mean": prior.latents.mean,
        "latent_factor": prior.latents.factor[:, lower[0], lower[1]],
        "wavelength": prior.wavelength,
        "flux_mean": prior.mean,
        **dict(zip(BANDS, prior.bands(), strict=True)),
        "flux_factor": cov.factor,
        "flux_variance": cov.variance,
        "flux_draws": prior.draw(options.n_draws, options.seed).T,
    }


def _columns(n_components: int, n_latents: int, rank: int, n_draws: int) -> tuple[Column, ...]:
    """The columns of a file of priors, after the id's."""
    flux = "relative flux density per unit wavelength"
    triangle = n_latents * (n_latents + 1) // 2
    lists = [
        ("latent_weight", n_components, "", "weight of each Gaussian of the latents' mixture"),
        ("latent_mean", n_components * n_latents, "", "its mean, in standardised latents"),
        ("latent_factor", n_components * triangle, "",
         "Cholesky factor of its covariance, lower triangle by rows"),
        ("wavelength", N_PIXELS, "Angstrom", "vacuum wavelength; rest frame without a redshift"),
        ("flux_mean", N_PIXELS, "", f"{flux}, mean"),
        *((name, N_PIXELS, "", f"{flux}, {level:.0%} quantile of each pixel")
          for name, level in zip(BANDS, LEVELS, strict=True)),
        ("flux_factor", N_PIXELS * rank, "",
         f"low-rank factor of the pixels' covariance, {rank} numbers a pixel"),
        ("flux_variance", N_PIXELS, "", "variance of each pixel in addition to the factor's"),
        ("flux_draws", N_PIXELS * n_draws, "", f"{n_draws} draws, all of a pixel together"),
    ]  # fmt: skip
    null = "the source has no prior"
    return (
        Column("redshift", pa.float64(), "", "src.redshift", "redshift of the observed frame"),
        Column("redshift_error", pa.float64(), "", "stat.error;src.redshift", "its error"),
        *(Column(name, pa.list_(pa.float32(), size), unit, "", what, null)
          for name, size, unit, what in lists),
        Column("status", pa.string(), "", "meta.code.status", "ok, or why there is no prior",
               NEVER),
    )  # fmt: skip


def _rows(
    ids: pa.Array, priors: list[Prior | str], schema: pa.Schema, options: PriorOptions
) -> pa.Table:
    """Rows of a file; a text with the reason replaces a missing prior."""
    good = np.array([isinstance(each, Prior) for each in priors])
    columns: dict[str, Any] = {
        schema.names[0]: ids,
        "redshift": [each.redshift if isinstance(each, Prior) else None for each in priors],
        "redshift_error": [
            each.redshift_error if isinstance(each, Prior) else None for each in priors
        ],
        "status": [OK if isinstance(each, Prior) else each for each in priors],
    }
    lists = [field for field in schema if field.name not in columns]
    values = {f.name: np.zeros((len(priors), f.type.list_size), np.float32) for f in lists}
    for row, each in enumerate(priors):
        if isinstance(each, Prior):
            for name, array in _arrays(each, options).items():
                values[name][row] = array.ravel()
    columns |= {f.name: arrow_column(values[f.name], f.type, good) for f in lists}
    return pa.table(columns, schema=schema)


@dataclass(frozen=True)
class PriorFile:
    """A Parquet file of priors, looked up by id.

    Attributes
    ----------
    path : Path
    model : SpectralModel
    id_field : pa.Field
    n_latents : int
    rows : dict of str to (int, int)
        Row group and row of every id, as text.
    """

    path: Path
    model: SpectralModel
    id_field: pa.Field
    n_latents: int
    rows: dict[str, tuple[int, int]]

    @classmethod
    def open(cls, path: Path, ensemble: str | Path) -> PriorFile:
        """A file that `write_parquet` wrote, and the ensemble with its decoder.

        Raises
        ------
        CatalogError, EnsembleError
            If it is no file of priors, or one of another decoder.
        """
        footer = read_footer(path)
        if footer.get("schema") != SCHEMA:
            raise CatalogError(
                f"{path}: not a file of priors (schema is {footer.get('schema')!r}, expected "
                f"'{SCHEMA}'). Make one with 'targetsel priors write'."
            )
        model = SpectralModel.read(ensemble)
        found, given = footer["decoder_sha256"], model.residual.decoder_sha256
        if found != given:
            raise EnsembleError(
                f"{path}: its priors are of the decoder {found[:12]}, but that of '{ensemble}' is "
                f"{given[:12]}. Name the right one with --ensemble."
            )
        name = footer["columns"]["source_id"]
        with pq.ParquetFile(path) as file:
            rows = {
                str(each): (group, row)
                for group in range(file.num_row_groups)
                for row, each in enumerate(file.read_row_group(group, [name])[name].to_pylist())
            }
            id_field = file.schema_arrow.field(name)
        return cls(path, model, id_field, footer["n_latents"], rows)

    def prior(self, source_id: int | str) -> Prior:
        """The prior of a source.

        Raises
        ------
        SpectrumError
            If the file has no such source, or no prior of it.
        """
        place = self.rows.get(str(source_id))
        if place is None:
            raise SpectrumError(f"{self.path}: has no prior of the source '{source_id}'")
        group, row = place
        with pq.ParquetFile(self.path) as file:
            table = file.read_row_group(group, [self.id_field.name, *READ])
        (kept,) = table.slice(row, 1).to_pylist()
        if kept["status"] != OK:
            raise SpectrumError(
                f"{self.path}: has no prior of the source '{source_id}': {kept['status']}"
            )
        d = self.n_latents
        weight, mean, triangles = (np.array(kept[name], float) for name in LATENTS)
        factor = np.zeros((len(weight), d, d))
        factor[(slice(None), *np.tril_indices(d))] = triangles.reshape(len(weight), -1)
        latents = GaussianMixture(weight / weight.sum(), mean.reshape(-1, d), factor=factor)
        z, error = kept["redshift"], kept["redshift_error"]
        return Prior(kept[self.id_field.name], latents, self.model, z, error)
