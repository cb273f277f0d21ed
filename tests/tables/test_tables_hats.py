"""HATS catalogs: what is written is what the package hats takes for valid, and reads."""

import hashlib

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from targetsel.errors import CatalogError, OutputError
from targetsel.tables import hats
from targetsel.tables.formats import open_table
from targetsel.tables.hats import HatsCatalog, Pixel, finish_hats, is_hats
from targetsel.tables.parquet import described, write_table
from tests.real_data import real
from tests.real_files.conftest import one_line

# Three of the four parts of a pixel, one of them in four parts again.
PIXELS = (Pixel(1, 44), Pixel(2, 180), Pixel(2, 182), Pixel(1, 47))
COLLECTION = "hats/small_sky_order1_collection"


def put(root, pixel, n=3, **columns):
    """A partition with `n` rows, the first pixels of order 29 in it."""
    fields = [
        described("source_id", pa.int64(), ucd="meta.id;meta.main", nullable=False),
        described("ra", pa.float64(), "deg", "pos.eq.ra", "Right ascension"),
        described("dec", pa.float64(), "deg"),
        described("name", pa.string()),
        described("_healpix_29", pa.int64(), nullable=False),
    ]
    first = pixel.range29[0]
    values = [
        first + np.arange(n),
        np.linspace(10, 11, n),
        np.linspace(-2, 2, n),
        ["a" * (pixel.number - 40) for _ in range(n)],
        first + np.arange(n),
    ]
    table = pa.table([pa.array(each, f.type) for each, f in zip(values, fields, strict=True)],
                     schema=pa.schema(fields))  # fmt: skip
    for name, column in columns.items():
        table = table.append_column(name, pa.array(column))
    path = pixel.file(root)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_table(table, path)


def catalog(root, pixels=PIXELS, **properties):
    for pixel in pixels:
        put(root, pixel)
    return finish(root, pixels, properties)


def finish(root, pixels=PIXELS, properties=None):
    if properties is None:
        properties = {}
    return finish_hats(
        root, "mine", pixels, ra_column="ra", dec_column="dec", properties=properties
    )


def hashes(root):
    files = sorted(each for each in root.rglob("*") if each.is_file())
    return {
        str(each.relative_to(root)): hashlib.sha256(each.read_bytes()).hexdigest() for each in files
    }


# --- pixels ---------------------------------------------------------------------------------------


def test_file_of_a_pixel_lies_in_the_folder_of_its_ten_thousand(tmp_path):
    pixel = Pixel(7, 123_456)
    assert pixel.name == "Norder=7/Dir=120000/Npix=123456"
    assert pixel.file(tmp_path) == tmp_path / "dataset/Norder=7/Dir=120000/Npix=123456.parquet"
    assert pixel.file(tmp_path, "/") == tmp_path / "dataset/Norder=7/Dir=120000/Npix=123456"


@pytest.mark.parametrize("ending", [".parquet", ".snappy.parquet", "", "/part0.parquet"])
def test_pixel_of_its_file_is_itself(tmp_path, ending):
    pixel = Pixel(7, 123_456)
    assert Pixel.of_path(f"{tmp_path}/dataset/{pixel.name}{ending}") == pixel


def test_pixel_covers_the_pixels_of_order_29_below_it():
    assert Pixel(29, 5).range29 == (5, 6)
    assert Pixel(0, 11).range29 == (11 * 4**29, 12 * 4**29)


def test_pixels_are_sorted_by_place_and_not_by_order():
    assert sorted(PIXELS) == list(PIXELS)


@pytest.mark.parametrize(("order", "number"), [(0, 12), (30, 0), (-1, 0), (2, -1)])
def test_pixel_that_does_not_exist_is_refused(order, number):
    with one_line(CatalogError, f"HEALPix has no pixel {number} of order {order}; expected orders"):
        Pixel(order, number)


def test_file_of_no_partition_has_no_pixel():
    with one_line(CatalogError, "a.parquet: is no partition of a HATS catalog; expected a place"):
        Pixel.of_path("Norder=1/a.parquet")


# --- writing --------------------------------------------------------------------------------------


def test_properties_count_what_the_partitions_hold(tmp_path):
    made = catalog(tmp_path)
    assert made.pixels == PIXELS
    assert made.num_rows == 12 == sum(made.rows_of(each) for each in made.pixels)
    # Of 48 pixels of order 1, two and two quarters.
    assert made.properties["moc_sky_fraction"] == f"{2.5 / 48:.5g}"
    assert made.properties["hats_order"] == "2"
    assert made.properties["hats_max_rows"] == "3"
    assert made.name == "mine"
    assert is_hats(tmp_path)
    assert repr(made).startswith("HatsCatalog of 12 rows in 4 partitions: ")


def test_properties_that_are_given_replace_those_that_follow(tmp_path):
    made = catalog(tmp_path, hats_max_rows="10", obs_title="Two\nlines")
    assert made.properties["hats_max_rows"] == "10"
    assert made.properties["obs_title"] == "Two lines"


def test_same_partitions_give_the_same_bytes(tmp_path):
    catalog(tmp_path / "a")
    catalog(tmp_path / "b", PIXELS[::-1])
    first = hashes(tmp_path / "a")
    assert hashes(tmp_path / "b") == first
    finish(tmp_path / "a")
    assert hashes(tmp_path / "a") == first


def test_metadata_hold_every_partition_and_the_units(tmp_path):
    catalog(tmp_path)
    whole = pq.read_metadata(tmp_path / "dataset/_metadata")
    places = [whole.row_group(k).column(0).file_path for k in range(whole.num_row_groups)]
    assert places == [f"{each.name}.parquet" for each in PIXELS]
    assert whole.num_rows == 12
    for name in ("_metadata", "_common_metadata"):
        field = pq.read_schema(tmp_path / "dataset" / name).field("ra")
        assert field.metadata[b"unit"] == b"deg"
        assert field.metadata[b"description"] == b"Right ascension"


def test_partition_without_rows_is_left_out(tmp_path):
    catalog(tmp_path)
    put(tmp_path, Pixel(1, 46), 0)
    assert finish(tmp_path, [*PIXELS, Pixel(1, 46)]).pixels == PIXELS
    assert not Pixel(1, 46).file(tmp_path).exists()


def test_catalog_without_any_row_is_refused(tmp_path):
    put(tmp_path, Pixel(1, 46), 0)
    with one_line(CatalogError, f"{tmp_path}: has no partition with rows"):
        finish(tmp_path, [Pixel(1, 46)])


@pytest.mark.parametrize("stop", ["_write_metadata", "_about"])
def test_catalog_that_was_not_finished_is_none(tmp_path, monkeypatch, stop):
    catalog(tmp_path)

    def full(*_):
        raise OutputError("the disk is full")

    monkeypatch.setattr(hats, stop, full)
    with pytest.raises(OutputError):
        finish(tmp_path)
    assert not is_hats(tmp_path)
    with one_line(CatalogError, f"{tmp_path}: has no hats.properties, so it is no HATS catalog"):
        HatsCatalog.open(tmp_path)


def test_partition_that_was_not_written_is_missed(tmp_path):
    put(tmp_path, PIXELS[0])
    with one_line(CatalogError, "Npix=180.parquet: no such file"):
        finish(tmp_path, PIXELS[:2])


def test_partition_of_an_earlier_run_is_refused(tmp_path):
    put(tmp_path, Pixel(1, 3))
    with one_line(CatalogError, "Npix=3.parquet: is no partition of this catalog, which has 4 oth"):
        catalog(tmp_path)


def test_partition_with_other_columns_is_refused(tmp_path):
    catalog(tmp_path)
    put(tmp_path, PIXELS[2], flux=[1.0, 2.0, 3.0])
    with one_line(CatalogError, "Npix=182.parquet: has not the columns of "):
        finish(tmp_path)


def test_column_of_positions_must_be_there(tmp_path):
    catalog(tmp_path)
    with one_line(CatalogError, "Npix=44.parquet: has no column 'alpha'; expected the pos"):
        finish_hats(tmp_path, "mine", PIXELS, ra_column="alpha", dec_column="dec")


# --- reading --------------------------------------------------------------------------------------


def test_catalog_and_its_partitions_are_read_as_tables(tmp_path):
    made = catalog(tmp_path)
    table = open_table(tmp_path)
    assert table.num_rows == 12
    assert "Norder" not in table.schema.names
    part = open_table(made.path_of(PIXELS[1]))
    assert part.num_rows == 3
    assert part.schema.field("ra").metadata[b"unit"] == b"deg"


def test_partitions_may_be_folders_of_files(tmp_path):
    made = catalog(tmp_path, hats_npix_suffix=".parquet")
    for pixel in made.pixels:
        leaf = made.path_of(pixel)
        folder = leaf.with_suffix("")
        folder.mkdir()
        (folder / "_hidden.parquet").write_bytes(leaf.read_bytes())
        (folder / "part1.parquet").write_bytes(leaf.read_bytes())
        leaf.rename(folder / "part0.parquet")
    for name in ("hats.properties", "properties"):
        said = (tmp_path / name).read_text()
        (tmp_path / name).write_text(said.replace("suffix=.parquet", "suffix=/"))
    found = HatsCatalog.open(tmp_path)
    assert found.pixels == PIXELS
    files = found.files_of(PIXELS[1])
    assert [each.name for each in files] == ["part0.parquet", "part1.parquet"]
    assert found.rows_of(PIXELS[1]) == 6 == open_table(found.path_of(PIXELS[1])).num_rows


def test_pixels_are_those_of_the_files_where_no_list_is(tmp_path):
    catalog(tmp_path)
    (tmp_path / "partition_info.csv").unlink()
    assert HatsCatalog.open(tmp_path).pixels == PIXELS


def test_rows_outside_of_their_pixel_are_refused(tmp_path):
    made = catalog(tmp_path)
    first, end = PIXELS[1].range29
    made.check_inside(PIXELS[1], np.array([first, end - 1]))
    with one_line(CatalogError, "Npix=180.parquet: 1 of 3 rows lie outside of pixel 180 of order"):
        made.check_inside(PIXELS[1], np.array([first, first, end]))


def change(root, name, before, after):
    text = (root / name).read_text()
    assert before in text
    (root / name).write_text(text.replace(before, after))


@pytest.mark.parametrize(
    ("name", "before", "after", "message"),
    [
        ("hats.properties", "nrows=12", "nrows=many", "properties say hats_nrows=many; expected a"),
        ("hats.properties", "type=object", "type=margin", "is the margin of a HATS catalog, whose"),
        ("hats.properties", "type=object", "type=index", "is the index of a HATS catalog, whose r"),
        ("hats.properties", "type=object", "type=nested", "say dataproduct_type=nested; expected "),
        ("partition_info.csv", "1,44", "1,44\n1,44", "Norder=1/Dir=0/Npix=44 is there twice"),
        ("partition_info.csv", "1,44", "1,44\n0,11", "Dir=0/Npix=11 holds pixel Norder=1/Dir=0/N"),
        ("partition_info.csv", "1,44", "1,44\n1,45", "Npix=45 holds pixel Norder=2/Dir=0/Npix=18"),
        ("partition_info.csv", "1,44", "1,43", "Npix=43.parquet: is not there; 1 of 4 partitions"),
        ("partition_info.csv", "1,44\n", "", "Npix=44.parquet: is no partition of this catalog,"),
        ("partition_info.csv", "1,44", "1,48", "HEALPix has no pixel 48 of order 1; expected or"),
        ("partition_info.csv", "1,44", "1,x", "partition_info.csv, line 2: expected columns Nord"),
        ("partition_info.csv", "Npix", "Number", "line 2: expected columns Norder and Npix with "),
    ],
)  # fmt: skip
def test_catalog_that_contradicts_itself_is_refused(tmp_path, name, before, after, message):
    catalog(tmp_path)
    change(tmp_path, name, before, after)
    with one_line(CatalogError, message):
        HatsCatalog.open(tmp_path)


def test_properties_without_files_are_no_catalog(tmp_path):
    catalog(tmp_path)
    for pixel in PIXELS:
        pixel.file(tmp_path).unlink()
    with one_line(CatalogError, "Npix=44.parquet: is not there; 4 of 4 partitions are missing"):
        HatsCatalog.open(tmp_path)
    (tmp_path / "partition_info.csv").unlink()
    with one_line(CatalogError, f"{tmp_path}: has no partition with rows"):
        HatsCatalog.open(tmp_path)


def test_folder_that_is_not_there_is_told(tmp_path):
    with one_line(CatalogError, "gaia: no such file"):
        HatsCatalog.open(tmp_path / "gaia")


def test_primary_catalog_of_a_real_collection_is_opened():
    folder = real(COLLECTION)
    found = HatsCatalog.open(folder)
    assert found.root == folder / "small_sky_order1"
    assert found.pixels == (Pixel(1, 44), Pixel(1, 45), Pixel(1, 46), Pixel(1, 47))
    assert sum(found.rows_of(each) for each in found.pixels) == 131 == found.num_rows
    for pixel in found.pixels:
        table = pq.read_table(found.path_of(pixel))
        found.check_inside(pixel, table["_healpix_29"].to_numpy())
    for name in ("small_sky_order1_margin_1deg", "small_sky_order1_id_index"):
        assert is_hats(folder / name)
        with one_line(CatalogError, " of a HATS catalog, whose rows repeat those of the catalog"):
            HatsCatalog.open(folder / name)


# --- the package hats -----------------------------------------------------------------------------


def test_catalog_is_valid_and_complete_for_the_package_hats(tmp_path):
    validation = pytest.importorskip("hats.io.validation")
    import hats as package

    root = tmp_path / "mine"
    catalog(root)
    assert validation.is_valid_catalog(root, strict=True)
    found = package.read_hats(root)
    assert [(each.order, each.pixel) for each in found.get_healpix_pixels()] == [
        (each.order, each.number) for each in PIXELS
    ]
    assert found.catalog_info.total_rows == 12
    assert found.catalog_name == "mine"
    assert found.schema.field("ra").metadata == {
        b"unit": b"deg",
        b"ucd": b"pos.eq.ra",
        b"description": b"Right ascension",
    }
