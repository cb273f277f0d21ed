"""HATS catalogs that are written: adaptive pixels, the same bytes, and what hats and lsdb read."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from astropy.table import Table
from hypothesis import given, settings
from hypothesis import strategies as st

from targetsel.errors import CatalogError, OutputError
from targetsel.sky import chunks
from targetsel.sky.catalog import CatalogFile
from targetsel.sky.partitions import _cut, open_partition, partition_catalog
from targetsel.tables.hats import HatsCatalog, Pixel
from targetsel.tables.parquet import described, write_table
from tests.real_data import real
from tests.real_files.conftest import one_line
from tests.tables.test_tables_hats import hashes

N = 2000


@pytest.fixture(scope="module")
def sources():
    """Half of the sources in a crowded field at ra 0, the others all over the sky."""
    rng = np.random.default_rng(5)
    ra, dec = rng.uniform(0, 360, N), np.degrees(np.arcsin(rng.uniform(-1, 1, N)))
    ra[: N // 2], dec[: N // 2] = rng.normal(0, 0.5, N // 2) % 360, rng.normal(20, 0.5, N // 2)
    fields = [
        described("objid", pa.int64(), "", "meta.id;meta.main", "Name", nullable=False),
        described("ra", pa.float64(), "deg", "pos.eq.ra"),
        described("dec", pa.float64(), "deg"),
        described("field", pa.string()),
        described("flux", pa.float32(), "nJy", "phot.flux", "Flux in r"),
    ]
    columns = [
        rng.permutation(N) + 2**60,
        ra,
        dec,
        [f"field {k % 7}" if k % 5 else None for k in range(N)],
        rng.lognormal(5, 1, N),
    ]
    arrays = [pa.array(each, f.type) for each, f in zip(columns, fields, strict=True)]
    return pa.table(arrays, schema=pa.schema(fields))


def partition(table, root, rows=100):
    return partition_catalog(CatalogFile.open(table), root, rows)


def by_splitting(healpix, rows, pixel):
    """The partitions below a pixel by their definition: in four until they hold few enough."""
    first, end = pixel.range29
    n = int(((healpix >= first) & (healpix < end)).sum())
    if n <= rows or pixel.order == 29:
        return [pixel] if n else []
    children = [Pixel(pixel.order + 1, 4 * pixel.number + k) for k in range(4)]
    return [each for child in children for each in by_splitting(healpix, rows, child)]


@settings(max_examples=200)
@given(
    st.lists(
        st.one_of(
            st.integers(0, 12 * 4**29 - 1), st.integers(7 * 4**20, 7 * 4**20 + 40), st.just(5)
        ),
        min_size=1,
        max_size=60,
    ),
    st.integers(1, 8),
    st.integers(1, 20),
)
def test_partitions_are_those_of_pixels_split_until_they_hold_few(healpix, rows, at_once):
    healpix = np.sort(np.array(healpix))
    table = pa.table({"_healpix_29": healpix})
    pieces = (table.slice(k, at_once) for k in range(0, len(table), at_once))
    found = list(_cut(pieces, rows))
    bases = [Pixel(0, k) for k in range(12)]
    assert [pixel for pixel, _ in found] == [
        each for base in bases for each in by_splitting(healpix, rows, base)
    ]
    assert pa.concat_tables(part for _, part in found)["_healpix_29"].to_pylist() == [*healpix]
    for pixel, part in found:
        first, end = pixel.range29
        assert all(first <= each < end for each in part["_healpix_29"].to_pylist())


def test_every_source_is_in_the_partition_of_its_pixel_in_order(sources, tmp_path):
    made = partition(sources, tmp_path / "sky")
    assert made.num_rows == N
    assert {each.order for each in made.pixels} >= {1, 5}
    found = []
    for pixel in made.pixels:
        table = pq.read_table(made.path_of(pixel), partitioning=None)
        made.check_inside(pixel, table["_healpix_29"].to_numpy())
        assert table.num_rows <= 100
        assert table.equals(table.sort_by([("_healpix_29", "ascending"), ("objid", "ascending")]))
        found.append(table)
    together = pa.concat_tables(found).drop_columns("_healpix_29")
    assert together.sort_by("objid").equals(sources.sort_by("objid"))


def test_partitions_do_not_depend_on_the_order_or_files_of_the_rows(sources, tmp_path, monkeypatch):
    for name in ("a", "b", "c", "files"):
        (tmp_path / name).mkdir()
    partition(sources, tmp_path / "a/sky")
    monkeypatch.setattr(chunks, "ROWS_PER_READ", 128)
    shuffled = sources.take(np.random.default_rng(1).permutation(N))
    for k, start in enumerate(range(0, N, 700)):
        write_table(shuffled.slice(start, 700), tmp_path / f"files/{k}.parquet")
    partition(shuffled, tmp_path / "b/sky")
    partition(tmp_path / "files", tmp_path / "c/sky")
    first = hashes(tmp_path / "a/sky")
    assert hashes(tmp_path / "b/sky") == first
    assert hashes(tmp_path / "c/sky") == first


def test_hats_catalog_can_be_partitioned_again(sources, tmp_path):
    partition(sources, tmp_path / "small", 50)
    partition(tmp_path / "small", tmp_path / "sky")
    (tmp_path / "direct").mkdir()
    partition(sources, tmp_path / "direct/sky")
    assert hashes(tmp_path / "sky") == hashes(tmp_path / "direct/sky")


@pytest.mark.parametrize("suffix", ["fits", "csv"])
def test_catalog_of_another_format_is_partitioned(sources, tmp_path, suffix):
    table = sources.drop_columns("field")
    Table({name: table[name].to_numpy() for name in table.column_names}).write(
        tmp_path / f"c.{suffix}"
    )
    made = partition(tmp_path / f"c.{suffix}", tmp_path / "sky")
    assert made.num_rows == N
    assert made.pixels == partition(table, tmp_path / "direct").pixels


def test_columns_that_the_properties_name_are_found(sources, tmp_path):
    names = ["objid", "ra", "dec", "field", "flux"]
    table = sources.rename_columns([{"ra": "x", "dec": "y"}.get(each, each) for each in names])
    partition_catalog(CatalogFile.open(table, "x", "y"), tmp_path / "sky", 100)
    for path in tmp_path.rglob("Npix*"):  # as other programs write them, without our footer
        pq.write_table(pq.read_table(path, partitioning=None), path)
    found = CatalogFile.open(tmp_path / "sky")
    assert (found.columns["ra"], found.columns["dec"]) == ("x", "y")
    made = HatsCatalog.open(tmp_path / "sky")
    part = open_partition(made, made.pixels[0])
    assert (part.columns["ra"], part.num_rows) == ("x", made.rows_of(made.pixels[0]))


def test_partition_with_rows_of_another_pixel_is_refused_when_checked(sources, tmp_path):
    made = partition(sources, tmp_path / "sky")
    one, other = made.pixels[3:5]
    made.path_of(one).write_bytes(made.path_of(other).read_bytes())
    assert open_partition(made, other, check=True).num_rows == made.rows_of(other)
    assert open_partition(made, one).num_rows
    with one_line(CatalogError, f"Npix={one.number}.parquet: "):
        open_partition(made, one, check=True)


def test_catalog_that_targetsel_wrote_is_replaced(sources, tmp_path):
    partition(sources, tmp_path / "sky", 20)
    made = partition(sources, tmp_path / "sky", N)
    assert HatsCatalog.open(tmp_path / "sky").pixels == made.pixels
    assert [each.name for each in tmp_path.iterdir()] == ["sky"]


def test_what_targetsel_did_not_write_is_kept(sources, tmp_path):
    (tmp_path / "sky").mkdir()
    (tmp_path / "sky/notes.txt").write_text("mine")
    with one_line(OutputError, "sky: is there already, and no HATS catalog that targetsel wrote"):
        partition(sources, tmp_path / "sky")
    made = partition(sources, tmp_path / "other")
    said = made.root / "hats.properties"
    said.write_text(said.read_text().replace("=targetsel ", "=hats-import "))
    with one_line(OutputError, "other: is there already, and no HATS catalog that targetsel wrote"):
        partition(sources, made.root)
    with one_line(OutputError, "nowhere does not exist. Create it first."):
        partition(sources, tmp_path / "nowhere/sky")


def test_catalog_is_not_written_over_itself(sources, tmp_path):
    partition(sources, tmp_path / "sky")
    before = hashes(tmp_path / "sky")
    with one_line(OutputError, "sky: is read by the same command. Choose another name."):
        partition(tmp_path / "sky", tmp_path / "sky")
    leaf = next(tmp_path.rglob("Npix*"))
    with one_line(OutputError, f"sky: holds {leaf}, which is read. Choose another name."):
        partition(leaf, tmp_path / "sky")
    assert hashes(tmp_path / "sky") == before


def test_bad_catalog_leaves_nothing(sources, tmp_path):
    with one_line(CatalogError, "ids are repeated"):
        partition(pa.concat_tables([sources, sources.slice(0, 1)]), tmp_path / "sky")
    assert not list(tmp_path.iterdir())


# --- the packages hats and lsdb -------------------------------------------------------------------


def test_partitioned_catalog_is_valid_for_the_package_hats(sources, tmp_path):
    validation = pytest.importorskip("hats.io.validation")
    made = partition(sources, tmp_path / "sky")
    assert validation.is_valid_catalog(made.root, strict=True)


@pytest.mark.filterwarnings("ignore")  # of its own libraries, and that there is no margin
def test_lsdb_reads_searches_and_matches_a_partitioned_catalog(sources, tmp_path):
    lsdb = pytest.importorskip("lsdb")
    made = partition(sources, tmp_path / "sky")
    opened = lsdb.open_catalog(made.root)
    assert opened.npartitions == len(made.pixels)
    field = opened.hc_structure.original_schema.field("flux")
    assert field.metadata[b"unit"] == b"nJy"
    assert field.metadata[b"description"] == b"Flux in r"
    frame = opened.compute()
    assert sorted(frame["objid"]) == sorted(sources["objid"].to_pylist())

    from targetsel.sky.positions import separation

    ra, dec = sources["ra"].to_numpy(), sources["dec"].to_numpy()
    near = separation(ra, dec, np.zeros(N), np.full(N, 20.0)) < 0.5
    cone = opened.cone_search(0.0, 20.0, 1800).compute()
    assert sorted(cone["objid"]) == sorted(sources["objid"].to_numpy()[near])
    pairs = opened.crossmatch(opened, suffixes=("_a", "_b"), radius_arcsec=0.01).compute()
    assert len(pairs) == N
    assert (pairs["objid_a"] == pairs["objid_b"]).all()


def test_real_collection_partitioned_again_has_its_rows(tmp_path):
    folder = real("hats/small_sky_order1_collection")
    made = partition(folder, tmp_path / "sky", 40)
    assert made.num_rows == 131
    assert {each.order for each in made.pixels} == {1, 2}
