"""SDSS's files of spectra, of all releases: ids, redshifts, masks and fibers."""

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table

from targetsel.errors import SpectrumError
from targetsel.spectra.reading import (
    attempts,
    read_spectra,
    results_table,
    stated_marks,
    try_spectra,
)
from targetsel.spectra.redshifts import SpectrumOptions
from tests.real_data import real
from tests.spectra.survey_files import galaxy, write_spspec

LOGLAM = 3.58 + 1e-4 * np.arange(3846)


def write_spec(path, row, header=None, name="SPECOBJ", **columns):
    """A spec-lite file whose row of the survey's catalog is `row`."""
    flux = galaxy(10**LOGLAM)
    table = {"FLUX": flux, "LOGLAM": LOGLAM, "IVAR": np.full_like(flux, 4.0)} | columns
    primary = fits.PrimaryHDU()
    primary.header.update(header or {})
    hdus = [primary, fits.BinTableHDU(Table(table), name="COADD")]
    if row is not None:
        hdus.append(fits.BinTableHDU(Table({k: [v] for k, v in row.items()}), name=name))
    fits.HDUList(hdus).writeto(path, overwrite=True)
    return path


def error_of(path, redshift=None, options=SpectrumOptions()):
    (found,) = try_spectra(path, redshift, options)
    assert isinstance(found, SpectrumError)
    assert "\n" not in str(found)
    return str(found).removeprefix(str(path))


@pytest.mark.parametrize(
    ("row", "header", "expected"),
    [
        ({"Z": 0.1, "SPECOBJID": "    299492975510054912"}, {}, 299492975510054912),
        ({"Z": 0.1, "SPECOBJID": np.uint64(299492975510054912)}, {}, 299492975510054912),
        # Plates above 8191 have ids beyond 2^63.
        ({"Z": 0.1, "SPECOBJID": np.uint64(2**63 + 1)}, {}, str(2**63 + 1)),
        ({"Z": 0.1, "SPECOBJID": " ", "PLATE": 266, "MJD": 51602, "FIBERID": 13}, {},
         "0266-51602-0013"),
        ({"Z": 0.1}, {"PLATEID": 266, "MJD": 51602, "FIBERID": 13}, "0266-51602-0013"),
        ({"Z": 0.1, "FIELD": 101077, "MJD": 59845, "CATALOGID": 27021598150201532}, {},
         "101077-59845-27021598150201532"),
        ({"Z": 0.1}, {}, "mine"),
        # Floats that do not hold an id exactly, or none, are no ids.
        ({"Z": 0.1, "SPECOBJID": 299492975510054912.0, "PLATE": 266.0, "MJD": 51602, "FIBERID": 13},
         {}, "0266-51602-0013"),
        ({"Z": 0.1, "SPECOBJID": np.nan}, {}, "mine"),
    ],
)  # fmt: skip
def test_spectra_are_named_by_the_ids_in_their_files(row, header, expected, tmp_path):
    path = write_spec(tmp_path / "mine.fits", row, header)
    assert read_spectra(path)[0].source_id == expected
    assert read_spectra(path, options=SpectrumOptions(id_from="file"))[0].source_id == "mine"


def test_spec_files_of_sdss_v_are_read(tmp_path):
    """The columns and the unit are those of the data model of data release 19."""
    specobjid = "11236060000270215981502020751"
    row = {"FIELD": 112360, "MJD": 60000, "OBS": "APO", "RUN2D": "v6_1_3", "SPECOBJID": specobjid,
           "CATALOGID": 27021598150202075, "SDSS_ID": 57584, "Z": 0.1, "ZWARNING": 0,
           "PLUG_RA": 148.9, "PLUG_DEC": 1.5}  # fmt: skip
    path = write_spec(tmp_path / "spec-112360-60000-27021598150202075.fits", row, name="SPALL")
    with fits.open(path, mode="update") as hdus:
        hdus["COADD"].columns["FLUX"].unit = "10^-17 ergs/s/cm^2/Angs"
    (spectrum,) = read_spectra(path)
    assert spectrum.source_id == specobjid
    assert spectrum.other_names[:3] == ("112360-60000-27021598150202075", 57584, 27021598150202075)
    assert (spectrum.position, spectrum.aperture) == ((148.9, 1.5), 2.0)


def test_a_redshift_with_a_warning_is_taken_only_if_it_is_wanted(tmp_path):
    path = write_spec(tmp_path / "s.fits", {"Z": np.float64(0.1), "ZWARNING": 20})
    assert error_of(path) == (
        ": the redshift 0.1 has the warning ZWARNING = 20 (SMALL_DELTA_CHI2, MANY_OUTLIERS), so it "
        "is not used. Give another by --redshifts, or take it by --warned."
    )
    assert read_spectra(path, options=SpectrumOptions(warned=True))[0].redshift == 0.1
    assert read_spectra(path, redshift=0.2)[0].redshift == 0.2


def test_a_table_of_redshifts_may_know_a_spectrum_by_any_of_its_ids(tmp_path):
    row = {"Z": 0.1, "ZWARNING": 4, "SPECOBJID": "77", "BESTOBJID": "1237652899686318136"}
    path = write_spec(tmp_path / "mine.fits", row)
    for name in ("77", "1237652899686318136", "mine"):
        (tmp_path / "z.csv").write_text(f"objid,z\n{name},0.3\n")
        options = SpectrumOptions.of(tmp_path / "z.csv")
        assert read_spectra(path, options=options)[0].redshift == 0.3
    (tmp_path / "z.csv").write_text("objid,z\n78,0.3\n")
    options = SpectrumOptions.of(tmp_path / "z.csv")
    assert error_of(path, None, options).endswith("z.csv has no redshift of 77. Add it, or leave "
                                                  "the spectrum out.")  # fmt: skip


@pytest.mark.parametrize(
    ("bit", "is_masked"),
    [
        (16, False),
        (4, False),
        (19, False),
        (24, False),
        (23, True),
        (22, True),
        (18, True),
        (1, True),
    ],
)
def test_pixels_that_are_bad_in_every_exposure_are_masked(bit, is_masked, tmp_path):
    bits = np.zeros(3846, np.int32)
    bits[7] = 1 << bit
    (spectrum,) = read_spectra(write_spec(tmp_path / "s.fits", {"Z": 0.1}, AND_MASK=bits))
    assert spectrum.mask.sum() == is_masked
    assert spectrum.mask[7] == is_masked


@pytest.mark.parametrize(
    ("row", "aperture"),
    [
        ({"INSTRUMENT": "SDSS"}, 3.0),
        ({"INSTRUMENT": "BOSS"}, 2.0),
        ({"RUN2D": "26"}, 3.0),
        ({"RUN2D": "v5_13_2"}, 2.0),
        ({"RUN2D": "v6_1_3", "OBS": "APO"}, 2.0),
        ({"RUN2D": "v6_1_3", "OBS": "LCO"}, None),
        ({"RUN2D": "mine"}, None),
    ],
)
def test_results_state_the_fiber_of_the_spectrograph(row, aperture, tmp_path):
    path = write_spec(tmp_path / "s.fits", {"Z": 0.1} | row, name="SPALL")
    tried = list(attempts([path], lambda each: each))
    assert stated_marks(tried) == ({} if aperture is None else {"aperture": aperture})


def test_the_coadd_is_read_wherever_it_stands_among_the_exposures(tmp_path):
    path = write_spec(tmp_path / "s.fits", {"Z": 0.1})
    with fits.open(path) as hdus:
        other = {"flux": np.ones(3846), "loglam": LOGLAM, "ivar": np.ones(3846)}
        exposure = fits.BinTableHDU(Table(other), name="B1-00012345-00012346-00012347")
        fits.HDUList([hdus[0], exposure, hdus[2], hdus[1]]).writeto(tmp_path / "t.fits")
    (spectrum,) = read_spectra(tmp_path / "t.fits")
    assert spectrum.flux == pytest.approx(galaxy(spectrum.wavelength), rel=1e-5)


def test_a_position_that_is_none_is_left_empty(tmp_path):
    row = {"Z": 0.1, "PLUG_RA": -999.0, "PLUG_DEC": -999.0}
    tried = attempts([write_spec(tmp_path / "s.fits", row)], lambda each: each)
    (row,) = results_table(tried, (), lambda each: {}).to_pylist()
    assert (row["ra"], row["dec"], row["status"]) == (None, None, "ok")


def test_a_file_with_two_rows_of_the_catalog_is_refused(tmp_path):
    path = write_spec(tmp_path / "s.fits", None)
    both = fits.BinTableHDU(Table({"Z": [0.1, 0.2], "ZWARNING": [0, 0]}), name="SPALL")
    with fits.open(path, mode="append") as hdus:
        hdus.append(both)
    assert error_of(path) == (
        ": its table SPALL has 2 rows, expected one, the spectrum's. Keep that one."
    )


@pytest.mark.parametrize(
    ("row", "columns", "message"),
    [
        ({"Z": "high"}, {}, ": Z is 'high', expected a number"),
        ({"Z": -1.5}, {}, ": redshift is -1.5, expected"),
        ({"Z": np.nan}, {}, ": redshift is nan, expected a number"),
        ({"Z": 0.1, "ZWARNING": np.nan}, {}, ": the redshift 0.1 has the warning ZWARNING = nan"),
        ({"Z": 0.1, "ZWARNING": 0.5}, {}, ": the redshift 0.1 has the warning ZWARNING = 0.5"),
        ({"Z": 0.1}, {n: [] for n in ("FLUX", "LOGLAM", "IVAR")}, ": has no pixels; expected"),
        ({"Z": 0.1}, {"FLUX": np.ones(3846, bool)}, ": 'flux' holds bool, expected real numbers"),
        ({"Z": 0.1}, {"IVAR": np.array(["1"] * 3846)}, ": 'ivar' holds <U1, expected real numbers"),
        ({"Z": 0.1}, {"AND_MASK": np.full(3846, 1e30)}, ": its mask holds >f8 that are no bits"),
        ({"Z": 0.1}, {"AND_MASK": np.full(3846, np.nan)}, ": its mask holds >f8 that are no bits"),
        ({"Z": 0.1}, {"AND_MASK": np.full(3846, 1 << 23)}, ": every pixel is masked (all 3846"),
    ],
)
def test_files_that_make_no_sense_are_refused_in_a_line(row, columns, message, tmp_path):
    path = write_spec(tmp_path / "s.fits", row, **columns)
    (found,) = (each.result for each in attempts([path], lambda each: each.at_rest()))
    assert str(found).startswith(f"{path}{message}")


# ---------------------------------------------------------------- DR7


def test_spspec_gives_vacuum_angstrom_flux_noise_redshift_and_id(tmp_path):
    (spectrum,) = read_spectra(write_spspec(tmp_path / "spSpec-51602-0266-013.fit"))
    assert spectrum.source_id == "0266-51602-0013"
    assert spectrum.redshift == 0.1
    assert spectrum.wavelength == pytest.approx(10**LOGLAM)
    assert spectrum.flux == pytest.approx(galaxy(10**LOGLAM), rel=1e-5)
    assert (spectrum.ivar == 4).all()
    assert spectrum.position == pytest.approx((146.9341, -0.67))
    assert spectrum.aperture == 3.0


def test_spspec_masks_pixels_without_an_error_and_those_under_bright_sky(tmp_path):
    error, mask = np.full(3846, 0.5), np.zeros(3846)
    error[5], mask[6], mask[7] = 0, 1 << 23, 1 << 16
    (spectrum,) = read_spectra(write_spspec(tmp_path / "s.fit", error=error, mask=mask, n_rows=4))
    assert np.flatnonzero(spectrum.mask).tolist() == [5, 6]


@pytest.mark.parametrize(
    ("header", "doubt"),
    [
        ({"Z_STATUS": 1}, "Z_STATUS = 1 (FAILED)"),
        ({"Z_STATUS": 8}, "Z_STATUS = 8 (EMLINE_LOC)"),
        ({"Z_STATUS": 0, "Z_WARNIN": 1}, "Z_STATUS = 0 (NOT_MEASURED) and Z_WARNIN = 1 (NO_SPEC)"),
    ],
)
def test_spspec_with_a_doubtful_redshift_is_taken_only_if_it_is_wanted(header, doubt, tmp_path):
    path = write_spspec(tmp_path / "s.fit", header)
    assert f"has the warning {doubt}, so it is not used" in error_of(path)
    assert read_spectra(path, options=SpectrumOptions(warned=True))[0].redshift == 0.1


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ({"Z": None}, ": no redshift: there is no header entry Z. Give --redshift."),
        ({"BUNIT": "adu"}, ": flux unit is 'adu', expected flux density"),
        ({"COEFF0": "high"}, ": COEFF0 is 'high', expected a number"),
        ({"Z": "high"}, ": Z is 'high', expected a number"),
        ({"Z": fits.card.Undefined()}, ": Z is 'None', expected a number"),
        ({"Z_STATUS": 2.5}, ": the redshift 0.1 has the warning Z_STATUS = 2.5, so it"),
        ({"Z_STATUS": "OK"}, ": Z_STATUS is 'OK', expected a number"),
        ({"COEFF0": 8.24}, ": 'loglam' runs from 8.24 to 8.6245, expected log10 of Angstrom"),
        ({"VACUUM": 0}, ": wavelengths are in air (header: VACUUM = F)"),
    ],
)
def test_spspec_that_makes_no_sense_is_refused_in_a_line(header, message, tmp_path):
    assert error_of(write_spspec(tmp_path / "s.fit", header)).startswith(message)


def test_a_plate_of_spectra_is_refused(tmp_path):
    path = write_spspec(tmp_path / "spPlate.fits", n_rows=7)
    assert error_of(path).startswith(": its image has 7 rows, expected those of an SDSS spSpec")


# ---------------------------------------------------------------- real ones


def test_all_real_spectra_are_named_by_the_ids_in_their_files():
    paths = sorted(real("sdss_spectra").iterdir())
    spectra = {path.name: read_spectra(path)[0] for path in paths}
    assert len(spectra) == 19
    assert all(isinstance(each.source_id, int) for each in spectra.values())
    assert spectra["1237652899686318136.fits.gz"].source_id == 748801539748947968
    assert 1237652899686318136 in spectra["1237652899686318136.fits.gz"].other_names
    assert spectra["spec-4055-55359-0012.fits.gz"].source_id == 4565527510691848192
    assert {each.aperture for each in spectra.values()} == {2.0, 3.0}
