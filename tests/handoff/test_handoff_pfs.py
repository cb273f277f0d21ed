"""What the PFS target uploader, netflow and ga_targeting read."""

import numpy as np
import pandas as pd
import pytest
from astropy.table import Table
from pyarrow import feather

from targetsel.errors import HandoffError
from tests.handoff.lists_by_hand import target_list, wide_list
from tests.handoff.tools_by_hand import exported


def test_uploader_columns_have_the_types_of_its_document(tmp_path):
    exported("pfs-uploader", tmp_path / "a.csv")
    rows = pd.read_csv(tmp_path / "a.csv", dtype={"ob_code": str})
    numbers = {n: str(rows[n].dtype) for n in rows if n not in ("resolution", "reference_arm")}
    assert numbers["obj_id"] == numbers["priority"] == "int64"
    assert {numbers[n] for n in ("ra", "dec", "exptime", "pmra", "parallax")} == {"float64"}
    assert rows["ob_code"].is_unique


def test_uploader_keeps_every_digit_of_large_ids(tmp_path):
    large = 2**63 - 1
    exported("pfs-uploader", tmp_path / "a.csv", wide_list(target_id=[1, 2, 3, large]))
    assert f",{large}," in (tmp_path / "a.csv").read_text()


def test_source_gets_one_flux_in_each_category(tmp_path):
    targets = wide_list(
        flux_g_hsc=([5.0, None, None, 8.0], "nJy"),
        flux_g_hsc_err=([0.5, None, None, 0.8], "nJy"),
        flux_y_ps1=([None, None, None, 7.0], "nJy"),
    )
    exported("pfs-uploader", tmp_path / "a.csv", targets)
    rows = pd.read_csv(tmp_path / "a.csv")
    assert rows["g_hsc"].tolist()[::3] == [5.0, 8.0]
    assert rows["g_hsc_error"].tolist()[::3] == [0.5, 0.8]
    assert np.isnan(rows["g_sdss"]).tolist() == [True, False, False, True]
    assert rows["r_sdss"].tolist() == [1000.0, 2000.0, 3000.0, 4000.0]
    assert rows["y_ps1"].tolist()[3] == 7.0
    assert "g_sdss_error" not in rows


def test_source_without_any_flux_is_an_error(tmp_path):
    targets = wide_list(flux_g_sdss=[1.0, None, 1.0, 1.0], flux_r_sdss=[1.0, None, 1.0, 1.0])
    with pytest.raises(
        HandoffError, match=r"^1 of 4 targets, the first is 102, have no flux in any filter"
    ):
        exported("pfs-uploader", tmp_path / "a.csv", targets)


def test_list_without_a_filter_of_pfs_is_an_error(tmp_path):
    targets = wide_list(
        flux_g_sdss=None, flux_r_sdss=None, flux_r_lsst=([1.0, 1.0, 1.0, 1.0], "nJy")
    )
    with pytest.raises(HandoffError, match=r"'pfs-uploader' knows: it has flux_r_lsst, expected"):
        exported("pfs-uploader", tmp_path / "a.csv", targets)


def test_hsc_r_must_say_which_filter_it_is(tmp_path):
    with pytest.raises(HandoffError, match=r"Say which it is: --brightness r2_hsc=flux_r_hsc, or"):
        exported("pfs-uploader", tmp_path / "a.csv", wide_list(flux_r_hsc=([1.0] * 4, "nJy")))


def test_name_with_a_forbidden_character_is_an_error(tmp_path):
    with pytest.raises(HandoffError, match=r"the first is 'b c'; expected letters, digits"):
        exported("pfs-uploader", tmp_path / "a.csv", wide_list(source_id=["a", "b c", "d", "e"]))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"resolution": "H"}, "resolution is 'H'; expected 'L' or 'M'"),
        ({"reference_arm": "m"}, "with resolution L expected one of b, r, n"),
        ({"resolution": "M"}, "'reference_arm' is 'r'; with resolution M"),
        ({"exptime": "0"}, "'exptime' is 0 for some targets"),
        ({"exptime": {"WEAK": "60"}}, "'exptime' has no value for the class 'STRONG'"),
        ({"exptime": None}, "'pfs-uploader' needs the setting 'exptime'"),
    ],
)
def test_bad_uploader_settings_are_errors_and_write_nothing(tmp_path, values, message):
    with pytest.raises(HandoffError, match=message):
        exported("pfs-uploader", tmp_path / "a.csv", changed=values)
    assert list(tmp_path.iterdir()) == []


def test_eleven_priorities_are_too_many_for_pfs(tmp_path):
    targets = target_list(11, priority=list(range(11)))
    with pytest.raises(HandoffError, match=r"'pfs-uploader' has 10 \(0 best to 9 worst\)"):
        exported("pfs-uploader", tmp_path / "a.csv", targets)


def test_exposure_times_of_the_list_win(tmp_path):
    exported("pfs-netflow", tmp_path / "a.ecsv", wide_list(exptime=[None, 60.0, None, 90.0]))
    table = Table.read(tmp_path / "a.ecsv", format="ascii.ecsv")
    assert table["Exposure Time"].tolist() == [1800.0, 60.0, 1800.0, 90.0]
    assert [table[name].dtype.kind for name in ("ID", "R.A.", "Priority")] == ["i", "f", "i"]


def test_feather_of_ga_targeting_has_types_and_units(tmp_path):
    exported("pfs-ga", tmp_path / "a.feather")
    schema = feather.read_table(tmp_path / "a.feather").schema
    assert str(schema.field("targetid").type) == "int64"
    assert str(schema.field("priority").type) == "int64"
    assert str(schema.field("exp_time").type) == "double"
    assert str(schema.field("catid").type) == "int32"
    assert schema.field("g_sdss_flux").metadata[b"unit"] == b"nJy"
    assert "proposalid" not in schema.names


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            {"catid": "3000000000"},
            "catid is '3000000000'; expected a whole number, 0 to 2147483647",
        ),
        ({"obcode": "a b"}, "'obcode' is 'a b'; expected letters, digits"),
    ],
)
def test_bad_codes_for_ga_targeting_are_errors(tmp_path, values, message):
    with pytest.raises(HandoffError, match=message):
        exported("pfs-ga", tmp_path / "a.feather", changed=values)
