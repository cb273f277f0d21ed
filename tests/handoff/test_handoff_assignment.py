"""What comes back from assignment, joined to the list it was made from."""

import dataclasses

import pytest
from astropy.io import fits

from targetsel.errors import HandoffError
from targetsel.handoff.assignment import Pointing, join
from targetsel.selection.target_list import TargetList
from targetsel.tables.parquet import write_table
from tests.handoff.assigned_by_hand import SCIENCE, SKY, STANDARD, write_design, write_fba
from tests.handoff.lists_by_hand import target_list
from tests.handoff.tools_by_hand import exported

# Where target_list() has its targets.
PLACE = {101: (359.75, -1.5), 102: (0.0, 0.5), 103: (0.25, 2.5), 104: (0.5, 4.5)}


def at(*ids):
    return {each: PLACE[each] for each in ids}


def lines(assignment):
    return [dataclasses.astuple(each) for each in assignment.summary()]


@pytest.mark.parametrize("merged", [False, True])
def test_assigned_and_reached_are_counted_per_class_and_priority(tmp_path, merged):
    path = write_fba(tmp_path / "fba-001001.fits", at(101, 102), [101, 102, 103, 55], merged=merged)
    result = join(target_list(), [Pointing.read(path)])
    assert lines(result) == [("STRONG", 3400, 2, 2, 1), ("WEAK", 3200, 2, 1, 1)]
    assert [each.fraction for each in result.summary()] == [0.5, 0.5]
    assert result.times.tolist() == [1, 1, 0, 0]


def test_left_overs_are_a_target_list_that_can_be_exported(tmp_path):
    path = write_fba(tmp_path / "fba-001001.fits", at(101, 102), [101, 102, 103])
    left = join(target_list(), [Pointing.read(path)]).left_over()
    left.write(tmp_path / "left.targets.parquet")
    back = TargetList.read(tmp_path / "left.targets.parquet")
    assert back.table["target_id"].to_pylist() == [103, 104]
    assert back.table.schema.equals(target_list().table.schema, check_metadata=True)
    assert back.footer["counts"] == {"STRONG": 1, "WEAK": 2}  # 103 carries both bits
    assert [each["file"] for each in back.footer["left_over_from"]] == ["fba-001001.fits"]
    exported("desi", tmp_path / "next.fits", back)


def test_second_round_of_left_overs_remembers_the_first(tmp_path):
    first = write_fba(tmp_path / "fba-000001.fits", at(101), [101])
    second = write_fba(tmp_path / "fba-000002.fits", at(102), [102])
    left = join(target_list(), [Pointing.read(first)]).left_over()
    left = join(left, [Pointing.read(second)]).left_over()
    assert left.table["target_id"].to_pylist() == [103, 104]
    assert [each["file"] for each in left.footer["left_over_from"]] == [first.name, second.name]


def test_target_stays_until_it_was_assigned_as_often_as_it_asks(tmp_path):
    files = [write_fba(tmp_path / f"fba-00000{n}.fits", at(101, 102), []) for n in (1, 2)]
    targets = target_list(n_obs=[3, 2, None, 1])
    result = join(targets, map(Pointing.read, files))
    assert result.times.tolist() == [2, 2, 0, 0]
    left = result.left_over().table
    assert left["target_id"].to_pylist() == [101, 103, 104]
    assert left["n_obs"].to_pylist() == [1, None, 1]


def test_standards_and_sky_are_no_science_targets(tmp_path):
    path = write_fba(
        tmp_path / "fba.fits",
        at(101, 102, 103),
        [101],
        fa_type={101: STANDARD, 102: SCIENCE | STANDARD, 103: SKY},
    )
    assert join(target_list(), [Pointing.read(path)]).times.tolist() == [0, 1, 0, 0]


def test_fibers_of_other_programs_are_left_alone(tmp_path):
    path = write_fba(tmp_path / "fba.fits", at(101) | {77: (1.0, 1.0)}, [77, 101])
    assert join(target_list(), [Pointing.read(path)]).times.tolist() == [1, 0, 0, 0]


def test_pfs_design_counts_science_targets_on_good_fibers(tmp_path):
    path = write_design(
        tmp_path / "pfsDesign-0x1.fits",
        [
            (101, PLACE[101], 1, 1),
            (102, PLACE[102], 1, 2),  # broken fiber
            (103, PLACE[103], 3, 1),  # flux standard
            (-1, (0.0, 0.0), 4, 1),  # unassigned
        ],
    )
    result = join(target_list(), [Pointing.read(path)])
    assert result.times.tolist() == [1, 0, 0, 0]
    assert lines(result) == [("STRONG", 3400, 2, None, 1), ("WEAK", 3200, 2, None, 0)]


def test_every_visit_counts_and_the_design_not_beside_them(tmp_path):
    files = []
    for name, visit in (("pfsDesign", None), ("pfsConfig-1", 1), ("pfsConfig-2", 2)):
        path = write_design(tmp_path / f"{name}.fits", [(101, PLACE[101], 1, 1)])
        with fits.open(path, mode="update") as hdus:
            hdus[0].header["W_PFDSGN"] = 7
            if visit:
                hdus["DESIGN"].name = "CONFIG"
                hdus[0].header["W_VISIT"] = visit
        files.append(Pointing.read(path))
    assert join(target_list(), files[:1]).times.tolist() == [1, 0, 0, 0]
    assert join(target_list(), files[1:]).times.tolist() == [2, 0, 0, 0]
    for pair in (files[:2], [files[1], files[0]]):
        with pytest.raises(HandoffError, match="is of the same pointing as"):
            join(target_list(), pair)


def test_ids_of_a_tertiary_program_lead_back_through_their_map(tmp_path):
    done = exported("desi-tertiary", tmp_path / "a.fits", target_list())
    given = dict(zip(done.targets.id.tolist(), PLACE.values(), strict=True))
    second = done.targets.id.tolist()[1]
    path = write_fba(tmp_path / "fba.fits", {second: given[second]}, list(given))
    ids = tmp_path / "a.fits.ids.ecsv"
    result = join(target_list(), [Pointing.read(path)], ids)
    assert result.times.tolist() == [0, 1, 0, 0]
    assert result.in_reach.all()
    with pytest.raises(HandoffError, match=r"none of its 1 science targets is on the list.*--ids"):
        join(target_list(), [Pointing.read(path)])


def test_file_of_another_list_with_the_same_ids_is_an_error(tmp_path):
    path = write_fba(tmp_path / "fba.fits", {101: PLACE[101], 102: (0.0, 0.6)}, [])
    with pytest.raises(HandoffError, match=r"target 102 is 360 arcsec away .* another list"):
        join(target_list(), [Pointing.read(path)])


def test_proposals_of_a_desi_file_are_refused(tmp_path):
    path = write_fba(tmp_path / "fba.fits", at(101), [])
    with pytest.raises(HandoffError, match=r"is of DESI, whose files name no proposals"):
        join(target_list(), [Pointing.read(path)], proposals=["7"])


def test_file_without_any_science_target_is_no_error(tmp_path):
    path = write_fba(tmp_path / "fba.fits", {}, [101])
    result = join(target_list(), [Pointing.read(path)])
    assert result.times.tolist() == [0] * 4
    assert result.in_reach.tolist() == [True, False, False, False]


def test_damaged_foreign_and_missing_files_are_errors(tmp_path):
    with pytest.raises(HandoffError, match=r"no such file"):
        Pointing.read(tmp_path / "nowhere.fits")
    (tmp_path / "text.fits").write_text("no FITS")
    with pytest.raises(HandoffError, match=r"text\.fits: not a FITS file"):
        Pointing.read(tmp_path / "text.fits")
    exported("desi", tmp_path / "a.fits")
    with pytest.raises(HandoffError, match=r"has the tables TARGETS; expected FASSIGN or"):
        Pointing.read(tmp_path / "a.fits")
    whole = write_fba(tmp_path / "fba.fits", at(101, 102), [101])
    (tmp_path / "cut.fits").write_bytes(whole.read_bytes()[:6000])
    with pytest.raises(HandoffError, match=r"cut\.fits: lacks the table FAVAIL"):
        Pointing.read(tmp_path / "cut.fits")
    (tmp_path / "cut.fits").write_bytes(whole.read_bytes()[:5800])
    with pytest.raises(HandoffError, match=r"cut\.fits, extension 1: .* damaged or cut short"):
        Pointing.read(tmp_path / "cut.fits")


def test_pointing_that_is_given_twice_is_an_error(tmp_path):
    path = write_fba(tmp_path / "fba-000007.fits", at(101), [], tile=7)
    merged = write_fba(tmp_path / "fiberassign-000007.fits", at(101), [], merged=True, tile=7)
    other = write_fba(tmp_path / "fba-000008.fits", at(101), [], tile=8)
    assert join(target_list(), map(Pointing.read, (path, other))).times.tolist() == [2, 0, 0, 0]
    with pytest.raises(HandoffError, match=r"fiberassign-000007\.fits: is of the same pointing as"):
        join(target_list(), map(Pointing.read, (path, merged)))
    design = write_design(tmp_path / "pfsDesign-0x1.fits", [(101, PLACE[101], 1, 1)])
    with pytest.raises(HandoffError, match=r"pfsDesign-0x1\.fits: is of the same pointing as"):
        join(target_list(), map(Pointing.read, (design, design)))


def test_place_that_is_not_a_number_is_an_error(tmp_path):
    path = write_fba(tmp_path / "fba.fits", {101: (float("nan"), -1.5)}, [])
    with pytest.raises(HandoffError, match=r"target 101 has no position, the worst of"):
        join(target_list(), [Pointing.read(path)])


def test_map_of_ids_that_is_none_is_an_error(tmp_path):
    path = write_fba(tmp_path / "fba.fits", at(101), [])
    write_table(target_list().table, tmp_path / "x.parquet")
    with pytest.raises(HandoffError, match=r"x\.parquet: not a map of ids that export wrote"):
        join(target_list(), [Pointing.read(path)], tmp_path / "x.parquet")
    with pytest.raises(HandoffError, match=r"nowhere\.ecsv: no such file"):
        join(target_list(), [Pointing.read(path)], tmp_path / "nowhere.ecsv")
