import numpy as np
import pytest

from targetsel.errors import SpectrumError
from targetsel.spectra.grid import wavelengths
from targetsel.spectra.rest_frame import Basis, fill_gaps
from targetsel.spectra.spectrum import MeasuredSpectra


def measured(flux, mask):
    ivar = np.where(mask, 0.0, 1e6)
    flux = np.where(mask, 0.0, flux)
    n = len(flux)
    return MeasuredSpectra(np.arange(n), np.full(n, 0.1), flux, ivar, wavelengths())


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
        spectra.wavelength,
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
    with pytest.raises(SpectrumError, match="not a spectral basis of 1000 pixels"):
        Basis.read(tmp_path / "x.npz")
    (tmp_path / "y.npz").write_text("no")
    with pytest.raises(SpectrumError, match=r"y.npz: not a spectral basis"):
        Basis.read(tmp_path / "y.npz")
