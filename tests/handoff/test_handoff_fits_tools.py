"""4MOST, SDSS-V, WEAVE and GMMPS: what is particular to each."""

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table

from targetsel.errors import HandoffError
from targetsel.handoff import sdss_v

from .lists_by_hand import target_list
from .other_tools import exported, write_template


def dtypes(path):
    with fits.open(path) as hdus:
        rows = np.asarray(hdus[1].data)
    return {name: rows.dtype[name].newbyteorder("=") for name in rows.dtype.names}


# --- 4MOST ---------------------------------------------------------------------------------------


def test_4most_types_are_those_of_the_manual(tmp_path):
    found = dtypes(exported("4most", tmp_path).files[0])
    wanted = {"RA": "f8", "DEC": "f8", "PMRA": "f4", "PMDEC": "f4", "EPOCH": "f4", "CADENCE": "i8"}
    wanted |= {"RESOLUTION": "i2", "EXTENT_FLAG": "i2", "EXTENT_PARAMETER": "f4", "MAG": "f4"}
    wanted |= {"DATE_EARLIEST": "f8", "DATE_LATEST": "f8", "REDSHIFT_ESTIMATE": "f4"}
    assert {name: found[name] for name in wanted} == {n: np.dtype(t) for n, t in wanted.items()}
    assert len(found) == 35


@pytest.mark.parametrize("key", ["template", "ruleset", "subsurvey"])
def test_4most_list_without_template_or_ruleset_is_refused(key, tmp_path):
    with pytest.raises(HandoffError, match=f"'4most' needs the setting '{key}'"):
        exported("4most", tmp_path, changed={key: None})


def test_4most_class_without_a_ruleset_is_named(tmp_path):
    with pytest.raises(HandoffError, match="'ruleset' says nothing of the class 'WEAK'"):
        exported("4most", tmp_path, changed={"ruleset": {"STRONG": "LineSNR"}})


def test_4most_ruleset_begins_with_a_letter(tmp_path):
    with pytest.raises(HandoffError, match=r"'ruleset' is '1line'; .* begin with a letter"):
        exported("4most", tmp_path, changed={"ruleset": "1line"})


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"dec": [2.2, 41.0, 2.2, 2.2]}, "DEC of 1 of 4 .* that of 102 is 41; expected -90 to 40"),
        ({"flux_r_sdss": [1.0, 1.0, 1.0, None]}, "MAG of 1 of 4 .* that of 104 is unknown"),
    ],
)
def test_4most_refuses_values_out_of_the_manuals_ranges(changed, message, tmp_path):
    with pytest.raises(HandoffError, match=message):
        exported("4most", tmp_path, target_list(**changed))


def test_4most_filter_without_a_known_name_needs_one(tmp_path):
    flux = ([1000.0] * 4, "nJy")
    targets = target_list(flux_r_sdss=None, flux_g_sdss=None, flux_i_ps1=flux)
    with pytest.raises(HandoffError, match="name of the filter i_ps1 is not known"):
        exported("4most", tmp_path, targets)
    done = exported("4most", tmp_path, targets, {"mag_type": "PS1_i_AB"})
    assert set(Table.read(done.files[0])["MAG_TYPE"]) == {"PS1_i_AB"}


def test_4most_sersic_sizes_and_redshifts_come_from_columns_or_numbers(tmp_path):
    targets = target_list(photo_z=([0.1, 0.2, 0.3, 0.4], ""))
    settings = {
        "extent": {"STRONG": "sersic", "WEAK": "point"},
        "sersic_radius": "1.5",
        "sersic_index": {"STRONG": "4", "WEAK": "1"},
        "redshift": "photo_z",
    }
    table = Table.read(exported("4most", tmp_path, targets, settings).files[0])
    assert table["EXTENT_FLAG"].tolist() == [2, 0, 2, 0]
    assert table["EXTENT_PARAMETER"].tolist() == [1.5, 0, 1.5, 0]
    assert table["EXTENT_INDEX"].tolist() == [4, 0, 4, 0]
    assert np.allclose(table["REDSHIFT_ESTIMATE"], [0.1, 0.2, 0.3, 0.4])


def test_4most_sersic_profile_needs_a_size(tmp_path):
    with pytest.raises(HandoffError, match="needs the setting 'sersic_radius'"):
        exported("4most", tmp_path, changed={"extent": "sersic"})
    with pytest.raises(HandoffError, match="'extent' is 'round'; expected one of point, flat"):
        exported("4most", tmp_path, changed={"extent": "round"})


# --- SDSS-V --------------------------------------------------------------------------------------


def test_sdss_v_types_and_their_order_are_those_of_robostrategy(tmp_path):
    found = dtypes(exported("sdss-v", tmp_path).files[0])
    assert list(found) == list(sdss_v.COLUMNS)
    wanted = {"rsid": "i8", "catalogid": "i8", "priority": "i4", "value": "f4", "delta_ra": "f8"}
    wanted |= {"ra": "f8", "dec": "f8", "epoch": "f4", "pmra": "f4", "can_offset": "bool"}
    wanted |= {"magnitude": "(10,)f4", "cadence": "S60", "fiberType": "S6", "mapper": "S3"}
    shown = {name: found[name] for name in wanted}
    shown["can_offset"] = np.dtype("bool")  # FITS logicals are letters in the raw record
    assert shown == {name: np.dtype(kind) for name, kind in wanted.items()}


def test_sdss_v_needs_a_cadence_and_refuses_one_that_is_too_long(tmp_path):
    with pytest.raises(HandoffError, match="'sdss-v' needs the setting 'cadence'"):
        exported("sdss-v", tmp_path, changed={"cadence": None})
    with pytest.raises(HandoffError, match=r"the cadence 'd{61}' is too long"):
        exported("sdss-v", tmp_path, changed={"cadence": "d" * 61})


def test_sdss_v_takes_sdss_magnitudes_before_those_of_pan_starrs(tmp_path):
    targets = target_list(
        flux_r_ps1=([1.0] * 4, "nJy"), flux_i_ps1=([1000.0] * 4, "nJy"), flux_g_sdss=None
    )
    magnitude = fits.getdata(exported("sdss-v", tmp_path, targets).files[0])["magnitude"][0]
    assert np.allclose(magnitude[1:3], 23.9)
    assert np.isnan(magnitude[[0, 3, 4, 5, 6, 7, 8, 9]]).all()


# --- WEAVE ---------------------------------------------------------------------------------------


def test_weave_keeps_the_template_as_it_is_but_for_its_rows(tmp_path):
    path = exported("weave", tmp_path).files[0]
    with fits.open(tmp_path / "template.fits") as template, fits.open(path) as filled:
        assert filled[0].header == template[0].header
        before, after = template[1].header, filled[1].header
        changed = {key for key in {*before, *after} if before.get(key) != after.get(key)}
        assert changed == {"NAXIS2"}
        assert filled[1].data.dtype == template[1].data.dtype


def test_weave_never_adds_a_column(tmp_path):
    with pytest.raises(HandoffError, match="'fill' names IFU_DITHER, which the template does not"):
        exported("weave", tmp_path, changed={"fill": {"IFU_DITHER": "3"}})


def test_weave_fill_wins_over_the_list(tmp_path):
    table = Table.read(exported("weave", tmp_path, changed={"fill": {"TARGUSE": "C"}}).files[0])
    assert set(table["TARGUSE"]) == {"C"}


@pytest.mark.parametrize(
    ("fill", "message"),
    [
        ({"OBSTEMP": "NBCEC1"}, "'NBCEC1' does not fit the template's column OBSTEMP, which has 5"),
        ({"HEALPIX": "a"}, "'fill': HEALPIX is 'a'; expected a number"),
        ("NBCEC", "'fill' is no map"),
    ],
)
def test_weave_refuses_what_does_not_fit(fill, message, tmp_path):
    with pytest.raises(HandoffError, match=message):
        exported("weave", tmp_path, changed={"fill": fill})


def test_weave_refuses_other_files_as_templates(tmp_path):
    write_template(tmp_path / "other.fits", without="GAIA_RA")
    with pytest.raises(HandoffError, match="'template' has no column GAIA_RA"):
        exported("weave", tmp_path, changed={"template": "other.fits"})
    (tmp_path / "text.fits").write_text("no FITS")
    with pytest.raises(HandoffError, match=r"text\.fits is not a FITS file"):
        exported("weave", tmp_path, changed={"template": "text.fits"})
    fits.PrimaryHDU().writeto(tmp_path / "empty.fits")
    with pytest.raises(HandoffError, match=r"empty\.fits has no table"):
        exported("weave", tmp_path, changed={"template": "empty.fits"})
    with pytest.raises(HandoffError, match=r"'template': .* is no file"):
        exported("weave", tmp_path, changed={"template": "nowhere.fits"})


# --- GMMPS ---------------------------------------------------------------------------------------


def test_gmmps_types_and_hours(tmp_path):
    path = exported("gmmps", tmp_path).files[0]
    found = dtypes(path)
    assert list(found)[:6] == ["ID", "RA", "DEC", "x_ccd", "y_ccd", "MAG"]
    assert (found["ID"], found["priority"]) == (np.dtype("i2"), np.dtype("S1"))
    assert fits.getdata(path)["RA"][0] == 10.0  # 150 deg


def test_gmmps_pixels_are_counted_from_one(tmp_path):
    # The first target is on the reference pixel 151; 103 is 72 arcsec further north, less ten years
    # of 1 arcsec: 62 arcsec = 31 pixels of 2 arcsec.
    table = fits.getdata(exported("gmmps", tmp_path).files[0])
    assert (table["x_ccd"][0], table["y_ccd"][0]) == (151.0, 151.0)
    assert table["y_ccd"][2] == pytest.approx(151 + 31, abs=0.01)


def test_gmmps_refuses_targets_off_the_image(tmp_path):
    targets = target_list(ra=[150.0, 150.0, 150.0, 151.0], dec=[2.2] * 4)
    with pytest.raises(HandoffError, match=r"1 of 4 targets are not on the image .* 301 x 301"):
        exported("gmmps", tmp_path, targets)


def test_gmmps_refuses_images_without_world_coordinates(tmp_path):
    fits.PrimaryHDU(np.zeros((2, 2))).writeto(tmp_path / "plain.fits")
    with pytest.raises(HandoffError, match=r"plain\.fits has no image with world coordinates"):
        exported("gmmps", tmp_path, changed={"image": "plain.fits"})
