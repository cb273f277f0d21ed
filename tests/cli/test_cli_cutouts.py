import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from astropy.io import fits
from typer.testing import CliRunner

from targetsel.cli.cutouts import app
from targetsel.errors import CutoutError
from targetsel.imaging.store import CutoutStore

IDS = np.arange(5) + 1_237_658_802_572_296_399


def run(*arguments):
    """Run `targetsel cutouts`; its output, or its own error raised."""
    result = CliRunner().invoke(app, [str(word) for word in arguments])
    if isinstance(result.exception, Exception):
        raise result.exception
    return " ".join(result.output.split())


@pytest.fixture
def images(tmp_path):
    """A folder with cubes of four sources, and a catalog of five."""
    rng = np.random.default_rng(0)
    (tmp_path / "images").mkdir()
    for source_id in IDS[:4]:
        header = fits.Header({"BANDS": "gri", "BUNIT": "nanomaggy"})
        data = rng.normal(0, 0.01, (3, 16, 16)).astype(np.float32)
        fits.PrimaryHDU(data, header).writeto(tmp_path / "images" / f"{source_id}.fits")
    columns = {"source_id": IDS, "ra": np.linspace(10, 11, 5), "dec": np.linspace(-1, 1, 5)}
    pq.write_table(pa.table(columns), tmp_path / "catalog.parquet")
    return tmp_path


def pack(images, *more):
    return run(
        "pack", images / "images", "-o", images / "store", "--catalog", images / "catalog.parquet",
        "--pixel-scale", "0.25", *more,
    )  # fmt: skip


def test_packing_a_folder_makes_a_store_and_counts_what_is_missing(images):
    said = pack(images)
    assert "4 cutouts of 16 x 16 pixels in g, r, i written to" in said
    assert f"found in {images / 'images'}: 4 of 5 sources in" in said
    assert "left out" not in said
    store = CutoutStore.open(images / "store")
    got = store.read(IDS)
    assert got.status.tolist() == ["ok"] * 4 + ["no cutout"]
    plain = fits.getdata(images / "images" / f"{IDS[2]}.fits")
    np.testing.assert_allclose(got.flux[2], plain, atol=0.0007)
    assert store.sky_sigma == pytest.approx([0.01] * 3, rel=0.3)


def test_options_choose_bands_size_and_encoding(images):
    pack(images, "--bands", "ig", "--size", "8", "--encoding", "float32")
    store = CutoutStore.open(images / "store")
    assert (store.bands, store.shape, store.layout.encoding) == (("i", "g"), (2, 8, 8), "float32")
    plain = fits.getdata(images / "images" / f"{IDS[2]}.fits")
    np.testing.assert_array_equal(store.read(IDS[2:3]).flux[0], plain[[2, 0], 4:12, 4:12])


def test_masks_beside_images_are_named(images):
    mask = images / "images" / f"{IDS[4]}.mask.fits"
    fits.PrimaryHDU(np.ones((3, 16, 16), np.int16)).writeto(mask)
    said = pack(images)
    assert f"1 file left out as masks or weights, such as {mask.name}" in said
    assert f"found in {images / 'images'}: 4 of 5 sources in" in said


def test_a_catalog_of_other_sources_writes_nothing(images):
    columns = {"source_id": [1, 2], "ra": [1.0, 2.0], "dec": [0.0, 0.0]}
    pq.write_table(pa.table(columns), images / "catalog.parquet")
    with pytest.raises(
        CutoutError, match="no image of a source of the catalog, whose first is '1'; "
    ):
        pack(images)
    assert not (images / "store").exists()


def test_showing_a_store_draws_a_picture(images):
    pack(images)
    said = run("show", images / "store", "-o", images / "all.png")
    assert said.startswith("4 cutouts drawn in")
    run("show", images / "store", "--id", IDS[1], "--id", IDS[0], "-o", images / "two.png")
    for name in ("all.png", "two.png"):
        assert (images / name).read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("5", "has no source '5'. Give ids of this store; its first is '1237"),
        ("NGC 1", "has no source 'NGC 1'"),
    ],
)
def test_showing_an_unknown_source_is_an_error(images, word, message):
    pack(images)
    with pytest.raises(CutoutError, match=message):
        run("show", images / "store", "--id", word, "-o", images / "none.png")
    assert not (images / "none.png").exists()


def test_images_of_a_known_survey_take_from_its_card_what_files_do_not_say(tmp_path, targetsel):
    pixels = np.random.default_rng(0).normal(size=(2, 5, 20, 20)).astype(np.float32)
    (tmp_path / "images").mkdir()
    for source_id, planes in zip((1, 2), pixels, strict=True):
        np.save(tmp_path / "images" / f"{source_id}.npy", planes)
    catalog = pa.table({"source_id": [1, 2], "ra": [10.0, 11.0], "dec": [0.0, 0.0]})
    pq.write_table(catalog, tmp_path / "catalog.parquet")
    words = ("cutouts", "pack", tmp_path / "images", "--catalog", tmp_path / "catalog.parquet")
    said = targetsel(*words, "--survey", "hsc", "-o", tmp_path / "store")
    assert said.status == 0
    store = CutoutStore.open(tmp_path / "store")
    assert (store.bands, store.pixel_scale) == (("g", "r", "i", "z", "y"), 0.168)
    assert store.read(np.array([1])).flux[0] == pytest.approx(pixels[0] / 10**1.8, abs=0.01)
    said = targetsel(*words, "--survey", "hsc", "--bands", "uZ", "-o", tmp_path / "other")
    assert said.status == 2
    assert "survey 'hsc' has no band 'u'; expected some of g, r, i, z, y." in said.err
