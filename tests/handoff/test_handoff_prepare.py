"""Epochs, ids and priorities, as tools want them."""

import dataclasses

import numpy as np
import pyarrow as pa
import pytest
from astropy.coordinates import SkyCoord
from hypothesis import given
from hypothesis import strategies as st

from targetsel.errors import HandoffError
from targetsel.handoff.export import id_map, priority_map
from targetsel.handoff.prepare import ExportOptions, moved, prepare
from targetsel.handoff.settings import EpochSettings
from targetsel.handoff.tool import PriorityScale, Tool
from targetsel.photometry.columns import CatalogPhotometry
from tests.handoff.lists_by_hand import target_list
from tests.handoff.tools_by_hand import settings

STILL = ExportOptions(assume_still=True)


def tool(**changed) -> Tool:
    plain = Tool(
        name="thing",
        title="A thing",
        source="nowhere",
        tried="by nothing",
        suffix=".txt",
        write=lambda prepared, settings, path: [],
        read=lambda path: None,
        priorities=None,
    )
    return dataclasses.replace(plain, **changed)


def prepared(tool: Tool, targets=None, options: ExportOptions = ExportOptions(), **values):
    return prepare(
        target_list() if targets is None else targets, tool, settings(tool, values), options
    )


# --- positions -----------------------------------------------------------------------------------


def test_tool_without_epoch_gets_positions_as_they_are():
    targets = target_list(pmra=[1000.0] * 4, pmdec=[0.0] * 4, ref_epoch=[2016.0] * 4)
    assert prepared(tool(), targets).ra.tolist() == [359.75, 0.0, 0.25, 0.5]


def test_a_thousand_mas_per_year_are_ten_arcsec_in_ten_years():
    targets = target_list(
        dec=[60.0] * 4,
        pmra=[1000.0, 0.0, 0.0, 0.0],
        pmdec=[0.0, -1000.0, 0.0, 0.0],
        ref_epoch=[2016.0] * 4,
    )
    at = prepared(tool(epoch=2026.0), targets)
    # East by 10 arcsec is 20 arcsec of right ascension at declination 60.
    assert (at.ra[0] - 359.75) * 3600 == pytest.approx(20.0, abs=0.002)
    assert (at.dec[1] - 60.0) * 3600 == pytest.approx(-10.0, abs=1e-6)
    assert at.ra[2:].tolist() == [0.25, 0.5]
    assert at.epoch.tolist() == [2026.0] * 4


def test_target_moves_over_ra_zero_and_stays_below_360():
    targets = target_list(
        1, ra=[359.9999], dec=[0.0], pmra=[1000.0], pmdec=[0.0], ref_epoch=[2000.0]
    )
    ra = prepared(tool(epoch=2026.0), targets).ra[0]
    assert ra == pytest.approx(359.9999 + 26 / 3600 - 360, abs=1e-7)


@given(
    st.floats(0, 359.99),
    st.floats(-89, 89),
    st.floats(-10000, 10000),
    st.floats(-10000, 10000),
    st.floats(1950, 2050),
)
def test_motion_and_its_return_meet_where_they_began(ra, dec, pmra, pmdec, since):
    def one(value):
        return np.array([value])

    there = moved(one(ra), one(dec), one(pmra), one(pmdec), one(since), 2000.0)
    along = SkyCoord(ra, dec, unit="deg").separation(SkyCoord(*there, unit="deg"))[0].arcsec
    angle = np.hypot(pmra, pmdec) / 1000 * abs(2000 - since)
    assert along == pytest.approx(angle, rel=1e-4, abs=1e-6)
    back = SkyCoord(*there, unit="deg").position_angle(SkyCoord(ra, dec, unit="deg"))
    if angle > 1:
        heading = np.radians(np.degrees(np.arctan2(pmra, pmdec)) + (180 if since < 2000 else 0))
        assert np.cos(back[0].rad - heading) == pytest.approx(1, abs=0.01)


def test_targets_of_a_list_without_proper_motions_stand_still_and_that_is_said():
    at = prepared(tool(epoch=2016.0))
    assert at.dec.tolist() == [-1.5, 0.5, 2.5, 4.5]
    assert at.pmra.tolist() == [0.0] * 4
    (said,) = at.assumed
    assert said == (
        "the list has no proper motions: its targets are taken to stand still, as galaxies"
    )


def test_motion_that_some_targets_lack_is_an_error_where_the_epoch_differs():
    some = target_list(pmra=[1.0, 0.0, None, None], pmdec=[1.0, 0.0, None, None])
    with pytest.raises(HandoffError, match=r"^3 of 4 targets lack a proper motion or an epoch.*"):
        prepared(tool(epoch=2016.0), some)
    with pytest.raises(HandoffError, match=r"'thing' needs positions at 2016\..*--assume-still"):
        prepared(tool(epoch=2016.0), some)


def test_motions_of_all_targets_leave_nothing_to_assume():
    moving = target_list(pmra=[5.0] * 4, pmdec=[0.0] * 4, ref_epoch=[2000.0] * 4)
    assert prepared(tool(epoch=2016.0), moving).assumed == ()


def test_missing_motion_does_not_matter_at_the_epoch_of_the_list():
    at = prepared(tool(epoch=2016.0), target_list(ref_epoch=[2016.0] * 4))
    assert at.dec.tolist() == [-1.5, 0.5, 2.5, 4.5]


def test_assumed_still_targets_stay_and_the_others_move():
    targets = target_list(
        pmra=[0.0, None, None, None],
        pmdec=[1000.0, None, None, None],
        ref_epoch=[2015.0, None, None, None],
    )
    at = prepared(tool(epoch=2016.0), targets, STILL)
    assert at.dec - [-1.5, 0.5, 2.5, 4.5] == pytest.approx([1 / 3600, 0, 0, 0], abs=1e-9)
    assert at.pmdec.tolist() == [1000.0, 0.0, 0.0, 0.0]


def test_motion_without_an_epoch_is_an_error_even_if_others_stand_still():
    targets = target_list(pmra=[5.0, None, None, None], pmdec=[5.0, None, None, None])
    with pytest.raises(HandoffError, match=r"^1 of 4 targets lack"):
        prepared(tool(epoch=2016.0), targets, STILL)


def test_half_a_motion_is_not_taken_for_none():
    targets = target_list(pmra=[5.0] * 4, ref_epoch=[2000.0] * 4)
    with pytest.raises(HandoffError, match=r"^4 of 4 targets lack a proper motion"):
        prepared(tool(epoch=2016.0), targets, STILL)


def test_epoch_zero_is_an_unknown_one():
    moving = target_list(pmra=[5.0] * 4, pmdec=[0.0] * 4, ref_epoch=[0.0] * 4)
    with pytest.raises(HandoffError, match=r"^4 of 4 targets lack a proper motion or an epoch"):
        prepared(tool(epoch=2016.0), moving, STILL)
    still = target_list(pmra=[0.0] * 4, pmdec=[0.0] * 4, ref_epoch=[0.0] * 4)
    at = prepared(tool(epoch="columns", default_epoch=2015.5), still)
    assert at.epoch.tolist() == [2015.5] * 4
    assert at.assumed == ()


def test_tool_with_columns_of_motion_needs_them_or_still_targets():
    columns = tool(epoch="columns", default_epoch=2015.5)
    with pytest.raises(HandoffError, match=r"needs the epoch and motion of each"):
        prepared(columns, target_list(pmra=[5.0] * 4, pmdec=[0.0] * 4))
    at = prepared(columns)
    assert at.epoch.tolist() == [2015.5] * 4
    assert at.pmra.tolist() == [0.0] * 4


def test_epoch_can_come_from_the_settings():
    assert prepared(tool(settings=EpochSettings), options=STILL, epoch="2026.5").epoch[0] == 2026.5
    with pytest.raises(HandoffError, match=r"'thing' needs the setting 'epoch'"):
        prepared(tool(settings=EpochSettings), options=STILL)
    with pytest.raises(HandoffError, match=r"epoch is '61000'; expected a Julian year"):
        prepared(tool(settings=EpochSettings), options=STILL, epoch="61000")


# --- ids and numbers -----------------------------------------------------------------------------


def test_ids_are_those_of_the_list_names_or_row_numbers():
    assert prepared(tool()).id.tolist() == [101, 102, 103, 104]
    assert prepared(tool(ids="name")).id.tolist() == ["101", "102", "103", "104"]
    assert prepared(tool(ids="row")).id.tolist() == [1, 2, 3, 4]
    negative = tool(ids=lambda rows, settings: -rows)
    assert prepared(negative).id.tolist() == [-1, -2, -3, -4]


def test_id_map_leads_from_row_number_to_source():
    table = id_map(prepared(tool(ids="row"), target_list(2, source_id=["a b", "c"])))
    assert table["id"].tolist() == [1, 2]
    assert table["target_id"].tolist() == [101, 102]
    assert table["source_id"].tolist() == ["a b", "c"]
    assert table["source_catalog"].tolist() == ["by hand", "by hand"]


def test_too_large_id_is_an_error():
    with pytest.raises(
        HandoffError, match=r"^the id 104 is too large for 'thing', which takes 103 at most\.$"
    ):
        prepared(tool(max_id=103))


def test_name_with_a_forbidden_character_is_an_error():
    strict = tool(ids="name", names="[a-z]+", names_are="small letters")
    with pytest.raises(
        HandoffError,
        match=r"^1 of 2 names are not for 'thing', the first is 'b c'; expected small letters",
    ):
        prepared(strict, target_list(2, source_id=["a", "b c"]))


def test_two_targets_of_one_name_are_an_error_where_names_matter():
    twins = target_list(4, source_id=["a", "b", "a", "c"])
    assert prepared(tool(), twins).id.tolist() == [101, 102, 103, 104]
    with pytest.raises(HandoffError, match=r"^2 targets are called 'a', and 'thing' knows"):
        prepared(tool(ids="name", names="[a-z]", names_are="a letter"), twins)


def test_more_targets_than_the_tool_takes_is_an_error():
    with pytest.raises(HandoffError, match=r"^the list has 4 targets; 'thing' takes 3 at most"):
        prepared(tool(max_targets=3))


def test_empty_list_is_an_error():
    with pytest.raises(HandoffError, match=r"^the list has no targets"):
        prepared(tool(), target_list(0))


# --- priorities ----------------------------------------------------------------------------------


def test_highest_priority_becomes_the_best_of_either_direction():
    down, up = PriorityScale(best=0, worst=9), PriorityScale(best=9, worst=1)
    assert prepared(tool(priorities=down)).priority.tolist() == [0, 1, 0, 1]
    assert prepared(tool(priorities=up)).priority.tolist() == [9, 8, 9, 8]


@given(
    st.lists(st.integers(-(2**31), 2**31 - 1), min_size=1, max_size=10),
    st.sampled_from([PriorityScale(0, 9), PriorityScale(10, 1), PriorityScale(1, 15)]),
)
def test_order_of_priorities_is_kept(wanted, scale):
    given_tool = tool(priorities=scale)
    mapped = prepared(given_tool, target_list(len(wanted), priority=wanted)).priority
    own = np.array(wanted)
    goodness = -scale.step * mapped
    assert (np.sign(own[:, None] - own) == np.sign(goodness[:, None] - goodness)).all()
    assert scale.holds(mapped)


def test_more_levels_than_the_tool_has_are_refused():
    targets = target_list(4, priority=[4, 3, 2, 1])
    with pytest.raises(
        HandoffError,
        match=r"^the list has 4 different priorities; 'thing' has 3 \(1 best to 3 worst\)\. .*"
        "--bin-priorities",
    ):
        prepared(tool(priorities=PriorityScale(1, 3)), targets)


@given(st.lists(st.integers(0, 100), min_size=1, max_size=30))
def test_binned_priorities_never_swap_two_targets(wanted):
    few = tool(priorities=PriorityScale(best=9, worst=5))
    targets = target_list(len(wanted), priority=wanted)
    mapped = prepared(few, targets, ExportOptions(bin_priorities=True)).priority
    assert (np.diff(mapped[np.argsort(wanted, kind="stable")]) >= 0).all()
    assert few.priorities.holds(mapped)
    assert mapped.max() == 9


def test_ten_levels_in_five_bins_are_two_each():
    few = tool(priorities=PriorityScale(best=0, worst=4))
    targets = target_list(10, priority=list(range(100, 0, -10)))
    mapped = prepared(few, targets, ExportOptions(bin_priorities=True)).priority
    assert mapped.tolist() == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]


def test_kept_priorities_are_written_as_they_are_or_refused():
    kept = tool(priorities=PriorityScale(best=10000, worst=3, kept=True))
    assert prepared(kept).priority.tolist() == [3400, 3200, 3400, 3200]
    low = target_list(3, priority=[7, 0, -5])
    with pytest.raises(HandoffError, match=r"priorities from -5 to 7 do not fit 'thing'"):
        prepared(kept, low)
    assert prepared(kept, low, ExportOptions(bin_priorities=True)).priority.tolist() == [5, 4, 3]


def test_priority_map_names_levels_counts_and_direction():
    table = priority_map(prepared(tool(priorities=PriorityScale(0, 9))))
    assert [tuple(row) for row in table] == [(3400, 0, 2, "STRONG"), (3200, 1, 2, "WEAK")]
    assert table.meta["list_priority"] == "higher is better"
    assert table.meta["tool_priority"] == "smaller is better, from 0 (best) to 9 (worst)"


# --- fluxes ---------------------------------------------------------------------------------------


def test_bands_that_the_list_has_come_in_the_order_wanted():
    wanted = tool(bands=("r_sdss", "i_sdss", "g"))
    assert [*map(str, prepared(wanted).bands())] == ["r_sdss", "g_sdss"]


def test_no_flux_in_any_band_is_an_error_that_names_both_sides():
    with pytest.raises(
        HandoffError,
        match=r"no flux in any filter that 'thing' knows: it has flux_g_sdss, flux_r_sdss, "
        r"expected one in z_ps1\. Say which column holds one",
    ):
        prepared(tool(bands=("z_ps1",))).bands()


def test_columns_without_a_survey_are_named_in_the_error_and_in_its_example():
    columns = {"flux_r": pa.array([1.0, 2.0]), "flux_i": pa.array([1.0, 2.0])}
    photometry = CatalogPhotometry.of(pa.table(columns))
    said = tool(bands=("i_ps1", "r_ps1")).lacks_fluxes(photometry)
    assert "it has flux_r, flux_i, expected one in i_ps1, r_ps1." in said
    assert "--brightness r_ps1=flux_r;" in said


def test_column_of_brightness_that_a_list_does_not_keep_must_be_named_when_it_is_chosen():
    options = ExportOptions(brightness=("r_sdss=flux_r_sdss,error=e_r",))
    with pytest.raises(HandoffError, match=r"no column 'e_r'\..*give 'targetsel select' the same"):
        prepared(tool(), options=options).photometry  # noqa: B018
