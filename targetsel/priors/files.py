"""Files of priors of a scored catalog's sources: Parquet or FITS, written and read."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
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
from targetsel.errors import CatalogError, EnsembleError, OutputError, SpectrumError
from targetsel.networks.posterior import stored_deviations, stored_posterior
from targetsel.priors.prior import HIGHEST, LEVELS, Prior
from targetsel.priors.spectral_model import SpectralModel
from targetsel.scored.columns import n_latents
from targetsel.scored.file import ScoredFile
from targetsel.scoring.ensemble import find_ensemble
from targetsel.spectra.grid import N_PIXELS
from targetsel.spectra.reading import OK
from targetsel.statistics.gaussian_mixture import GaussianMixture
from targetsel.tables.columns import (
    NEVER,
    Column,
    FileKind,
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
from targetsel.tables.parquet import ParquetSink, footer_in
from targetsel.tables.reading import ParquetReader
from targetsel.tables.types import held
from targetsel.version import __version__

SCHEMA = "targetsel/priors/v1"
ROWS_AT_ONCE = 64
BLOCK = 2880  # bytes of a FITS header's block
BANDS = tuple(f"flux_q{level * 100:.0f}" for level in LEVELS)
LATENTS = ("latent_weight", "latent_mean", "latent_factor")
# What an update reads of a file of priors, beside the ids.
PRIORS = FileKind(
    "a file of priors",
    (
        *(Column(name, pa.float64()) for name in ("ra", "dec", "redshift", "redshift_error")),
        *(Column(name, pa.list_(pa.float32())) for name in LATENTS),
        Column("status", pa.string()),
    ),
    "Make one with 'targetsel priors write'.",
)


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


@dataclass
class WrittenPriors:
    """The number of sources of a file, and of those that have a prior."""

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
            return cls(file.path, model, options, file.schema, file.footer, file.names)

    def batches(self, ids: set[str] | None) -> Iterator[list[Prior | NoPrior]]:
        """The priors in the catalog's order, and the reasons for those that are missing.

        Raises
        ------
        CatalogError
            After the last one, if some of `ids` are missing.
        """
        wanted = [*self.names.values(), "status", "member_mean", "member_cov",
                  *self.options.columns]  # fmt: skip
        left = None if ids is None else set(ids)
        with ScoredFile(self.path) as file:
            for rows in file.tables(list(dict.fromkeys(wanted)), ROWS_AT_ONCE):
                names = self._ids(rows)
                if left is not None:
                    chosen = np.array([str(name) in left for name in names])
                    left -= {str(name) for name in names}
                    rows, names = rows.filter(pa.array(chosen)), names[chosen]
                if rows.num_rows:
                    yield self._priors(rows, names)
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
            raise CatalogError(f"{self.path}, column '{column}': has rows without an id.")
        return ids.to_numpy(zero_copy_only=False)

    def _priors(self, rows: pa.Table, ids: np.ndarray) -> list[Prior | NoPrior]:
        options = self.options
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
            if reason == OK:
                reason = self._trouble(known[k], z[k], error[k])
            if reason == OK:
                latents = posterior.mixture(k)
                found.append(Prior(name, latents, self.model, z[k], error[k], position))
            else:
                found.append(NoPrior(name, position, str(reason)))
        return found

    def _trouble(self, known: bool, z: float | None, error: float | None) -> str:
        """The reason that a scored source has no prior, or "ok"."""
        if not known:
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
        return _counted(
            scored, ids, lambda priors: sink.write(_rows(priors, schema, scored.options))
        )


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

        def write(priors: Sequence[Prior | NoPrior]) -> None:
            for prior in priors:
                if isinstance(prior, Prior):
                    name = f"prior-{quote(str(prior.source_id), safe='')}.fits"
                    _hdus(prior, scored).writeto(beside / name)

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
    write: Callable[[Sequence[Prior | NoPrior]], None],
) -> WrittenPriors:
    """Write the priors of some ids, and count them; there must be one."""
    found, reason = WrittenPriors(), "the file is empty"
    for priors in scored.batches(ids):
        write(priors)
        found.n_sources += len(priors)
        found.n_priors += sum(isinstance(each, Prior) for each in priors)
        reason = next((each.reason for each in priors if isinstance(each, NoPrior)), reason)
    if not found.n_priors:
        raise CatalogError(
            f"{scored.path}: none of its {found.n_sources:,} sources has a prior ({reason})."
        )
    return found


def _hdus(prior: Prior, scored: ScoredPosteriors) -> fits.HDUList:
    """A prior as FITS: spectra by pixel, and the latents' mixture."""
    arrays = _arrays(prior, scored.options)
    spectra = {n: v for n, v in arrays.items() if not n.startswith("latent")}
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
    rank = d + scored.model.residual.factor.shape[2]
    own = scored.schema.field(scored.names["source_id"])
    own = own.with_type(exact_id_type(own, scored.path)).with_nullable(False)
    columns = _columns(n_members * n_parts, d, rank, scored.options.n_draws)
    return pa.schema([own, *schema_of(columns)])


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
        Column("ra", pa.float64(), "deg", "pos.eq.ra;meta.main", "ICRS"),
        Column("dec", pa.float64(), "deg", "pos.eq.dec;meta.main", "ICRS"),
        Column("redshift", pa.float64(), "", "src.redshift", "redshift of the observed frame"),
        Column("redshift_error", pa.float64(), "", "stat.error;src.redshift", "its error"),
        *(Column(name, pa.list_(pa.float32(), size), unit, "", what, null)
          for name, size, unit, what in lists),
        Column("status", pa.string(), "", "meta.code.status", "ok, or why there is no prior",
               NEVER),
    )  # fmt: skip


def _rows(priors: Sequence[Prior | NoPrior], schema: pa.Schema, options: PriorOptions) -> pa.Table:
    """Rows of a file; those of missing priors have the reason."""
    there = [each if isinstance(each, Prior) else None for each in priors]
    good = np.array([each is not None for each in there])
    columns: dict[str, Any] = {
        schema.names[0]: [each.source_id for each in priors],
        "ra": [each.position[0] for each in priors],
        "dec": [each.position[1] for each in priors],
        "redshift": [each and each.redshift for each in there],
        "redshift_error": [each and each.redshift_error for each in there],
        "status": [OK if isinstance(each, Prior) else each.reason for each in priors],
    }
    lists = [field for field in schema if field.name not in columns]
    values = {f.name: np.zeros((len(priors), f.type.list_size), np.float32) for f in lists}
    for row, each in enumerate(there):
        if each is not None:
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
    id_column : str
    id_type : pa.DataType
        int64 or string.
    rows : dict of str to (int, int)
        Row group and row of every id, as text.
    """

    path: Path
    model: SpectralModel
    id_column: str
    id_type: pa.DataType
    rows: dict[str, tuple[int, int]]

    @classmethod
    def open(cls, path: Path, ensemble: str | Path) -> PriorFile:
        """A file that `write_parquet` wrote, and the ensemble with its decoder.

        Raises
        ------
        CatalogError, EnsembleError
            If it is no file of priors, or one of another decoder.
        """
        with ParquetReader(path) as file:
            footer = footer_in(file.footer_entries)
            if footer.get("schema") != SCHEMA:
                raise CatalogError(
                    f"{path}: not a file of priors (its footer lacks "
                    f"'{SCHEMA}'). Make one with 'targetsel priors write'."
                )
            name = str(footer.get("columns", {}).get("source_id", "source_id"))
            PRIORS.check(file.schema, path)
            if name not in file.schema.names:
                raise CatalogError(f"{path}: no column '{name}', which holds the ids.")
            kind = exact_id_type(file.schema.field(name), path)
            model = SpectralModel.read(ensemble)
            found, given = str(footer.get("decoder_sha256")), model.residual.decoder_sha256
            if found != given:
                raise EnsembleError(
                    f"{path}: its priors are of the decoder {found[:12]}, but that of '{ensemble}' "
                    f"is {given[:12]}. Name the right one with --ensemble."
                )
            rows: dict[str, tuple[int, int]] = {}
            for group in range(file.metadata.num_row_groups):
                ids = exact_ids(file.read([name], [group])[name], name, path)
                for row, each in enumerate(ids.to_pylist()):
                    if str(each) in rows:
                        raise CatalogError(
                            f"{path}: has two priors of the source '{each}'. Keep one of them."
                        )
                    rows[str(each)] = (group, row)
        return cls(path, model, name, kind, rows)

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
        with ParquetReader(self.path) as file:
            columns = [self.id_column, *(each.name for each in PRIORS.columns)]
            table = file.read(columns, [group]).slice(row, 1)
        (kept,) = table.to_pylist()
        if kept["status"] != OK:
            raise SpectrumError(
                f"{self.path}: has no prior of the source '{source_id}': {kept['status']}"
            )
        latents = _mixture([kept[name] for name in LATENTS], self.model.decoder.n_latents)
        if latents is None:
            raise SpectrumError(
                f"{self.path}: the latents of the source '{source_id}' are damaged. Write the "
                "priors again."
            )
        (name,) = exact_ids(table[self.id_column], self.id_column, self.path).to_pylist()
        ra, dec = (np.nan if kept[each] is None else kept[each] for each in ("ra", "dec"))
        return Prior(name, latents, self.model, kept["redshift"], kept["redshift_error"], (ra, dec))


def _mixture(lists: Sequence[Sequence[float] | None], d: int) -> GaussianMixture | None:
    """The mixture of latents with these weights, means and triangles, if they make one."""
    weight, mean, triangles = (np.array(each or [], dtype=np.float64) for each in lists)
    k, lower = len(weight), np.tril_indices(d)
    if not k or (len(mean), len(triangles)) != (k * d, k * len(lower[0])):
        return None
    factor = np.zeros((k, d, d))
    factor[(slice(None), *lower)] = triangles.reshape(k, -1)
    numbers = np.concatenate([weight, mean, triangles])
    diagonals = np.diagonal(factor, axis1=1, axis2=2)
    if not (np.isfinite(numbers).all() and (weight >= 0).all() and (diagonals > 0).all()):
        return None
    if not weight.any():
        return None
    return GaussianMixture(weight / weight.sum(), mean.reshape(-1, d), factor=factor)
