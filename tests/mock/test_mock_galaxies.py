"""The mock sky's galaxies are real ones, and can be used more than once."""

import numpy as np
import pytest
from scipy.stats import spearmanr

from targetsel.mock.galaxies import ID_STEP, Galaxies, broad_colours


@pytest.fixture(scope="module")
def galaxies():
    return Galaxies.shipped()


def test_the_catalog_is_9727_galaxies_within_its_stated_limits(galaxies):
    magnitude = 31.4 - 2.5 * np.log10(galaxies.flux[:, 2])
    assert len(galaxies) == 9727
    assert len(np.unique(galaxies.source_id)) == 9727
    assert (galaxies.redshift > 0.02).all()
    assert (galaxies.redshift < 0.28).all()
    assert magnitude.min() > 13.49
    assert magnitude.max() < 18.51


def test_the_demonstration_and_the_training_galaxies_do_not_overlap():
    shown, others = (set(Galaxies.of_demonstration(k).source_id.tolist()) for k in (True, False))
    assert not shown & others
    assert len(shown) + len(others) == 9727
    assert len(shown) >= 2000


def test_realisation_zero_is_the_galaxies_themselves(galaxies):
    assert galaxies.realised(5, 0) is galaxies
    assert np.array_equal(galaxies.source_id, galaxies.group_id)


def test_realisations_are_other_sources_of_the_same_groups(galaxies):
    once, twice = galaxies.realised(5, 1), galaxies.realised(5, 2)
    ids = np.concatenate([galaxies.source_id, once.source_id, twice.source_id])
    assert len(np.unique(ids)) == 3 * 9727
    assert np.array_equal(twice.group_id, galaxies.group_id)
    assert np.array_equal(twice.source_id, galaxies.group_id + 2 * ID_STEP)
    assert np.array_equal(once.realised(5, 2).source_id, twice.source_id)
    assert ((twice.ra >= 0) & (twice.ra < 360)).all()


def test_a_realisation_lies_36_arcsec_to_the_east(galaxies):
    moved = galaxies.realised(5, 1)
    east = (moved.ra - galaxies.ra + 180) % 360 - 180
    assert east * np.cos(np.radians(galaxies.dec)) == pytest.approx(0.01, rel=1e-6)
    assert np.array_equal(moved.dec, galaxies.dec)


def test_a_realisation_is_fainter_by_up_to_two_magnitudes_at_its_redshift(galaxies):
    moved = galaxies.realised(5, 1)
    dimming = 2.5 * np.log10(galaxies.flux / moved.flux)[:, 2]
    assert np.quantile(dimming, [0.0, 0.25, 0.5, 0.75, 1.0]) == pytest.approx(
        [0.0, 0.5, 1.0, 1.5, 2.0], abs=0.03
    )
    assert dimming == pytest.approx(2.5 * (galaxies.known - moved.known)[:, 2], abs=1e-9)
    assert np.array_equal(galaxies.redshift, moved.redshift)


def test_fainter_galaxies_are_bluer_and_keep_their_rank_among_those_of_their_luminosity(galaxies):
    fainter = galaxies.fainter(np.full(len(galaxies), 1.5))
    was, now = (-2.5 * np.log10(each.flux[:, 1] / each.flux[:, 2]) for each in (galaxies, fainter))
    assert 0.1 < np.median(was - now) < 0.3
    alike = np.abs(galaxies.known[:, 2] - 7.2) < 0.05
    first = galaxies.known[alike, 0], fainter.known[alike, 0]
    assert spearmanr(*first).statistic > 0.995
    catalog = now - broad_colours(fainter.known, fainter.redshift)[:, 1]
    real = was - broad_colours(galaxies.known, galaxies.redshift)[:, 1]
    assert catalog == pytest.approx(real, abs=1e-9)


def test_galaxies_that_are_fainter_by_nothing_stay_as_they_are(galaxies):
    same = galaxies.fainter(np.zeros(len(galaxies)))
    assert same.known == pytest.approx(galaxies.known, abs=1e-9)
    assert same.flux == pytest.approx(galaxies.flux, rel=1e-9)


def test_dimming_follows_from_seed_and_source_alone(galaxies):
    some = np.array([7, 3, 100])
    assert np.array_equal(
        galaxies.take(some).realised(5, 1).flux, galaxies.realised(5, 1).flux[some]
    )
    assert not np.array_equal(galaxies.realised(6, 1).flux, galaxies.realised(5, 1).flux)
