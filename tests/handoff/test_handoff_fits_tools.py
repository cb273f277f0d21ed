"""4MOST, SDSS-V, WEAVE and GMMPS: what is particular to each."""

import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.table import Table

from targetsel.errors import HandoffError, OutputError
from targetsel.handoff import sdss_v
from tests.handoff.lists_by_hand import target_list
from tests.handoff.tools_by_hand import exported, write_image, write_template


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
    with pytest.raises(HandoffError, match=f"missing key '{key}' in the settings"):
        exported("4most", tmp_path, changed={key: None})


def test_4most_class_without_a_ruleset_is_named(tmp_path):
    with pytest.raises(HandoffError, match="'ruleset' has no value for the class 'WEAK'"):
        exported("4most", tmp_path, changed={"ruleset": {"STRONG": "LineSNR"}})


def test_4most_ruleset_begins_with_a_letter(tmp_path):
    with pytest.raises(HandoffError, match=r"ruleset is '1line'; .* begin with a letter"):
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
    with pytest.raises(HandoffError, match="extent is 'round'; expected 'point' or 'sersic'"):
        exported("4most", tmp_path, changed={"extent": "round"})


def test_4most_flat_profiles_are_refused_as_magnitudes_are_total(tmp_path):
    with pytest.raises(HandoffError, match="extent is 'flat'; expected 'point' or 'sersic'"):
        exported("4most", tmp_path, changed={"extent": "flat"})


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
    with pytest.raises(HandoffError, match=r"'d{61}' in the column cadence: longer than 60"):
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


def test_weave_does_not_look_at_fluxes_that_the_template_has_no_place_for(tmp_path):
    targets = target_list(flux_w1_ls=([1.0] * 4, "counts"), ra=[150.0] * 4)
    assert exported("weave", tmp_path, targets).files[0].exists()


def test_template_and_image_are_not_overwritten(tmp_path):
    write_template(tmp_path / "list.fits")
    with pytest.raises(OutputError, match=r"list\.fits: is read by the same command"):
        exported("weave", tmp_path, changed={"template": "list.fits"})
    write_image(tmp_path / "list.fits", overwrite=True)
    with pytest.raises(OutputError, match=r"list\.fits: is read by the same command"):
        exported("gmmps", tmp_path, changed={"image": "list.fits"})


@pytest.mark.parametrize(
    ("fill", "message"),
    [
        ({"OBSTEMP": "NBCEC1"}, "'NBCEC1' does not fit the template's column OBSTEMP, which has 5"),
        ({"HEALPIX": "a"}, "'fill': HEALPIX is 'a'; expected a number"),
        ({"HEALPIX": "3.7"}, "'fill': HEALPIX is '3.7'; expected a number in the format J"),
        ({"MAG_G": "1e300"}, "MAG_G is '1e300'; expected a number in the format E"),
        ({"HEALPIX": "3000000000"}, "HEALPIX is '3000000000'; expected a number in the format J"),
        ({"TARGPRIO": "3"}, "'fill' names TARGPRIO, which the list itself fills"),
        ("NBCEC", "fill is 'NBCEC'; expected a map"),
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
    with pytest.raises(HandoffError, match=r"text\.fits: not a FITS file"):
        exported("weave", tmp_path, changed={"template": "text.fits"})
    fits.PrimaryHDU().writeto(tmp_path / "empty.fits")
    with pytest.raises(HandoffError, match=r"empty\.fits has no table"):
        exported("weave", tmp_path, changed={"template": "empty.fits"})
    with pytest.raises(HandoffError, match=r"'template': .* does not exist"):
        exported("weave", tmp_path, changed={"template": "nowhere.fits"})


@pytest.mark.parametrize(
    ("name", "changed", "message"),
    [
        ("GAIA_RA", "E", "GAIA_RA in the format E; expected one of D"),
        ("TARGPRIO", "4A", "TARGPRIO in the format 4A; expected one of I J E D"),
        ("TARGPRIO", "3E", "TARGPRIO in the format 3E; only texts and single numbers"),
        ("GAIA_PMRA", "E arcsec/yr", "GAIA_PMRA in 'arcsec/yr'; expected 'mas/yr'"),
        ("HEALPIX", "PJ()", "HEALPIX in the format PJ.*; only texts and single numbers"),
    ],
)
def test_weave_template_must_hold_what_it_is_filled_with(name, changed, message, tmp_path):
    write_template(tmp_path / "template.fits")
    with fits.open(tmp_path / "template.fits") as hdus:
        form, _, unit = changed.partition(" ")
        other = fits.Column(name, form, unit or None)
        columns = [c if c.name != name else other for c in hdus[1].columns]
        fits.BinTableHDU.from_columns(columns).writeto(tmp_path / "other.fits")
    with pytest.raises(HandoffError, match=message):
        exported("weave", tmp_path, changed={"template": "other.fits"})


def test_weave_template_that_is_cut_short_is_refused(tmp_path):
    write_template(tmp_path / "template.fits")
    whole = (tmp_path / "template.fits").read_bytes()
    cut = whole.replace(b"NAXIS2  =                    0", b"NAXIS2  =           1000000000")
    assert cut != whole
    (tmp_path / "cut.fits").write_bytes(cut)
    with pytest.raises(HandoffError, match=r"cut\.fits, extension 1: .* damaged or cut short"):
        exported("weave", tmp_path, changed={"template": "cut.fits"})


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


def changed_image(path, **cards):
    """The image by hand with other cards."""
    write_image(path)
    with fits.open(path, mode="update") as hdus:
        hdus[1].header.update(cards)


def test_gmmps_pixels_are_right_on_an_image_in_galactic_coordinates(tmp_path):
    center = SkyCoord(150.0, 2.2, unit="deg").galactic
    changed_image(
        tmp_path / "gal.fits",
        CTYPE1="GLON-TAN",
        CTYPE2="GLAT-TAN",
        CRVAL1=center.l.deg,
        CRVAL2=center.b.deg,
    )
    table = fits.getdata(exported("gmmps", tmp_path, changed={"image": "gal.fits"}).files[0])
    assert (table["x_ccd"][0], table["y_ccd"][0]) == pytest.approx((151.0, 151.0), abs=0.001)
    # 103 is 72 arcsec east and 62 arcsec north of the center, whichever way the axes lie.
    away = np.hypot(table["x_ccd"][2] - 151, table["y_ccd"][2] - 151)
    assert away == pytest.approx(np.hypot(36, 31), abs=0.05)


@pytest.mark.parametrize(
    "cards", [{"CDELT1": 0.0}, {"CTYPE2": "GLAT-TAN"}, {"CTYPE1": "FOO", "CTYPE2": "BAR"}]
)
def test_gmmps_refuses_images_whose_coordinates_mean_nothing(cards, tmp_path):
    changed_image(tmp_path / "odd.fits", **cards)
    with pytest.raises(
        HandoffError, match=r"odd\.fits: not an image with usable world coord"
    ) as raised:
        exported("gmmps", tmp_path, changed={"image": "odd.fits"})
    assert "\n" not in str(raised.value)
