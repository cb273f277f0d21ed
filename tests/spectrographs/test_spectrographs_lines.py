import numpy as np
import pytest

from targetsel.errors import SpectrographError
from targetsel.spectra.lines import LineTable
from targetsel.spectrographs.lines import LINES, SKY_LINES, ObservedLine, chosen_lines
from targetsel.spectrographs.spectrograph import LONGEST, Exposure, Spectrograph
from tests.spectrographs.simple import simple

LEVEL = 1e-17


def seen(line, *redshifts):
    """A line of sources on a level continuum, all of whose light is in the fiber."""
    redshift = np.array(redshifts)[:, None]
    return ObservedLine(LINES[line], redshift, np.full(redshift.shape, LEVEL))


def test_flux_is_the_width_stretched_by_the_redshift_times_the_continuum(tmp_path):
    exposure = Exposure.asked(simple(tmp_path), None, 5.0)
    flux = seen("hbeta", 0.5).quantities(np.array([[20.0]]), exposure)["lineflux"]
    assert flux == pytest.approx(20 * 1.5 * LEVEL)


def test_line_leaves_the_range_with_the_redshift(tmp_path):
    # Halpha, 6564.61 Angstrom, leaves a range that ends at 9000 beyond redshift 0.37098.
    line, spectrograph = seen("halpha", 0.0, 0.3709, 0.3711, np.nan), simple(tmp_path)
    assert line.in_range(spectrograph)[:3, 0].tolist() == [1, 1, 0]
    assert np.isnan(line.in_range(spectrograph)[3])


def test_line_out_of_range_has_no_signal_however_long_the_exposure(tmp_path):
    exposure = Exposure.asked(simple(tmp_path), "1000s", 5.0)
    found = seen("halpha", 0.5).quantities(np.array([[50.0]]), exposure)
    assert found["snr"] == 0
    assert found["exposure_time"] == LONGEST
    assert found["lineflux"] > 0


def test_pair_is_in_range_only_with_both_lines(tmp_path):
    # [SII] 6718 and 6733 Angstrom at redshift 0.338 are at 8989 and 9008.
    assert seen("sii", 0.338).in_range(simple(tmp_path)) == 0


def test_line_on_the_green_airglow_is_not_clear():
    # [OI] is at 5578.89 Angstrom in vacuum; Hbeta meets it at redshift 0.14729.
    desi = Spectrograph.find("desi")
    clear = seen("hbeta", 0.14729, 0.10).clear_of_sky(desi)
    assert clear[:, 0].tolist() == [0, 1]


def test_nothing_is_said_of_the_sky_where_its_lines_are_not_listed():
    pfs = Spectrograph.find("pfs")
    assert np.isnan(seen("halpha", 0.6).clear_of_sky(pfs)).all()
    assert seen("halpha", 0.6).in_range(pfs) == 1


def test_sky_lines_are_in_vacuum_and_in_order():
    assert SKY_LINES[0] == pytest.approx(5578.89, abs=0.02)
    assert (np.diff(SKY_LINES) > 0).all()


def test_arm_that_detects_more_sees_the_line():
    # At 5780 Angstrom two arms of DESI overlap; the red one lets more through.
    desi = Spectrograph.find("desi")
    line = seen("hbeta", 5780 / 4862.68 - 1)
    used = [arm.name for arm, best in line._arms(desi) if best.any()]
    assert used == ["red"]


def test_ratio_grows_with_the_width(tmp_path):
    exposure = Exposure.asked(simple(tmp_path), "15min", 5.0)
    found = seen("oii", 0.3).quantities(np.linspace(-10, 100, 30)[None], exposure)
    assert (np.diff(found["snr"]) > 0).all()
    assert (np.diff(found["exposure_time"]) <= 0).all()


@pytest.mark.parametrize(
    ("names", "expected"),
    [((), tuple(LINES)), (("ew_halpha", "oiii"), ("halpha", "oiii")), (("oii", "oii"), ("oii",))],
)
def test_lines_are_named_with_or_without_ew(names, expected):
    assert tuple(line.name for line in chosen_lines(names)) == expected


def test_every_predicted_width_in_emission_is_known():
    predicted = [d.name for d in LineTable.shipped().definitions if d.predicted and d.is_emission]
    assert [line.proxy for line in LINES.values()] == predicted
    assert LINES["halpha_nii"].shares == pytest.approx([0.08, 0.68, 0.24])
    assert LINES["hbeta"].components == ((4862.68, 1.0),)


def test_shares_of_a_line_add_up_to_one():
    assert all(line.shares.sum() == pytest.approx(1) for line in LINES.values())


def test_unknown_line_is_refused_with_the_nearest():
    with pytest.raises(SpectrographError, match=r"unknown line 'halpa'\. Did you mean"):
        chosen_lines(["ew_halpa"])


@pytest.mark.parametrize(
    ("time", "snr", "message"),
    [
        ("soon", 5, "exposure is 'soon', expected a number and its unit, such as 1000s or 15min"),
        ("0s", 5, "exposure is 0 s; expected 1 to 10,000,000 s"),
        (None, 0, "signal-to-noise ratio is 0; expected above 0"),
        (None, float("nan"), "signal-to-noise ratio is nan; expected above 0"),
    ],
)
def test_exposure_that_cannot_be_is_refused(tmp_path, time, snr, message):
    with pytest.raises(SpectrographError, match=message):
        Exposure.asked(simple(tmp_path), time, snr)
