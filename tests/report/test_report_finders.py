"""Finder charts of planned targets, and the offsets in them."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

import targetsel as ts
from targetsel.cli import app
from targetsel.errors import CutoutError, VisibilityError
from targetsel.imaging.cutout import Cutouts
from targetsel.imaging.orientation import NORTH_UP, UNKNOWN, Orientation
from targetsel.imaging.packing import write_store
from targetsel.imaging.stars import StarLike
from targetsel.imaging.store import CutoutStore
from targetsel.nights.plan import plan_night
from targetsel.nights.visibility import Visibility
from targetsel.report.finders import charts_of, offset
from targetsel.report.night_plan import PlannedExposures

ASKED = Visibility.of("KPNO", "2027-03-14", airmass=1.8)
RA, DEC = np.array([150.0, 160.0, 170.0, 180.0]), np.array([20.0, 25.0, 30.0, 35.0])
SIZE, SCALE = 48, 0.25


def star_at(x: float, y: float) -> np.ndarray:
    rows, columns = np.indices((SIZE, SIZE))
    return 0.5 * np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / 2 / 2.0**2)


def targets() -> pa.Table:
    return pa.table({
        "target_id": ["a", "b", "c", "d"], "source_id": [1, 2, 3, 4], "ra": RA, "dec": DEC,
        "probability": [0.9, 0.9, 0.9, 0.9],
    })  # fmt: skip


def write_cutouts(folder, lies, ids=(1, 2, 3), ra=RA[:3], star=True):
    """Three cutouts, with a star 5 arcsec to the left and 3 arcsec above the middle."""
    n = len(ids)
    flux = np.random.default_rng(1).normal(0, 0.01, (n, 2, SIZE, SIZE))
    flux += star * star_at(23.5 - 20, 23.5 + 12)
    made = Cutouts(
        np.array(ids), flux.astype(np.float32), ("g", "r"), SCALE, orientation=Orientation.of(lies)
    )
    write_store(folder, [(made, ra, DEC[:n])], [0.01, 0.01])
    return CutoutStore.open(folder)


def shown(table=None) -> PlannedExposures:
    return PlannedExposures.of(plan_night(table or targets(), ASKED, "20 min"), ASKED)


def words(charts) -> dict[str, str]:
    return {
        charts.shown.ids[each.number - 1]: each.words for page in charts.pages() for each in page
    }


def test_offsets_go_from_the_star_to_the_target_however_the_image_lies(tmp_path):
    lies = [NORTH_UP, (180.0, 1.0), (0.0, -1.0)]
    store = write_cutouts(tmp_path / "s", lies)
    # The target is 5 arcsec to the right of the star and 3 arcsec below. Where east is left, it is
    # to the west and south of it.
    found = words(charts_of(shown(), store, None))
    assert [found[each].split(": ")[1] for each in "abc"] == [
        "5.0″ W, 3.0″ S",
        "5.0″ E, 3.0″ N",
        "5.0″ E, 3.0″ S",
    ]
    assert found["d"] == "The store has no cutout of it."


def test_an_offset_of_a_turned_image_is_that_of_its_directions():
    one = Cutouts(
        np.array([1]), np.zeros((1, 1, SIZE, SIZE), np.float32), ("r",), SCALE,
        orientation=Orientation.of([(30.0, 1.0)]),
    )  # fmt: skip
    star = StarLike(23.5, 23.5 - 8, 1.0, 20.0, "r")  # the target is 2 arcsec up, at 30 deg
    assert offset(one, star, (23.5, 23.5)) == pytest.approx((1.0, np.sqrt(3)))


def test_without_an_orientation_or_a_star_the_chart_says_so(tmp_path):
    store = write_cutouts(tmp_path / "s", [NORTH_UP, UNKNOWN, NORTH_UP])
    found = words(charts_of(shown(), store, None))
    assert found["b"].startswith("Star 5.8″ away, r = ")
    assert found["b"].endswith("orientation not known, so no offset.")
    bare = write_cutouts(tmp_path / "bare", [NORTH_UP] * 3, star=False)
    assert words(charts_of(shown(), bare, None))["a"] == "No star-like source in the cutout."


def test_a_target_that_is_not_in_the_middle_of_its_cutout_is_where_its_position_is(tmp_path):
    ra = RA[:3] - 1 / 3600 / np.cos(np.radians(DEC[:3]))  # the target is 1 arcsec to the east
    store = write_cutouts(tmp_path / "s", [NORTH_UP] * 3, ra=ra)
    charts = charts_of(shown(), store, None)
    assert words(charts)["a"].endswith(": 4.0″ W, 3.0″ S")
    chart = next(iter(charts.pages()))[0]
    assert chart.target == pytest.approx((23.5 - 4, 23.5), abs=1e-3)


def test_a_cutout_of_another_place_is_not_drawn(tmp_path):
    store = write_cutouts(tmp_path / "s", [NORTH_UP] * 3, ra=RA[:3] + np.array([0, 0.01, 0]))
    charts = charts_of(shown(), store, None)
    told = "finder charts of 2 of 4 planned targets; no cutout of 1; one of another place of 1"
    assert charts.remark == told
    assert words(charts)["b"].startswith("The store's cutout is of a place 32.6 arcsec away")
    assert [each.cutout is None for page in charts.pages() for each in page].count(True) == 2


def test_a_store_of_none_of_the_targets_is_refused_and_one_of_some_is_told(tmp_path):
    other = write_cutouts(tmp_path / "other", [NORTH_UP] * 3, ids=(7, 8, 9))
    with pytest.raises(CutoutError, match="has none of the 4 planned targets, such as '"):
        charts_of(shown(), other, None)
    store = write_cutouts(tmp_path / "s", [NORTH_UP] * 3)
    told = "finder charts of 3 of 4 planned targets; no cutout of 1"
    assert charts_of(shown(), store, None).remark == told


def test_the_only_store_beside_the_list_that_has_targets_is_taken(tmp_path):
    path = tmp_path / "list.parquet"
    pq.write_table(targets(), path)
    assert "no cutout store with its targets" in charts_of(shown(), None, path).remark
    (tmp_path / "no-cutouts").mkdir()
    write_cutouts(tmp_path / "cutouts-other", [NORTH_UP] * 3, ids=(7, 8, 9))
    write_cutouts(tmp_path / "cutouts", [NORTH_UP] * 3)
    assert charts_of(shown(), None, path).store.path.name == "cutouts"
    write_cutouts(tmp_path / "more-cutouts", [NORTH_UP] * 3)
    said = charts_of(shown(), None, path).remark
    assert "several cutout stores beside the list have its targets: cutouts, more-cutouts" in said
    assert charts_of(shown(), None, None).store is None


def test_a_list_without_ids_has_no_charts(tmp_path):
    path = tmp_path / "list.parquet"
    write_cutouts(tmp_path / "cutouts", [NORTH_UP] * 3)
    table = targets().select(["ra", "dec"])
    assert charts_of(shown(table), None, path).remark.startswith("no finder charts: ")
    with pytest.raises(CutoutError, match="the list has no column 'source_id', by which"):
        charts_of(shown(table), CutoutStore.open(tmp_path / "cutouts"), path)


@pytest.mark.parametrize("suffix", ["html", "pdf"])
def test_command_and_function_write_the_same_page_with_charts(suffix, tmp_path, monkeypatch):
    pq.write_table(targets(), tmp_path / "list.parquet")
    write_cutouts(tmp_path / "cutouts", [NORTH_UP] * 3)
    monkeypatch.chdir(tmp_path)
    mine = tmp_path / f"mine.{suffix}"
    plan = ts.night("list.parquet", "KPNO", "2027-03-14", exposure="20 min", page=mine,
                    cutouts="cutouts")  # fmt: skip
    assert "finder charts of 3 of 4 planned targets" in plan.summary()
    words = "night list.parquet --site KPNO --night 2027-03-14 -o plan.parquet --page"
    line = [*words.split(), f"page.{suffix}", "--exposure", "20 min"]
    result = CliRunner().invoke(app, line)
    assert result.exit_code == 0, result.output
    assert mine.read_bytes() == (tmp_path / f"page.{suffix}").read_bytes()
    if suffix == "html":
        assert mine.read_text().count("data:image/svg+xml") == 4


def test_cutouts_without_a_page_are_refused(tmp_path):
    store = write_cutouts(tmp_path / "s", [NORTH_UP] * 3)
    with pytest.raises(VisibilityError, match="--cutouts is given without --page"):
        ts.night(targets(), "KPNO", "2027-03-14", exposure="20 min", cutouts=store)
