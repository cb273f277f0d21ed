"""What sources an ensemble's familiarity is judged against."""

import numpy as np

from targetsel.novelty.familiarity import as_in_nature


def test_an_over_sampled_kind_is_thinned_out_to_its_weight():
    ids = np.arange(20_000)
    rare = ids % 2 == 0
    kept = as_in_nature(ids, np.where(rare, 0.1, 1.0))
    assert np.isin(ids[~rare], kept).all()
    assert abs(np.isin(ids[rare], kept).mean() - 0.1) < 0.01


def test_without_over_sampling_every_source_is_kept_whatever_the_order():
    ids = np.arange(50)[::-1]
    assert (as_in_nature(ids, np.full(50, 0.7)) == ids).all()
