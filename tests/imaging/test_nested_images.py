"""Images inside a catalog, in both ways that they are nested.

The files here are built to the published layout of the Multimodal Universe; none is a real one.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import targetsel as ts
from targetsel.errors import CutoutError
from targetsel.imaging import nested_images
from targetsel.imaging.nested_images import NestedImages, without_images
from targetsel.sky.catalog import CatalogFile

N, SIZE, BANDS = 12, 10, ("des-g", "des-r", "des-z")
PIXELS = pa.list_(pa.list_(pa.float32()))
ENTRY = [("band", pa.string()), ("flux", PIXELS), ("mask", pa.list_(pa.list_(pa.bool_()))),
         ("ivar", PIXELS), ("psf_fwhm", pa.float32()), ("scale", pa.float32())]  # fmt: skip


@pytest.fixture
def flux():
    return np.random.default_rng(1).normal(size=(N, 3, SIZE, SIZE)).astype(np.float32)


def entries(flux):
    """The bands of each source, as a list of dictionaries."""
    return [
        [
            {
                "band": band,
                "flux": plane.tolist(),
                "mask": np.ones(plane.shape, bool).tolist(),
                "ivar": np.ones(plane.shape).tolist(),
                "psf_fwhm": 1.2,
                "scale": 0.262,
            }
            for band, plane in zip(BANDS, planes, strict=True)
        ]
        for planes in flux
    ]


def catalog(images, kind="list of structs", unit="nanomaggy"):
    rng = np.random.default_rng(2)
    if kind == "list of structs":
        column = pa.array(images, pa.list_(pa.struct(ENTRY)))
    else:
        lists = [
            None if each is None else {name: [one[name] for one in each] for name, _ in ENTRY}
            for each in images
        ]
        column = pa.array(lists, pa.struct([(name, pa.list_(kind)) for name, kind in ENTRY]))
    field = pa.field("image", column.type, metadata={"unit": unit} if unit else None)
    columns = [
        pa.array([f"{row:03d}-7" for row in range(N)]),
        pa.array(rng.uniform(0, 360, N)),
        pa.array(rng.uniform(-60, 60, N)),
        column,
    ]
    names = [pa.field("object_id", pa.string()), pa.field("ra", pa.float64()),
             pa.field("dec", pa.float64()), field]  # fmt: skip
    return pa.table(columns, schema=pa.schema(names))


def packed(tmp_path, table, **options):
    pq.write_table(table, tmp_path / "sky.parquet")
    options = {"encoding": "float32", **options}
    return ts.pack(tmp_path / "sky.parquet", tmp_path / "sky.parquet", tmp_path / "c", **options)


@pytest.mark.parametrize("kind", ["list of structs", "struct of lists"])
def test_pixels_come_back_as_they_were_nested(tmp_path, flux, kind):
    images = entries(flux)
    images[3] = None
    store = packed(tmp_path, catalog(images, kind))
    assert (store.bands, store.pixel_scale, store.shape) == (("g", "r", "z"), 0.262, (3, 10, 10))
    ids = np.array([f"{row:03d}-7" for row in range(N)], dtype=object)
    got = store.read(ids)
    assert got.status.tolist() == ["ok"] * 3 + ["no cutout"] + ["ok"] * 8
    np.testing.assert_array_equal(np.delete(got.flux, 3, 0), np.delete(flux, 3, 0))
    assert (store.run.written, store.run.missing) == (N - 1, 1)


@pytest.mark.parametrize("kind", ["list of structs", "struct of lists"])
def test_partitions_hold_the_images_of_their_rows(tmp_path, flux, kind):
    pq.write_table(catalog(entries(flux), kind), tmp_path / "sky.parquet")
    ts.partition(tmp_path / "sky.parquet", tmp_path / "sky", rows=5)
    store = ts.pack(tmp_path / "sky", tmp_path / "sky", tmp_path / "c", encoding="float32")
    assert len(list((tmp_path / "c").rglob("Npix=*.parquet"))) > 2
    got = store.read(np.array([f"{row:03d}-7" for row in range(N)], dtype=object))
    np.testing.assert_array_equal(got.flux, flux)


def test_order_and_partitions_do_not_change_the_sky(tmp_path, flux, monkeypatch):
    monkeypatch.setattr(nested_images, "SKY_SOURCES", 4)
    table = catalog(entries(flux))
    pq.write_table(table.take(np.arange(N)[::-1]), tmp_path / "turned.parquet")
    pq.write_table(table, tmp_path / "sky.parquet")
    ts.partition(tmp_path / "sky.parquet", tmp_path / "few", rows=2)
    ts.partition(tmp_path / "sky.parquet", tmp_path / "many", rows=7)
    found = [
        NestedImages.open(tmp_path / name).sky_sigma().tolist()
        for name in ("sky.parquet", "turned.parquet", "few", "many")
    ]
    assert found == [found[0]] * 4


def test_columns_of_unusual_names_can_be_named(tmp_path, flux):
    table = catalog(entries(flux)).rename_columns(["mine", "a", "d", "image"])
    pq.write_table(table, tmp_path / "sky.parquet")
    names = {"id_col": "mine", "ra_col": "a", "dec_col": "d"}
    ts.partition(tmp_path / "sky.parquet", tmp_path / "sky", rows=5, **names)
    store = ts.pack(tmp_path / "sky", tmp_path / "sky", tmp_path / "c", **names)
    assert len(store) == N


def test_a_scored_catalog_has_no_images(tmp_path, flux):
    file = CatalogFile.open(catalog(entries(flux)))
    bare = without_images(file)
    assert bare.schema.names == ["object_id", "ra", "dec"]
    assert next(bare.batches(N)).table.column_names == bare.schema.names
    pictures = catalog(entries(flux)).drop_columns("image").append_column("image", [["a.png"] * N])
    assert "image" in without_images(CatalogFile.open(pictures)).schema.names


def test_pixels_without_weight_are_nan_and_masks_are_not_read(tmp_path, flux):
    images = entries(flux)
    images[0][1]["ivar"][2][5] = 0.0
    images[0][1]["mask"][4][4] = False
    store = packed(tmp_path, catalog(images))
    got = store.read(np.array(["000-7"], dtype=object)).flux[0]
    assert np.argwhere(np.isnan(got)).tolist() == [[1, 2, 5]]


def test_a_missing_band_is_a_lost_band(tmp_path, flux):
    images = entries(flux)
    del images[5][1]
    store = packed(tmp_path, catalog(images))
    assert store.read(np.array(["005-7"], dtype=object)).status.tolist() == ["lost band: r"]


def test_bands_and_size_can_be_chosen(tmp_path, flux):
    store = packed(tmp_path, catalog(entries(flux)), bands="zg", size=6)
    assert (store.bands, store.shape) == (("z", "g"), (2, 6, 6))
    got = store.read(np.array(["001-7"], dtype=object)).flux[0]
    np.testing.assert_array_equal(got, flux[1][[2, 0], 2:8, 2:8])


def test_a_zero_point_is_asked_for_where_no_unit_is_told(tmp_path, flux):
    with pytest.raises(CutoutError, match="Give --zeropoint"):
        packed(tmp_path, catalog(entries(flux), unit=""))
    store = packed(tmp_path, catalog(entries(flux), unit=""), zeropoint=25.0)
    got = store.read(np.array(["001-7"], dtype=object)).flux[0]
    np.testing.assert_allclose(got, flux[1] * 0.1, rtol=1e-6)


def _narrow(images):
    for each in images[7]:
        each["flux"], each["ivar"] = [row[:8] for row in each["flux"]], None


def _ragged(images):
    images[7][0]["flux"][3].append(1.0)


def _coarse(images):
    images[7][0]["scale"] = 0.5


def _other_weights(images):
    images[7][0]["ivar"].pop()


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (_narrow, r"has 10 x 8 pixels in g, expected at least 10 x 10"),
        (_ragged, r"its 10 rows have 10, 11 pixels"),
        (_coarse, r"its pixels are 0.5 arcsec in g, expected 0.262"),
        (_other_weights, r"its inverse variance has the shape \(9, 10\)"),
    ],
)
def test_images_of_another_shape_or_scale_are_named(tmp_path, flux, spoil, words):
    images = entries(flux)
    spoil(images)
    with pytest.raises(CutoutError, match=rf"source '007-7'.*{words}"):
        packed(tmp_path, catalog(images))


def test_bands_that_nobody_knows_are_named(tmp_path, flux):
    images = entries(flux)
    for each in images:
        for one in each:
            one["band"] = "wise-w1"
    with pytest.raises(CutoutError, match="its bands are wise-w1, wise-w1, wise-w1; expected"):
        packed(tmp_path, catalog(images))


def test_a_list_too_short_for_its_bands_is_named(tmp_path, flux):
    table = catalog(entries(flux), "struct of lists")
    lists = table["image"].to_pylist()
    lists[4]["flux"].pop()
    column = pa.array(lists, table.schema.field("image").type)
    table = table.set_column(3, table.schema.field("image"), column)
    with pytest.raises(CutoutError, match=r"source '004-7': 2 of flux for 3 bands"):
        packed(tmp_path, table)


def test_a_table_without_images_is_refused(tmp_path, flux):
    with pytest.raises(CutoutError, match="has no column 'image'"):
        packed(tmp_path, catalog(entries(flux)).drop_columns("image"))
    table = catalog(entries(flux)).drop_columns("image").append_column("image", [["a.png"] * N])
    with pytest.raises(CutoutError, match="is string; expected a list of structs"):
        packed(tmp_path, table)


def test_images_of_one_catalog_are_not_packed_for_another(tmp_path, flux):
    pq.write_table(catalog(entries(flux)), tmp_path / "sky.parquet")
    pq.write_table(catalog(entries(flux)), tmp_path / "other.parquet")
    with pytest.raises(CutoutError, match="packed for that catalog alone"):
        ts.pack(tmp_path / "sky.parquet", tmp_path / "other.parquet", tmp_path / "c")
