"""Plans of a night with a fiber instrument."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

import targetsel as ts
from targetsel.errors import VisibilityError
from targetsel.handoff.pointings import COLUMNS, find_instrument, plan_pointings
from targetsel.handoff.simulation import INSTRUMENTS
from targetsel.nights.plan import plan_night
from targetsel.nights.sites import Site
from targetsel.nights.visibility import Paths, Visibility, directions_of
from targetsel.sky.positions import separation
from targetsel.tables.parquet import read_footer

ASKED = Visibility.of("KPNO", "2027-03-14", airmass=1.8)
N = 3000
HECTOSPEC = INSTRUMENTS["hectospec"]


@pytest.fixture(scope="module")
def sky():
    draw = np.random.default_rng(3)
    return pa.table({
        "target_id": np.arange(N),
        "ra": draw.uniform(90, 250, N),
        "dec": draw.uniform(-10, 60, N),
        "program": np.where(draw.uniform(size=N) < 0.5, "ELG", "QSO"),
        "probability": draw.uniform(0.1, 1, N),
        "wanted": draw.uniform(900, 3600, N),
    })  # fmt: skip


@pytest.fixture(scope="module")
def plan(sky):
    return plan_pointings(sky, ASKED, "40 min", HECTOSPEC)


def hours(column):
    """Hours since the noon of the night."""
    days = column.to_numpy().astype("datetime64[ms]").astype(np.int64) / 86_400_000 + 40_587
    return (days - ASKED.nights[0].noon) * 24


def test_the_whole_field_is_dark_and_above_the_limits_all_along(plan):
    found = plan.pointings
    start, end = hours(found["plan_start"]), hours(found["plan_end"])
    assert len(start) > 8
    assert (start[1:] - end[:-1] >= 5 / 60 - 1e-5).all()
    (dark,) = ASKED.nights[0].dark
    assert start[0] >= dark[0] + 5 / 60 - 1e-5
    assert end[-1] <= dark[1] + 1e-5
    targets = plan.planned
    paths = Paths.of(ASKED.nights[0], directions_of(targets["ra"], targets["dec"]))
    of = targets["plan_order"].astype(int) - 1
    for share in (0, 0.5, 1):
        at = start + share * (end - start)
        assert (paths.height(at[of]) > 1 / 1.8 - 1e-6).all()


def test_targets_of_a_pointing_are_in_its_field_and_no_more_than_there_are_fibers(plan):
    targets, found = plan.planned, plan.pointings
    of = targets["plan_order"].astype(int) - 1
    ra, dec = (found[name].to_numpy()[of] for name in ("ra", "dec"))
    apart = separation(targets["ra"], targets["dec"], ra, dec)
    assert (apart <= HECTOSPEC.diameter / 2 + 1e-6).all()
    assert np.bincount(of).tolist() == found["plan_targets"].to_pylist()
    assert np.bincount(of).max() <= HECTOSPEC.n_fibers
    value = np.bincount(of, weights=targets["probability"])
    assert found["plan_value"].to_numpy() == pytest.approx(value, rel=1e-5)
    assert len(np.unique(targets["target_id"])) == len(targets)


def test_the_order_of_rows_changes_no_byte(sky, plan):
    shuffled = sky.take(np.random.default_rng(0).permutation(N))
    again = plan_pointings(shuffled, ASKED, "40 min", HECTOSPEC)
    assert again.pointings.equals(plan.pointings)
    assert again.table.equals(plan.table)


def test_what_one_night_took_is_not_offered_on_the_next_whatever_the_instrument(sky, plan):
    next_night = Visibility.of("KPNO", "2027-03-15", airmass=1.8)
    second = plan_pointings(sky, next_night, "40 min", HECTOSPEC, done=[plan.table])
    assert len(second.planned) > 20
    assert not set(second.planned["target_id"]) & set(plan.planned["target_id"])
    slit = plan_night(sky, next_night, "20 min", done=[plan.table])
    assert not set(slit.planned["target_id"]) & set(plan.planned["target_id"])
    third = plan_pointings(sky, next_night, "40 min", HECTOSPEC, done=[slit.table])
    assert not set(third.planned["target_id"]) & set(slit.planned["target_id"])


def test_a_pointing_is_long_enough_for_all_that_it_takes(sky):
    plan = plan_pointings(sky, ASKED, "wanted", HECTOSPEC)
    wanted, lasts = plan.planned["wanted"], plan.planned["plan_exposure"]
    assert (wanted <= lasts + 1e-3).all()
    assert len(np.unique(lasts)) <= 4


def test_weights_of_classes_decide_who_is_pointed_at(sky):
    plan = plan_pointings(sky, ASKED, "40 min", HECTOSPEC, weights={"QSO": 0})
    assert set(plan.planned["program"]) == {"ELG"}


def test_a_list_without_rows_and_one_that_is_not_up_have_no_pointings(sky):
    nothing = plan_pointings(sky.slice(0, 0), ASKED, "40 min", HECTOSPEC)
    assert nothing.pointings.num_rows == 0
    south = sky.set_column(2, "dec", pa.array(np.full(N, -80.0)))
    plan = plan_pointings(south, ASKED, "40 min", HECTOSPEC)
    assert plan.pointings.num_rows == 0
    assert set(plan["plan_status"]) == {"not up"}
    assert plan.pointings.column_names == [each.name for each in COLUMNS]


def test_no_field_is_above_a_limit_near_the_zenith(sky):
    steep = Visibility.of("KPNO", "2027-03-14", airmass=1.00001)
    assert plan_pointings(sky, steep, "10 min", HECTOSPEC).pointings.num_rows == 0


def test_pointings_are_written_and_the_page_shows_them(sky, tmp_path):
    plan = ts.night(
        *(sky, "KPNO", "2027-03-14", tmp_path / "plan.parquet"),
        exposure="40 min",
        instrument="hectospec",
        pointings=tmp_path / "pointings.parquet",
        page=tmp_path / "plan.html",
    )
    written = pq.read_table(tmp_path / "pointings.parquet")
    assert written.column_names == [each.name for each in COLUMNS]
    assert written.num_rows == plan.pointings.num_rows > 8
    assert read_footer(tmp_path / "pointings.parquet")["night"]["instrument"] == "hectospec"
    assert "xfitfibs decides on real ones" in plan.summary()
    page = (tmp_path / "plan.html").read_text()
    assert "pointing 1</td>" in page
    assert f"{written['plan_targets'][0].as_py()} targets</td>" in page
    assert "Finder charts" not in page
    assert pc.sum(written["plan_targets"]).as_py() == len(plan.planned)


def test_an_unknown_instrument_and_pointings_of_a_slit_are_refused(sky, tmp_path):
    with pytest.raises(VisibilityError, match=r"'dsei'.*desi"):
        find_instrument("dsei")
    with pytest.raises(VisibilityError, match="of fiber instruments"):
        ts.night(sky, "KPNO", "2027-03-14", exposure="40 min", pointings=tmp_path / "p.csv")
    same = tmp_path / "p.csv"
    fibers = {"exposure": "40 min", "instrument": "hectospec"}
    with pytest.raises(VisibilityError, match="is another output, too"):
        ts.night(sky, "KPNO", "2027-03-14", same, pointings=same, **fibers)


def test_a_night_at_another_place_than_the_instruments_is_remarked(sky, plan):
    assert "MMT Hectospec is at MMT 6.5 m, Mount Hopkins, and the night is that of KPNO" in (
        plan.summary()
    )
    home = plan_pointings(sky, Visibility.of("MMT", "2027-03-14"), "40 min", HECTOSPEC)
    assert "is at MMT" not in home.summary()
    assert all(Site.find(each.site) for each in INSTRUMENTS.values())


def test_pointings_are_drawn_as_a_pdf_too(sky, tmp_path):
    fibers = {"exposure": "40 min", "instrument": "hectospec"}
    ts.night(sky, "KPNO", "2027-03-14", page=tmp_path / "plan.pdf", **fibers)
    assert (tmp_path / "plan.pdf").read_bytes().startswith(b"%PDF")
