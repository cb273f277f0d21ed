"""What a measured spectrum makes of a prior."""

import numpy as np
import pytest
from scipy.special import logsumexp

from targetsel.errors import SpectrumError
from targetsel.priors.likelihood import Likelihood, ObservedPixels
from targetsel.priors.prior import Prior, RedshiftPrior
from targetsel.priors.update import UpdateOptions, update
from targetsel.spectra.spectrum import ObservedSpectrum
from targetsel.statistics.gaussian_mixture import GaussianMixture
from tests.priors.toy import model, observed, prior

NEAR = RedshiftPrior.gaussian(0.1, 0.01)


def rng(seed=0):
    return np.random.default_rng(seed)


def test_importance_sampling_agrees_with_integration_over_a_grid():
    """Of a prior with two Gaussians and a spectrum so noisy that neither can be ruled out."""
    latents = GaussianMixture(
        np.array([0.5, 0.5]), np.array([[-1.5], [1.5]]), factor=np.full((2, 1, 1), 0.6)
    )
    spectrum = observed(-0.5, 0.1, 1.5, rng(4))
    redshift = RedshiftPrior.gaussian(0.1, 0.004)
    found = update(prior(latents=latents), spectrum, redshift, UpdateOptions(n_proposed=1024))
    likelihood = Likelihood(model(), ObservedPixels.of(spectrum, redshift.range), 0.05)
    low, high = np.log10(1 + np.array(redshift.range))
    x, s = np.linspace(-4, 4, 41), np.linspace(low, high, 81)
    points = np.repeat(x, len(s))[:, None], np.tile(s, len(x))
    log = likelihood.log(*points) + latents.log_density(points[0]) + redshift.log_density(points[1])
    cell = (x[1] - x[0]) * (s[1] - s[0])
    weight = np.exp(log - logsumexp(log))
    mean = weight @ points[0][:, 0]
    std = np.sqrt(weight @ (points[0][:, 0] - mean) ** 2)
    assert found.log_evidence == pytest.approx(logsumexp(log) + np.log(cell), abs=0.1)
    assert found.latents.mean() == pytest.approx(mean, abs=0.2 * std)
    assert found.latents.std() == pytest.approx(std, rel=0.15)
    assert found.redshift.mean() == pytest.approx(weight @ (10 ** points[1] - 1), abs=5e-4)
    assert found.effective_size > 500


def test_a_posterior_covers_as_often_as_it_claims():
    """Latent, redshift and noise from what the update believes: ranks of the truth are uniform."""
    ranks = []
    for k in range(50):
        draw = rng(k)
        latent, z = draw.normal(), 0.1 + 0.01 * draw.normal()
        found = update(
            prior(k), observed(latent, z, 0.8, draw), NEAR, UpdateOptions(n_proposed=64, n_draws=64)
        )
        ranks.append([(found.latents < latent).mean(), (found.redshift < z).mean()])
    inside = (np.abs(np.array(ranks) - 0.5) < 0.4).mean(axis=0)  # the central 80 %
    # 50 trials at 80 %: three standard deviations are 17 %.
    assert np.all(np.abs(inside - 0.8) < 0.17), inside
    assert np.mean(ranks, axis=0) == pytest.approx(0.5, abs=3 * 0.29 / 50**0.5)


def test_a_bright_line_gives_the_redshift_and_its_own_strength():
    found = update(prior(), observed(1.0, 0.123, 0.05, rng()), NEAR)
    assert found.best_redshift == pytest.approx(0.123, abs=2e-4)
    assert found.confidence == 1
    assert found.latents.mean() == pytest.approx(1.0, abs=0.2)
    assert found.latents.std() < 0.15


def test_without_light_worth_the_name_the_posterior_is_the_prior():
    found = update(prior(), observed(1.0, 0.1, 30.0, rng(1)), NEAR)
    assert found.latents.mean() == pytest.approx(0, abs=0.25)
    assert found.latents.std() == pytest.approx(1, abs=0.2)
    assert found.redshift.std() == pytest.approx(0.01, rel=0.25)


def test_the_unit_of_the_flux_changes_nothing_but_the_amplitude():
    one = observed(0.5, 0.1, 0.3, rng(2))
    other = ObservedSpectrum("x", 7, one.wavelength, 8 * one.flux, one.ivar / 64, 0.0)
    a, b = (update(prior(), each, NEAR) for each in (one, other))
    assert a.latents == pytest.approx(b.latents, abs=1e-6)
    assert 8 * a.amplitude == pytest.approx(b.amplitude, rel=1e-6)


def test_the_same_id_and_seed_give_the_same_bytes():
    spectrum = observed(0.5, 0.1, 0.3, rng(2))
    a, b = (update(prior(), spectrum, NEAR) for _ in range(2))
    other = update(prior(), spectrum, NEAR, UpdateOptions(seed=1))
    assert a.flux.tobytes() == b.flux.tobytes()
    assert a.redshift.tobytes() != other.redshift.tobytes()


def test_the_priors_own_redshift_is_where_the_search_starts():
    one = prior()
    known = Prior(one.source_id, one.latents, one.model, 0.1, 0.01)
    spectrum = observed(0.5, 0.1, 0.3, rng(2))
    assert np.array_equal(update(known, spectrum).redshift, update(one, spectrum, NEAR).redshift)


def test_no_redshift_at_all_is_an_error():
    with pytest.raises(SpectrumError, match=r"^source 7: its prior has no redshift with an error"):
        update(prior(), observed(0.5, 0.1, 0.3, rng()))


def test_line_strengths_come_with_every_draw():
    found = update(prior(), observed(1.0, 0.1, 0.1, rng()), NEAR)
    widths = found.proxies()["ew_halpha_nii"]
    # The line holds (1 + 0.4) 2.507 x 0.0009 x 6564.6 Angstrom of a continuum at 1.094.
    assert np.median(widths) == pytest.approx(1.4 * 2.507 * 0.0009 * 6564.6 / 1.094, rel=0.05)


@pytest.mark.parametrize("calibration", [np.nan, -0.1, 11.0])
def test_calibration_error_that_cannot_be_is_refused(calibration):
    with pytest.raises(SpectrumError, match=r"error of the flux calibration is .*, expected 0 to"):
        UpdateOptions(calibration=calibration)
