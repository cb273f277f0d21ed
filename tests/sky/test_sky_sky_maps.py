"""Maps of the sky in the forms that surveys publish, and in some that they should not."""

import numpy as np
import pyarrow as pa
import pytest
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.table import Table

from targetsel.errors import CatalogError
from targetsel.sky.positions import centres_of, nested_of_ring
from targetsel.sky.sky_maps import is_map_file, map_of_sources, read_map
from targetsel.tables.parquet import write_table

ORDER = 4
PIXELS = np.arange(12 * 4**ORDER)
SMOOTH = np.sin(np.radians(centres_of(PIXELS, ORDER)[1]))  # grows to the north


def write(path, values, header=None, pixels=None, name="VALUE"):
    columns = [] if pixels is None else [fits.Column("PIXEL", "K", array=pixels)]
    width = 1 if pixels is not None else 1024
    form = "D" if width == 1 else f"{width}D"
    columns.append(fits.Column(name, form, array=np.reshape(values, (-1, width)).squeeze()))
    table = fits.BinTableHDU.from_columns(columns)
    table.header.update(header or {"ORDERING": "NESTED", "NSIDE": 1 << ORDER})
    table.writeto(path, overwrite=True)
    return str(path)


def in_ring(values):
    """Values of pixels in NESTED order, listed in RING order."""
    return values[nested_of_ring(PIXELS, ORDER)]


@pytest.mark.parametrize("ordering", ["NESTED", "NEST", "RING"])
def test_a_map_of_all_pixels_has_the_same_values_in_whichever_order_it_lists_them(
    tmp_path, ordering
):
    listed = in_ring(SMOOTH) if ordering == "RING" else SMOOTH
    found = read_map(write(tmp_path / "a.fits", listed, {"ORDERING": ordering, "NSIDE": 16}))
    assert found.order == ORDER
    assert found.column == "VALUE"
    np.testing.assert_array_equal(found.at(PIXELS, ORDER), SMOOTH)


@pytest.mark.parametrize("ordering", ["NESTED", "RING"])
def test_a_map_of_some_pixels_has_no_value_in_others(tmp_path, ordering):
    some = np.arange(0, len(PIXELS), 3)
    numbers = some if ordering == "NESTED" else np.argsort(nested_of_ring(PIXELS, ORDER))[some]
    header = {"ORDERING": ordering, "NSIDE": 16, "INDXSCHM": "EXPLICIT"}
    shuffled = np.random.default_rng(0).permutation(len(some))
    path = write(tmp_path / "a.fits", SMOOTH[some][shuffled], header, numbers[shuffled])
    found = read_map(path).at(PIXELS, ORDER)
    np.testing.assert_array_equal(found[some], SMOOTH[some])
    assert np.isnan(found).sum() == len(PIXELS) - len(some)


def test_unseen_and_nan_are_no_values_and_means_go_without_them(tmp_path):
    values = SMOOTH.copy()
    values[:3] = [np.nan, -1.6375e30, np.float32(-1.6375e30)]
    values[4:8] = -1.6375e30
    found = read_map(write(tmp_path / "a.fits", values))
    assert found.at(np.array([0]), ORDER - 1)[0] == SMOOTH[3]
    assert np.isnan(found.at(np.array([1]), ORDER - 1)[0])


@pytest.mark.parametrize("code", [-99.0, -9999.0])
def test_a_least_value_that_others_write_for_none_is_in_doubt(tmp_path, code):
    path = write(tmp_path / "a.fits", np.where(PIXELS < 70, code, SMOOTH))
    assert read_map(path).doubt.startswith(f"{path}: its least value, of 70 pixels, is {code:g}, ")
    assert read_map(write(tmp_path / "a.fits", SMOOTH)).doubt == ""


def test_a_coarser_pixel_has_the_mean_of_four_and_a_finer_one_the_value_of_its_parent(tmp_path):
    found = read_map(write(tmp_path / "a.fits", SMOOTH))
    coarse = found.at(np.arange(12 * 4 ** (ORDER - 1)), ORDER - 1)
    np.testing.assert_allclose(coarse, SMOOTH.reshape(-1, 4).mean(axis=1))
    assert (found.at(4 * PIXELS + 1, ORDER + 1) == SMOOTH).all()


def test_a_galactic_map_is_converted(tmp_path):
    # Its values are the sine of galactic latitude, which anyone can calculate.
    header = {"ORDERING": "NESTED", "NSIDE": 16, "COORDSYS": "G"}
    found = read_map(write(tmp_path / "a.fits", SMOOTH, header))
    assert found.galactic
    latitude = SkyCoord(*centres_of(PIXELS, ORDER), unit="deg").galactic.b.rad
    apart = found.at(PIXELS, ORDER) - np.sin(latitude)
    assert np.abs(apart).max() < 0.05  # of pixels of 3.7 deg
    assert np.abs(apart).mean() < 0.01


def test_a_table_says_its_pixels_behind_a_colon_or_in_a_footer_of_ours(tmp_path):
    table = Table({"hpx": PIXELS, "seeing": SMOOTH, "depth": -SMOOTH})
    table.write(tmp_path / "a.csv")
    found = read_map(f"{tmp_path}/a.csv:seeing:nested16")
    np.testing.assert_allclose(found.at(PIXELS, ORDER), SMOOTH)
    ours = pa.table({"pixel": PIXELS, "mean": SMOOTH})
    write_table(ours, tmp_path / "a.parquet", {"nside": 16, "order": 4})
    np.testing.assert_allclose(read_map(f"{tmp_path}/a.parquet").at(PIXELS, ORDER), SMOOTH)


def test_a_value_of_sources_is_averaged_in_each_pixel_whatever_their_order():
    healpix = np.array([5, 5, 6, 5], dtype=np.int64) << 46
    values = np.array([0.1, 0.2, np.nan, 0.3])
    one = map_of_sources("ebv", healpix, values).at(np.arange(8), 6)
    other = map_of_sources("ebv", healpix[::-1], values[::-1]).at(np.arange(8), 6)
    assert one[5] == pytest.approx(0.2)
    assert np.isnan(one[6])
    assert one.tobytes() == other.tobytes()


@pytest.mark.parametrize(
    ("header", "pixels", "values", "message"),
    [
        ({"NSIDE": 16}, None, SMOOTH, "does not say whether .* smoother as nested. Say"),
        ({"NSIDE": 16, "ORDERING": "RING"}, None, SMOOTH, "says that .* RING order, but its value"),
        ({"NSIDE": 16, "ORDERING": "SPIRAL"}, None, SMOOTH, "its ORDERING is 'SPIRAL'; expected"),
        ({"NSIDE": 8, "ORDERING": "RING"}, None, SMOOTH, "has 3,072 values .* expected 768 for"),
        ({"NSIDE": 16, "ORDERING": "NESTED", "COORDSYS": "E"}, None, SMOOTH, "COORDSYS is 'E'; ex"),
        ({"NSIDE": 16, "ORDERING": "NESTED"}, None, np.full(3072, np.nan), "all its values are ma"),
        ({"NSIDE": 16, "ORDERING": "NESTED"}, None, np.full(3072, -1.6375e30), "all its values ar"),
        ({"ORDERING": "NESTED"}, PIXELS[5:], SMOOTH[5:], "does not say the nside of its pixels. S"),
        ({"NSIDE": 8, "ORDERING": "NESTED"}, PIXELS, SMOOTH, "has pixel 3071; expected 0 to 767"),
        ({"NSIDE": 16, "ORDERING": "NESTED"}, PIXELS - 1, SMOOTH, "has pixel -1; expected 0 to"),
        ({"NSIDE": 16, "ORDERING": "NESTED"}, PIXELS // 2, SMOOTH, "has 1,536 rows of a pixel tha"),
        ({"NSIDE": 12, "ORDERING": "RING"}, PIXELS[:9], SMOOTH[:9], "nside 12; expected a power"),
    ],
)
def test_a_map_whose_pixels_are_in_doubt_is_refused(tmp_path, header, pixels, values, message):
    path = write(tmp_path / "a.fits", values, header, pixels)
    with pytest.raises(CatalogError, match=message):
        read_map(path)


def test_what_the_user_says_of_the_order_counts(tmp_path):
    path = write(tmp_path / "a.fits", in_ring(SMOOTH), {"NSIDE": 16})
    np.testing.assert_array_equal(read_map(f"{path}:ring").at(PIXELS, ORDER), SMOOTH)
    wrong = read_map(f"{path}:VALUE:nested")
    assert wrong.at(PIXELS, ORDER)[1] != SMOOTH[1]
    assert wrong.doubt == f"{path}:VALUE:nested: its values would be much smoother as ring"


@pytest.mark.parametrize(
    ("named", "message"),
    [
        ("b.csv:seeing:nested16", "no such file or folder. Did you mean 'a.csv'"),
        ("a.csv:nested16", "has several columns, seeing, depth. Name one behind a colon, such as"),
        ("a.csv:sealing:nested16", "no column 'sealing'. Did you mean 'seeing'"),
        ("a.csv:word:nested16", "column 'word': holds text; expected numbers"),
        ("a.csv:hpx:nested16", "column 'hpx': holds pixels. Name a column of values"),
        ("a.csv:seeing", "does not say the nside"),
        ("none.csv:seeing:nested16", "has no column of pixels; expected one of pixel, healpix"),
        ("gaps.csv:seeing:nested16", "column 'hpx': holds .*, or has gaps"),
        ("empty.csv:seeing:nested16", "has no rows"),
        ("a.txt", "ends in '.txt'; expected .parquet"),
    ],
)
def test_a_table_that_is_no_map_is_refused(tmp_path, monkeypatch, named, message):
    monkeypatch.chdir(tmp_path)
    rows = {"hpx": PIXELS[:9], "seeing": SMOOTH[:9], "depth": SMOOTH[:9], "word": ["a"] * 9}
    Table(rows).write("a.csv")
    Table({"seeing": SMOOTH[:9]}).write("none.csv")
    (tmp_path / "gaps.csv").write_text("hpx,seeing\n1,2\n,3\n")
    (tmp_path / "empty.csv").write_text("hpx,seeing\n")
    (tmp_path / "a.txt").write_text("a map\n")
    with pytest.raises(CatalogError, match=message):
        read_map(named)


def test_a_map_is_a_file_or_else_a_column(tmp_path):
    path = write(tmp_path / "a.fits", SMOOTH)
    assert is_map_file(f"{path}:VALUE:nested")
    assert is_map_file(path)
    assert not is_map_file("ebv")
