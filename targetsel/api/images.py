"""Images packed into cutout stores, and drawn."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np

from targetsel.api.given import AnyCutouts, AnyPath, store_of
from targetsel.api.reading import images_in
from targetsel.errors import CutoutError
from targetsel.remote.copies import copies, with_addresses
from targetsel.tables.any_form import AnyTable, is_path, paths_in

if TYPE_CHECKING:
    from targetsel.imaging.cutout import Cutouts
    from targetsel.imaging.folder import Folder
    from targetsel.imaging.store import CutoutStore, Encoding, Packed
    from targetsel.sky.catalog import CatalogFile

# Gives the ids of a catalog, and whether the cutout of each is needed; arrays of shape (N,).
NeededSources: TypeAlias = "Callable[[], tuple[np.ndarray, np.ndarray]]"


@with_addresses("output")
def pack(
    images: AnyPath | Folder | Cutouts,
    catalog: AnyTable,
    output: AnyPath,
    *,
    survey: str | None = None,
    bands: str | None = None,
    pixel_scale: float | None = None,
    size: int | None = None,
    zeropoint: float | None = None,
    encoding: Literal["asinh", "float32"] = "asinh",
    ra_col: str | None = None,
    dec_col: str | None = None,
    id_col: str | None = None,
) -> CutoutStore:
    """Pack images into a cutout store, as `targetsel cutouts pack` does.

    The store of a HATS catalog is partitioned as the catalog, a file for each partition, so that
    scoring a partition opens its own file alone. Where such a run is stopped, the same call goes on
    with the partitions that are missing.

    Parameters
    ----------
    images : str, Path, Folder or Cutouts
        A folder of FITS or .npy files named by their sources' ids; the catalog itself, where it
        has images in a column `image`, as the Multimodal Universe has them; its earlier folders
        ``healpix=NNNN`` of HDF5 files, which the extra "hdf5" reads; or cutouts in memory.
    catalog : str, Path or table
        Ids and positions [deg, ICRS] of the sources.
    output : str or Path
        The folder of the store.
    survey : str, optional
        Survey of the images, such as "hsc". Its card gives bands, pixel scale and zero point where
        neither the files nor the options do, and the bits of masks in FITS files that make a pixel
        unusable. Images of other bands or pixels are refused.
    bands : str, optional
        Bands in their order, such as "grizy".
    pixel_scale : float, optional
        [arcsec]
    size : int, optional
        Width and height to keep [pixel].
    zeropoint : float, optional
        AB magnitude of one count, for files that do not give it.
    encoding : "asinh" or "float32"
        Pixels as 16-bit asinh steps of an eighth of the sky sigma, or exactly.
    ra_col, dec_col, id_col : str, optional
        Names of columns of the catalog that are not found by themselves.

    Returns
    -------
    CutoutStore
        Its `run` counts the sources with and without an image.

    Raises
    ------
    CutoutError
        If the images cannot be used, are none of `survey`, or none is of a source of the catalog.
    CatalogError
        If the catalog cannot be read, has no column of ids or positions, or repeats an id.
    OutputError
        If `output` cannot be written, or is there and no cutout store.
    ExtraError
        If the images are in HDF5 files, and h5py is not installed.

    See Also
    --------
    fetch_cutouts : Fetch cutouts from a survey.
    score : Takes the store, or the folder of images itself.
    show_cutouts : Draw some of them.

    Examples
    --------
    >>> import targetsel as ts
    >>> store = ts.pack("images", "catalog.parquet", "my-store")
    >>> store.run.written
    5
    """
    from targetsel.imaging.folder import Folder
    from targetsel.imaging.hdf5_images import Hdf5Images, files_in
    from targetsel.imaging.nested_images import NestedImages, has_rows
    from targetsel.imaging.store import ASINH, FLOAT, CutoutStore
    from targetsel.imaging.survey_images import check_of_survey
    from targetsel.photometry.bands import parse_bands
    from targetsel.surveys.registry import find_card

    given: Any = images
    known = None if survey is None else find_card(survey)
    if is_path(images):
        named = parse_bands(bands) if bands is not None else None
        place, options = Path(str(images)), (named, pixel_scale, size, zeropoint)
        if known is not None and zeropoint is None:
            options = (named, pixel_scale, size, known.zeropoint)
        if files_in(place):
            given = Hdf5Images.open(place, *options)
        elif has_rows(place):
            _check_same(place, catalog)
            given = NestedImages.open(
                place, *options, {"ra_col": ra_col, "dec_col": dec_col, "id_col": id_col}
            )
        else:
            given = Folder.open(place, named, pixel_scale, size, zeropoint, known)
    if known is not None:
        check_of_survey(
            images if is_path(images) else "the images",
            given.bands,
            None if pixel_scale else given.pixel_scale,
            known,
        )
    columns = (ra_col, dec_col, id_col)
    kept_as = FLOAT if encoding == "float32" else ASINH
    packed = _pack(given, catalog, Path(output), kept_as, *columns)
    store = CutoutStore.open(Path(output))
    store.run = packed
    return store


def _pack(
    images: Any, catalog: AnyTable, path: Path, encoding: Encoding, *columns: str | None
) -> Packed:
    from targetsel.imaging.cutout import Cutouts
    from targetsel.imaging.packing import pack, pack_cutouts
    from targetsel.imaging.partitioned_packing import pack_partitions
    from targetsel.sky.catalog import Catalog, CatalogFile
    from targetsel.tables.hats import HatsCatalog
    from targetsel.tables.hats_properties import is_hats

    if isinstance(images, Cutouts):
        return pack_cutouts(images, Catalog.read(catalog, *columns), path, encoding)
    if (places := paths_in([catalog])) and is_hats(places[0]):
        named = dict(zip(("ra_col", "dec_col", "id_col"), columns, strict=True))
        return pack_partitions(images, HatsCatalog.open(places[0]), path, encoding, named)
    sources = CatalogFile.open(catalog, *columns)
    pieces = sources.batches(images.rows_per_piece)
    return pack(images, pieces, path, images.sky_sigma(), encoding)


def is_catalog_itself(cutouts: object, catalog: AnyTable) -> bool:
    """Whether the cutouts of a catalog are the images inside of it."""
    return any(
        each.resolve() == one.resolve()
        for each in paths_in([catalog])
        for one in paths_in([cutouts])
    )


def _check_same(images: Path, catalog: AnyTable) -> None:
    """Refuse images inside a catalog for the sources of another one."""
    if not is_catalog_itself(images, catalog):
        raise CutoutError(
            f"{images}: is a table; the images inside a catalog are packed for that catalog alone. "
            "Name it as the catalog too, or name a folder of images."
        )


@with_addresses("output")
def show_cutouts(
    cutouts: AnyPath | CutoutStore,
    output: AnyPath,
    *,
    source_ids: Sequence[int | str] = (),
    number: int = 16,
) -> Cutouts:
    """Draw a colour picture of some cutouts, as `targetsel cutouts show` does.

    Parameters
    ----------
    cutouts : CutoutStore, str or Path
    output : str or Path
        PNG file to write.
    source_ids : sequence of int or str
        Sources to show; by default the first ones.
    number : int
        Number of sources to show where none are named.

    Returns
    -------
    Cutouts
        Those that are drawn.

    Raises
    ------
    CutoutError
        If the store cannot be read, or lacks a source that is named.
    OutputError
        If the picture cannot be written.
    ExtraError
        If matplotlib is not installed.

    See Also
    --------
    show : Draw what is predicted of a source, too.
    pack : Makes the store.

    Examples
    --------
    >>> import targetsel as ts
    >>> shown = ts.show_cutouts("cutouts", "two.png", source_ids=[119, 7])
    >>> shown.source_id.tolist()
    [119, 7]
    """
    from targetsel.imaging.picture import draw_store
    from targetsel.tables.files import check_output

    store = store_of(cutouts)
    check_output(Path(output), [store.path])
    return draw_store(store, Path(output), [str(each) for each in source_ids], number)


@contextlib.contextmanager
def as_store(
    cutouts: AnyCutouts,
    catalog: CatalogFile,
    needed: NeededSources | None = None,
    zeropoint: float | None = None,
) -> Iterator[CutoutStore]:
    """Cutouts in any form as a store; images are packed in a temporary folder, as `pack` does.

    Of images, those of needed sources alone are read and packed. `needed` gives the ids of the
    catalog, and whether each source is; by default all are. The `zeropoint` is that of one count
    of images in the catalog that do not say it.
    """
    from targetsel.imaging.store import FLOAT, CutoutStore

    given: Any = cutouts
    if is_catalog_itself(cutouts, catalog):
        with tempfile.TemporaryDirectory(prefix="targetsel-") as folder:
            path = Path(folder) / "cutouts"
            _pack_inside(catalog, path, needed, zeropoint)
            yield CutoutStore.open(path)
        return
    if is_path(cutouts):
        place = Path(str(cutouts))
        given = images_in(place) if place.is_dir() else None
        given = given or CutoutStore.open(place)
    if isinstance(given, CutoutStore):
        yield given
        return
    if needed is not None:
        given = _only_needed(given, *needed())
    with tempfile.TemporaryDirectory(prefix="targetsel-") as folder:
        path = Path(folder) / "cutouts"
        _pack(given, catalog, path, FLOAT)
        yield CutoutStore.open(path)


def _pack_inside(
    catalog: CatalogFile, path: Path, needed: NeededSources | None, zeropoint: float | None
) -> None:
    """Pack the images in a catalog: of needed sources, and of the first, as no store is empty."""
    from targetsel.imaging.nested_images import NestedImages
    from targetsel.imaging.packing import of_needed, pack
    from targetsel.imaging.store import FLOAT

    roles = {"ra_col": "ra", "dec_col": "dec", "id_col": "source_id"}
    columns = {option: catalog.columns[role] for option, role in roles.items()}
    images = NestedImages.open(Path(catalog.path), zeropoint=zeropoint, columns=columns)
    if needed is None:
        _pack(images, catalog, path, FLOAT, *columns.values())
        return
    source_ids, chosen = needed()
    chosen = chosen | (source_ids.astype(str) == images.first)
    pieces = of_needed(catalog.batches(images.rows_per_piece), source_ids, chosen)
    pack(images, pieces, path, images.sky_sigma(), FLOAT)


def _only_needed(
    images: Folder | Cutouts, source_ids: np.ndarray, needed: np.ndarray
) -> Folder | Cutouts:
    """The images of needed sources; of one other source if none has any, as no store is empty."""
    from targetsel.imaging.folder import Folder

    own = list(images.files) if isinstance(images, Folder) else list(map(str, images.source_id))
    held = {*own}
    some = {name for name in map(str, source_ids[needed]) if name in held}
    some = some or {*[name for name in map(str, source_ids) if name in held][:1]}
    if not some:
        return images  # which packing refuses, and says why
    if isinstance(images, Folder):
        return images.only([name for name in own if name in some])
    return images.take(np.array([name in some for name in own]))


def usual_cutouts(catalog: AnyTable, **columns: str | None) -> Path:
    """The folder cutouts beside the file of a catalog; else the catalog, if it has images inside.

    Raises
    ------
    CatalogError
        If the catalog cannot be read.
    CutoutError
        If there is neither.
    """
    for path in paths_in([catalog]):
        beside = copies.with_beside(path.parent / "cutouts")
        if beside.exists():
            return beside
        if _has_images(catalog, path, columns):
            return path
        raise CutoutError(f"{beside}: no cutout store there. Name one with --cutouts.")
    raise CutoutError("no cutouts beside the catalog. Name them as the second argument.")


def _has_images(catalog: AnyTable, path: Path, columns: Mapping[str, str | None]) -> bool:
    from targetsel.imaging.nested_images import has_images
    from targetsel.partitions.remote_parts import opened, whole_of
    from targetsel.sky.catalog import CatalogFile

    if not isinstance(catalog, CatalogFile):
        catalog = whole_of(opened(path), columns)
    return has_images(catalog.schema)
