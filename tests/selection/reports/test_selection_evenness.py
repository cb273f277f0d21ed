"""Lists whose density follows a map, weights that make it even, and maps that cannot serve."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from astropy.table import Table

import targetsel as ts
from targetsel.errors import CatalogError, ExtraError
from targetsel.selection.reports.evenness import evenness
from targetsel.selection.reports.footprint_areas import pixel_areas
from targetsel.selection.target_list import TargetList
from targetsel.sky.positions import SQUARE_DEGREES, centres_of, coarser, healpix_of
from targetsel.tables.parquet import write_table

ORDER = 4  # nside 16
INSIDE = np.arange(512)  # two of the twelve largest pixels: ra 0 to 180, dec 0 to 42 and more
FOOTPRINT = f"{{include: [{{healpix: {{nside: 16, pixels: {INSIDE.tolist()}}}}}]}}"
RULES = (
    f"schema: targetsel/rules/v1\nname: a\nfootprint: {FOOTPRINT}\nclasses:\n"
    "  ELG: {bit: 0, where: ['x > 0'], priority: 1}\n"
    "  RARE: {bit: 1, where: ['x > 9'], priority: 2}\n"
)


def star_map(pixels, order):
    """Stars per square degree: more to the south and to the east, and scattered."""
    ra, dec = centres_of(pixels, order)
    scatter = np.random.default_rng(5).normal(0, 30, 12 * 4**order)[pixels]
    return 500 + 2 * (50 - dec) + ra + scatter


def positions(n, seed=0):
    """Points that are uniform over the footprint."""
    cells = np.random.default_rng(seed).integers(0, len(INSIDE) * 4**10, n)
    return centres_of(np.unique(cells), ORDER + 10)


def a_list(ra, dec, footer=True):
    table = pa.table(
        {
            "target_id": np.arange(len(ra)),
            "source_id": np.arange(len(ra)),
            "_healpix_29": healpix_of(ra, dec),
            "ra": ra,
            "dec": dec,
            "target_bits": np.where(np.arange(len(ra)) < 20, 3, 1),
        }
    )
    files = {"rules_files": [["a.yaml", RULES]]} if footer else {}
    return TargetList(table, {"bits": {"ELG": 0, "RARE": 1}} | files)


def following(n=60_000, steep=0.2):
    """Targets whose density falls where stars are many."""
    ra, dec = positions(n)
    stars = star_map(coarser(healpix_of(ra, dec), ORDER), ORDER)
    keep = np.random.default_rng(1).random(len(ra)) < 0.7 * (1 - steep * (stars - 640) / 200)
    return a_list(ra[keep], dec[keep])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Maps, random points and a catalog, beside a list."""
    place = tmp_path_factory.mktemp("even")
    pixels = np.arange(12 * 4**ORDER)
    stars = star_map(pixels, ORDER)
    Table({"pixel": pixels, "stars": stars, "flat": np.ones(len(pixels)), "twice": 2 * stars + 1,
           "south": np.where(centres_of(pixels, ORDER)[1] < -10, stars, np.nan),
           "word": ["a"] * len(pixels)}).write(place / "maps.csv")  # fmt: skip
    ra, dec = positions(60_000, seed=3)
    Table({"ra": ra, "dec": dec}).write(place / "points.csv")
    healpix = healpix_of(ra, dec)
    order = np.argsort(healpix)
    ebv = (0.02 + 0.001 * dec)[order]
    scored = {"source_id": np.arange(len(ra)), "ra": ra[order], "dec": dec[order], "ebv": ebv,
              "type": ["PSF"] * len(ra), "_healpix_29": healpix[order]}  # fmt: skip
    write_table(pa.table(scored), place / "a.scored.parquet")
    return place


@pytest.fixture(autouse=True)
def _there(folder, monkeypatch):
    monkeypatch.chdir(folder)


STARS = "maps.csv:stars:nested16"
CATALOG = Path("a.scored.parquet")


def test_weights_take_the_trend_with_stars_away():
    found = evenness(following(), [STARS], ORDER, method="linear")
    everything = found.classes[0]
    (trend,) = everything.trends
    assert trend.before.slope < -0.1
    assert trend.before.p < 1e-6
    assert abs(trend.after.slope) < 2 * trend.after.slope_error
    assert trend.after.p > 0.01
    assert found.maps == ("stars",)
    assert everything.name == "all targets"


def test_weights_are_one_over_the_relative_density_with_mean_one_in_each_class():
    targets = following()
    weights = evenness(targets, [STARS], ORDER, method="linear").weights
    assert np.nanmean(weights["all targets"]) == pytest.approx(1.0)
    stars = star_map(coarser(targets.table["_healpix_29"].to_numpy(), ORDER), ORDER)
    known = np.isfinite(weights["ELG"])
    assert known.mean() > 0.95
    assert np.corrcoef(weights["ELG"][known], stars[known])[0, 1] > 0.9


def test_a_class_with_few_targets_has_no_weights_and_says_why():
    found = evenness(following(), [STARS], ORDER, method="linear")
    rare = found.classes[2]
    assert rare.prediction is None
    assert np.isnan(found.weights["RARE"]).all()
    (said,) = [line for line in found.sentences if line.startswith("RARE")]
    assert said == (
        "RARE: no weights, as the pixels that count hold only 20 targets, of 100 needed: pixels "
        "where the list could have targets, and every map has a value"
    )


def test_the_order_of_targets_changes_nothing_but_the_order_of_weights():
    targets = following(30_000)
    order = np.random.default_rng(2).permutation(len(targets))
    other = TargetList(targets.table.take(order), targets.footer)
    one, two = (evenness(each, [STARS], ORDER, method="linear") for each in (targets, other))
    assert one.records == two.records
    assert one.weights["ELG"][order].tobytes() == two.weights["ELG"].tobytes()


def test_a_column_of_the_catalog_is_a_map():
    found = evenness(following(), ["ebv", STARS], ORDER, scored=CATALOG, method="linear")
    assert found.maps == ("ebv", "stars")
    assert {each.map for each in found.trends} == {"ebv", "stars"}


def test_the_area_is_nearly_the_same_by_footprint_by_sources_and_by_random_points():
    true = SQUARE_DEGREES / 6
    of = following()
    by = [
        pixel_areas(of, ORDER, None, scored, randoms)["ELG"].areas.sum()
        for scored, randoms in ((None, None), (CATALOG, None), (None, Path("points.csv")))
    ]
    assert by[0] == pytest.approx(true, rel=1e-6)
    assert by[1:] == pytest.approx([true, true], rel=0.02)


@pytest.mark.parametrize(
    ("against", "message"),
    [
        (["maps.csv:flat:nested16"], r"maps.csv:flat:nested16: is 1 wherever the list could have"),
        (["maps.csv:south:nested16"], "has no value where the list could have targets. Check"),
        ([STARS, STARS], "is given twice. Leave one of them out"),
        ([STARS, "maps.csv:twice:nested16"], "is the same map as maps.csv:stars.*Leave one"),
        (["maps.csv:word:nested16"], "column 'word': holds text; expected numbers"),
        (
            ["ebv"],
            "ebv: no such file. Check its name; or, if it is a column of the scored catalog, g",
        ),
        (["stars.fits"], "stars.fits: no such file or folder"),
    ],
)
def test_a_map_that_says_nothing_is_refused(against, message):
    with pytest.raises(CatalogError, match=message):
        evenness(following(3000), against, ORDER, method="linear")


@pytest.mark.parametrize(
    ("named", "message"),
    [
        ("seeing", "a.scored.parquet: no column 'seeing'"),
        ("type", "a.scored.parquet, column 'type': holds text; expected numbers"),
    ],
)
def test_a_column_that_is_no_map_is_refused(named, message):
    with pytest.raises(CatalogError, match=message):
        evenness(following(3000), [named], ORDER, scored=CATALOG, method="linear")


def test_a_list_without_a_footprint_wants_a_catalog_or_points():
    targets = following()
    bare = TargetList(targets.table, {"bits": {"ELG": 0, "RARE": 1}})
    with pytest.raises(CatalogError, match=r"nothing says at which part of the sky .*--randoms"):
        evenness(bare, [STARS], ORDER, method="linear")
    assert (
        evenness(bare, [STARS], ORDER, randoms=Path("points.csv"), method="linear")
        .classes[0]
        .trends
    )


def test_a_footprint_that_the_list_does_not_fill_is_refused():
    targets = following()
    south = targets.table["ra"].to_numpy() < 45
    part = TargetList(targets.table.filter(pa.array(south)), targets.footer)
    with pytest.raises(CatalogError, match=r"\d+% of the pixels hold no target, where 0% are exp"):
        evenness(part, [STARS], ORDER, method="linear")


@pytest.mark.parametrize(
    ("order", "message"),
    [
        (2, r"97% of the pixels hold no target, where \d\d% are expected to"),
        (3, r"over 50% of the targets lie in a tenth of the area, and nothing can be learnt"),
    ],
)
def test_a_list_in_one_corner_of_its_footprint_is_refused(order, message):
    targets = following()
    healpix = targets.table["_healpix_29"].to_numpy()
    corner = np.random.default_rng(0).permutation(np.flatnonzero(coarser(healpix, order) == 3))
    part = TargetList(targets.table.take(corner[:150]), targets.footer)
    with pytest.raises(CatalogError, match=message):
        evenness(part, [STARS], ORDER, method="linear")


@pytest.mark.parametrize(
    ("n", "order", "message"),
    [
        (60, ORDER, "the pixels that count hold only .* targets, of 100 needed: .* Give a longer"),
        (
            60_000,
            0,
            r"cover only \d patches of the sky together, of 12 needed. Count in smaller pixels",
        ),
        (60_000, 10, "nside 1024: counts in so small pixels say nothing. Give --nside 512 or less"),
    ],
)
def test_too_little_for_a_regression_is_refused(n, order, message):
    with pytest.raises(CatalogError, match=message):
        evenness(following(n), [STARS], order, method="linear")


def test_few_random_points_are_refused():
    Table.read("points.csv")[::300].write("few.csv", overwrite=True)
    with pytest.raises(CatalogError, match=r"few.csv: has \S+ points in a pixel, too few to tell"):
        evenness(following(), [STARS], ORDER, randoms=Path("few.csv"), method="linear")


def test_without_scikit_learn_linear_still_works(monkeypatch):
    monkeypatch.setattr("targetsel.extras.find_spec", lambda name: None)
    with pytest.raises(ExtraError, match=r"^Choosing between boosted and linear weights .* pip"):
        evenness(following(3000), [STARS], ORDER)
    assert evenness(following(), [STARS], ORDER, method="linear").classes[0].trends


def test_the_written_list_is_the_list_with_weights_and_what_made_them(tmp_path, emission):
    output = tmp_path / "weighted.parquet"
    found = ts.density(emission, output, nside=16, against=STARS, method="linear")
    written = ts.TargetList.read(output)
    names = {each for each in written.table.column_names if each.startswith("weight")}
    assert names == {"weight_density", "weight_density_ELG", "weight_density_RARE"}
    np.testing.assert_array_equal(
        written.table["weight_density"].to_numpy(), found.evenness.weights["all targets"]
    )
    assert written.footer["evenness"]["methods"] == {"all targets": "linear", "ELG": "linear"}
    assert [each["class"] for each in found.records] == ["all targets", "ELG", "RARE"]
    assert len(found.evenness.to_pandas()) == 2
    again = ts.density(written, tmp_path / "twice.parquet", nside=16, against=STARS,
                       method="linear")  # fmt: skip
    assert again.evenness.records == found.evenness.records
    assert {*pq.read_schema(tmp_path / "twice.parquet").names} == {*written.table.column_names}


@pytest.fixture
def emission():
    """A whole list, with all columns that lists have."""
    targets = following()
    return TargetList(whole(targets.table), targets.footer | {"format": "targetsel/targets/v1"})


def whole(table):
    n = len(table)
    more = {
        "source_catalog": pa.nulls(n, pa.string()),
        "priority": pa.array(np.ones(n, dtype=np.int32)),
        "subpriority": pa.array(np.full(n, 0.5)),
        "program": pa.array(["ELG"] * n),
        "target_type": pa.array(["SCIENCE"] * n),
    }
    for name, values in more.items():
        table = table.append_column(name, values)
    return table


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"method": "linear"}, "density: method concerns maps of the sky. Give some with --again"),
        ({"randoms": "points.csv"}, "density: randoms concerns maps of the sky"),
        ({"output": "w.parquet"}, "density: output concerns maps of the sky"),
        ({"against": STARS, "method": "cubic"}, "method 'cubic': expected linear or boosted"),
    ],
)
def test_options_of_maps_want_maps(given, message):
    with pytest.raises(CatalogError, match=message):
        ts.density(following(3000), nside=16, **given)


def test_without_maps_there_is_no_evenness():
    found = ts.density(following(3000), nside=16)
    assert found.evenness is None
    assert repr(found).startswith("Densities in HEALPix pixels of nside 16 that hold a target")
