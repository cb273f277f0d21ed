"""Assignments as tools, pipelines and observatories really write them."""

import re

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table

from targetsel.errors import HandoffError
from targetsel.handoff.assignment import Pointing, join
from tests.handoff.assigned_by_hand import write_design, write_fba
from tests.handoff.lists_by_hand import target_list
from tests.handoff.tools_by_hand import exported

# Where target_list() has its targets.
PLACE = {101: (359.75, -1.5), 102: (0.0, 0.5), 103: (0.25, 2.5), 104: (0.5, 4.5)}


def counted(path, ids=None, proposals=()):
    return join(target_list(), [Pointing.read(path)], ids, proposals)


# --- fibers that do not work ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "works"),
    [
        (0, True),
        (1 << 3, True),  # restricted reach, but on its target
        (1 << 12, True),  # little light
        (1 << 0, False),  # unassigned
        (1 << 1, False),  # stuck
        (1 << 2, False),  # broken
        (1 << 2 | 1 << 3, False),
        (1 << 9, False),  # at a wrong position
    ],
)
def test_fiber_that_does_not_work_has_not_observed_its_target(status, works, tmp_path):
    found = counted(write_fba(tmp_path / "fba.fits", {101: PLACE[101]}, [101], status=status))
    assert found.times.tolist() == [int(works), 0, 0, 0]
    (match,) = found.matches
    assert (match.n_fibers, match.n_on_list, match.n_failed) == (1, 1, int(not works))
    assert len(found.left_over()) == 4 - works


def test_fba_file_without_states_of_fibers_is_refused(tmp_path):
    path = write_fba(tmp_path / "fba.fits", {101: PLACE[101]}, [101])
    with fits.open(path, mode="update") as hdus:
        hdus[1] = fits.BinTableHDU(
            Table(hdus[1].data)["TARGETID", "TARGET_RA", "TARGET_DEC", "FA_TYPE"], name="FASSIGN"
        )
    with pytest.raises(
        HandoffError, match=r"fba\.fits: the table FASSIGN lacks FIBERSTATUS\. Give"
    ):
        counted(path)


# --- designs that programs share -----------------------------------------------------------------


def design(path, rows, cat_id, **others):
    return write_design(path, [(i, place, 1, 1) for i, place in rows], cat_id, **others)


def test_id_of_the_list_in_another_program_is_not_counted_and_said(tmp_path):
    rows = [(101, PLACE[101]), (102, PLACE[102]), (103, (10.0, 10.0)), (999, (11.0, 10.0))]
    found = counted(design(tmp_path / "pfsDesign.fits", rows, [1, 1, 2, 2]))
    assert found.times.tolist() == [1, 1, 0, 0]
    assert found.matches[0].n_on_list == 2
    assert dict(found.matches[0].others) == {"catId 2": 1}


def test_programs_that_both_have_the_target_must_be_told_apart(tmp_path):
    rows = [(101, PLACE[101]), (102, PLACE[102]), (102, PLACE[102])]
    path = tmp_path / "pfsDesign.fits"
    design(path, rows, [1, 1, 2], proposalId=["S26A-001", "S26A-001", "S26B-007"])
    with pytest.raises(HandoffError, match=r"catId 1, .*S26A-001; catId 2, .* with --proposal\.$"):
        counted(path)
    for ours in ("1", "S26A-001"):
        found = counted(path, proposals=[ours])
        assert found.times.tolist() == [1, 1, 0, 0]
        assert dict(found.matches[0].others) == {"catId 2, proposalId S26B-007": 1}
    assert counted(path, proposals=["2"]).times.tolist() == [0, 1, 0, 0]
    with pytest.raises(HandoffError, match=r"has no science targets of S25; it has those of catId"):
        counted(path, proposals=["S25"])


def test_design_of_another_list_is_refused_though_its_ids_are_known(tmp_path):
    path = design(tmp_path / "pfsDesign.fits", [(101, (10.0, 10.0)), (102, (11.0, 10.0))], [1, 1])
    with pytest.raises(HandoffError, match=r"arcsec away from where the list has it"):
        counted(path)


def test_ids_that_a_tool_made_itself_lead_back_by_obcode(tmp_path):
    done = exported("pfs-ga", tmp_path / "list.feather", target_list())
    ids = tmp_path / "list.feather.ids.ecsv"
    assert ids in done.files
    rows = [(0, PLACE[102]), (1, PLACE[104]), (101, (12.0, 1.0))]  # 101 is not our 101
    path = design(
        tmp_path / "pfsDesign.fits", rows, [1, 1, 1],
        obCode=["by_hand_102", "by_hand_104", "other_101"],
    )  # fmt: skip
    assert counted(path, ids).times.tolist() == [0, 1, 0, 1]


def test_obcodes_that_are_names_of_sources_need_no_map(tmp_path):
    rows = [(7, PLACE[102]), (8, PLACE[104])]
    path = design(tmp_path / "pfsDesign.fits", rows, [1, 1], obCode=["102", "104"])
    assert counted(path).times.tolist() == [0, 1, 0, 1]


# --- ids of other types --------------------------------------------------------------------------


def rewritten(path, name, values):
    """The design with another column `name`, and of another type."""
    rows = Table.read(path, "DESIGN")
    rows[name] = values
    with fits.open(path) as hdus:
        hdus[1] = fits.BinTableHDU(rows, name="DESIGN")
        hdus.writeto(path, overwrite=True)
    return path


@pytest.mark.parametrize(
    "values",
    [
        np.array([101.0, 102.0]),
        np.array([101, 102], dtype=np.int32),
        np.array(["101", "102"]),
        np.array([" 101", "102  "]),
        np.array([b"101", b"102"]),
    ],
)
def test_whole_numbers_are_ids_in_whatever_type(values, tmp_path):
    path = design(tmp_path / "pfsDesign.fits", [(1, PLACE[101]), (2, PLACE[102])], [1, 1])
    assert counted(rewritten(path, "objId", values)).times.tolist() == [1, 1, 0, 0]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.array([101.5, 102.0]), "101.5 is no whole number"),
        (np.array([2.0**60, 102.0]), "where floats lose digits of ids"),
        (np.array(["NGC 1", "102"]), "objId in the table DESIGN is no column of whole numbers"),
        (np.ones((2, 2), dtype=int), "objId in the table DESIGN has several values in a row"),
        (np.array([101j, 102]), "objId in the table DESIGN holds complex numbers"),
    ],
)
def test_what_cannot_be_an_id_is_refused_in_one_line(values, message, tmp_path):
    path = design(tmp_path / "pfsDesign.fits", [(1, PLACE[101]), (2, PLACE[102])], [1, 1])
    with pytest.raises(HandoffError, match=re.escape(message)) as raised:
        counted(rewritten(path, "objId", values))
    assert "pfsDesign.fits" in str(raised.value)
    assert "\n" not in str(raised.value)


def test_unknown_ids_are_of_no_target(tmp_path):
    path = design(tmp_path / "pfsDesign.fits", [(1, PLACE[101]), (2, PLACE[102])], [1, 1])
    assert counted(rewritten(path, "objId", np.array([101.0, np.nan]))).times.tolist()[:2] == [1, 0]


def test_map_of_another_export_is_refused(tmp_path):
    exported("desi-tertiary", tmp_path / "a.fits", target_list(target_id=[1, 2, 3, 4]))
    path = write_fba(tmp_path / "fba.fits", {101: PLACE[101]}, [101])
    with pytest.raises(HandoffError, match=r"a\.fits\.ids\.ecsv: none of its 4 targets is on the"):
        counted(path, tmp_path / "a.fits.ids.ecsv")


@pytest.mark.parametrize("kept", [0, 1, 100, 2880, 3000, 5000, 5760, 5900, 8640, 11000])
def test_file_that_is_cut_short_is_one_line(kept, tmp_path):
    whole = write_fba(tmp_path / "fba.fits", {101: PLACE[101]}, [101]).read_bytes()
    (tmp_path / "cut.fits").write_bytes(whole[:kept])
    with pytest.raises(HandoffError, match=r"cut\.fits") as raised:
        counted(tmp_path / "cut.fits")
    assert "\n" not in str(raised.value)
