"""Plans of a night with a single slit."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from astropy.coordinates import AltAz, EarthLocation, SkyCoord
from astropy.time import Time
from astropy.utils import iers

from targetsel.cli.nights import _weights
from targetsel.errors import CatalogError, VisibilityError
from targetsel.nights.plan import COLUMNS, STATUSES, plan_night
from targetsel.nights.visibility import Visibility
from targetsel.tables.parquet import read_footer

ASKED = Visibility.of("KPNO", "2027-03-14", airmass=1.8)
N = 150


@pytest.fixture(scope="module")
def sky():
    draw = np.random.default_rng(3)
    return pa.table({
        "target_id": np.arange(N),
        "ra": draw.uniform(0, 360, N),
        "dec": draw.uniform(-40, 80, N),
        "program": np.where(draw.uniform(size=N) < 0.5, "ELG", "QSO"),
        "probability": draw.uniform(0.1, 1, N),
        "minutes": draw.uniform(5, 60, N) * 60,
    })  # fmt: skip


def seconds(column):
    return column.to_numpy().astype("datetime64[ms]").astype(np.int64) / 1000


def test_exposures_are_dark_and_above_the_limits_all_along_and_none_overlaps(sky):
    plan = plan_night(sky, ASKED, "minutes", overhead="3 min").planned
    start, end = seconds(plan.table["plan_start"]), seconds(plan.table["plan_end"])
    assert len(plan) > 8
    assert (start[1:] - end[:-1] >= 180 - 1e-3).all()
    assert end - start == pytest.approx(plan["plan_exposure"], abs=0.002)
    night = ASKED.nights[0]
    dark = seconds(pa.array(night.time(np.array(night.dark[0]))))
    assert start[0] >= dark[0] + 180
    assert end[-1] <= dark[1]
    place = EarthLocation.from_geodetic(
        night.site.longitude, night.site.latitude, night.site.height
    )
    where = SkyCoord(plan["ra"], plan["dec"], unit="deg")
    for share in (0, 0.5, 1):
        times = Time(start + share * (end - start), format="unix")
        with iers.conf.set_temp("auto_download", False), iers.conf.set_temp("auto_max_age", None):
            frame = AltAz(obstime=times, location=place)
            airmass = 1 / np.sin(where.transform_to(frame).alt.rad)
        assert (airmass < 1.8 + 1e-4).all()
        if share == 0.5:
            assert plan["plan_airmass"] == pytest.approx(airmass, abs=1e-4)


def test_the_plan_does_not_depend_on_the_order_of_the_rows(sky):
    shuffled = sky.take(np.random.default_rng(4).permutation(N))
    assert plan_night(shuffled, ASKED, "20 min").table.equals(
        plan_night(sky, ASKED, "20 min").table
    )


def test_a_source_that_was_planned_is_not_planned_again_even_two_plans_later(sky, tmp_path):
    first = plan_night(sky, ASKED, "20 min")
    first.write(tmp_path / "first.fits")
    second = plan_night(sky, ASKED, "20 min", done=[tmp_path / "first.fits"])
    third = plan_night(sky, ASKED, "20 min", done=[second])
    ids = [set(each.planned["target_id"].tolist()) for each in (first, second, third)]
    assert not ids[0] & ids[1]
    assert not (ids[0] | ids[1]) & ids[2]
    assert all(len(each) == 22 for each in ids)


def test_rows_that_cannot_be_planned_stay_and_say_why():
    table = pa.table({
        "source_id": [1, 2, 3, 4, 5, 6, 6, 7],
        "ra": [150.0, None, 150.0, 150.0, 150.0, 150.0, 150.0, 150.0],
        "dec": [40.0, 40.0, 40.0, -80.0, 40.0, 40.0, 40.0, 40.0],
        "probability": [0.5, 0.5, 0.5, 0.5, None, 0.5, 0.5, -1.0],
        "wanted": [600.0, 600.0, -5.0, 600.0, 600.0, 80_000.0, 80_000.0, 600.0],
    })  # fmt: skip
    plan = plan_night(table, ASKED, "wanted")
    found = zip(plan["source_id"].tolist(), plan["plan_status"].tolist(), strict=True)
    assert [*found] == [
        *((1, "planned"), (6, "repeated"), (2, "no position"), (3, "no exposure")),
        *((5, "no value"), (7, "no value"), (4, "not up"), (6, "too long")),
    ]
    assert {*plan["plan_status"].tolist()} <= STATUSES.keys()
    assert plan.table["plan_start"].null_count == 7


def test_of_rows_of_one_source_only_one_is_planned(sky):
    twice = pa.concat_tables([sky, sky])
    plan = plan_night(twice, ASKED, "20 min")
    once = plan_night(sky, ASKED, "20 min")
    assert plan.planned.table.equals(once.planned.table)
    assert (plan["plan_status"] == "repeated").sum() == N


def test_positions_on_both_sides_of_ra_0_are_of_one_source():
    ra = pa.array([360 - 1e-8, 0.0, 1e-8, 359.99999, -0.00001])
    plan = plan_night(pa.table({"ra": ra, "dec": [40.0] * 5}), ASKED, "20 min")
    assert (plan["plan_status"] == "repeated").sum() == 3


def test_a_class_that_is_weighed_twice_is_refused():
    assert _weights(["ELG=2", "QSO = 3"]) == {"ELG": 2, "QSO": 3}
    with pytest.raises(VisibilityError, match="'ELG' is given twice"):
        _weights(["ELG=2", "ELG=3"])


def test_a_class_of_weight_ten_fills_the_night_and_one_of_zero_is_left_out(sky):
    plan = plan_night(sky, ASKED, "20 min", weights={"ELG": 10}).planned
    assert (plan["program"] == "ELG").mean() > 0.9
    plan = plan_night(sky, ASKED, "20 min", weights={"ELG": 0}).planned
    assert set(plan["program"].tolist()) == {"QSO"}


def test_times_in_minutes_are_read_in_their_unit(sky):
    column = pa.field("t", pa.float64(), metadata={"unit": "min"})
    plan = plan_night(sky.append_column(column, pa.array([20.0] * N)), ASKED, "t")
    assert plan.planned["plan_exposure"].tolist() == [1200] * 22


@pytest.mark.parametrize("suffix", ["parquet", "fits", "vot", "ecsv", "csv"])
def test_a_plan_can_be_written_in_every_format(suffix, sky, tmp_path):
    plan_night(sky, ASKED, "20 min").write(tmp_path / f"plan.{suffix}")
    with pytest.raises(VisibilityError, match="it is a plan already"):
        plan_night(tmp_path / f"plan.{suffix}", ASKED, "20 min")
    if suffix == "parquet":
        told = read_footer(tmp_path / "plan.parquet")["night"]
        assert (told["overhead"], told["exposure"], told["airmass"]) == (300, "20 min", 1.8)


def test_a_list_without_rows_gives_a_plan_without_rows(sky):
    plan = plan_night(sky.slice(0, 0), ASKED, "20 min")
    assert plan.colnames[-len(COLUMNS) :] == [each.name for each in COLUMNS]
    assert plan.summary().startswith("0 targets, 0 planned")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"exposure": "minuts"}, "no column 'minuts'. Did you mean 'minutes'?"),
        ({"exposure": "20"}, "exposure is '20'; expected a number and its unit"),
        ({"exposure": "-20 min"}, "exposure is -1200 s; expected more than 0"),
        (
            {"exposure": "program"},
            "holds text; expected exposure times. Make the column one of numbers",
        ),
        ({"overhead": "-5 min"}, "overhead is"),
        ({"weights": {"ELGS": 2}}, "no target is of class 'ELGS'. Did you mean 'ELG'?"),
        ({"weights": {"ELG": -2}}, "expected a finite number, 0 or more"),
        ({"weights": {"ELG": np.inf}}, "is inf; expected a finite number, 0 or more"),
        ({"weights": {"ELG": "2"}}, "the weight of class 'ELG' is '2'; expected a finite number"),
        ({"weights": "ELG=2"}, "weight is 'ELG=2'; expected numbers by class"),
        ({"done": [{"target_id": [1]}]}, "has no column 'plan_status', so that it is no plan"),
    ],
)
def test_what_cannot_be_asked_is_refused_with_the_next_step(settings, message, sky):
    with pytest.raises((VisibilityError, CatalogError)) as caught:
        plan_night(sky, ASKED, **{"exposure": "20 min", **settings})
    assert message in str(caught.value)


def test_several_nights_and_a_list_without_positions_are_refused(sky):
    with pytest.raises(VisibilityError, match="2 nights are given; expected one"):
        plan_night(sky, Visibility.of("KPNO", "2027-03-14/2027-03-15"), "20 min")
    with pytest.raises(CatalogError, match="no column of right ascension"):
        plan_night({"x": [1.0]}, ASKED, "20 min")
