"""Support: where training sources are, and how many of them speak for a catalog."""

import numpy as np
import pytest

from targetsel.novelty.support import Support, Tally


def sources(n, seed, magnitude=17.0):
    rng = np.random.default_rng(seed)
    return rng.normal([magnitude, 0.8, 0.1], [1.0, 0.2, 0.02], (n, 3))


@pytest.fixture(scope="module")
def support():
    return Support(sources(4000, 1))


def test_99_percent_of_sources_like_the_training_ones_have_support(support):
    assert support.holds(sources(4000, 2)).mean() == pytest.approx(0.99, abs=0.005)


@pytest.mark.parametrize("strange", [(24.0, 0.8, 0.1), (17.0, 4.0, 0.1), (17.0, 0.8, 0.5)])
def test_a_source_far_off_in_one_quantity_has_none(support, strange):
    assert not support.holds(np.array([strange]))[0]


def test_support_does_not_depend_on_the_units():
    units = np.array([1.0, 10.0, 0.25])
    plain, scaled = Support(sources(500, 3)), Support(sources(500, 3) * units)
    others = sources(500, 4, 18.0)
    assert np.array_equal(plain.holds(others), scaled.holds(others * units))


def test_a_source_without_a_size_has_no_support_and_counts_for_no_training_source(support):
    nothing = np.array([[17.0, 0.8, np.nan]])
    assert not support.holds(nothing)[0]
    assert support.weights(nothing).sum() == 0


def test_weights_add_to_the_number_of_supported_sources(support):
    others = np.concatenate([sources(300, 5), sources(20, 6, 40.0)])
    assert support.weights(others).sum() == pytest.approx(support.holds(others).sum())


def test_fewer_training_sources_speak_for_a_fainter_catalog(support):
    counts = []
    for magnitude in (17.0, 18.5, 20.0):
        tally = Tally(support)
        tally.add(sources(4000, 7, magnitude))
        counts.append((tally.share, tally.effective))
    shares, effective = zip(*counts, strict=True)
    assert shares[0] > shares[1] > shares[2]
    assert effective[0] > 2500  # of 4000: what is lost is the chance in who is whose neighbour
    assert effective[0] > 2 * effective[1] > 4 * effective[2]


def test_a_catalog_in_pieces_counts_as_the_whole(support):
    others = sources(100, 8)
    whole, pieces = Tally(support), Tally(support)
    whole.add(others)
    for start in range(0, 100, 30):
        pieces.add(others[start : start + 30])
    assert pieces.summary == whole.summary
    assert whole.summary["held_out"] == 4000


def test_without_training_sources_there_is_nothing_to_say():
    tally = Tally(Support(np.zeros((0, 3))))
    tally.add(sources(5, 9))
    assert tally.summary == {}
