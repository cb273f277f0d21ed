"""Labels of a training: latents of sources with spectra, their noise, groups and weights."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from targetsel.errors import CatalogError, SpectrumError, close_or_known, counted, did_you_mean
from targetsel.networks.inputs import AnyStore, InputsById
from targetsel.networks.redshift_scale import RedshiftScale
from targetsel.photometry.selection_weights import SelectionRecord, weights_like
from targetsel.sky.catalog import Catalog, CatalogFile
from targetsel.spectra.apertures import aperture_in
from targetsel.spectra.decoder import Decoder
from targetsel.spectra.encoding import scatter_under_noise
from targetsel.spectra.grid import N_PIXELS, wavelengths
from targetsel.spectra.lines import measure
from targetsel.spectra.photoz import COLUMNS, known_redshifts
from targetsel.spectra.rest_frame import Basis
from targetsel.spectra.spectrum import MeasuredSpectra, Spectra
from targetsel.tables.any_format import footer_if_any, may_hold_lists, table_reader
from targetsel.tables.columns import matrix, weights_of
from targetsel.tables.files import sha256_of_file
from targetsel.tables.ids import exact_ids, joined, matched
from targetsel.tables.numpy_files import names_in_npz, read_npz
from targetsel.tables.parquet import footer_in, says_simulated
from targetsel.tables.reading import reading
from targetsel.tables.types import held, is_list, is_number
from targetsel.training.columns import LATENTS
from targetsel.training.optimisation import one_thread
from targetsel.training.training_spectra import TrainingSpectra, check_no_errors

SPECTRA_AT_ONCE = 512
GROUP_COLUMN = "group_id"
SMALLEST_SCATTER = 1e-6

# Ids, flux (n, 1000) and inverse variance (n, 1000) or None, of some rows of a file.
Piece = tuple[np.ndarray, np.ndarray, np.ndarray | None]


@dataclass(frozen=True)
class Labels:
    """Labels of N sources with spectra.

    Attributes
    ----------
    source_id : ndarray, shape (N,)
    mean : ndarray, shape (N, D)
        Standardised latents.
    noise : ndarray, shape (N, D)
        Standard deviation of `mean` about the latents of the noise-free spectrum.
    group : ndarray, shape (N,)
        Group of each source; a group is never split between training and test.
    weight : ndarray, shape (N,)
        Number of sources of the sky that one stands for, up to a factor.
    sampled : ndarray, shape (N,), or None
        The weights before those of selection (`like`); None without these.
    redshift : ndarray, shape (N,), or None
        Redshifts to be learnt beside the latents, NaN where unknown; None: they are not.
    position : tuple of two ndarrays, shape (N,), or None
        Ra and dec [deg, ICRS] in the catalog; None without one.
    about : dict of ndarray, shape (N,)
        Further columns of the catalog.
    measured : dict of ndarray, shape (N,)
        Proxies measured on the spectra themselves.
    left_out : dict of int
        Number of rows that were read and left out, by the reason.
    simulated : bool
        Whether a file's footer states that its images are simulated.
    selection : SelectionRecord or None
        How the weights of selection were made.
    aperture : float or None
        Diameter of the fiber that the spectra were taken with [arcsec], if the file states it.
    """

    source_id: np.ndarray
    mean: np.ndarray
    noise: np.ndarray
    group: np.ndarray = None  # type: ignore[assignment]
    weight: np.ndarray = None  # type: ignore[assignment]
    sampled: np.ndarray | None = None
    redshift: np.ndarray | None = None
    position: tuple[np.ndarray, np.ndarray] | None = None
    about: dict[str, np.ndarray] = field(default_factory=dict)
    measured: dict[str, np.ndarray] = field(default_factory=dict)
    left_out: dict[str, int] = field(default_factory=dict)
    simulated: bool = False
    selection: SelectionRecord | None = None
    aperture: float | None = None

    def __post_init__(self) -> None:
        if self.group is None:
            object.__setattr__(self, "group", self.source_id)
        if self.weight is None:
            object.__setattr__(self, "weight", np.ones(len(self.source_id)))
        ids, counts = np.unique(self.source_id.astype(str), return_counts=True)
        if (counts > 1).any():
            raise SpectrumError(
                f"labels: source '{ids[counts > 1][0]}' has {counts[counts > 1][0]} rows, expected "
                "one. Keep one row of each source."
            )

    def __len__(self) -> int:
        return len(self.source_id)

    @property
    def sha256(self) -> str:
        """A hash of latents, noise, groups, weights and redshifts, whatever the rows' order."""
        ids = self.source_id.astype(str)
        order = np.argsort(ids, kind="stable")
        digest = hashlib.sha256("\n".join(ids[order]).encode())
        digest.update("\n".join(self.group.astype(str)[order]).encode())
        more = (each for each in (self.redshift, self.sampled) if each is not None)
        for values in (self.mean, self.noise, self.weight, *more):
            digest.update(np.ascontiguousarray(values[order], dtype=np.float64).tobytes())
        return digest.hexdigest()

    # ------------------------------------------------------------------ making

    @classmethod
    def of_latents(cls, path: Path, decoder: Decoder, decoder_file: Path | None = None) -> Labels:
        """The latents in a table as `targetsel spectra encode` writes it, in any format.

        It has the columns `source_id`, `latent_mean` and perhaps `latent_std`, without which the
        noise is 0. Rows without latents are left out.

        Raises
        ------
        SpectrumError
            If the file is not such a one, holds NaN, or names another decoder than the one in
            `decoder_file`.
        """
        with table_reader(path, SpectrumError) as file:
            table = LATENTS.read(file)
        footer = footer_in(table.schema.metadata)
        if "ensemble" in footer:
            raise SpectrumError(
                f"{path}: its latents are predictions of an ensemble, not measured on spectra. "
                "Give a file that 'targetsel spectra encode' wrote."
            )
        known = footer.get("decoder_sha256")
        if known and decoder_file and known != sha256_of_file(decoder_file):
            raise SpectrumError(
                f"{path}: its latents are those of another decoder than {decoder_file}. Encode "
                "the spectra again with this one."
            )
        mean = _vectors(table["latent_mean"], f"{path}, column 'latent_mean'", decoder.n_latents)
        noise = np.zeros_like(mean)
        if "latent_std" in table.column_names:
            noise = _vectors(table["latent_std"], f"{path}, column 'latent_std'", mean.shape[1])
        there = ~np.isnan(mean).all(axis=1)
        ids = _ids(table["source_id"], path)
        for name, good, what in (
            ("latent_mean", np.isfinite(mean), "NaN or infinite"),
            ("latent_std", np.isfinite(noise) & (noise >= 0), "NaN, infinite or negative"),
        ):
            bad = there & ~good.all(axis=1)
            if bad.any():
                raise SpectrumError(
                    f"{path}, column '{name}': {what} for {counted(int(bad.sum()), 'source')}, the "
                    f"first is '{ids[bad][0]}'. Leave these rows out, or their latents empty."
                )
        left_out = {"without latents": int((~there).sum())}
        return cls(
            ids[there],
            mean[there],
            noise[there],
            left_out=left_out,
            simulated=says_simulated(footer),
            aperture=aperture_in(footer),
        )

    @classmethod
    def of_spectra(
        cls, path: Path, decoder: Decoder, seed: int = 0, column: str = "flux"
    ) -> Labels:
        """The latents of spectra on the rest-frame grid, encoded.

        A label's noise is the latents' `scatter_under_noise` for the spectrum's inverse variance,
        with random numbers that follow from seed and id. Spectra that cannot be encoded are left
        out.

        Parameters
        ----------
        path : Path
            Parquet or .npz with `source_id`, `flux` (N, 1000) and perhaps `ivar`.
        column : str
            Column of the fluxes; any other than `flux` is taken as noise-free.

        Raises
        ------
        SpectrumError
            If the file is missing, damaged or lacks a column, or no spectrum can be encoded.
        """
        with one_thread():
            encoded = [_encoded(piece, decoder, seed) for piece in _pieces(Path(path), column)]
        n_bad = sum(each.left_out["unusable spectra"] for each in encoded)
        encoded = [each for each in encoded if len(each)]
        if not encoded:
            raise SpectrumError(
                f"{path}: none of its {n_bad} spectra can be encoded. Mask bad pixels by an "
                "inverse variance of 0, or give other spectra."
            )
        ids, mean, noise = (
            np.concatenate([getattr(each, name) for each in encoded])
            for name in ("source_id", "mean", "noise")
        )
        names = encoded[0].measured
        measured = {n: np.concatenate([each.measured[n] for each in encoded]) for n in names}
        left_out = {"unusable spectra": n_bad}
        footer = footer_if_any(Path(path))
        return cls(
            ids,
            mean,
            noise,
            measured=measured,
            left_out=left_out,
            simulated=says_simulated(footer),
            aperture=aperture_in(footer),
        )

    # ------------------------------------------------------------------ joining

    def take(self, rows: np.ndarray) -> Labels:
        """Some of the sources, by indices."""
        arrays: dict[str, Any] = {name: getattr(self, name)[rows] for name in _ARRAYS}
        for name in ("about", "measured"):
            arrays[name] = {key: values[rows] for key, values in getattr(self, name).items()}
        if self.position is not None:
            arrays["position"] = self.position[0][rows], self.position[1][rows]
        for name in ("redshift", "sampled"):
            if (values := getattr(self, name)) is not None:
                arrays[name] = values[rows]
        return replace(self, **arrays)

    def with_catalog(
        self, catalog: Catalog, group: str | None = None, place: Path | str = "the catalog"
    ) -> Labels:
        """The same labels with groups, weights and further columns of a catalog.

        Parameters
        ----------
        group : str, optional
            Column of the groups. Default: `group_id` if it exists, or a group for each source.
            The column `weight`, if it exists, has the weights. Sources that are not in the
            catalog, or have no weight, are left out.
        place : Path or str
            Name of the catalog, for errors.

        Raises
        ------
        CatalogError
            If the catalog lacks the column `group`, or the weights are invalid.
        """
        rows = joined(self.source_id, catalog.source_id, "labels", place)
        ours = self.take(np.flatnonzero(rows >= 0))
        sources = catalog.take(rows[rows >= 0])
        table, names = sources.table, sources.table.column_names
        groups = groups_of(table, group, place)
        groups = ours.source_id if groups is None else groups
        weight = weights_of(table, place)
        weight = ours.weight if weight is None else weight
        about = {
            name: np.asarray(table[name].to_numpy(), dtype=np.float64)
            for name in names
            if is_number(table.schema.field(name).type)
        }
        left_out = {"not in the catalog": int((rows < 0).sum()), "of weight 0": sum(weight == 0)}
        left_out = ours.left_out | {reason: int(count) for reason, count in left_out.items()}
        found = replace(
            ours,
            group=groups,
            weight=weight,
            position=(sources.ra, sources.dec),
            about=about,
            left_out=left_out,
        )
        return found.take(np.flatnonzero(weight > 0))

    def with_redshifts(self) -> Labels:
        """The labels of sources with a redshift in the catalog, which is to be learnt too.

        It is the catalog's first column of those that usually hold redshifts (`photoz.COLUMNS`).
        If there is none, or none of its numbers is a redshift, the labels as they are.
        """
        columns = {name.lower(): values for name, values in self.about.items()}
        name = next((name for name in COLUMNS if name in columns), None)
        if name is None:
            return self
        redshift = known_redshifts(columns[name])
        known = np.isfinite(redshift)
        if not known.any():
            return self
        left_out = self.left_out | {"without a redshift": int((~known).sum())}
        found = replace(self, redshift=redshift, left_out=left_out)
        return found.take(np.flatnonzero(known))

    def like(
        self, target: CatalogFile, catalog: Catalog, place: Path | str = "the catalog"
    ) -> Labels:
        """The labels with weights that make them like the sources of a target catalog.

        Parameters
        ----------
        target : CatalogFile
        catalog : Catalog
            Has the labelled sources' brightness. Those without one, and those that no source of
            the target catalog is like, are left out.
        place : Path or str
            Name of this catalog, for errors.

        Raises
        ------
        CatalogError
            As `weights_like`.
        """
        rows = joined(self.source_id, catalog.source_id, "labels", place)
        found = self.take(np.flatnonzero(rows >= 0))
        table = catalog.table.take(pa.array(rows[rows >= 0]))
        weights = weights_like(target, table, found.source_id, found.weight, place)
        n_without = int((weights.weight == 0).sum())
        left_out = self.left_out | {f"unlike all sources of {weights.record.like}": n_without}
        found = replace(
            found,
            weight=weights.weight,
            sampled=found.weight,
            left_out=left_out,
            selection=weights.record,
        )
        return found.take(np.flatnonzero(weights.weight > 0))

    def targets(self, scale: RedshiftScale | None) -> tuple[np.ndarray, np.ndarray]:
        """What networks learn and its noise, each (N, D): latents, and the redshift on its scale.

        Without a scale they are the latents alone.
        """
        if scale is None:
            return self.mean, self.noise
        assert self.redshift is not None
        last = scale.standardised(self.redshift)
        return np.column_stack([self.mean, last]), np.column_stack([self.noise, 0 * last])

    def in_store(self, given: AnyStore) -> Labels:
        """The labels of sources that have inputs, in the order of their store, by its ids.

        Raises
        ------
        SpectrumError
            If there are none, or a latent is the same for all of them.
        """
        store = InputsById.of(given)
        what = "embedding" if store.cutouts is None else "cutout"
        ids = store.source_ids()
        rows = matched(ids, self.source_id)
        if not (rows >= 0).any():
            ours = self.source_id[0] if len(self) else "none"
            raise SpectrumError(
                f"{store.path}: none of its {len(ids)} sources (the first is '{ids[0]}') is among "
                f"the {len(self)} with labels (the first is '{ours}'). Use the same ids for both."
            )
        found, ids_found = self.take(rows[rows >= 0]), ids[rows >= 0]
        apart = (found.group.astype(str) == found.source_id.astype(str)).all()
        found = replace(
            found,
            source_id=ids_found,
            group=ids_found if apart else found.group,  # in the store's type, for the split's hash
            simulated=self.simulated or store.simulated,
        )
        scatter = found.mean.std(axis=0)
        if (scatter < SMALLEST_SCATTER).any():
            number = int(np.argmin(scatter))
            raise SpectrumError(
                f"labels: latent {number} is {found.mean[0, number]:g} for all {len(found)} "
                "sources, so there is nothing to learn. Look at the spectra and the decoder."
            )
        left_out = found.left_out | {
            f"labels without {what}": self.left_out.get(f"labels without {what}", 0)
            + len(self)
            - len(found),
            f"{what}s without label": len(ids) - len(found),
        }
        return replace(found, left_out=left_out)


_ARRAYS = ("source_id", "mean", "noise", "group", "weight")


# ---------------------------------------------------------------------- encoding


def _encoded(piece: Piece, decoder: Decoder, seed: int) -> Labels:
    """The labels of some spectra; those that cannot be encoded are counted."""
    ids, flux, ivar = piece
    good = _usable(flux, ivar)
    n_bad = int((~good).sum())
    ids, flux = ids[good], flux[good]
    if not len(ids):
        nothing = np.zeros((0, decoder.n_latents))
        return Labels(ids, nothing, nothing, left_out={"unusable spectra": n_bad})
    if ivar is None:
        spectra = TrainingSpectra.of(flux)
    else:
        ivar = np.where(np.isfinite(ivar[good]), ivar[good], 0.0)
        flux = np.where(ivar > 0, flux, 0.0)
        redshift = np.zeros(len(ids))
        spectra = TrainingSpectra.measured(MeasuredSpectra(ids, redshift, flux, ivar))
    mean, _ = decoder.encode(spectra.flux)
    noise = np.zeros_like(mean)
    if spectra.ivar is not None:
        noise = scatter_under_noise(ids, spectra.flux, spectra.ivar, decoder, seed)
    proxies = measure(Spectra(ids, spectra.flux[:, None].astype(np.float64), wavelengths()))
    measured = {name: proxies[name][:, 0] for name in proxies.names}
    return Labels(ids, mean, noise, measured=measured, left_out={"unusable spectra": n_bad})


def _usable(flux: np.ndarray, ivar: np.ndarray | None) -> np.ndarray:
    """Spectra with light, and without NaN in measured pixels: boolean mask, shape (N,)."""
    seen = np.full(flux.shape, True) if ivar is None else np.isfinite(ivar) & (ivar > 0)
    good = (np.isfinite(flux) | ~seen).all(axis=1)
    measured = np.where(seen & np.isfinite(flux), flux, 0.0)
    with np.errstate(over="ignore"):
        norm = np.square(measured).sum(axis=1)
    good &= np.isfinite(norm) & (norm > 0)
    if ivar is not None:
        good &= (np.nan_to_num(ivar) >= 0).all(axis=1) & (measured @ Basis.shipped().mean > 0)
    return good


# ---------------------------------------------------------------------- reading


def _pieces(path: Path, column: str) -> Iterator[Piece]:
    """The spectra of a file, in pieces of some rows."""
    return (_npz_pieces if path.suffix.lower() == ".npz" else _table_pieces)(path, column)


def _table_pieces(path: Path, column: str) -> Iterator[Piece]:
    if not may_hold_lists(path):
        raise SpectrumError(
            f"{path}: expected a table in Parquet, FITS, VOTable or ECSV, or .npz, with source_id, "
            f"flux (N, {N_PIXELS}) and perhaps ivar. Bring other spectra to latents with "
            "'targetsel spectra encode'."
        )
    with table_reader(path, SpectrumError) as file:
        wanted = _wanted(path, file.schema.names, column)
        for batch in file.batches(SPECTRA_AT_ONCE, wanted):
            flux, *ivar = (
                _vectors(batch[name], f"{path}, column '{name}'", N_PIXELS) for name in wanted[1:]
            )
            yield _ids(batch["source_id"], path), flux, ivar[0] if ivar else None


def _npz_pieces(path: Path, column: str) -> Iterator[Piece]:
    wanted = _wanted(path, names_in_npz(path, SpectrumError), column)
    keys, *numbers = read_npz(path, wanted, SpectrumError).values()
    with reading(path, SpectrumError, "an .npz file"):
        keys = pa.array(keys.ravel().astype(keys.dtype.newbyteorder("=")))
    for name, values in zip(wanted[1:], numbers, strict=True):
        if values.shape != (len(keys), N_PIXELS) or values.dtype.kind not in "fiu":
            raise SpectrumError(
                f"{path}: '{name}' has shape {values.shape} and holds {values.dtype}, expected "
                f"numbers of shape ({len(keys)}, {N_PIXELS}) on the rest-frame grid"
            )
    ids = _ids(keys, path)
    for start in range(0, len(ids), SPECTRA_AT_ONCE):
        flux, *ivar = (v[start : start + SPECTRA_AT_ONCE].astype(np.float64) for v in numbers)
        yield ids[start : start + SPECTRA_AT_ONCE], flux, ivar[0] if ivar else None


def _ids(column: pa.ChunkedArray | pa.Array, path: Path) -> np.ndarray:
    ids = exact_ids(column, "source_id", path, SpectrumError)
    if ids.null_count:
        raise SpectrumError(
            f"{path}, column 'source_id': no id in {counted(ids.null_count, 'row')}. Remove them."
        )
    return ids.to_numpy(zero_copy_only=False)


def _wanted(path: Path, names: list[str], column: str) -> list[str]:
    for name in ("source_id", column):
        if name not in names:
            raise SpectrumError(
                f"{path}: no '{name}' among {', '.join(names)}.{did_you_mean(name, names)}"
            )
    for name in ("source_id", column, "ivar"):
        if names.count(name) > 1:
            raise SpectrumError(f"{path}: has several columns '{name}', expected one")
    if "redshift" in names and "wavelength" in names:
        raise SpectrumError(
            f"{path}: holds observed spectra (it has wavelength and redshift). Encode them with "
            "'targetsel spectra encode', and give the result as latents."
        )
    has_ivar = column == "flux" and "ivar" in names
    if column == "flux" and not has_ivar:
        check_no_errors(path, names)
    return ["source_id", column, *(["ivar"] if has_ivar else [])]


def _vectors(column: pa.ChunkedArray | pa.Array, place: str, length: int) -> np.ndarray:
    """A column of lists as an array (N, length) of float64; a null is a row of NaN."""
    if not is_list(column.type) or not is_number(column.type.value_type):
        raise SpectrumError(
            f"{place}: holds {held(column.type)}; expected lists of {length} numbers."
        )
    try:
        values = matrix(column)
    except ValueError as error:
        raise SpectrumError(f"{place}: holds {error}; expected {length}.") from None
    if column.null_count == len(column):
        return np.full((len(column), length), np.nan)
    if values.shape[1] != length:
        raise SpectrumError(
            f"{place}: holds lists of {values.shape[1]} numbers; expected {length}."
        )
    return values


# ---------------------------------------------------------------------- columns of a catalog


def groups_of(
    table: pa.Table, name: str | None = None, place: Path | str = "the catalog"
) -> np.ndarray | None:
    """The group of each of a catalog's sources, shape (N,); None if it has no groups.

    Parameters
    ----------
    table : pa.Table
    name : str, optional
        Column of the groups, which must be there. Default: `GROUP_COLUMN` if it is.
    place : Path or str
        Name of the catalog, for errors.

    Raises
    ------
    CatalogError
        If there is no such column, it can hold no groups, or a source has none.
    """
    if name is None and GROUP_COLUMN not in table.column_names:
        return None
    name = name or GROUP_COLUMN
    if name not in table.column_names:
        raise CatalogError(
            f"{place}: no column '{name}' to group by.{close_or_known(name, table.column_names)}"
        )
    column = exact_ids(table[name], name, place)
    if column.null_count:
        n = counted(column.null_count, "source")
        raise CatalogError(f"{place}, column '{name}': no group for {n}. Give every source one.")
    return column.to_numpy(zero_copy_only=False)
