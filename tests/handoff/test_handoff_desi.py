"""What DESI fiberassign and the tertiary programs read."""

import numpy as np
import pyarrow as pa
import pytest
from astropy.io import fits
from astropy.table import Table

from targetsel.errors import HandoffError
from targetsel.handoff.desi import DESI_TARGET, OBSCONDITIONS, encode
from tests.handoff.lists_by_hand import target_list, wide_list
from tests.handoff.tools_by_hand import GOLDEN, exported


def test_map_of_priorities_is_the_one_read_by_eye(tmp_path):
    exported("desi", tmp_path / "a.fits")
    written = (tmp_path / "a.fits.priorities.ecsv").read_text()
    assert written == (GOLDEN / "desi.priorities.ecsv").read_text()


def test_columns_have_exactly_the_types_that_fiberassign_takes(tmp_path):
    exported("desi", tmp_path / "a.fits")
    table = fits.getdata(tmp_path / "a.fits", 1)
    types = {name: table.dtype[name].newbyteorder("=").name for name in table.dtype.names}
    assert types == {
        "TARGETID": "int64",
        "RA": "float64",
        "DEC": "float64",
        "PMRA": "float32",
        "PMDEC": "float32",
        "REF_EPOCH": "float32",
        "DESI_TARGET": "int64",
        "PRIORITY": "int32",
        "SUBPRIORITY": "float64",
        "OBSCONDITIONS": "int32",
        "NUMOBS_MORE": "int32",
    }
    assert ((table["SUBPRIORITY"] >= 0) & (table["SUBPRIORITY"] < 1)).all()


def test_desitarget_decodes_the_exported_masks(tmp_path):
    targetmask = pytest.importorskip("desitarget.targetmask")
    masks = {"desi_target": {"STRONG": "ELG", "WEAK": "BGS_ANY|SCND_ANY"}}
    exported("desi", tmp_path / "a.fits", changed=masks)
    table = fits.getdata(tmp_path / "a.fits", 1)
    assert [targetmask.desi_mask.names(int(mask)) for mask in table["DESI_TARGET"][:2]] == [
        ["ELG"],
        ["BGS_ANY", "SCND_ANY"],
    ]
    assert [targetmask.obsconditions.names(int(each)) for each in table["OBSCONDITIONS"][:2]] == [
        ["DARK", "GRAY"],
        ["BRIGHT"],
    ]


def test_bits_are_those_of_desitarget():
    targetmask = pytest.importorskip("desitarget.targetmask")
    assert {n: targetmask.desi_mask.bitnum(n) for n in DESI_TARGET} == DESI_TARGET
    assert {n: int(targetmask.obsconditions[n]) for n in OBSCONDITIONS} == OBSCONDITIONS


def test_observing_conditions_of_the_list_win(tmp_path):
    targets = wide_list(obs_conditions=[None, 2048, 1, 1])
    exported("desi", tmp_path / "a.fits", targets)
    found = fits.getdata(tmp_path / "a.fits", 1)["OBSCONDITIONS"]
    assert found.tolist() == [3, 2048, 1, 1]
    without = {"obsconditions": None}
    exported("desi", tmp_path / "a.fits", wide_list(obs_conditions=[1, 2, 4, 8]), without)
    with pytest.raises(HandoffError, match=r"'desi' needs the setting 'obsconditions'"):
        exported("desi", tmp_path / "b.fits", targets, without)
    assert not (tmp_path / "b.fits").exists()


def test_target_that_may_never_be_observed_is_refused(tmp_path):
    with pytest.raises(HandoffError, match=r"obs_conditions of 1 of 4 targets allow no observ"):
        exported("desi", tmp_path / "a.fits", wide_list(obs_conditions=[1, 0, 1, 1]))


@pytest.mark.parametrize("key", ["obsconditions", "desi_target"])
def test_unknown_name_of_a_bit_is_an_error(tmp_path, key):
    with pytest.raises(HandoffError, match=f"'{key}' is 'DARK.NIGHT'; expected names out of"):
        exported("desi", tmp_path / "a.fits", changed={key: "DARK|NIGHT"})


def test_legacy_fluxes_are_written_in_nanomaggies(tmp_path):
    targets = wide_list(
        flux_r_ls=([3630.780548] * 4, "nJy"), fiberflux_r_ls=([1.0, 2.0, 3.0, None], "nanomaggy")
    )
    exported("desi", tmp_path / "a.fits", targets)
    table = fits.getdata(tmp_path / "a.fits", 1)
    assert table["FLUX_R"].tolist() == pytest.approx([1.0] * 4, rel=1e-6)
    assert table["FIBERFLUX_R"][:3].tolist() == pytest.approx([1, 2, 3], rel=1e-6)
    assert "FLUX_G" not in table.dtype.names


def test_priorities_that_mean_done_are_refused(tmp_path):
    with pytest.raises(HandoffError, match=r"priorities from 2 to 3200 do not fit 'desi'"):
        exported("desi", tmp_path / "a.fits", wide_list(priority=[2, 3200, 2, 3200]))


# --- tertiary programs ---------------------------------------------------------------------------


def test_tertiary_files_are_those_read_by_eye(tmp_path):
    done = exported("desi-tertiary", tmp_path / "a.fits")
    names = ["a.fits", "tertiary-priorities-0012.ecsv", "a.fits.priorities.ecsv", "a.fits.ids.ecsv"]
    assert [path.name for path in done.files] == names
    for path, name in ((done.files[1], names[1]), (done.files[3], "desi-tertiary.ids.ecsv")):
        assert path.read_text() == (GOLDEN / name).read_text()


def test_desitarget_decodes_the_exported_ids(tmp_path):
    targets = pytest.importorskip("desitarget.targets")
    exported("desi-tertiary", tmp_path / "a.fits")
    ids = fits.getdata(tmp_path / "a.fits", 1)["TARGETID"].astype(np.int64)
    objid, program, release, mock, sky, gaia = targets.decode_targetid(ids)
    assert objid.tolist() == [0, 1, 2, 3]
    assert set(program) == {12}
    assert set(release) == {8888}
    assert not np.any([mock, sky, gaia])
    assert encode(np.array([9010]), 330368)[0] == targets.encode_targetid(9010, 330368, 8888)


def test_tertiary_columns_have_finite_motions_and_open_subpriorities(tmp_path):
    exported("desi-tertiary", tmp_path / "a.fits", wide_list(subpriority=[0.0, 0.1, 0.2, 0.3]))
    table = fits.getdata(tmp_path / "a.fits", 1)
    kinds = [table.dtype[n].newbyteorder("=").name for n in ("TARGETID", "RA", "SUBPRIORITY")]
    assert kinds == ["int64", "float64", "float64"]
    assert np.isfinite(table["PMRA"]).all()
    assert (table["REF_EPOCH"] > 1900).all()
    assert ((table["SUBPRIORITY"] > 0) & (table["SUBPRIORITY"] < 1)).all()


def test_class_is_done_after_as_many_observations_as_its_targets_ask_for(tmp_path):
    done = exported("desi-tertiary", tmp_path / "a.fits", wide_list(n_obs=[3, None, 2, None]))
    rows = [tuple(row) for row in Table.read(done.files[1], format="ascii.ecsv")]
    assert rows == [
        ("STRONG", 0, 2, 3400),
        ("STRONG", 3, 99, 2),
        ("WEAK", 0, 0, 3200),
        ("WEAK", 1, 99, 2),
    ]


def test_more_observations_than_a_tertiary_program_counts_are_refused(tmp_path):
    with pytest.raises(HandoffError, match=r"the class STRONG asks for 100 observations; .* 99"):
        exported("desi-tertiary", tmp_path / "a.fits", wide_list(n_obs=[100, 1, 1, 1]))


def test_class_with_two_priorities_is_no_tertiary_class(tmp_path):
    targets = target_list(2, program=["A", "A"])
    with pytest.raises(HandoffError, match=r"the class A has targets of several priorities"):
        exported("desi-tertiary", tmp_path / "a.fits", targets)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"program_number": "0"}, "program_number is '0'; expected a whole number, 1 to 1048575"),
        ({"program_number": None}, "missing key 'program_number'"),
        ({"obsconds": "BACKUP"}, "obsconds is 'BACKUP'; expected 'BRIGHT' or 'DARK'"),
        ({"sbprof": None}, "missing key 'sbprof'"),
        ({"goaltime": "0"}, "goaltime is '0'; expected a number above 0"),
        ({"faprgrm": "é"}, "'é' in the card FAPRGRM: expected ASCII, as FITS takes"),
    ],
)
def test_bad_tertiary_settings_are_errors_and_write_nothing(tmp_path, values, message):
    with pytest.raises(HandoffError, match=message):
        exported("desi-tertiary", tmp_path / "a.fits", changed=values)
    assert list(tmp_path.iterdir()) == []


def test_string_ids_are_handed_over_as_the_numbers_of_the_list(tmp_path):
    targets = wide_list(source_id=["a", "b", "c", "d"])
    assert targets.table.schema.field("source_id").type == pa.string()
    exported("desi", tmp_path / "a.fits", targets)
    ids = fits.getdata(tmp_path / "a.fits", 1)["TARGETID"]
    assert ids.tolist() == [101, 102, 103, 104]
