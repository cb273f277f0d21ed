"""Redshifts that real cuts gave, beside the same counted by NumPy."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyarrow import csv
from real_outcomes import FILE, WINDOWS, by_numpy, catalog_and_spectra, outcome

import targetsel as ts
from targetsel.tables.parquet import write_table
from tests.real_data import real


@pytest.fixture(scope="module")
def path():
    return real(str(FILE))


@pytest.fixture(scope="module")
def found(path, tmp_path_factory):
    return outcome(path, tmp_path_factory.mktemp("elg"))


def test_every_real_spectrum_is_within_the_cuts_that_eboss_published(path, found):
    assert [each.name for each in found.classes] == ["NGC", "SGC"]
    file = csv.read_csv(path)
    g, r, z = (file[band].to_numpy() for band in "grz")
    south = z < r - 0.218 * (g - r) - 0.571
    assert south.all()
    north = r - z > 0.637 * (g - r) + 0.399
    assert found.classes[1].n_targets == (~north).sum()
    assert found.classes[0].n_targets == pytest.approx(north.sum() / 2, rel=0.05)  # half are drawn


def test_the_distribution_of_real_redshifts_is_that_of_numpy(path, found):
    for each in found.redshifts:
        quantiles, shares = by_numpy(found, each.class_, path)
        assert [one.value for one in each.quantiles] == pytest.approx(quantiles, abs=1e-9)
        assert [one.share.value for one in each.windows] == pytest.approx(shares, abs=1e-12)
        assert [(one.low, one.high) for one in each.windows] == list(WINDOWS)


def test_intervals_of_real_shares_are_as_wide_as_those_of_counts(found):
    for each in found.redshifts:
        for one in each.windows:
            share = one.share
            error = np.sqrt(share.value * (1 - share.value) / each.n)
            assert share.high - share.low == pytest.approx(2 * 1.96 * error, rel=0.25)


def test_no_share_of_successes_is_told_where_only_successes_are_known(found):
    assert all(each.success is None for each in found.classes)
    assert all(one.of_fibers is None for each in found.redshifts for one in each.windows)
    assert any("the share of successes is not known" in line for line in found.sentences)


def test_real_redshifts_of_a_narrower_cut_are_higher(found):
    ngc, sgc = (each.quantiles[2] for each in found.redshifts)
    assert ngc.low > sgc.high


def test_order_of_the_real_spectra_does_not_matter(path, found, tmp_path):
    _, spectra = catalog_and_spectra(path, tmp_path)
    table = pq.read_table(spectra)
    shuffled = table.take(pa.array(np.random.default_rng(0).permutation(len(table))))
    write_table(shuffled, spectra)
    again = ts.outcomes(found.observed.targets, truth=spectra, windows=WINDOWS)
    assert repr(again) == repr(found)
