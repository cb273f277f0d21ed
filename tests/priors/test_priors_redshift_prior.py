"""What is known of a redshift beforehand."""

import numpy as np
import pytest

from targetsel.errors import SpectrumError
from targetsel.priors.redshift_prior import RedshiftPrior


def integral(prior):
    stretch = np.linspace(0, 0.5, 20_001)
    return np.trapezoid(np.exp(prior.log_density(stretch)), stretch)


def test_densities_per_logarithm_integrate_to_one():
    assert integral(RedshiftPrior.flat(0.1, 0.4)) == pytest.approx(1, abs=1e-3)
    assert integral(RedshiftPrior.gaussian(0.3, 0.05)) == pytest.approx(1, abs=1e-3)


def test_a_gaussian_near_zero_is_cut_there():
    prior = RedshiftPrior.gaussian(0.01, 0.02)
    assert prior.range == (0.0, pytest.approx(0.09))
    assert integral(prior) == pytest.approx(1, abs=1e-3)


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
