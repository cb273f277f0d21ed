"""DESI's files of spectra. All but the last tests write them, after the data model."""

import gzip

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from astropy.io import fits

from targetsel.errors import SpectrumError
from targetsel.spectra.reading import (
    attempts,
    joined_redshifts,
    read_spectra,
    results_table,
    try_spectra,
    usable,
)
from targetsel.spectra.redshifts import SpectrumOptions
from tests.real_data import real
from tests.spectra.survey_files import ARMS, galaxy, write_desi, write_redrock

ONE, TWO, THREE = 39633297352951412, 39633297352951413, 39633300968442591


def error_of(path, redshift=0.1, options=SpectrumOptions()):
    """The one line with which a file is refused."""
    (found,) = try_spectra(path, redshift, options)
    assert isinstance(found, SpectrumError)
    assert "\n" not in str(found)
    return str(found).removeprefix(str(path))


def test_three_arms_become_one_spectrum_of_each_target(tmp_path):
    path = write_desi(tmp_path / "coadd-x.fits", [ONE, THREE])
    one, other = read_spectra(path, 0.1)
    assert (one.source_id, other.source_id) == (ONE, THREE)
    assert one.wavelength == pytest.approx(3600 + 0.8 * np.arange(7781))
    assert one.flux == pytest.approx(galaxy(one.wavelength), rel=1e-5)
    assert other.flux == pytest.approx(2 * galaxy(one.wavelength), rel=1e-5)
    assert (one.position, other.position) == ((150, 2), (151, 3))
    assert one.aperture == 1.5


def test_arms_are_averaged_by_inverse_variance_where_they_overlap(tmp_path):
    flux = {"B": np.full((1, 2751), 1.0), "R": np.full((1, 2326), 4.0)}
    ivar = {"B": np.full((1, 2751), 2.0), "R": np.full((1, 2326), 1.0)}
    mask = np.zeros((1, 2326), np.int32)
    mask[0, 3] = 1  # 5762.4 Angstrom
    change = {f"{a}_FLUX": v for a, v in flux.items()} | {f"{a}_IVAR": v for a, v in ivar.items()}
    path = write_desi(tmp_path / "c.fits", [ONE], arms="BR", change=change | {"R_MASK": mask})
    (spectrum,) = read_spectra(path, 0.1)
    first = int(np.searchsorted(spectrum.wavelength, 5759.9))
    assert spectrum.flux[first - 1 : first + 5] == pytest.approx([1, 2, 2, 2, 1, 2])
    assert spectrum.ivar[first - 1 : first + 5] == pytest.approx([2, 3, 3, 3, 2, 3])
    assert (spectrum.flux[-1], spectrum.ivar[-1]) == (4, 1)


def test_between_arms_that_do_not_meet_pixels_are_masked(tmp_path):
    (spectrum,) = read_spectra(write_desi(tmp_path / "c.fits", [ONE], arms="BZ"), 0.1)
    gap = (spectrum.wavelength > 5800.1) & (spectrum.wavelength < 7519.9)
    assert len(spectrum.wavelength) == 7781
    assert (spectrum.mask == gap).all()


def test_exposures_of_a_target_are_averaged_by_inverse_variance(tmp_path):
    ivar = np.outer([1.0, 3.0, 9.0], np.ones(2751))
    path = write_desi(
        tmp_path / "spectra-x.fits", [ONE, TWO, ONE], True, "B", change={"B_IVAR": ivar}
    )
    one, two = read_spectra(path, 0.1)
    assert (one.source_id, two.source_id) == (ONE, TWO)
    assert one.flux == pytest.approx(galaxy(one.wavelength) * (1 * 1 + 3 * 9) / 10, rel=1e-5)
    assert (one.ivar == 10).all()


def test_order_of_exposures_does_not_change_a_bit(tmp_path):
    rng = np.random.default_rng(1)
    flux, ivar = rng.uniform(1, 2, (2, 5, 2751)).astype(np.float32)
    order = [3, 1, 0, 4, 2]
    both = []
    for k, rows in enumerate((range(5), order)):
        rows = list(rows)
        change = {"B_FLUX": flux[rows], "B_IVAR": ivar[rows]}
        nights = np.array(["20210419"] * 5)  # some files have them as text
        numbers = {"EXPID": np.array(rows, np.int32), "NIGHT": nights}
        path = write_desi(tmp_path / f"s{k}.fits", [ONE] * 5, True, "B", numbers, change)
        both.append(read_spectra(path, 0.1)[0])
    assert both[0].flux.tobytes() == both[1].flux.tobytes()


def test_an_exposure_with_a_bad_fiber_is_left_out(tmp_path):
    status = np.array([0, 1 << 9], np.int32)
    path = write_desi(tmp_path / "s.fits", [ONE, ONE], True, "B", {"FIBERSTATUS": status})
    (spectrum,) = read_spectra(path, 0.1)
    assert spectrum.flux == pytest.approx(galaxy(spectrum.wavelength), rel=1e-5)


def test_a_bad_amplifier_spoils_its_arm_only(tmp_path):
    status = np.array([1 << 23], np.int32)
    path = write_desi(tmp_path / "c.fits", [ONE], fibermap={"COADD_FIBERSTATUS": status})
    (spectrum,) = read_spectra(path, 0.1)
    assert (spectrum.mask == (spectrum.wavelength > 5800.1) & (spectrum.wavelength < 7519.9)).all()


def test_sky_fibers_and_bad_fibers_keep_their_rows_and_say_why(tmp_path):
    fibers = {
        "OBJTYPE": np.array(["SKY", "TGT", "TGT"]),
        "COADD_FIBERSTATUS": np.array([0, 512, 8], np.int32),  # the last: restricted reach
    }
    path = write_desi(tmp_path / "c.fits", [-7, TWO, THREE], fibermap=fibers)
    tried = list(attempts([path], lambda each: each, 0.1))
    rows = results_table(tried, (), lambda each: {}).to_pylist()
    assert [row["source_id"] for row in rows] == [-7, TWO, THREE]
    assert [row["ra"] for row in rows] == [150, 151, 152]
    assert "target -7: is a sky fiber (OBJTYPE is 'SKY')" in rows[0]["status"]
    assert "its fiber was not in order (status 512: BADPOSITION)" in rows[1]["status"]
    assert rows[2]["status"] == "ok"


# ---------------------------------------------------------------- redshifts


@pytest.mark.parametrize(
    ("coadd", "beside", "hdu"),
    [
        ("coadd-5-169-thru20210419.fits", "redrock-5-169-thru20210419.fits", "REDSHIFTS"),
        ("coadd-x.fits.gz", "redrock-x.fits", "REDSHIFTS"),
        ("spectra-x.fits", "redrock-x.fits.gz", "REDSHIFTS"),
        ("spectra-64-x.fits", "zbest-64-x.fits", "ZBEST"),
    ],
)
def test_redshifts_come_from_redrocks_file_beside(coadd, beside, hdu, tmp_path):
    path = write_desi(tmp_path / coadd, [ONE, TWO], coadd.startswith("spectra"), "B")
    write_redrock(tmp_path / beside, [TWO, ONE], [0.2, 0.1], name=hdu)
    tried = list(attempts([path], lambda each: each))
    assert [each.spectrum.redshift for each in tried] == [0.1, 0.2]
    assert joined_redshifts(tried) == [f"{tmp_path / beside}: has the redshifts of 2 of 2 spectra"]


def test_without_redshifts_the_expected_file_is_named(tmp_path):
    path = write_desi(tmp_path / "coadd-sv3-dark-26065.fits.gz", [ONE], arms="B")
    assert error_of(path, None) == (
        ": DESI keeps redshifts in another file. Put redrock's file redrock-sv3-dark-26065.fits "
        "beside it, or give a table with TARGETID and Z by --redshifts, or one redshift by "
        "--redshift."
    )
    path = path.rename(tmp_path / "mine.fits.gz")
    assert ". Give a table with TARGETID and Z by --redshifts, or one" in error_of(path, None)


def test_a_redshift_with_a_warning_is_taken_only_if_it_is_wanted(tmp_path):
    path = write_desi(tmp_path / "coadd-x.fits", [ONE, TWO], arms="B")
    write_redrock(tmp_path / "redrock-x.fits", [ONE, TWO], [0.1, 0.2], [4, 0])
    tried = list(attempts([path], lambda each: each))
    first, second = (each.result for each in tried)
    assert str(first).endswith(
        "the redshift 0.1 has the warning ZWARN = 4 (SMALL_DELTA_CHI2), so it is not used. Give "
        "another by --redshifts, or take it by --warned."
    )
    assert second.redshift == 0.2
    assert joined_redshifts(tried) == [
        f"{tmp_path / 'redrock-x.fits'}: has the redshifts of 2 of 2 spectra"
    ]
    taken = read_spectra(path, options=SpectrumOptions(warned=True))
    assert [each.redshift for each in taken] == [0.1, 0.2]


def test_targets_that_a_table_lacks_or_has_twice_leave_the_others_alone(tmp_path):
    path = write_desi(tmp_path / "coadd-x.fits", [ONE, TWO, THREE], arms="B")
    table = write_redrock(tmp_path / "mine.fits", [TWO, THREE, TWO], [0.1, 0.2, 0.3])
    found = list(try_spectra(path, None, SpectrumOptions.of(table)))
    assert str(found[0]).endswith(f"mine.fits has no redshift of {ONE}. Add it, or leave the "
                                  "spectrum out.")  # fmt: skip
    assert f"has {TWO} with the redshifts 0.1 and 0.3. Keep one row" in str(found[1])
    assert found[2].redshift == 0.2


@pytest.mark.parametrize("warnings", [[0, 4], [4, 0]])
def test_a_target_with_and_without_a_warning_is_refused_whatever_row_is_first(warnings, tmp_path):
    path = write_desi(tmp_path / "coadd-x.fits", [ONE], arms="B")
    table = write_redrock(tmp_path / "mine.fits", [ONE, ONE], [0.1, 0.1], warnings)
    message = error_of(path, None, SpectrumOptions.of(table))
    assert f"has {ONE} with the warnings 0 and 4. Keep one row of each id." in message


def test_a_missing_warning_is_a_doubt(tmp_path):
    path = write_desi(tmp_path / "coadd-x.fits", [ONE], arms="B")
    (tmp_path / "z.csv").write_text(f"TARGETID,Z,ZWARN\n{ONE},0.1,\n{TWO},0.1,0\n")
    message = error_of(path, None, SpectrumOptions.of(tmp_path / "z.csv"))
    assert "the redshift 0.1 has the warning ZWARN = nan, so it is not used" in message


def test_a_folder_of_redshifts_is_refused(tmp_path):
    with pytest.raises(SpectrumError, match="is a folder, expected a table"):
        SpectrumOptions.of(tmp_path)


def test_one_redshift_for_all_and_a_table_of_them_are_not_taken_together(tmp_path):
    table = write_redrock(tmp_path / "mine.fits", [ONE], [0.1])
    with pytest.raises(SpectrumError) as caught:
        SpectrumOptions.of(table, given=0.0)
    assert str(caught.value) == (
        f"both --redshift 0.0 and --redshifts {table} are given, expected one of them. "
        "Leave one out."
    )


@pytest.mark.parametrize("suffix", ["parquet", "csv", "ecsv"])
def test_any_table_with_ids_and_redshifts_will_do(suffix, tmp_path):
    path = write_desi(tmp_path / "coadd-x.fits", [ONE, TWO], arms="B")
    table = pa.table({"source_id": [TWO, ONE], "Z": [0.2, 0.1]})
    if suffix == "parquet":
        pq.write_table(table, tmp_path / "z.parquet")
    else:
        from targetsel.tables.parquet import write_table

        if suffix == "csv":
            (tmp_path / "z.csv").write_text(f"source_id,Z\n{TWO},0.2\n{ONE},0.1\n")
        else:
            write_table(table, tmp_path / "z.ecsv")
    options = SpectrumOptions.of(tmp_path / f"z.{suffix}")
    assert [each.redshift for each in read_spectra(path, options=options)] == [0.1, 0.2]


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"TARGETID": [ONE]}, "no column of redshifts (z, redshift, z_best, zbest, ...); it has"),
        ({"Z": [0.1]}, "no column of ids (targetid, specobjid, plateifu, mangaid, ...); it has"),
        (
            {"TARGETID": [ONE], "Z": ["high"]},
            "column 'Z' holds text, expected numbers. Convert it.",
        ),
        ({"TARGETID": pa.array([], pa.int64()), "Z": []}, "has no rows; expected one for each"),
        ({"TARGETID": [3.963e16], "Z": [0.1]}, "ids are floats"),
    ],
)
def test_tables_of_redshifts_that_make_no_sense_are_refused(columns, message, tmp_path):
    pq.write_table(pa.table(columns), tmp_path / "z.parquet")
    with pytest.raises(SpectrumError) as caught:
        SpectrumOptions.of(tmp_path / "z.parquet")
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("z", "message"),
    [(np.nan, "redshift is nan, expected a number"), (None, "redshift is nan, expected a number")],
)
def test_a_redshift_that_is_missing_in_the_table_is_refused(z, message, tmp_path):
    path = write_desi(tmp_path / "coadd-x.fits", [ONE], arms="B")
    pq.write_table(pa.table({"TARGETID": [ONE], "Z": pa.array([z], pa.float64())}),
                   tmp_path / "z.parquet")  # fmt: skip
    assert message in error_of(path, None, SpectrumOptions.of(tmp_path / "z.parquet"))


# ---------------------------------------------------------------- damage


def test_a_target_twice_in_a_coadd_leaves_the_others_alone(tmp_path):
    path = write_desi(tmp_path / "c.fits", [ONE, TWO, ONE], arms="B")
    found = list(try_spectra(path, 0.1))
    assert [isinstance(each, SpectrumError) for each in found] == [True, True, False]
    assert str(found[0]) == str(found[1]) == (
        f"{path}, target {ONE}: stands in 2 rows (0, 2), expected one of each target in a coadd. "
        "Remove the others."
    )  # fmt: skip


def test_bad_pixels_of_one_target_leave_the_others_alone(tmp_path):
    ivar = np.full((4, 2751), 4.0)
    ivar[0], ivar[1, 5], ivar[2, 5] = 0, -1, np.nan
    path = write_desi(tmp_path / "c.fits", [1, 2, 3, 4], arms="B", change={"B_IVAR": ivar})
    found = list(try_spectra(path, 0.1))
    assert "target 1: every pixel is masked" in str(found[0])
    assert "target 2: B_IVAR is -1 at 3604.0 Angstrom, expected a number" in str(found[1])
    assert "target 3: B_IVAR is nan at 3604.0 Angstrom, expected a number" in str(found[2])
    assert found[3].source_id == 4


def test_fluxes_in_another_unit_are_brought_to_the_others(tmp_path):
    name = "R_FLUX"
    path = write_desi(
        tmp_path / "c.fits", [ONE], arms="BR", units={name: "1e-16 erg/s/cm2/A", "R_IVAR": ""}
    )
    (spectrum,) = read_spectra(path, 0.1)
    assert spectrum.flux[-1] == pytest.approx(10 * galaxy(spectrum.wavelength)[-1], rel=1e-5)
    assert spectrum.ivar[-1] == pytest.approx(0.04)


def test_arms_without_a_unit_are_in_that_of_the_survey_and_not_of_another_arm(tmp_path):
    silent = {"R_FLUX": "", "R_IVAR": ""}
    path = write_desi(tmp_path / "c.fits", [ONE], arms="BR", units=silent)
    (spectrum,) = read_spectra(path, 0.1)
    assert spectrum.flux == pytest.approx(galaxy(spectrum.wavelength), rel=1e-5)
    other = {"B_FLUX": "1e-16 erg/s/cm2/A", "B_IVAR": ""}
    path = write_desi(tmp_path / "c.fits", [ONE], arms="BR", units=silent | other)
    assert error_of(path) == (
        ": R_FLUX states no unit, and B_FLUX is in '1e-16 erg/s/cm2/A'; expected a unit in each "
        "arm, or in none. Add BUNIT to the header of each."
    )


def joined_file(path, names):
    """Arms that are joined in the file, in images of these names."""
    with fits.open(write_desi(path, [ONE], arms="B")) as hdus:
        images = [hdu for hdu in hdus if hdu.name.startswith("B_")]
        for name in names:
            for hdu in images:
                copied = hdu.copy()
                copied.name = hdu.name.replace("B_", f"{name}_", 1)
                hdus.append(copied)
        hdus = fits.HDUList([hdu for hdu in hdus if hdu not in images])
        hdus.writeto(path.with_suffix(".joined.fits"))
    return path.with_suffix(".joined.fits")


@pytest.mark.parametrize("name", ["BRZ", "B_R_Z", "BR"])
def test_arms_that_are_joined_in_the_file_are_read(name, tmp_path):
    (spectrum,) = read_spectra(joined_file(tmp_path / "c.fits", [name]), 0.1)
    assert spectrum.flux == pytest.approx(galaxy(spectrum.wavelength), rel=1e-5)


def test_an_arm_that_is_there_alone_and_joined_is_refused(tmp_path):
    path = joined_file(tmp_path / "c.fits", ["B", "BRZ"])
    assert error_of(path) == (
        ": holds arm B in several images (B, BRZ), expected each arm once, alone or joined. Remove "
        "the others."
    )


@pytest.mark.parametrize("kinds", [["TGT", "SKY", "BAD"], ["SKY", "TGT", "NON"]])
def test_exposures_in_which_a_fiber_saw_no_target_are_left_out(kinds, tmp_path):
    path = write_desi(tmp_path / "s.fits", [ONE] * 3, True, "B", {"OBJTYPE": np.array(kinds)})
    (spectrum,) = read_spectra(path, 0.1)
    times = 1 + kinds.index("TGT")
    assert spectrum.flux == pytest.approx(times * galaxy(spectrum.wavelength), rel=1e-5)
    path = write_desi(tmp_path / "s.fits", [ONE] * 2, True, "B", {"OBJTYPE": ["BAD", "SKY"]})
    assert error_of(path).endswith("is a bad fiber (OBJTYPE is 'BAD'), expected a target")


def test_where_no_spectrum_can_be_used_the_first_reasons_are_counted(tmp_path):
    kinds = np.array(["SKY", "TGT", "TGT", "SKY", "SKY"])
    path = write_desi(tmp_path / "c.fits", [1, 2, 3, 4, 5], arms="B", fibermap={"OBJTYPE": kinds})
    table = write_redrock(tmp_path / "mine.fits", [9], [0.1])
    tried = attempts([path], lambda each: each, options=SpectrumOptions.of(table))
    with pytest.raises(SpectrumError) as caught:
        usable(tried)
    assert str(caught.value) == (
        f"none of 5 spectra can be used, expected one at least: {path}, target 1: is a sky fiber "
        f"(OBJTYPE is 'SKY'), expected a target (3 such); {path}, target 2: {table} has no "
        "redshift of 2. Add it, or leave the spectrum out (2 such)."
    )


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"drop": ("FIBERMAP",)}, ": has no table FIBERMAP, which tells of which target"),
        ({"drop": ("B_IVAR",)}, ": arm B has no B_IVAR; expected wavelength, flux, ivar"),
        ({"drop": ("B_WAVELENGTH",)}, ": arm B has no B_WAVELENGTH; expected"),
        ({"fibermap": {"TARGETID": None}}, ": FIBERMAP has no column TARGETID. Copy"),
        (
            {"fibermap": {"TARGETID": np.array([3.9e16])}},
            ": TARGETID of FIBERMAP holds >f8, expected whole numbers",
        ),
        (
            {"fibermap": {"TARGET_RA": np.array(["x"])}},
            ": TARGET_RA of FIBERMAP holds <U1, expected numbers",
        ),
        (
            {"fibermap": {"OBJTYPE": np.array([3])}},
            ": OBJTYPE of FIBERMAP holds >i8, expected text",
        ),
        (
            {"change": {"B_FLUX": np.ones((2, 2751))}},
            ": B_FLUX has shape (2, 2751), expected (1, 2751): the rows of FIBERMAP",
        ),
        (
            {"change": {"B_WAVELENGTH": np.ones(2751)}},
            ": B_WAVELENGTH has shape (2751,), expected one list of wavelengths that increase",
        ),
        (
            {"arms": "BR", "change": {"R_WAVELENGTH": 5760.3 + 0.8 * np.arange(2326)}},
            ": arm R is not on the grid of arm B, of 0.8 Angstrom; expected",
        ),
        (
            {"change": {"B_WAVELENGTH": np.append(3600 + 0.8 * np.arange(2750), np.inf)}},
            ": B_WAVELENGTH has shape (2751,), expected one list of wavelengths that increase",
        ),
        (
            {"fibermap": {"TARGETID": np.array([2**63 + 5], np.uint64)}},
            ": FIBERMAP has the TARGETID 9223372036854775813, expected less than 2^63. Copy",
        ),
        ({"units": {"B_FLUX": "adu"}}, ": flux unit is 'adu', expected flux density per unit"),
        ({"units": {"B_IVAR": "adu"}}, ": 'B_IVAR' is in 'adu', but flux is in"),
        ({"units": {"B_WAVELENGTH": "Hz"}}, ": wavelength unit is 'Hz', expected a length"),
    ],
)
def test_files_that_make_no_sense_are_refused_in_a_line(wrong, message, tmp_path):
    path = write_desi(tmp_path / "c.fits", [ONE], **({"arms": "B"} | wrong))
    assert error_of(path).startswith(message)


def test_wavelengths_in_single_precision_join_the_arms_all_the_same(tmp_path):
    waves = {f"{arm}_WAVELENGTH": low + 0.8 * np.arange(round((high - low) / 0.8) + 1)
             for arm, (low, high) in ARMS.items()}  # fmt: skip
    rounded = {name: each.astype(np.float32) for name, each in waves.items()}
    (exact,) = read_spectra(write_desi(tmp_path / "a.fits", [ONE]), 0.1)
    (single,) = read_spectra(write_desi(tmp_path / "b.fits", [ONE], change=rounded), 0.1)
    assert np.abs(single.wavelength - exact.wavelength).max() < 1e-3
    assert single.flux.tolist() == exact.flux.tolist()


def test_a_file_whose_first_header_says_air_is_refused(tmp_path):
    path = write_desi(tmp_path / "c.fits", [ONE], arms="B")
    fits.setval(path, "AIRORVAC", value="air")
    assert error_of(path).startswith(": wavelengths are in air (header: AIRORVAC = 'air')")


def test_wavelengths_in_air_are_refused(tmp_path):
    path = write_desi(tmp_path / "c.fits", [ONE], arms="B")
    with fits.open(path, mode="update") as hdus:
        hdus["B_WAVELENGTH"].header["AIRORVAC"] = "air"
    assert error_of(path).startswith(": wavelengths are in air (header: AIRORVAC = 'air')")


@pytest.mark.parametrize("share", [0.3, 0.9])
def test_a_file_that_was_cut_short_is_refused(share, tmp_path):
    path = write_desi(tmp_path / "c.fits", [ONE], arms="B")
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    assert "Copy the whole file." in error_of(path) or "copy it again" in error_of(path)
    packed = tmp_path / "d.fits.gz"
    packed.write_bytes(gzip.compress(whole)[:-1000])
    assert ": not a FITS file" in error_of(packed)


# ---------------------------------------------------------------- a real one


def test_a_real_coadd_has_exact_ids_three_joined_arms_and_says_what_its_fibers_are():
    path = real("desi_native") / "coadd-5-169-thru20210419.fits.gz"
    found = list(try_spectra(path, 0.1))
    assert [each.source_id for each in found] == [
        -1695072, 39633297352951412, -1695064, -1695073, 39633300968442591,
    ]  # fmt: skip
    assert all("its fiber was not in order" in str(each) for each in found[:4])
    spectrum = found[4]
    assert (len(spectrum.wavelength), spectrum.mask.sum()) == (7781, 0)
    with fits.open(path) as hdus:
        overlap = spectrum.wavelength.searchsorted(5760 - 0.1)
        blue, red = hdus["B_FLUX"].data[4, 2700], hdus["R_FLUX"].data[4, 0]
        of_blue, of_red = hdus["B_IVAR"].data[4, 2700], hdus["R_IVAR"].data[4, 0]
    expected = (blue * of_blue + red * of_red) / (of_blue + of_red)
    assert spectrum.flux[overlap] == pytest.approx(expected, rel=1e-5)


def test_a_real_coadd_takes_stated_redshifts_in_redrocks_layout(tmp_path):
    path = real("desi_native") / "coadd-5-169-thru20210419.fits.gz"
    copy = tmp_path / path.name
    copy.symlink_to(path)
    write_redrock(tmp_path / "redrock-5-169-thru20210419.fits", [39633300968442591], [0.123])
    assert [each.redshift for each in list(try_spectra(copy))[4:]] == [0.123]


def test_rows_of_a_table_of_spectra_take_redshifts_from_another(tmp_path):
    wavelength = np.linspace(3800, 9200, 500)
    columns = {"source_id": [7, 8], "wavelength": [wavelength] * 2, "ivar": [np.ones(500)] * 2}
    columns |= {"flux": [galaxy(wavelength)] * 2, "redshift": [0.3, 0.3]}
    pq.write_table(pa.table(columns), tmp_path / "s.parquet")
    (tmp_path / "z.csv").write_text("id,z,zwarn\n8,0.1,0\n7,0.2,4\n")
    options = SpectrumOptions.of(tmp_path / "z.csv")
    first, second = try_spectra(tmp_path / "s.parquet", None, options)
    assert "row 0: the redshift 0.2 has the warning zwarn = 4 (SMALL_DELTA_CHI2)" in str(first)
    assert second.redshift == 0.1
