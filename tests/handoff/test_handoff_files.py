"""FITS, text and ECSV files: exact types, the same bytes, whole or not at all."""

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table
from hypothesis import given
from hypothesis import strategies as st

from targetsel.errors import HandoffError, OutputError
from targetsel.handoff.files import (
    degrees,
    from_sexagesimal,
    hours,
    write_ecsv,
    write_fits,
    write_text,
)


def test_fits_columns_have_the_types_of_their_arrays(tmp_path):
    columns = {kind: (kind,) for kind in ("i2", "i4", "i8", "f4", "f8", "b1")}
    columns |= {"word": ("S",), "wide": ("S12",), "mags": ("f4", "mag", "ten bands")}
    values = dict.fromkeys(columns, 1) | {
        "word": np.array(["a", "bcd"]),
        "wide": np.array(["a", "b"], dtype=object),
        "mags": np.ones((2, 10)),
    }
    write_fits(tmp_path / "a.fits", columns, values, "THINGS", {"FOO": (3, "three")})
    header = fits.getheader(tmp_path / "a.fits", "THINGS")
    formats = [header[f"TFORM{place}"] for place in range(1, 10)]
    assert formats == ["I", "J", "K", "E", "D", "L", "3A", "12A", "10E"]
    assert header["TUNIT9"] == "mag"
    assert header.comments["TTYPE9"] == "ten bands"
    assert (header["FOO"], header.comments["FOO"]) == (3, "three")


def test_text_that_is_not_ascii_is_an_error(tmp_path):
    with pytest.raises(
        HandoffError, match=r"^'Größe' in the column word: expected ASCII, as FITS takes"
    ):
        write_fits(tmp_path / "a.fits", {"word": ("S",)}, {"word": np.array(["Größe"])}, "T")
    assert list(tmp_path.iterdir()) == []


def test_text_longer_than_its_column_is_an_error(tmp_path):
    with pytest.raises(HandoffError, match=r"^'abcd' in the column word: longer than 3 characters"):
        write_fits(tmp_path / "a.fits", {"word": ("S3",)}, {"word": np.array(["a", "abcd"])}, "T")


def test_every_kind_of_file_needs_its_folder(tmp_path):
    nowhere = tmp_path / "nowhere" / "a"
    for write in (
        lambda: write_fits(nowhere, {"x": ("f8",)}, {"x": np.ones(1)}, "X"),
        lambda: write_text(nowhere, "x"),
        lambda: write_ecsv(nowhere, Table({"x": [1]})),
    ):
        with pytest.raises(OutputError, match=r"does not exist"):
            write()


def test_ecsv_keeps_types_and_units(tmp_path):
    table = Table({"x": np.array([1, 2**62]), "y": ["a b", ""]})
    write_ecsv(tmp_path / "a.ecsv", table)
    back = Table.read(tmp_path / "a.ecsv", format="ascii.ecsv")
    assert back["x"].tolist() == [1, 2**62]
    assert back["y"][0] == "a b"


def test_150_degrees_are_ten_hours():
    assert hours(np.array([150.0]), 2) == ["10:00:00.00"]


def test_rounding_never_writes_60_seconds_or_24_hours():
    assert hours(np.array([360 - 1e-9, 14.9999999999]), 2) == ["00:00:00.00", "01:00:00.00"]
    assert degrees(np.array([-0.99999999999]), 1) == ["-01:00:00.0"]


def test_declinations_just_south_of_the_equator_keep_their_sign():
    assert degrees(np.array([-0.5, 0.5]), 1, " ") == ["-00 30 00.0", "+00 30 00.0"]
    assert from_sexagesimal("-00 30 00.0") == -0.5


@given(st.floats(0, 360, exclude_max=True), st.floats(-90, 90))
def test_position_comes_back_within_a_thousandth_of_an_arcsec(ra, dec):
    back = 15 * from_sexagesimal(hours(np.array([ra]))[0])
    assert abs((back - ra + 180) % 360 - 180) * 3600 < 0.0005
    back = from_sexagesimal(degrees(np.array([dec]))[0])
    assert back == pytest.approx(dec, abs=0.0001 / 3600)
