"""Images in HDF5 files. They are written here in the published layout; none is a real one."""

from __future__ import annotations

import sys

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import targetsel as ts
from targetsel.errors import CutoutError, ExtraError
from targetsel.imaging.hdf5_images import Hdf5Images

N, SIZE, BANDS = 12, 10, ("DES-G", "DES-R", "DES-Z")
IDS = [f"{row:03d}-7" for row in range(N)]


@pytest.fixture
def flux():
    return np.random.default_rng(1).normal(size=(N, 3, SIZE, SIZE)).astype(np.float32)


@pytest.fixture
def positions():
    rng = np.random.default_rng(2)
    return rng.uniform(0, 360, N), rng.uniform(-60, 60, N)


def write(path, rows, flux, positions, **changed):
    """A file of some sources, as the Multimodal Universe writes it; None leaves a data set out."""
    n = len(rows)
    data = {
        "object_id": np.array([IDS[row] for row in rows], dtype="S"),
        "ra": positions[0][rows],
        "dec": positions[1][rows],
        "image_array": flux[rows],
        "image_ivar": np.ones_like(flux[rows]),
        "image_mask": np.ones(flux[rows].shape, bool),
        "image_band": np.array([BANDS] * n, dtype="S"),
        "image_psf_fwhm": np.full((n, 3), 1.2, np.float32),
        "image_scale": np.full((n, 3), 0.262, np.float32),
        **changed,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        for name, values in data.items():
            if values is not None:
                file.create_dataset(name, data=values)


@pytest.fixture
def here(tmp_path, flux, positions, monkeypatch):
    """A folder with a catalog of all sources and images of all but one, in two parts of the sky."""
    monkeypatch.chdir(tmp_path)
    ra, dec = positions
    pq.write_table(pa.table({"object_id": IDS, "ra": ra, "dec": dec}), "catalog.parquet")
    write(tmp_path / "mmu/healpix=12/001-of-001.hdf5", [7, 2, 0, 5], flux, positions)
    others = [row for row in range(N) if row not in (7, 2, 0, 5, 3)]
    write(tmp_path / "mmu/healpix=1187/001-of-001.hdf5", others, flux, positions)
    return tmp_path


def packed(**options):
    options = {"encoding": "float32", "zeropoint": 22.5, **options}
    return ts.pack("mmu", "catalog.parquet", "c", **options)


def read(store, *rows):
    return store.read(np.array([IDS[row] for row in rows], dtype=object))


def test_pixels_are_those_of_the_files_and_a_source_without_any_has_no_cutout(here, flux):
    store = packed()
    assert (store.bands, store.pixel_scale, store.shape) == (("g", "r", "z"), 0.262, (3, 10, 10))
    got = read(store, *range(N))
    assert got.status.tolist() == ["ok"] * 3 + ["no cutout"] + ["ok"] * 8
    np.testing.assert_array_equal(np.delete(got.flux, 3, 0), np.delete(flux, 3, 0))
    assert (store.run.written, store.run.missing, store.run.elsewhere) == (N - 1, 1, 0)


def test_partitions_and_the_order_of_files_do_not_change_a_byte(here, flux, positions):
    store = packed()
    (here / "mmu").rename(here / "before")
    write(here / "mmu/all.h5", [row for row in range(N)[::-1] if row != 3], flux, positions)
    again = packed()
    assert again.sha256 == store.sha256
    ts.partition("catalog.parquet", "sky", rows=5)
    parts = ts.pack("mmu", "sky", "parts", encoding="float32", zeropoint=22.5)
    assert len(list((here / "parts").rglob("Npix=*"))) > 2
    np.testing.assert_array_equal(read(parts, *range(N)).flux, read(store, *range(N)).flux)


def test_bands_and_size_can_be_chosen(here, flux):
    store = packed(bands="zg", size=6)
    assert (store.bands, store.shape) == (("z", "g"), (2, 6, 6))
    np.testing.assert_array_equal(read(store, 1).flux[0], flux[1][[2, 0], 2:8, 2:8])


def test_pixels_without_weight_are_nan_and_masks_are_not_read(here, flux, positions):
    ivar, mask = np.ones_like(flux), np.ones(flux.shape, bool)
    ivar[0, 1, 2, 5], mask[0, 1, 4, 4] = 0, False
    write(here / "mmu/healpix=12/001-of-001.hdf5", [0], flux, positions, image_ivar=ivar[:1],
          image_mask=mask[:1])  # fmt: skip
    assert np.argwhere(np.isnan(read(packed(), 0).flux[0])).tolist() == [[1, 2, 5]]


def test_a_unit_comes_before_a_zero_point_and_one_of_both_is_needed(here, flux):
    with pytest.raises(CutoutError, match=r"001-of-001.hdf5: does not say what one count is worth"):
        packed(zeropoint=None)
    for each in (here / "mmu").rglob("*.hdf5"):
        with h5py.File(each, "a") as file:
            file["image_array"].attrs["unit"] = "uJy"
    np.testing.assert_allclose(read(packed(), 1).flux[0], flux[1] / 3.63078, rtol=1e-5)
    with h5py.File(each, "a") as file:
        file["image_array"].attrs["unit"] = "nanomaggy"
    with pytest.raises(CutoutError, match="mmu: its files have images in nanomaggy and uJy"):
        packed()


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"image_array": None}, "has no data set 'image_array'"),
        ({"object_id": None}, "has no data set 'object_id'"),
        ({"image_band": np.array([b"DES-G"])}, r"'image_band' has the shape \(1,\), expected"),
        ({"image_ivar": np.ones((1, 3, 10, 9))}, r"'image_ivar' has the shape \(1, 3, 10, 9\)"),
        ({"image_array": np.ones((1, 10, 10))}, r"'image_array' has the shape \(1, 10, 10\)"),
        ({"image_array": np.full((1, 3, 10, 10), b"x")}, r"'image_array' holds \|S1; expected num"),
        ({"image_scale": np.full((1, 3), 0.5)}, r"source '004-7': its pixels are 0.5 arcsec in g"),
        ({"object_id": np.array([b"000-7"])}, "source '000-7' is in .*healpix=1187.* too"),
    ],
)
def test_files_that_cannot_be_used_are_named(here, flux, positions, changed, words):
    write(here / "mmu/healpix=1187/001-of-001.hdf5", [4], flux, positions, **changed)
    with pytest.raises(CutoutError, match=words):
        packed()


def test_a_file_that_is_cut_short_is_named(here):
    path = here / "mmu/healpix=1187/001-of-001.hdf5"
    path.write_bytes(path.read_bytes()[:3000])
    with pytest.raises(CutoutError, match=r"healpix=1187/001-of-001.hdf5: not an HDF5 file, or"):
        packed()


def test_images_of_other_sources_are_refused(here):
    other = pa.table({"object_id": ["a", "b"], "ra": [1.0, 2.0], "dec": [0.0, 0.0]})
    pq.write_table(other, "catalog.parquet")
    with pytest.raises(CutoutError, match=r"mmu: has no image of a source of the catalog, whose"):
        packed()


def test_images_elsewhere_on_the_sky_are_counted(here, flux, positions):
    moved = np.array([positions[0][[4, 6]], positions[1][[4, 6]] + [0, 0.03]])
    write(here / "mmu/healpix=1187/001-of-001.hdf5", [4, 6], flux, positions, ra=moved[0],
          dec=moved[1])  # fmt: skip
    assert packed().run.elsewhere == 1


def test_without_h5py_one_line_says_how_to_install_it(here, monkeypatch):
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(ExtraError, match=r"needs h5py, .*pip install 'targetsel\[hdf5\]'"):
        Hdf5Images.open(here / "mmu")
