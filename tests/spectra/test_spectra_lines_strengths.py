"""Line strengths of noisy spectra: errors, masks and gaps."""

import numpy as np
import pytest
from scipy.stats import norm

from targetsel.errors import SpectrumError
from targetsel.spectra.grid import edges, wavelengths
from targetsel.spectra.lines import LineTable
from targetsel.spectra.lines.strengths import (
    measure_files,
    measure_noisy,
    measure_observed,
    strengths_table,
)
from targetsel.spectra.rest_frame import Basis
from targetsel.spectra.spectrum import ObservedSpectrum

GRID = wavelengths()
TABLE = LineTable.shipped()


def galaxy():
    """A simulated galaxy's continuum with strong lines, of mean 1."""
    flux = Basis.shipped().mean / Basis.shipped().mean.mean()
    for centre, width in (
        (3728.5, 30), (4862.7, 12), (5008.2, 20), (6302.0, 6), (6564.6, 50), (6585.3, 18),
        (6549.9, 6), (6718.3, 9), (6732.7, 7), (4960.3, 7), (4687.0, 3), (3869.9, 6),
    ):  # fmt: skip
        spread = centre * 120 / 299_792.458
        flux = flux + width * np.diff(norm.cdf(edges(), centre, spread)) / np.diff(edges())
    return flux


def noisy(n, error, seed=0):
    """N noisy spectra of one galaxy, and their inverse variance."""
    draws = np.random.default_rng(seed).normal(size=(n, 1000))
    return galaxy() + error * draws, np.broadcast_to(1 / error**2 * np.ones(1000), (n, 1000))


def test_values_of_good_spectra_are_those_of_the_noise_free_engine():
    flux, ivar = noisy(5, 0.01)
    found = measure_noisy(flux, ivar, GRID)
    assert found.names == TABLE.names
    np.testing.assert_allclose(found.values, TABLE.measure(flux, GRID), rtol=1e-9, atol=1e-9)
    assert (found.reason == "").all()


def test_errors_are_the_scatter_of_noisy_copies():
    # Errors that differ from pixel to pixel, and pixels shared by bands ([OII] and its sides).
    error = 0.02 * (1 + 0.5 * np.sin(np.arange(1000)))
    flux, ivar = noisy(1000, error)
    found = measure_noisy(flux, ivar, GRID)
    scatter = found.values.std(axis=0)
    # The scatter of 1,000 copies is known to 2.2 %.
    np.testing.assert_allclose(np.median(found.errors, axis=0) / scatter, 1, atol=0.08)


def test_errors_of_masked_spectra_are_the_scatter_of_noisy_copies():
    flux, ivar = noisy(1000, 0.02)
    ivar = ivar.copy()
    ivar[:, ::9] = 0
    found = measure_noisy(flux, ivar, GRID)
    ok = (found.reason == "").all(axis=0)
    assert 5 <= ok.sum() < len(found.names)
    ratio = np.median(found.errors[:, ok], axis=0) / found.values[:, ok].std(axis=0)
    np.testing.assert_allclose(ratio, 1, atol=0.08)


def test_masked_pixel_in_a_side_band_does_not_matter_on_a_flat_continuum():
    flux, ivar = np.ones((2, 1000)), np.ones((2, 1000))
    flux[:, np.abs(GRID - 5008) < 5] = 2
    bad = int(np.argmin(np.abs(GRID - 4988)))
    flux[1, bad], ivar[1, bad] = 1e6, 0
    found = measure_noisy(flux, ivar, GRID, TABLE.choose(["ew_oiii"]))
    assert found.values[1, 0] == pytest.approx(found.values[0, 0], abs=1e-9)
    assert found.errors[1, 0] > found.errors[0, 0]


def test_masked_core_leaves_no_width_and_says_so():
    flux, ivar = noisy(2, 0.01)
    ivar = ivar.copy()
    ivar[1, np.abs(GRID - 5008.2) < 3] = 0
    found = measure_noisy(flux, ivar, GRID)
    value, error = found["ew_oiii"]
    assert np.isfinite(value[0])
    assert np.isnan(value[1])
    assert np.isnan(error[1])
    assert found.reason[1, found.names.index("ew_oiii")] == "masked"
    assert found.reason[1, found.names.index("log_oiii_hbeta")] == "masked"
    assert np.isfinite(found["ew_halpha"][0]).all()


def test_fit_takes_masked_pixels_away_from_its_line_in_its_stride():
    flux = np.ones((1, 1000))
    for centre, width in ((6564.61, 20.0), (6585.27, 9.0), (6549.86, 3.0)):
        spread = centre * 80 / 299_792.458
        flux = flux + width * np.diff(norm.cdf(edges(), centre, spread)) / np.diff(edges())
    ivar = np.ones((1, 1000))
    ivar[:, np.abs(GRID - 6520) < 8] = 0
    flux[:, np.abs(GRID - 6520) < 8] = np.nan
    found = measure_noisy(flux, ivar, GRID, TABLE.choose(["ew_halpha_fit", "ew_nii_fit"]))
    np.testing.assert_allclose(found.values[0], [20, 9], rtol=1e-3)


def test_nan_pixels_count_as_masked():
    flux, ivar = noisy(1, 0.01)
    masked, holes = ivar.copy(), flux.copy()
    masked[:, 500:520] = 0
    holes[:, 500:520] = np.nan
    one, two = measure_noisy(flux, masked, GRID), measure_noisy(holes, ivar, GRID)
    np.testing.assert_array_equal(one.values, two.values)
    np.testing.assert_array_equal(one.errors, two.errors)


def test_zero_inverse_variance_everywhere_leaves_nothing():
    found = measure_noisy(np.ones((2, 1000)), np.zeros((2, 1000)), GRID)
    assert np.isnan(found.values).all()
    assert np.isnan(found.errors).all()
    assert (found.reason == "masked").all()


def test_dark_continuum_says_so():
    found = measure_noisy(-np.ones((1, 1000)), np.ones((1, 1000)), GRID, TABLE.choose(["ew_oi"]))
    assert found.reason[0, 0] == "no positive continuum"


def test_indices_beyond_a_spectrum_say_so_and_leave_the_others_alone():
    flux, ivar = noisy(1, 0.01)
    found = measure_noisy(flux[:, :700], ivar[:, :700], GRID[:700])
    reason = dict(zip(found.names, found.reason[0], strict=True))
    assert reason["ew_halpha"] == reason["log_nii_halpha"] == "beyond the spectrum"
    assert reason["ew_oii"] == ""


def test_spectra_do_not_change_their_neighbours():
    flux, ivar = noisy(20, 0.02)
    whole = measure_noisy(flux, ivar, GRID)
    part = measure_noisy(flux[13:15], ivar[13:15], GRID)
    np.testing.assert_allclose(whole.values[13:15], part.values, rtol=1e-12)


def test_arrays_that_do_not_fit_are_refused():
    with pytest.raises(SpectrumError, match=r"flux of shape \(1, 9\) and ivar of shape \(1, 9\)"):
        measure_noisy(np.ones((1, 9)), np.ones((1, 9)), GRID)
    with pytest.raises(SpectrumError, match="wavelengths do not increase"):
        measure_noisy(np.ones((1, 1000)), np.ones((1, 1000)), GRID[::-1])


def observed(redshift):
    flux, ivar = galaxy(), np.full(1000, 1e4)
    return ObservedSpectrum("here", 7, GRID * (1 + redshift), flux, ivar, redshift)


def test_widths_are_in_the_rest_frame_whatever_the_redshift():
    near, far = measure_observed(observed(0.0)), measure_observed(observed(0.8))
    assert far.source_id == [7]
    scale = [name.startswith("level") for name in near.names]
    np.testing.assert_allclose(
        near.values[0, ~np.array(scale)], far.values[0, ~np.array(scale)], rtol=1e-9, atol=1e-9
    )


def test_redshift_below_any_galaxys_is_refused():
    with pytest.raises(SpectrumError, match=r"here: redshift is -0.5, expected -0.05 to 20"):
        measure_observed(observed(-0.5))


# ---------------------------------------------------------------- tables


def test_mpa_sign_turns_emission_lines_and_nothing_else(tmp_path):
    path = tmp_path / "one.npz"
    np.savez(path, wavelength=GRID, flux=galaxy(), ivar=np.full(1000, 1e4), redshift=0.0)
    found = measure_files([path], TABLE)
    ours, mpa = (strengths_table(found, TABLE, sign) for sign in ("emission", "mpa"))
    for name in ("ew_halpha", "ew_nii_fit", "ew_hbeta_gas"):
        assert ours[name][0].as_py() == -mpa[name][0].as_py() != 0
        assert ours[f"{name}_err"][0].as_py() == mpa[f"{name}_err"][0].as_py() > 0
    for name in ("hdelta_a", "d4000", "balmer_decrement", "mgb", "mg2"):
        assert ours[name][0].as_py() == mpa[name][0].as_py()
    about = mpa.schema.field("ew_halpha").metadata[b"description"]
    assert b"negative in emission" in about


def test_bad_spectrum_keeps_its_row_and_says_why(tmp_path):
    np.savez(tmp_path / "bad.npz", wavelength=GRID, flux=galaxy(), ivar=np.zeros(1000), redshift=0)
    rows = strengths_table(measure_files([tmp_path / "bad.npz"], TABLE), TABLE).to_pylist()
    assert "every pixel is masked" in rows[0]["status"]
    assert rows[0]["ew_halpha"] is None


def test_real_spectra_are_measured_but_for_what_lies_beyond_them(real_spectra):
    table = strengths_table(measure_files(real_spectra, TABLE), TABLE)
    assert table["status"].to_pylist() == ["ok"] * 10
    widths = {path.stem: row for path, row in zip(real_spectra, table.to_pylist(), strict=True)}
    assert widths["spec-1045-52725-0628"]["unmeasured"] == "ew_oii (beyond the spectrum)"
    assert all(0 < row["ew_halpha_err"] < 2 for row in widths.values())
