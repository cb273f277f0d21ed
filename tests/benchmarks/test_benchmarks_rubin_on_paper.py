"""The model of a very large catalog, beside cases that are counted by hand."""

import pytest
import rubin_on_paper
from rubin_on_paper import Sky, estimate
from unit_costs import UnitCosts, line

COSTS = UnitCosts(
    start={"torch": 36.0, "fast": 72.0},
    scored={"torch": 3.6e-3, "fast": 1.8e-3},
    not_needed=36e-6,
    partition=0.36,
    packed=7.2e-4,
    selected=3.6e-7,
    pixels=1000,
    pixel_bytes=0.8,
    catalog_bytes=50.0,
    not_needed_bytes=60.0,
    full_bytes=1250.0,
    slim_bytes=300.0,
    partition_bytes=170_000.0,
)
SKY = Sky(1_000_000_000, 1_000_000, side=10, pixel_scale=1.0, bands=10, catalog_bytes=50)


def test_a_thousand_partitions_of_a_billion_rows_cost_what_is_counted_by_hand():
    found = estimate(SKY, COSTS, 0.01, processes=100)
    assert SKY.partitions == 1000
    assert found.survivors == 10_000_000
    # 990 million rows of 36 us, 10 million of 3.6 ms, 1000 of 0.36 s, 100 of 36 s
    assert found.hours == pytest.approx(
        {
            "rows not needed": 9.9,
            "rows scored": 10.0,
            "partitions": 0.1,
            "processes": 1.0,
            "packing": 2.0,
            "selecting": 0.1,
        }
    )
    assert found.score_hours == pytest.approx(21.0)


def test_bytes_in_and_out_are_those_counted_by_hand():
    found = estimate(SKY, COSTS, 0.01)
    assert found.catalog_in == 50e9
    assert found.cutouts_in == pytest.approx(10e6 * 800)
    assert found.full_out == pytest.approx(10e6 * 1250 + 990e6 * 60 + 1000 * 170e3)
    assert found.full_out - found.slim_out == pytest.approx(10e6 * 950)


def test_a_wider_catalog_is_read_and_written_in_every_row():
    wider = Sky(SKY.rows, SKY.partition_rows, 10, 1.0, 10, catalog_bytes=150)
    one, other = (estimate(sky, COSTS, 0.01) for sky in (SKY, wider))
    assert other.catalog_in - one.catalog_in == pytest.approx(100e9)
    assert other.slim_out - one.slim_out == pytest.approx(100e9)


def test_cutouts_of_four_times_the_pixels_take_four_times_the_bytes_and_hours():
    finer = Sky(SKY.rows, SKY.partition_rows, 10, 0.5, 10, catalog_bytes=50)
    one, other = (estimate(sky, COSTS, 0.01) for sky in (SKY, finer))
    assert other.cutouts_in == pytest.approx(4 * one.cutouts_in)
    for name, factor in (("rows scored", 4), ("packing", 4), ("rows not needed", 1)):
        assert other.hours[name] == pytest.approx(factor * one.hours[name])


def test_fewer_pixels_than_were_measured_cost_no_less():
    coarser = Sky(SKY.rows, SKY.partition_rows, 10, 2.0, 10)
    assert estimate(coarser, COSTS, 0.01).hours["rows scored"] == pytest.approx(10.0)


def test_an_engine_of_half_the_cost_takes_half_the_hours_of_the_rows_that_are_scored():
    fast = estimate(SKY, COSTS, 0.01, "fast", processes=100).hours
    assert (fast["rows scored"], fast["processes"]) == pytest.approx((5.0, 2.0))


def test_a_line_through_two_costs_gives_start_and_slope():
    assert line({1000: 12.0, 3000: 16.0}) == pytest.approx((10.0, 0.002))


def test_costs_are_read_as_they_were_written(tmp_path):
    COSTS.write(tmp_path / "costs.json")
    assert UnitCosts.read(tmp_path / "costs.json") == COSTS


def test_the_table_says_what_is_assumed_and_has_a_line_for_each_share(
    tmp_path, monkeypatch, capsys
):
    COSTS.write(tmp_path / "costs.json")
    words = ("--costs", str(tmp_path / "costs.json"), "--rows", "1e9", "--cores", "100")
    monkeypatch.setattr("sys.argv", ["rubin_on_paper.py", *words])
    rubin_on_paper.main()
    out = capsys.readouterr().out
    assert "rows=1000000000, partition_rows=1000000, side=16.0, pixel_scale=0.2" in out
    lines = [line.split() for line in out.splitlines()]
    shares = [words[0] for words in lines if words and words[0] in ("1", "0.1", "0.01", "0.001")]
    assert shares == ["1", "0.1", "0.01", "0.001"]
