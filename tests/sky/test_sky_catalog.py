import astropy.units as u
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from astropy.coordinates import SkyCoord
from astropy.table import Table
from hypothesis import given
from hypothesis import strategies as st

from targetsel.errors import CatalogError
from targetsel.sky.catalog import Catalog, CatalogFile
from targetsel.sky.footprint import Footprint
from targetsel.tables.parquet import described, write_table

COLUMNS = {"source_id": "source_id", "ra": "ra", "dec": "dec"}


@pytest.fixture
def save(tmp_path):
    """A function that writes columns to a Parquet file and gives its path."""

    def save(name="sources.parquet", **columns):
        pq.write_table(pa.table(columns), tmp_path / name)
        return tmp_path / name

    return save


def good(n=3, **changes):
    """Columns of n good sources, with some replaced."""
    columns = {"source_id": np.arange(n), "ra": np.linspace(0, 359.99, n), "dec": np.zeros(n)}
    return columns | changes


def in_memory(ra, dec):
    rows = {"source_id": np.arange(len(ra)), "ra": np.float64(ra), "dec": np.float64(dec)}
    return Catalog(pa.table(rows), COLUMNS)


# --- what a catalog says of its sources ---------------------------------------------------


def test_healpix_pixels_are_those_of_the_twelve_base_cells():
    catalog = in_memory([45.0, 135.0, 0.0, 45.0], [41.8, 41.8, 0.0, -41.8])
    np.testing.assert_array_equal(catalog.healpix >> 58, [0, 1, 4, 8])
    assert catalog.healpix.dtype == np.int64


def test_ra_of_minus_90_is_270_and_360_is_0():
    catalog = in_memory([-90.0, 360.0, -1e-17, 359.99], [0.0, 90.0, 0.0, -90.0])
    np.testing.assert_array_equal(catalog.ra, [270.0, 0.0, 0.0, 359.99])
    assert catalog.table["ra"].to_pylist()[0] == -90.0
    assert (catalog.healpix >= 0).all()


def test_take_follows_a_mask_and_an_order():
    catalog = in_memory([1.0, 2.0, 3.0], [0.0, 0.0, 0.0])
    assert list(catalog.take(np.array([True, False, True])).ra) == [1.0, 3.0]
    assert list(catalog.take(np.array([2, 0])).source_id) == [2, 0]
    assert len(catalog.take(np.zeros(3, dtype=bool))) == 0


def test_string_ids_are_python_strings(save):
    ids = pa.array(["b", "a", "ü"]).dictionary_encode()
    catalog = Catalog.read(save(**good(source_id=ids)))
    assert catalog.source_id.tolist() == ["b", "a", "ü"]
    assert catalog.source_id.dtype == object


@pytest.mark.parametrize("kind", [pa.int16(), pa.int32(), pa.uint32(), pa.uint64()])
def test_ids_of_other_integer_types_become_int64(kind, save):
    file = CatalogFile.open(save(**good(source_id=pa.array([5, 6, 7], kind))))
    assert file.schema.field("source_id").type == pa.int64()
    assert next(file.batches(10)).source_id.tolist() == [5, 6, 7]


def test_largest_id_survives(save):
    ids = pa.array([0, 2**53 + 1, 2**63 - 1], pa.uint64())
    assert Catalog.read(save(**good(source_id=ids))).source_id.tolist() == [0, 2**53 + 1, 2**63 - 1]


def test_batches_have_at_most_the_rows_asked_for_and_keep_every_column(save):
    file = CatalogFile.open(save(**good(10, flux=pa.array([[1.0, 2.0]] * 10))))
    pieces = list(file.batches(4))
    assert [len(piece) for piece in pieces] == [4, 4, 2]
    assert np.concatenate([piece.source_id for piece in pieces]).tolist() == list(range(10))
    assert pieces[0].table.column_names == ["source_id", "ra", "dec", "flux"]
    assert file.num_rows == 10


def test_units_reach_the_pieces(tmp_path):
    table = Table({"TARGETID": [7, 8], "TARGET_RA": [1, 2] * u.deg, "TARGET_DEC": [1, 2] * u.deg})
    table["mag"] = [20.0, 21.0] * u.mag
    table.write(tmp_path / "desi.fits")
    catalog = Catalog.read(tmp_path / "desi.fits")
    assert catalog.columns == {"source_id": "TARGETID", "ra": "TARGET_RA", "dec": "TARGET_DEC"}
    assert catalog.table.schema.field("mag").metadata[b"unit"] == b"mag"


# --- finding the columns ------------------------------------------------------------------


@pytest.mark.parametrize(
    "names",
    [
        ("objID", "raMean", "decMean"),
        ("SOURCE_ID", "RA", "DEC"),
        ("specobjid", "RAJ2000", "DEJ2000"),
        ("id", "ALPHA_J2000", "DELTA_J2000"),
    ],
)
def test_usual_names_are_found_in_any_case(names, save):
    path = save(**dict(zip(names, good().values(), strict=True)))
    assert tuple(CatalogFile.open(path).columns.values()) == names


def test_canonical_name_wins_over_other_usual_names(save):
    path = save(**good(objid=[1, 2, 3], ra_icrs=[1.0, 2.0, 3.0]))
    assert CatalogFile.open(path).columns == COLUMNS


def test_several_usual_names_are_listed_with_the_option(save):
    columns = good(objID=[1, 2, 3], specObjID=[4, 5, 6])
    del columns["source_id"]
    with pytest.raises(CatalogError, match=r"several columns .*: objID, specObjID\. .*--id-col"):
        CatalogFile.open(save(**columns))
    assert CatalogFile.open(save(**columns), id_col="objID").columns["source_id"] == "objID"


def test_missing_column_is_answered_with_what_was_looked_for(save):
    columns = good()
    del columns["ra"]
    with pytest.raises(
        CatalogError, match=r"no column of right ascension; expected ra, raj2000.*--ra-col"
    ):
        CatalogFile.open(save(**columns))


def test_misspelt_option_is_answered_with_the_nearest_column(save):
    with pytest.raises(CatalogError, match=r"no column 'deec' \(--dec-col\)\. Did you mean 'dec'"):
        CatalogFile.open(save(**good()), dec_col="deec")


def test_columns_named_in_our_own_footer_are_used(tmp_path):
    table = pa.table(good(lon=[1.0, 2.0, 3.0]))
    write_table(table, tmp_path / "a.parquet", {"columns": COLUMNS | {"ra": "lon"}})
    assert CatalogFile.open(tmp_path / "a.parquet").columns["ra"] == "lon"


def test_one_column_cannot_be_both_ra_and_dec(save):
    with pytest.raises(CatalogError, match="expected a column of its own for each"):
        CatalogFile.open(save(**good()), ra_col="dec")


# --- troubles -----------------------------------------------------------------------------


def message(path, **options):
    with pytest.raises(CatalogError) as caught:
        Catalog.read(path, **options)
    text = str(caught.value)
    assert text.startswith(str(path))
    assert "\n" not in text
    return text.removeprefix(str(path)).lstrip(":, ")


def test_empty_catalog_is_refused(save):
    assert message(save(**good(0))) == "the catalog has no rows; expected one for each source."


def test_float_ids_are_taken_where_floats_hold_them_exactly(save):
    assert Catalog.read(save(**good(source_id=[1.0, 2.0, 3.0]))).source_id.tolist() == [1, 2, 3]
    text = message(save(**good(source_id=[1.0, 2.0, 2.0**53])))
    assert "is beyond 9007199254740992, where floats lose digits" in text
    assert "is no whole number" in message(save(**good(source_id=[1.0, 2.5, 3.0])))


def test_ids_in_bytes_and_with_blanks_are_their_text(save):
    path = save(**good(source_id=pa.array([b"a ", b" b", b"c"])))
    assert Catalog.read(path).source_id.tolist() == ["a", "b", "c"]


def test_ids_of_dates_are_refused(save):
    ids = pa.array([1, 2, 3], pa.timestamp("ms"))
    assert "holds values of type timestamp[ms]; expected ids" in message(
        save(**good(source_id=ids))
    )


def test_ids_beyond_int64_are_refused(save):
    ids = pa.array([1, 2, 2**63], pa.uint64())
    text = message(save(**good(source_id=ids)))
    assert "ids of 2^63 or more" in text
    assert "9223372036854775808" in text


@pytest.mark.parametrize("ids", [[1, None, 3], ["a", None, "c"], ["a", "", "c"]])
def test_missing_ids_are_refused_with_their_row(ids, save):
    text = message(save(**good(source_id=ids)))
    assert text.startswith("no id in 'source_id' in 1 of 3 rows, the first is row 1")


@pytest.mark.parametrize("hole", [None, np.nan, np.inf])
def test_missing_positions_are_counted_and_the_first_is_named(hole, save):
    path = save(**good(4, dec=pa.array([0.0, hole, 0.0, hole])))
    text = message(path)
    assert "null, NaN or infinite) in 2 of 4 rows, the first is row 1 (counted from 0)" in text


@pytest.mark.parametrize(
    ("ra", "dec", "expected"),
    [
        (361.0, 0.0, "'ra' is off the sphere in 1 of 3 rows, the first is row 2"),
        (-181.0, 0.0, "Expected -180 to 360 deg."),
        (0.0, 90.1, "'dec' is off the sphere in 1 of 3 rows, the first is row 2"),
        (0.0, -91.0, "ra 0, dec -91. Expected -90 to 90 deg."),
    ],
)
def test_positions_off_the_sphere_are_refused(ra, dec, expected, save):
    text = message(save(**good(ra=[0.0, 1.0, ra], dec=[0.0, 1.0, dec])))
    assert expected in text


def test_repeated_ids_are_named_with_both_rows(save):
    text = message(save(**good(5, source_id=[4, 9, 4, 9, 1])))
    assert text.startswith(
        "column 'source_id': ids are repeated: 4 (rows 0 and 2), 9 (rows 1 and 3)."
    )


def test_repeated_string_ids_are_named(save):
    assert "x (rows 0 and 2)" in message(save(**good(source_id=["x", "y", "x"])))


def test_ids_repeated_in_two_files_of_a_folder_are_found(save, tmp_path):
    save("a.parquet", **good())
    save("b.parquet", **good(source_id=[7, 8, 0]))
    assert "0 (rows 0 and 5)" in message(tmp_path)


def test_sexagesimal_positions_are_refused(save):
    text = message(save(**good(ra=["10:00:00"] * 3)))
    assert text.startswith("column 'ra': holds text; expected degrees")


@pytest.mark.parametrize("unit", ["rad", "hourangle", "h", "arcsec"])
def test_positions_in_another_unit_are_refused(unit, tmp_path):
    fields = [
        described("source_id", pa.int64()),
        described("ra", pa.float64(), unit),
        described("dec", pa.float64(), "deg"),
    ]
    write_table(pa.table(list(good().values()), schema=pa.schema(fields)), tmp_path / "a.parquet")
    assert f"column 'ra' is in '{unit}'; expected 'deg'" in message(tmp_path / "a.parquet")


def whole_sky(n=500):
    rng = np.random.default_rng(1)
    return good(n, ra=rng.uniform(0, 360, n), dec=np.degrees(np.arcsin(rng.uniform(-1, 1, n))))


def test_whole_sky_in_radians_is_refused(save):
    sky = whole_sky()
    text = message(save(**sky | {name: np.radians(sky[name]) for name in ("ra", "dec")}))
    assert text.startswith("positions look like radians (ra 0.0")


def test_whole_sky_in_degrees_is_taken(save):
    assert len(Catalog.read(save(**whole_sky()))) == 500


def test_field_near_ra_three_and_a_piece_of_stripe_82_are_taken_for_degrees(save):
    rng = np.random.default_rng(1)
    field = good(100, ra=rng.uniform(2, 4, 100), dec=rng.uniform(-1, 1, 100))
    stripe = good(100, ra=np.linspace(0, 6.2, 100), dec=rng.uniform(-1.2659, 1.2659, 100))
    assert len(Catalog.read(save(**field))) == len(Catalog.read(save(**stripe))) == 100


# --- footprints ---------------------------------------------------------------------------


def test_everywhere_keeps_every_source():
    catalog = in_memory([0.0, 359.99], [90.0, -90.0])
    assert Footprint.everywhere().select(catalog) is catalog


def test_cone_at_ra_zero_reaches_across_the_wrap():
    catalog = in_memory([359.99, 0.01, 180.0, 0.2], [0.0, 0.0, 0.0, 0.0])
    assert list(Footprint.cone(0, 0, 0.1).select(catalog).source_id) == [0, 1]


def test_cone_at_the_pole_holds_every_ra():
    catalog = in_memory([0.0, 90.0, 200.0], [89.95, 89.95, 89.8])
    assert list(Footprint.cone(123, 90, 0.1).select(catalog).source_id) == [0, 1]


def test_edge_of_a_cone_is_inside():
    catalog = in_memory([0.0, 0.0], [2.0, 2.0 + 1e-9])
    assert list(Footprint.cone(0, 0, 2.0).select(catalog).source_id) == [0]


@given(
    ra=st.floats(0, 360), dec=st.floats(-90, 90), radius=st.floats(1e-3, 180), seed=st.integers(0)
)
def test_cone_agrees_with_the_separations_of_astropy(ra, dec, radius, seed):
    rng = np.random.default_rng(seed)
    catalog = in_memory(rng.uniform(0, 360, 50), rng.uniform(-90, 90, 50))
    sky = SkyCoord(catalog.ra, catalog.dec, unit="deg")
    inside = sky.separation(SkyCoord(ra, dec, unit="deg")).deg <= radius
    chosen = Footprint.cone(ra, dec, radius).select(catalog)
    assert list(chosen.source_id) == list(np.flatnonzero(inside))


@pytest.mark.parametrize(
    ("ra", "dec", "radius", "expected"),
    [(0, 91, 1, "not on the sky"), (400, 0, 1, "not on the sky"), (0, 0, -1, "radius -1 deg")],
)
def test_impossible_cone_is_refused(ra, dec, radius, expected):
    with pytest.raises(CatalogError, match=expected):
        Footprint.cone(ra, dec, radius)
