"""Made faint: less light under the same sky, or the same galaxy farther away."""

import numpy as np
import pytest
from astropy.cosmology import FlatLambdaCDM
from dimming import dimmed, moved_away

from targetsel.imaging.cutout import Cutouts
from targetsel.mock.camera import PAN_STARRS, add_noise
from targetsel.mock.galaxies import Galaxies

ONE_MAGNITUDE = 10**-0.4


def evenly_lit(light: float, n: int = 12) -> Cutouts:
    """Cutouts of so much light [nanomaggy / pixel] with the noise of the sky and of the light."""
    even, rng = np.full((5, 50, 50), light, dtype=np.float32), np.random.default_rng(1)
    noise = [add_noise(even, PAN_STARRS, np.ones(5), rng) for _ in range(n)]
    flux = np.float32(light) + np.array(noise)
    return Cutouts(np.arange(n), flux, PAN_STARRS.bands, PAN_STARRS.pixel_scale)


@pytest.mark.parametrize("light", [0.0, 20.0])
def test_a_dimmed_cutout_is_as_noisy_as_if_it_had_been_seen_so(light):
    found = dimmed(evenly_lit(light), 1.0).flux
    expected = evenly_lit(light * ONE_MAGNITUDE).flux
    assert found.mean() == pytest.approx(light * ONE_MAGNITUDE, abs=0.01)
    assert found.std(axis=(0, 2, 3)) == pytest.approx(expected.std(axis=(0, 2, 3)), rel=0.03)


def test_dimming_does_not_depend_on_the_company_and_keeps_lost_pixels():
    some = evenly_lit(5.0)
    some.flux[3, 1, :4] = np.nan
    whole, alone = dimmed(some, 1.5).flux, dimmed(some.take(np.array([3])), 1.5).flux
    np.testing.assert_array_equal(whole[3], alone[0])
    assert np.isnan(alone).sum() == 4 * 48


def test_a_galaxy_moved_away_is_fainter_by_distance_alone():
    near = Galaxies.of_demonstration().take(np.arange(20))
    far = moved_away(near, 1.5)
    distance = FlatLambdaCDM(H0=70, Om0=0.3).distmod
    farther = distance(far.redshift).value - distance(near.redshift).value
    assert farther + far.redshift - near.redshift == pytest.approx(1.5, abs=1e-3)
    assert -2.5 * np.log10(far.flux / near.flux) == pytest.approx(1.5)
    np.testing.assert_array_equal(far.known, near.known)
