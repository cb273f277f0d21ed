"""Weights of selection: what they undo, and what they refuse."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pyarrow as pa
import pytest

from targetsel.errors import CatalogError
from targetsel.photometry.selection_weights import weights_like
from targetsel.sky.catalog import CatalogFile

N = 20_000


def population(n=N, seed=1):
    """Sources with a magnitude, two colours, and a quantity that depends on them."""
    rng = np.random.default_rng(seed)
    r = rng.normal(19, 1, n)
    blue = rng.normal(0.7, 0.2, n) - 0.1 * (r - 19)
    red = 0.5 * blue + rng.normal(0, 0.1, n)
    line = 20 + 5 * (r - 19) - 30 * (blue - 0.7) + rng.normal(0, 3, n)
    return {"r": r, "blue": blue, "red": red, "line": line}


def chance(sources):
    """The chance of a spectrum: of bright and red sources more than of others."""
    faint = 1.5 * (sources["r"] - 18.5) - 4 * (sources["blue"] - 0.7)
    return 0.08 + 0.92 / (1 + np.exp(faint))


def table(sources, **more):
    """A catalog of them, fluxes in nJy."""
    n = len(sources["r"])
    magnitudes = {
        "g": sources["r"] + sources["blue"],
        "r": sources["r"],
        "i": sources["r"] - sources["red"],
    }
    columns = {f"flux_{b}_sdss": 10 ** (-0.4 * (m - 31.4)) for b, m in magnitudes.items()}
    ids = np.arange(n)
    columns = {"source_id": ids, "ra": ids * 1e-3, "dec": np.zeros(n)} | columns | more
    units = {name: {"unit": "nJy"} for name in columns if name.startswith("flux")}
    fields = [
        pa.field(name, pa.array(values).type, metadata=units.get(name))
        for name, values in columns.items()
    ]
    return pa.table([pa.array(values) for values in columns.values()], pa.schema(fields))


def taken(sources, rows):
    return {name: values[rows] for name, values in sources.items()}


def weights(labelled, target, **more):
    return weights_like(
        CatalogFile.open(target), labelled, labelled["source_id"].to_numpy(), **more
    )


@pytest.fixture(scope="module")
def target():
    return population()


@pytest.fixture(scope="module")
def labelled(target):
    spectra = population(seed=2)
    rows = np.random.default_rng(3).random(N) < 0.2 * chance(spectra)
    return taken(spectra, rows)


@pytest.fixture(scope="module")
def found(labelled, target):
    return weights(table(labelled), table(target))


def test_weights_are_one_over_the_chance_of_a_spectrum_within_their_noise(found, labelled):
    off = np.log(np.maximum(found.weight, 1e-3) * chance(labelled))
    bright = labelled["r"] < 19.5
    assert 1000 < bright.sum() < 2000
    assert np.std(off[bright]) < 0.5  # ten neighbours give 0.32; edges add to it
    for name, limits in (("r", (17, 18, 19, 19.5)), ("blue", (0.5, 0.7, 0.9, 1.1))):
        medians = [
            np.median(off[bright & (labelled[name] > low) & (labelled[name] < high)])
            for low, high in pairwise(limits)
        ]
        assert np.ptp(medians) < 0.25, name


def test_the_weighted_mean_of_a_quantity_that_was_not_used_is_that_of_the_population(
    found, labelled, target
):
    plain, true = labelled["line"].mean(), target["line"].mean()
    error = target["line"].std() / found.record.effective**0.5
    assert abs(plain - true) > 5 * error
    assert abs(np.average(labelled["line"], weights=found.weight) - true) < 2.5 * error


def test_the_mean_weight_is_one_and_fewer_count_than_there_are(found, labelled):
    assert found.weight.mean() == pytest.approx(1, abs=1e-12)
    n = len(labelled["r"])
    assert 50 < found.record.effective < 0.7 * n
    assert found.record.n_labelled == n


def test_the_record_says_which_bands_were_used_and_how_many_targets_are_outside(found):
    assert found.record.bands == ["g_sdss", "r_sdss", "i_sdss"]
    assert 0.005 < found.record.outside < 0.2
    first, shift, outside = found.record.lines()
    assert "in r_sdss, g_sdss - r_sdss, r_sdss - i_sdss; they count as" in first
    assert shift.startswith("their mean ")
    assert outside.startswith(f"{found.record.outside:.1%} of the sources of the catalog")


def test_means_are_those_of_the_target_after_weighting_and_the_record_says_so(found, labelled):
    assert [*found.record.shift] == ["r_sdss", "g_sdss - r_sdss", "r_sdss - i_sdss"]
    before, after = np.array([*found.record.shift.values()]).T
    assert before[0] < -0.4
    assert before[1] > 0.15
    assert np.abs(after).max() < 0.12


def test_a_cut_in_magnitude_leaves_a_shift_that_is_told(labelled, target):
    bright = table(taken(labelled, labelled["r"] < 18.6))
    record = weights(bright, table(target)).record
    before, after = record.shift["r_sdss"]
    assert before < after < -0.2
    assert f"their mean r_sdss is off by {after:+.2f} standard deviations" in record.lines()[1]


def test_labelled_sources_drawn_at_random_get_equal_weights_within_noise(target):
    some = taken(population(seed=4), slice(0, 2000))
    record = weights(table(some), table(target)).record
    assert record.outside < 0.03
    assert record.effective > 1600


def test_no_bit_depends_on_the_order_of_rows_of_either(labelled, target):
    rng = np.random.default_rng(5)
    some, others = taken(labelled, slice(0, 300)), taken(target, slice(0, 3000))
    weight = {"weight": rng.random(3000)}
    first = weights(table(some), table(others, **weight))
    mixed, mixed_others = rng.permutation(300), rng.permutation(3000)
    again = weights(table(some).take(mixed), table(others, **weight).take(mixed_others))
    assert again.source_id.tolist() == mixed.tolist()
    assert np.array_equal(again.weight, first.weight[mixed])
    assert again.record == first.record


def test_weights_that_both_samples_have_already_are_respected(labelled, target):
    """Half of the labelled sources twice and of half the weight: as before."""
    once = weights(table(labelled), table(target))
    n = len(labelled["r"])
    own = np.where(labelled["line"] > 20, 3.0, 1.0)
    given = weights(table(labelled), table(target), weight=own)
    lines = [np.average(labelled["line"], weights=each.weight) for each in (once, given)]
    assert lines[1] > lines[0]  # the strong ones count for more wherever they are
    colours = [np.average(labelled["blue"], weights=each.weight) for each in (once, given)]
    assert colours[0] == pytest.approx(colours[1], abs=0.02)  # and colours stay the target's
    assert len(given) == n


def test_magnitudes_and_fluxes_of_a_band_are_the_same(labelled, target):
    others = table(target)
    names = [name for name in others.column_names if name.startswith("flux")]
    for name in names:
        magnitude = 31.4 - 2.5 * np.log10(others[name].to_numpy())
        others = others.drop_columns([name]).append_column(
            pa.field("mag" + name[4:], pa.float64(), metadata={"unit": "mag"}), [magnitude]
        )
    plain, other = weights(table(labelled), table(target)), weights(table(labelled), others)
    assert other.weight == pytest.approx(plain.weight, rel=0.2)
    assert other.record.effective == pytest.approx(plain.record.effective, rel=1e-3)


def test_sources_without_a_magnitude_get_no_weight_and_are_counted(labelled, target):
    some = {name: values.copy() for name, values in labelled.items()}
    some["blue"][:7] = np.nan
    others = {name: values.copy() for name, values in target.items()}
    others["red"][:11] = np.nan
    found = weights(table(some), table(others))
    assert not found.weight[:7].any()
    assert found.record.n_labelled == len(labelled["r"]) - 7
    assert found.record.n_target == N - 11
    assert [line for line in found.record.lines() if "left out" in line] == [
        "left out: 7 labelled sources without magnitudes",
        "left out: 11 sources of the target catalog without magnitudes",
    ]


def test_labelled_sources_that_are_all_brighter_are_refused(labelled, target):
    bright = table(taken(labelled, labelled["r"] < 17.5))
    faint = table({**target, "r": target["r"] + 2})
    with pytest.raises(CatalogError, match=r"the catalog: 9\d\.\d% of its sources .* near them"):
        weights(bright, faint)


def test_few_labelled_sources_that_stand_for_all_are_refused(labelled, target):
    """Of 540 labelled sources 40 are like the target."""
    near = np.flatnonzero((labelled["r"] > 18.8) & (labelled["r"] < 19.2))[:40]
    bright = np.flatnonzero(labelled["r"] < 18)[:500]
    here = (target["r"] > 18.9) & (target["r"] < 19.1) & (np.abs(target["blue"] - 0.7) < 0.1)
    with pytest.raises(CatalogError, match=r"count as \d+\.\d of equal weight .* expected 30"):
        weights(table(taken(labelled, np.concatenate([near, bright]))), table(taken(target, here)))


def test_fewer_than_thirty_labelled_sources_are_refused(labelled, target):
    with pytest.raises(CatalogError, match="29 of its 29 labelled sources have magnitudes in g_sd"):
        weights(table(taken(labelled, slice(0, 29))), table(target))


def test_catalogs_without_a_band_in_common_are_refused_with_the_bands_of_both(labelled, target):
    others = table(target)
    others = others.rename_columns([n.replace("_sdss", "_ps1") for n in others.column_names])
    with pytest.raises(CatalogError, match="in g_sdss, r_sdss, i_sdss, and the catalog in g_ps1"):
        weights(table(labelled), others)


def test_brightness_in_no_unit_of_brightness_is_refused(labelled, target):
    others = table(target)
    place = others.schema.get_field_index("flux_r_sdss")
    field = others.schema.field(place).with_metadata({"unit": "deg"})
    others = others.set_column(place, field, others["flux_r_sdss"])
    with pytest.raises(CatalogError, match="'flux_r_sdss' has the unit 'deg'; expected nJy"):
        weights(table(labelled), others)


def test_brightness_that_is_corrected_for_extinction_in_one_only_is_refused(labelled, target):
    others = table(target)
    place = others.schema.get_field_index("flux_r_sdss")
    field = others.schema.field(place)
    field = field.with_metadata({"unit": "nJy", "description": "corrected for extinction"})
    others = others.set_column(place, field, others["flux_r_sdss"])
    with pytest.raises(CatalogError, match="the catalog: its r_sdss is corrected for extinction"):
        weights(table(labelled), others)


def test_a_target_catalog_without_magnitudes_is_refused(labelled, target):
    nothing = {**target, "r": np.full(N, np.nan)}
    with pytest.raises(CatalogError, match="none of its 20,000 sources has magnitudes in g_sdss"):
        weights(table(labelled), table(nothing))
