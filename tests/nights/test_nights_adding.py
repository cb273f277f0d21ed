"""Visibility added to catalogs of any kind."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from astropy.table import Table

from targetsel.errors import CatalogError, VisibilityError
from targetsel.nights.adding import with_visibility, write_visibility
from targetsel.nights.visibility import COLUMNS, Visibility
from targetsel.tables.parquet import read_footer, write_table

ASKED = Visibility.of("KPNO", "2027-03-14")
POSITIONS = {"ra": [10.0, 150.0, 300.0], "dec": [5.0, 40.0, -80.0]}


def test_a_catalog_keeps_its_columns_and_gets_those_of_the_night_behind():
    found = with_visibility({"name": ["a", "b", "c"], **POSITIONS}, ASKED)
    assert found.colnames == ["name", "ra", "dec", *(each.name for each in COLUMNS)]
    assert found["hours_up"].tolist()[2] == 0
    assert found.summary().startswith("3 sources, 1 of them up")


@pytest.mark.parametrize(
    "table",
    [
        Table({"RA": np.radians(POSITIONS["ra"]), "DEC": np.radians(POSITIONS["dec"])},
              units={"RA": "rad", "DEC": "rad"}),
        Table({name: np.array(each, ">f8") for name, each in POSITIONS.items()}),
        pa.table(POSITIONS),
    ],
    ids=["radians", "big endian", "arrow"],
)  # fmt: skip
def test_positions_are_read_in_any_form_and_in_their_own_unit(table):
    expected = ASKED.columns(*(np.array(each) for each in POSITIONS.values()))
    hours = with_visibility(table, ASKED)["hours_up"]
    assert hours == pytest.approx(expected["hours_up"].to_numpy(), abs=1e-5)


def test_masked_and_missing_positions_give_nulls_in_their_rows_alone():
    table = pa.table({"ra": [10.0, None, np.nan, 150.0], "dec": [5.0, 5.0, 5.0, 40.0]})
    found = with_visibility(table, ASKED).table
    assert [found[each.name].is_null().to_pylist()[1:3] for each in COLUMNS] == [[True] * 2] * 8
    assert found["hours_up"].null_count == 2


def test_what_a_file_says_of_itself_is_kept_and_the_night_is_added(tmp_path):
    write_table(pa.table(POSITIONS), tmp_path / "a.parquet", {"seed": 5})
    found = with_visibility(tmp_path / "a.parquet", ASKED)
    found.write(tmp_path / "b.parquet")
    footer = read_footer(tmp_path / "b.parquet")
    assert footer["seed"] == 5
    assert footer["visibility"]["site"] == "KPNO"
    assert footer["visibility"]["nights"] == ["2027-03-14"]


@pytest.mark.parametrize("suffix", ["parquet", "fits", "vot", "ecsv", "csv"])
def test_it_can_be_written_in_every_format_and_read_again(suffix, tmp_path):
    found = with_visibility(pa.table({"id": [1, 2, 3], **POSITIONS}), ASKED)
    found.write(tmp_path / f"a.{suffix}")
    with pytest.raises(VisibilityError, match="already has a column 'airmass_min'"):
        with_visibility(tmp_path / f"a.{suffix}", ASKED)


@pytest.mark.parametrize("suffix", ["parquet", "fits", "csv"])
def test_a_table_that_is_written_by_pieces_has_the_bytes_of_one_in_memory(
    suffix, tmp_path, monkeypatch
):
    draw = np.random.default_rng(2)
    ra, dec = draw.uniform(0, 360, 1000), draw.uniform(-90, 90, 1000)
    dec[3] = np.nan
    names = pa.array([f"{k}" * (k % 7) for k in range(1000)])
    table = pa.table({"name": names.dictionary_encode(), "ra": ra, "dec": dec})
    write_table(table, tmp_path / "a.parquet", {"seed": 5})
    whole = with_visibility(tmp_path / "a.parquet", ASKED)
    whole.write(tmp_path / f"whole.{suffix}")
    monkeypatch.setattr("targetsel.nights.adding.ROWS", 77)
    written = write_visibility(tmp_path / "a.parquet", ASKED, tmp_path / f"pieces.{suffix}")
    one, other = (tmp_path / f"{each}.{suffix}" for each in ("whole", "pieces"))
    assert one.read_bytes() == other.read_bytes()
    assert (len(written), written.summary()) == (1000, whole.summary())
    one, other = (each.table.drop_columns(["dec"]) for each in (written, whole))  # NaN is not NaN
    assert one.equals(other)
    assert written[written["hours_up"] > 0].n_up == whole.n_up


def test_a_position_off_the_sphere_in_the_last_piece_leaves_no_file(tmp_path, monkeypatch):
    monkeypatch.setattr("targetsel.nights.adding.ROWS", 2)
    write_table(pa.table({"ra": [1.0] * 5, "dec": [0.0] * 4 + [95.0]}), tmp_path / "a.parquet")
    with pytest.raises(CatalogError, match="in row 4"):
        write_visibility(tmp_path / "a.parquet", ASKED, tmp_path / "b.parquet")
    assert not (tmp_path / "b.parquet").exists()


def test_a_catalog_without_rows_stays_without_and_one_without_positions_is_refused(tmp_path):
    (tmp_path / "empty.csv").write_text("id,ra,dec\n")
    assert len(with_visibility(tmp_path / "empty.csv", ASKED)) == 0
    empty = pa.table({"ra": pa.array([], pa.float64()), "dec": pa.array([], pa.float64())})
    assert len(with_visibility(empty, ASKED)) == 0
    with pytest.raises(CatalogError, match="no column"):
        with_visibility(pa.table({"x": [1.0]}), ASKED)
    with pytest.raises(CatalogError, match="off the sphere"):
        with_visibility(pa.table({"ra": [1.0], "dec": [91.0]}), ASKED)
