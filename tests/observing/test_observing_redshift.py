import numpy as np
import pyarrow as pa
import pytest

from targetsel.errors import SpectrographError
from targetsel.observing.redshift import Redshift, parse_grid

SCORES = np.array([-1.0, 0.0, 1.0])


def test_value_is_the_same_for_all_scores_and_trouble_is_named():
    values = [0.3, None, float("nan"), -0.2, 99.0, 0.0]
    drawn, troubles = Redshift().draw(pa.table({"redshift": values}), SCORES)
    assert drawn.shape == (6, 1)
    assert troubles.tolist() == [
        "", "no redshift", "no redshift", "negative redshift", "redshift beyond 10", "",
    ]  # fmt: skip
    assert np.isnan(drawn[1:5]).all()
    assert drawn[[0, 5], 0].tolist() == [0.3, 0.0]


def test_error_spreads_the_value_and_stops_at_zero():
    rows = pa.table({"redshift": [0.3, 0.05, 0.3], "dz": [0.1, 0.1, None]})
    drawn, troubles = Redshift(error="dz").draw(rows, SCORES)
    assert drawn[0] == pytest.approx([0.2, 0.3, 0.4])
    assert drawn[1] == pytest.approx([0.0, 0.05, 0.15])
    assert troubles.tolist() == ["", "", "no redshift error"]


def test_one_redshift_and_error_serve_all_sources():
    rows = pa.table({"ra": [1.0, 2.0]})
    drawn, troubles = Redshift(0.3, 0.1).draw(rows, SCORES)
    assert drawn == pytest.approx(np.array([[0.2, 0.3, 0.4]] * 2))
    assert troubles.tolist() == ["", ""]
    assert Redshift(0.3).is_certain
    assert Redshift(0).draw(rows, SCORES)[0].tolist() == [[0.0], [0.0]]
    assert Redshift(0.3).draw(rows, SCORES)[0].tolist() == [[0.3], [0.3]]


def test_one_error_serves_redshifts_of_a_column():
    drawn, _ = Redshift(error=0.1).draw(pa.table({"redshift": [0.3, 0.5]}), SCORES)
    assert drawn == pytest.approx(np.array([[0.2, 0.3, 0.4], [0.4, 0.5, 0.6]]))


@pytest.mark.parametrize(
    ("numbers", "message"),
    [
        ((-0.1,), "redshift is -0.1; expected 0 to 10"),
        ((float("nan"),), "redshift is nan; expected 0 to 10"),
        ((0.1, -0.02), "redshift error is -0.02; expected 0 to 10"),
        ((0.1, "", (0, 1)), "a redshift grid is for a column of densities"),
        (("pz", 0.1, (0, 1)), "a redshift grid is for a column of densities"),
    ],
)
def test_numbers_that_are_no_redshifts_are_refused(numbers, message):
    with pytest.raises(SpectrographError, match=message):
        Redshift(*numbers)


@pytest.mark.parametrize(
    "kind",
    [pa.list_(pa.float64(), 5), pa.list_(pa.float32()), pa.large_list(pa.float64())],
    ids=str,
)
def test_density_that_is_level_spreads_evenly_over_the_grid(kind):
    empty = [] if not pa.types.is_fixed_size_list(kind) else None
    pz = [[1.0] * 5, [0.0] * 5, None, [-1.0, 1, 1, 1, 1], empty, [None, 1, 1, 1, 1]]
    rows = pa.table({"pz": pa.array(pz, kind)})
    redshift = Redshift("pz", grid=(0.0, 2.0))
    redshift.check(rows.schema)
    redshift.check_densities([rows, rows])
    quarter = 0.6744897501960817
    drawn, troubles = redshift.draw(rows, np.array([-quarter, 0, quarter]))
    assert drawn[0] == pytest.approx([0.5, 1.0, 1.5])
    assert troubles.tolist() == ["", *["no redshift density"] * 5]
    drawn, troubles = redshift.draw(rows[2:3], np.zeros(1))
    assert (troubles.tolist(), np.isnan(drawn).all()) == (["no redshift density"], True)


@pytest.mark.parametrize(
    ("pieces", "message"),
    [
        ([[[1, 1]], [None, [1, 1, 1]]], "column 'pz', row 2: a list of 3 densities, expected 2 as"),
        ([[[], [1, 1, 1], [1, 1]]], "column 'pz', row 2: a list of 2 densities, expected 3 as the"),
        ([[[1], [1]]], "column 'pz', row 0: a list of 1 densities, expected two or more"),
    ],
)
def test_densities_on_several_grids_are_refused(pieces, message):
    tables = [pa.table({"pz": pa.array(lists, pa.list_(pa.float64()))}) for lists in pieces]
    with pytest.raises(SpectrographError) as refused:
        Redshift("pz", grid=(0.0, 2.0)).check_densities(tables)
    assert message in str(refused.value)


@pytest.mark.parametrize(
    ("redshift", "message"),
    [
        (
            Redshift("redshfit"),
            "no column 'redshfit' (--redshift). Did you mean 'redshift'?",
        ),
        (Redshift(error="dz"), "no column 'dz' (--redshift-error)."),
        (Redshift("pz"), "column 'pz' holds lists of 2 numbers; expected numbers. For"),
        (Redshift(grid=(0, 1)), "column 'redshift' holds numbers; expected lists of numbers"),
        (Redshift("name"), "column 'name' holds text; expected numbers"),
    ],
)
def test_column_that_holds_no_redshifts_is_refused(redshift, message):
    pz = pa.array([[1.0, 2.0]], pa.list_(pa.float64(), 2))
    rows = pa.table({"redshift": [0.1], "pz": pz, "name": ["x"]})
    with pytest.raises(SpectrographError) as refused:
        redshift.check(rows.schema)
    assert message in str(refused.value)


@pytest.mark.parametrize("text", ["0", "2:0", "0:11", "-1:2", "a:b", "0:1:2", "nan:1"])
def test_grid_that_is_none_is_refused(text):
    with pytest.raises(SpectrographError, match=f"redshift grid '{text}': expected START:END"):
        parse_grid(text)


def test_grid_is_two_redshifts():
    assert parse_grid("0:2.5") == (0.0, 2.5)
