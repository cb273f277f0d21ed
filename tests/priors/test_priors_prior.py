"""The priors of one source's spectrum and of its redshift."""

import sys

import numpy as np
import pytest
from scipy.special import ndtr
from scipy.stats import multivariate_normal

from targetsel.errors import ExtraError, SpectrumError
from targetsel.priors.prior import Prior, RedshiftPrior
from targetsel.spectra.grid import wavelengths
from targetsel.statistics.gaussian_mixture import GaussianMixture
from tests.priors.toy import HALPHA, LEVEL, LineDecoder, gaussian, model, prior


def test_mean_is_the_mean_of_decoded_latents():
    decoder = LineDecoder()
    expected = decoder.continuum + (1 + 0.4 * 0.5) * decoder.line
    found = prior(latents=gaussian(0.5, 1.0)).mean
    assert found == pytest.approx(expected, abs=0.05 * LEVEL)


def test_covariance_is_that_of_draws():
    some = slice(0, 1000, 8)
    draws = prior().draw(3000, seed=1)[:, some]
    cov = prior().cov
    whole = cov.factor[some] @ cov.factor[some].T + np.diag(cov.variance[some])
    assert cov.factor.shape == (1000, 3)  # one latent, and two directions of the residual
    assert np.abs(np.cov(draws.T) - whole).max() < 0.1 * whole.max()


def test_log_prob_is_that_of_a_gaussian_with_the_whole_covariance():
    cov = prior().cov
    flux = prior().draw(3)
    whole = cov.factor @ cov.factor.T + np.diag(cov.variance)
    expected = multivariate_normal(prior().mean, whole).logpdf(flux)
    assert prior().log_prob(flux) == pytest.approx(expected, rel=1e-6)


def test_bands_hold_as_many_draws_as_they_say():
    low, middle, high = prior().bands()
    draws = prior().draw(1000, seed=9)
    assert ((draws > low) & (draws < high)).mean() == pytest.approx(0.68, abs=0.03)
    assert (draws < middle).mean() == pytest.approx(0.5, abs=0.03)


def test_bands_of_a_mixture_are_quantiles_of_its_spectra():
    """A pixel of the line is 1 + 0.4 x latent, of one of two Gaussians, plus the residual."""
    latents = GaussianMixture(
        np.array([0.3, 0.7]), np.array([[-2.0], [1.0]]), factor=np.array([[[0.5]], [[1.0]]])
    )
    some = prior(latents=latents)
    peak, side = int(np.argmax(LineDecoder().line)), 100
    height, continuum = LineDecoder().line[peak], LineDecoder().continuum
    found = some.bands((0.05, 0.5, 0.95))
    residual = np.sqrt(some.cov.factor[:, 1:] ** 2 @ np.ones(2) + some.cov.variance)
    scatter = np.hypot(0.4 * height * np.array([0.5, 1.0]), residual[peak])
    middle = continuum[peak] + height * (1 + 0.4 * np.array([-2.0, 1.0]))
    below = ndtr((found[:, peak, None] - middle) / scatter) @ [0.3, 0.7]
    assert below == pytest.approx([0.05, 0.5, 0.95], abs=0.01)
    away = (found[:, side] - continuum[side]) / residual[side]
    assert away == pytest.approx([-1.645, 0, 1.645], abs=0.03)


def test_bands_do_not_depend_on_the_id():
    assert np.array_equal(prior(1).bands(), prior(2).bands())


def test_at_redshift_one_wavelengths_double_and_fluxes_halve():
    seen = prior().observed(1.0)
    assert seen.wavelength == pytest.approx(2 * wavelengths())
    assert seen.mean == pytest.approx(prior().mean / 2)
    assert seen.cov.variance == pytest.approx(prior().cov.variance / 4)
    assert seen.draw(2) == pytest.approx(prior().draw(2) / 2)


def test_draws_follow_from_id_and_seed():
    assert np.array_equal(prior(1).draw(3, seed=2), prior(1).draw(3, seed=2))
    assert not np.array_equal(prior(1).draw(3, seed=2), prior(2).draw(3, seed=2))
    assert not np.array_equal(prior(1).draw(3, seed=2), prior(1).draw(3, seed=3))


@pytest.mark.parametrize("redshift", [-0.1, 11.0, np.nan])
def test_a_redshift_that_no_galaxy_has_is_refused(redshift):
    with pytest.raises(SpectrumError, match=r"^source 7: redshift is .*, expected 0 to 10$"):
        Prior(7, gaussian(), model(), redshift)


def test_without_specutils_there_is_a_hint(monkeypatch):
    monkeypatch.setitem(sys.modules, "specutils", None)
    with pytest.raises(ExtraError, match=r"pip install 'targetsel\[specutils\]'"):
        prior().to_specutils()


def test_specutils_finds_the_flux_of_the_line_at_its_observed_wavelength():
    specutils = pytest.importorskip("specutils")
    analysis = pytest.importorskip("specutils.analysis")
    seen = prior().observed(0.5)
    spectrum = seen.to_specutils()
    near = spectrum[8900 * spectrum.spectral_axis.unit : 10800 * spectrum.spectral_axis.unit]
    assert isinstance(near, specutils.Spectrum)
    line = near - LineDecoder().continuum[seen.wavelength >= 8900][: len(near.flux)] / 1.5
    # Area of a Gaussian of height LEVEL / 1.5 and breadth 0.0009 x 1.5 x 6564.6 Angstrom.
    area = LEVEL / 1.5 * 0.0009 * 1.5 * HALPHA * np.sqrt(2 * np.pi)
    assert analysis.line_flux(line).to_value("Angstrom") == pytest.approx(area, rel=0.05)
    peak = line.spectral_axis[line.flux.argmax()].to_value("Angstrom")
    assert peak == pytest.approx(1.5 * HALPHA, abs=4.6)  # half a pixel


def test_specutils_gets_the_scatter_of_draws_as_standard_deviation():
    pytest.importorskip("specutils")
    spectrum = prior().to_specutils()
    whole = prior().cov
    expected = np.sqrt((whole.factor**2).sum(axis=1) + whole.variance)
    assert spectrum.uncertainty.uncertainty_type == "std"
    assert spectrum.uncertainty.array == pytest.approx(expected, rel=0.15)


def integral_of(prior):
    stretch = np.linspace(0, 0.5, 20_001)
    return np.trapezoid(np.exp(prior.log_density(stretch)), stretch)


def test_densities_per_logarithm_integrate_to_one():
    assert integral_of(RedshiftPrior.flat(0.1, 0.4)) == pytest.approx(1, abs=1e-3)
    assert integral_of(RedshiftPrior.gaussian(0.3, 0.05)) == pytest.approx(1, abs=1e-3)


def test_a_gaussian_near_zero_is_cut_there():
    prior = RedshiftPrior.gaussian(0.01, 0.02)
    assert prior.range == (0.0, pytest.approx(0.09))
    assert integral_of(prior) == pytest.approx(1, abs=1e-3)


def test_beyond_its_range_the_density_is_zero():
    assert RedshiftPrior.flat(0.1, 0.4).log_density(np.log10([1.05, 1.5])).tolist() == [-np.inf] * 2


@pytest.mark.parametrize("redshift", [-0.01, 10.5, np.nan])
def test_redshifts_beyond_reason_are_refused(redshift):
    with pytest.raises(SpectrumError, match=r"redshift is .*, expected 0 to 10"):
        RedshiftPrior.gaussian(redshift, 0.01)


@pytest.mark.parametrize(
    ("z", "density", "said"),
    [
        ([0.1, 0.1], [1, 1], "do not increase"),
        ([-0.1, 0.1], [1, 1], "runs from -0.1 to 0.1, expected 0 to 10"),
        ([0.1, 0.2], [0, 0], "expected densities of at least 0"),
        ([0.1, 0.2], [1, np.nan], "expected densities of at least 0"),
        ([0.1, 0.2], [1, 1, 1], "shape"),
    ],
)
def test_a_density_that_is_none_is_refused(z, density, said):
    with pytest.raises(SpectrumError, match=said):
        RedshiftPrior(np.array(z, float), np.array(density, float))
