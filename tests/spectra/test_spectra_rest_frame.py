"""Measured spectra in the rest frame, and the filling of their gaps."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from targetsel.errors import SpectrumError
from targetsel.spectra.grid import wavelengths
from targetsel.spectra.rest_frame import Basis, fill_gaps, resample, rest_frame
from targetsel.spectra.spectrum import MeasuredSpectra, ObservedSpectrum

LOGLAM = np.arange(3.58, 3.9645, 1e-4)


def observed(flux=None, ivar=None, redshift=0.1, wavelength=None):
    wavelength = 10**LOGLAM if wavelength is None else wavelength
    flux = np.ones_like(wavelength) if flux is None else flux
    ivar = np.full_like(wavelength, 4.0) if ivar is None else ivar
    return ObservedSpectrum("a.fits", "a", wavelength, flux, ivar, redshift)


def test_four_pixels_become_one_with_their_mean_and_a_quarter_of_the_variance():
    flux, ivar = resample(
        np.arange(9.0), np.array([1, 2, 3, 6, 5, 5, 5, 5.0]), np.full(8, 2.0), np.array([0, 4, 8.0])
    )
    assert flux.tolist() == [3, 5]
    assert ivar.tolist() == [8, 8]


def test_pixel_that_is_half_inside_counts_half():
    # The new pixel 0.5-2.0 has half of the first and all of the second: (0.5*4 + 1*1) / 1.5,
    # with variance (0.25*1 + 1*1) / 1.5^2.
    flux, ivar = resample(
        np.array([0, 1, 2.0]), np.array([4.0, 1.0]), np.ones(2), np.array([0.5, 2.0])
    )
    assert flux[0] == pytest.approx(2.0)
    assert 1 / ivar[0] == pytest.approx(1.25 / 2.25)


def test_masked_pixels_are_left_out_of_the_mean_and_of_the_variance():
    flux, ivar = resample(
        np.arange(5.0), np.array([1, 1e9, np.nan, 3]), np.array([1, 0, 0, 1.0]), np.array([0, 4.0])
    )
    assert (flux[0], ivar[0]) == (2, 2)


def test_pixel_that_is_mostly_masked_or_beyond_the_spectrum_is_masked():
    old, new = np.arange(5.0), np.array([0, 3, 6, 9.0])
    flux, ivar = resample(old, np.ones(4), np.array([1, 0, 0, 1.0]), new)
    assert ivar.tolist() == [0, 0, 0]  # a third of the first, a third of the second, nothing
    assert flux.tolist() == [0, 0, 0]


@given(st.integers(0, 2**32 - 1))
def test_flux_is_conserved_whatever_the_pixels(seed):
    rng = np.random.default_rng(seed)
    old = np.sort(rng.uniform(100, 200, 60))
    new = np.concatenate([[50.0], np.sort(rng.uniform(old[0], old[-1], 20)), [250.0]])
    new[[0, -1]] = old[[0, -1]]
    flux = rng.normal(size=59)
    found, ivar = resample(old, flux, np.ones(59), new)
    assert (ivar > 0).all()
    assert found @ np.diff(new) == pytest.approx(flux @ np.diff(old), abs=1e-9)


def test_variance_is_that_of_many_noisy_spectra():
    rng = np.random.default_rng(0)
    old, new = np.arange(41.0), np.linspace(0.3, 39.6, 12)
    sigma = rng.uniform(0.5, 2, 40)
    draws = [resample(old, rng.normal(0, sigma), sigma**-2, new) for _ in range(4000)]
    found = np.var([flux for flux, _ in draws], axis=0)
    np.testing.assert_allclose(1 / draws[0][1], found, rtol=0.12)


# ---------------------------------------------------------------- to the rest frame


def test_line_at_redshift_z_lands_on_its_rest_wavelength():
    flux = 1 + 50 * np.exp(-0.5 * ((10**LOGLAM - 6564.6 * 1.1) / 2) ** 2)
    spectra = rest_frame([observed(flux)])
    assert spectra.wavelength[spectra.flux[0].argmax()] == pytest.approx(6564.6, abs=3.0)
    assert spectra.redshift[0] == 0.1


def test_light_is_the_same_before_and_after_the_redshift_is_undone():
    flux = 1 + np.exp(-0.5 * ((10**LOGLAM - 6000) / 200) ** 2)
    spectra = rest_frame([observed(flux)])
    measured = ~spectra.mask[0]
    inside = (10**LOGLAM / 1.1 > 4000) & (10**LOGLAM / 1.1 < 7000)
    before = np.trapezoid(flux[inside], 10 ** LOGLAM[inside])
    grid = spectra.wavelength
    inside = (grid > 4000) & (grid < 7000) & measured
    assert np.trapezoid(spectra.flux[0, inside], grid[inside]) == pytest.approx(before, rel=3e-3)


def test_pixels_beyond_the_spectrum_are_masked_and_those_within_are_not():
    spectra = rest_frame([observed()])
    first, last = 10 ** LOGLAM[[0, -1]] / 1.1
    inside = (wavelengths() > first + 3) & (wavelengths() < last - 3)
    assert not spectra.mask[0, inside].any()
    assert spectra.mask[0, wavelengths() < first - 3].all()
    assert (spectra.flux[0, spectra.mask[0]] == 0).all()


def test_masked_sky_line_masks_its_pixels():
    ivar = np.full(len(LOGLAM), 4.0)
    ivar[np.abs(10**LOGLAM - 5577) < 12] = 0
    spectra = rest_frame([observed(ivar=ivar)])
    assert spectra.mask[0, np.abs(spectra.wavelength * 1.1 - 5577) < 8].all()


def test_spike_of_the_error_is_masked_but_a_strong_line_is_not():
    wavelength = 10**LOGLAM
    sky, line = np.abs(wavelength - 5577) < 6, np.abs(wavelength - 6564.6 * 1.1) < 6
    flux = np.where(line, 40.0, 1.0)
    ivar = np.where(sky | line, 0.25, 4.0)
    spectra = rest_frame([observed(flux, ivar)])
    assert spectra.mask[0, np.abs(spectra.wavelength * 1.1 - 5577).argmin()]
    assert not spectra.mask[0, np.abs(spectra.wavelength - 6564.6).argmin()]


@pytest.mark.parametrize(
    ("redshift", "message"),
    [
        (1.5, r"a.fits: at redshift 1.5 the spectrum lies at 1521-3686 Angstrom and covers 9% of "
              r"the rest-frame grid \(3388.4-8310.2 Angstrom\), expected at least 50%"),
        (-0.2, "a.fits: redshift is -0.2, expected -0.05 to 20"),
    ],
)  # fmt: skip
def test_redshift_outside_the_grids_reach_is_refused(redshift, message):
    with pytest.raises(SpectrumError, match=message):
        rest_frame([observed(redshift=redshift)])


def test_spectrum_that_is_mostly_masked_is_refused():
    ivar = np.where(10**LOGLAM < 5500, 1.0, 0.0)
    with pytest.raises(SpectrumError, match=r"unmasked pixels cover \d\d% of the rest-frame grid"):
        rest_frame([observed(ivar=ivar)])


def test_every_spectrum_keeps_its_row():
    one, other = observed(), observed(flux=np.full(len(LOGLAM), 7.0), redshift=0.05)
    both, turned = rest_frame([one, other]), rest_frame([other, one])
    np.testing.assert_array_equal(both.flux, turned.flux[::-1])
    np.testing.assert_array_equal(both.ivar, turned.ivar[::-1])


def measured(flux, mask):
    ivar = np.where(mask, 0.0, 1e6)
    flux = np.where(mask, 0.0, flux)
    n = len(flux)
    return MeasuredSpectra(np.arange(n), np.full(n, 0.1), flux, ivar)


def gaps(n):
    mask = np.zeros((n, 1000), dtype=bool)
    mask[:, :95] = mask[:, 500:520] = mask[:, 730:735] = True
    return mask


def test_spectrum_within_the_basis_is_recovered(galaxies):
    flux = galaxies(6)
    filled = fill_gaps(measured(flux, gaps(6)))
    np.testing.assert_allclose(filled.flux, flux, rtol=1e-3)


def test_measured_pixels_and_the_mask_stay_as_they_are(galaxies):
    noisy = galaxies(3) + np.random.default_rng(0).normal(0, 1e-3, (3, 1000))
    before = measured(noisy, gaps(3))
    after = fill_gaps(before)
    np.testing.assert_array_equal(after.flux[~before.mask], before.flux[~before.mask])
    np.testing.assert_array_equal(after.ivar, before.ivar)


@pytest.mark.parametrize("scale", [1e-17, 3.0, 1e8])
def test_filling_does_not_depend_on_brightness(galaxies, scale):
    spectra = measured(galaxies(2), gaps(2))
    bright = MeasuredSpectra(
        spectra.source_id,
        spectra.redshift,
        spectra.flux * scale,
        spectra.ivar / scale**2,
    )
    expected = fill_gaps(spectra).flux * scale
    np.testing.assert_allclose(fill_gaps(bright).flux, expected, rtol=1e-4)


def test_spectrum_without_gaps_is_left_alone(galaxies):
    spectra = measured(galaxies(2), np.zeros((2, 1000), dtype=bool))
    np.testing.assert_array_equal(fill_gaps(spectra).flux, spectra.flux)


def test_noisy_pixels_count_less(galaxies):
    flux = galaxies(1)
    spectra = measured(flux, gaps(1))
    spectra.flux[0, 200:300] *= 1.5
    trusting = np.abs(fill_gaps(spectra).flux - flux)[spectra.mask].max()
    spectra.ivar[0, 200:300] = 1.0
    wary = np.abs(fill_gaps(spectra).flux - flux)[spectra.mask].max()
    assert wary < 0.2 * trusting


@pytest.mark.parametrize("sign", [-1, 0])
@pytest.mark.parametrize("gap", [True, False], ids=["with gaps", "without"])
def test_spectrum_that_is_not_positive_is_refused_by_its_name(galaxies, sign, gap):
    spectra = measured(galaxies(2), gaps(2) & gap)
    spectra.flux[1] *= sign
    with pytest.raises(SpectrumError, match=f"spectrum {spectra.source_id[1]} is not positive"):
        fill_gaps(spectra)


def test_basis_finds_the_components_that_spectra_are_made_of():
    rng = np.random.default_rng(1)
    directions = np.linalg.qr(rng.normal(size=(1000, 2)))[0].T
    mean = np.full(1000, 1000**-0.5)
    flux = mean + rng.normal(size=(300, 2)) * [0.02, 0.01] @ directions
    basis = Basis.fit(flux, 2)
    np.testing.assert_allclose(basis.components @ basis.components.T, np.eye(2), atol=1e-9)
    overlap = np.abs(basis.components @ directions.T)
    np.testing.assert_allclose(overlap, np.eye(2), atol=0.05)


def test_basis_reads_back_as_it_was_written(tmp_path):
    basis = Basis.shipped()
    basis.write(tmp_path / "basis.npz")
    read = Basis.read(tmp_path / "basis.npz")
    np.testing.assert_array_equal(read.mean, basis.mean)
    np.testing.assert_array_equal(read.components, basis.components)


def test_shipped_basis_has_ten_orthonormal_components():
    basis = Basis.shipped()
    assert basis.components.shape == (10, 1000)
    np.testing.assert_allclose(basis.components @ basis.components.T, np.eye(10), atol=1e-5)


def test_file_that_is_no_basis_is_refused(tmp_path):
    np.savez(tmp_path / "x.npz", mean=np.zeros(3), components=np.zeros((2, 3)))
    with pytest.raises(
        SpectrumError, match="not a spectral basis on the rest-frame grid; expected 1000 pixels"
    ):
        Basis.read(tmp_path / "x.npz")
    (tmp_path / "y.npz").write_text("no")
    with pytest.raises(SpectrumError, match=r"y.npz: not a spectral basis"):
        Basis.read(tmp_path / "y.npz")
