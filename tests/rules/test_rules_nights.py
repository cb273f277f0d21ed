"""Rules that ask whether and when a source is up, and of the Moon then."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from targetsel.errors import RuleError
from targetsel.nights.visibility import Visibility
from targetsel.rules import formula as f
from targetsel.rules.binding import Binder
from targetsel.rules.columns import CatalogColumns
from targetsel.rules.formatting import spaced
from targetsel.rules.functions import parse
from targetsel.rules.lint import lint
from targetsel.rules.plan import plan
from targetsel.rules.possible import settled
from targetsel.rules.rules import Rules
from targetsel.selection.evaluation import cost, holds, value
from targetsel.selection.reports.explain import written
from targetsel.selection.sources import Sources
from targetsel.tables.parquet import described

SCHEMA = pa.schema(
    [
        described("source_id", pa.int64()),
        described("ra", pa.float64(), "deg"),
        described("dec", pa.float64(), "deg"),
    ]
)


def bound(text: str) -> f.Formula:
    return Binder(CatalogColumns(SCHEMA)).condition(parse(text))


def sources(n: int = 200) -> pa.Table:
    draw = np.random.default_rng(1)
    ra, dec = draw.uniform(0, 360, n), draw.uniform(-90, 90, n)
    table = pa.table({"source_id": np.arange(n), "ra": ra, "dec": dec})
    return table.cast(SCHEMA)


@pytest.mark.parametrize(
    ("text", "column", "limits", "chosen"),
    [
        ("hours_up(KPNO, '2027-03-14') > 2", "hours_up", {}, lambda x: x > 2),
        ("hours_up('Kitt Peak', \"2027-03-14\") > 120 min", "hours_up", {}, lambda x: x > 2),
        ("airmass_min(KPNO, '2027-03-14') < 1.4", "airmass_min", {}, lambda x: x < 1.4),
        ("moon_sep(KPNO, '2027-03-14') > 45 deg", "moon_sep", {}, lambda x: x > 45),
        (
            "hours_up(KPNO, '2027-03-14', airmass=1.5, horizon=20 deg, twilight=nautical) > 1 h",
            "hours_up",
            {"airmass": 1.5, "horizon": 20.0, "twilight": "nautical"},
            lambda x: x > 1,
        ),
        (
            "hours_up('lat=31.9639722 lon=-111.5993361 height=2120', '2027-03-14') > 2",
            "hours_up",
            {},
            lambda x: x > 2,
        ),
        ("hours_up(KPNO, '2027-03-14/2027-03-16') > 7", "hours_up", None, lambda x: x > 7),
    ],
)
def test_rules_choose_by_the_columns_of_visibility(text, column, limits, chosen):
    table = sources()
    night = "2027-03-14/2027-03-16" if limits is None else "2027-03-14"
    asked = Visibility.of("KPNO", night, **(limits or {}))
    found = asked.columns(table["ra"].to_numpy(), table["dec"].to_numpy())
    expected = chosen(found[column].to_pandas().to_numpy())
    mask = holds(bound(text), Sources(table))
    assert mask.tolist() == expected.tolist()
    assert 0 < mask.sum() < len(mask)


@pytest.mark.parametrize("night", ["2027-03-14", "2027-03-14/2027-03-20"])
def test_the_moon_is_up_in_rules_where_it_is_in_the_column_and_unknown_where_that_is_null(night):
    table = sources()
    found = Visibility.of("KPNO", night).columns(table["ra"].to_numpy(), table["dec"].to_numpy())
    column = found["moon_up"].to_pylist()
    assert {*column} == {True, False, None}
    for text, value_ in (("moon_up", True), ("not moon_up", False)):
        mask = holds(bound(f"{text}(KPNO, '{night}')"), Sources(table))
        assert mask.tolist() == [each is value_ for each in column]
        assert written(bound(f"{text}(KPNO, '{night}')")) == f"{text}('KPNO', '{night}')"


@pytest.mark.parametrize(
    ("site", "longitude"), [("KPNO", -111.6), ("AAT", 149.1), ("lat=-40 lon=180", 180.0)]
)
def test_the_best_time_in_rules_is_hours_from_the_mean_local_midnight_of_the_night(site, longitude):
    table = sources()
    asked = Visibility.of(site, "2027-03-14")
    column = asked.columns(table["ra"].to_numpy(), table["dec"].to_numpy())["best_time"]
    midnight = np.datetime64("2027-03-15T00:00", "ms") - np.timedelta64(
        round(longitude * 240_000), "ms"
    )
    utc = column.to_pandas().dt.tz_localize(None).to_numpy()
    hours = (utc - midnight) / np.timedelta64(1, "h")
    name = site if site.isalnum() else f"'{site}'"
    number = Binder(CatalogColumns(SCHEMA)).number(parse(f"best_time({name}, '2027-03-14')"))
    got = value(number, Sources(table))
    assert np.allclose(got, hours, atol=0.01, equal_nan=True)
    assert np.nanmin(got) < -3
    assert np.nanmax(got) > 3
    before = holds(bound(f"best_time({name}, '2027-03-14') < -90 min"), Sources(table))
    assert before.tolist() == (got < -1.5).tolist()


def test_the_best_time_of_several_nights_is_that_of_the_clock_on_the_best_one():
    run = parse("best_time(KPNO, '2027-03-14/2027-04-14')")
    number = Binder(CatalogColumns(SCHEMA)).number(run)
    found = value(number, Sources(sources()))
    assert np.nanmax(np.abs(found)) < 6


def test_a_source_without_a_position_is_never_chosen_for_being_up():
    table = pa.table({"source_id": [1], "ra": [np.nan], "dec": [3.0]}).cast(SCHEMA)
    for condition in ("hours_up(KPNO, '2027-03-14') >= 0", "not hours_up(KPNO, '2027-03-14') > 1"):
        assert not holds(bound(condition), Sources(table)).any()
    assert holds(bound("hours_up(KPNO, '2027-03-14') is missing"), Sources(table)).all()


def test_it_can_be_a_rank_and_stand_in_arithmetic():
    number = Binder(CatalogColumns(SCHEMA)).number(parse("-airmass_min(APO, '2027-03-14') * 2"))
    found = value(number, Sources(sources()))
    assert np.isfinite(found).sum() > 50
    assert np.nanmax(found) <= -2


def test_it_is_evaluated_after_plain_comparisons_and_says_what_it_is():
    condition = bound("hours_up(KPNO, '2027-03-14', airmass=1.5) > 2")
    assert cost(condition) == 1
    assert written(condition) == "hours_up('KPNO', '2027-03-14', airmass=1.5) > 2"


def test_lint_knows_that_no_airmass_is_below_one():
    condition = bound("airmass_min(KPNO, '2027-03-14') < 0.9")
    remark = settled(condition, CatalogColumns(SCHEMA).range_of)
    assert remark.startswith("can never be true: airmass_min('KPNO', '2027-03-14') is 1 or more")


def test_an_argument_given_by_name_is_spaced_without_blanks():
    text = "hours_up( KPNO,'2027-03-14' , airmass = 1.5,twilight= civil)>2"
    assert spaced(text) == "hours_up(KPNO, '2027-03-14', airmass=1.5, twilight=civil) > 2"


def test_lint_says_that_a_night_lies_beyond_what_is_known_of_the_earth():
    head = "schema: targetsel/rules/v1\nname: test\nclasses:\n  A:\n    bit: 0\n    priority: 1\n"
    for night, stale in (("2025-03-14", False), ("2047-03-14", True)):
        rules = Rules.parse(head + f"    where: hours_up(KPNO, '{night}') > 2 h\n", "rules.yaml")
        told = [each for each in lint(rules, SCHEMA) if "are stale on" in each.message]
        assert [each.place.line for each in told] == [7] * stale
        assert len(plan(rules, SCHEMA).cautions) == stale


@pytest.mark.parametrize(
    ("text", "column", "message"),
    [
        ("hours_up(KPN, '2027-03-14') > 2", 10, "unknown site 'KPN'. Did you mean 'KPNO'"),
        ("hours_up(KPNO, '2027-3-14') > 2", 17, "night '2027-3-14' is no date; expected"),
        ("hours_up(KPNO, '2027-02-29') > 2", 17, "there is no 2027-02-29"),
        ("hours_up(KPNO, '2099-03-14') > 2", 17, "is out of range; expected a date from 1973"),
        ("hours_up(KPNO, 2027-03-14) > 2", 16, "takes a name or a text in quotes here"),
        ("hours_up(KPNO) > 2", 1, "hours_up() takes 2 to 5 arguments, not 1"),
        ("hours_up() > 2", 1, "hours_up() takes 2 to 5 arguments, not 0"),
        ("hours_up(KPNO, '2027-03-14', 1.5) > 2", 30, "expected one of airmass=, horizon=, "),
        ("hours_up(KPNO, '2027-03-14', airmas=2) > 2", 30, "unknown argument 'airmas'. Did you"),
        ("hours_up(KPNO, '2027-03-14', airmass=0.9) > 2", 38, "the airmass limit is 0.9; expected"),
        ("hours_up(KPNO, '2027-03-14', airmass=1) > 2", 38, "the airmass limit is 1; expected"),
        ("hours_up(KPNO, '2027-03-14', airmass=ra) > 2", 38, "must be one number for all sources"),
        ("hours_up(KPNO, '2027-03-14', airmass=2 mag) > 2", 38, "is in mag; write it without"),
        ("hours_up(KPNO, '2027-03-14', horizon=95) > 2", 38, "the horizon limit is 95; expected"),
        ("hours_up(KPNO, '2027-03-14', horizon=3 mag) > 2", 38, "is in mag; expected deg"),
        ("hours_up(KPNO, '2027-03-14', twilight=dusk) > 2", 39, "unknown twilight 'dusk'"),
        ("hours_up(KPNO, '2027-03-14', twilight=12) > 2", 39, "takes a name or a text in quotes"),
        ("hours_up(KPNO, '2027-03-14', airmass=2, airmass=3) > 2", 41, "airmass is given twice"),
        ("hours_up(airmass=2, KPNO) > 2", 10, "begins with a site and a night, and a site is"),
        ("hours_up('lat=69.65 lon=18.96', '2027-06-21') > 2", 34, "it does not get dark"),
        ("moon_sep(KPNO, '2027-03-14') > 2 h", 32, "is in deg, the limit is in h"),
        ("hours_up(KPNO, '2027-03-14') > 30 deg", 32, "is in h, the limit is in deg"),
        ("best_time(KPNO, '2027-03-14') > 30 deg", 33, "is in h, the limit is in deg"),
        ("moon_up(KPNO, '2027-03-14') > 0.5", 31, "is true or false, 0.5 is a number"),
        ("hours_up(KPNO, '2027-03-14' > 2", 29, "expected ',' or ')' after '2027-03-14'"),
        ("hours_up(La Silla, '2027-03-14') > 2", 13, "a name of several words stands in quotes"),
        ("hours_up(Gemini-N, '2027-03-14') > 2", 16, "expected ',' or ')' after Gemini"),
        ("hours_up(KPNO, '2027-03-14'", 28, "is never closed"),
        ("ra = 5", 4, "'=' is not a comparison; write == to compare"),
        ("hours_up(KPNO = 2, '2027-03-14') > 2", 10, "unknown argument 'KPNO'"),
        ("abs(ra = 5) > 2", 8, "'=' is not a comparison; write == to compare"),
    ],
)
def test_what_cannot_be_asked_is_refused_at_its_place_when_the_rule_is_bound(text, column, message):
    with pytest.raises(RuleError) as error:
        bound(text)
    assert message in str(error.value)
    assert error.value.place.column == column


def test_a_catalog_without_positions_is_refused():
    columns = CatalogColumns(pa.schema([described("source_id", pa.int64())]))
    with pytest.raises(RuleError, match="this needs a column 'ra'"):
        Binder(columns).condition(parse("hours_up(KPNO, '2027-03-14') > 2"))
