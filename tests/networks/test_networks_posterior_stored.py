"""What is read from a scored table is what was written, but for the digits of float32."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from targetsel.errors import CatalogError
from targetsel.networks.deviations import Deviations
from targetsel.networks.posterior import (
    LatentPosterior,
    moments_to_store,
    stored_posterior,
    with_deviations,
)
from tests.calibration.known_sky import lists


def posterior():
    rng = np.random.default_rng(1)
    factor = np.tril(rng.normal(size=(4, 2, 3, 3))) * 0.2 + 0.5 * np.eye(3)
    return LatentPosterior(np.arange(4), rng.normal(size=(4, 2, 3)), factor, np.ones(4))


def stored(posterior, cov=None):
    lower = np.tril_indices(3)
    cov = posterior.member_cov if cov is None else cov
    columns = {
        "member_mean": lists(posterior.member_mean.reshape(4, -1)),
        "member_cov": lists(cov[:, :, lower[0], lower[1]].reshape(4, -1)),
        "typicality_features": pa.array(posterior.typicality),
    }
    table = pa.table(columns)
    field = with_deviations(table.schema.field("member_cov"), posterior)
    return table.set_column(1, field, table["member_cov"])


def test_members_come_back():
    again = stored_posterior(stored(posterior()), np.arange(4))
    assert again.member_mean == pytest.approx(posterior().member_mean, abs=1e-6)
    assert again.member_cov == pytest.approx(posterior().member_cov, rel=1e-4, abs=1e-5)
    assert again.deviations.to_card() == Deviations.standard(3).to_card()


def test_deviations_come_back_exactly():
    rng = np.random.default_rng(2)
    skewed = Deviations(
        rng.normal(size=(2, 3)),
        np.stack([0.3 * np.eye(3), 1.7 * np.eye(3)]),
        rng.normal(size=(4, 2)),
    )
    again = stored_posterior(stored(replace(posterior(), deviations=skewed)), np.arange(4))
    assert again.deviations.to_card() == skewed.to_card()


@pytest.mark.parametrize("note", [b"{", b"[]", b'{"offset": [[0]], "factor": 1, "gate": 2}'])
def test_damaged_deviations_are_refused(note):
    table = stored(posterior())
    field = table.schema.field("member_cov").with_metadata({b"deviations": note})
    damaged = table.set_column(1, field, table["member_cov"])
    with pytest.raises(CatalogError, match=r"'member_cov': .*Score the catalog again"):
        stored_posterior(damaged, np.arange(4))


def test_a_source_without_prediction_is_nan_and_leaves_others_alone():
    mean = posterior().member_mean.copy()
    cov = posterior().member_cov.copy()
    mean[2] = cov[2] = np.nan
    again = stored_posterior(stored(replace(posterior(), member_mean=mean), cov), np.arange(4))
    assert np.isnan(again.cov[2]).all()
    assert np.isfinite(again.cov[[0, 1, 3]]).all()


def test_a_covariance_that_rounding_has_made_negative_can_still_be_used():
    direction = np.array([1.0, -2.0, 0.5])
    cov = np.tile(50 * np.outer(direction, direction), (4, 2, 1, 1))
    again = stored_posterior(stored(posterior(), cov), np.arange(4))
    assert again.member_cov == pytest.approx(cov, rel=1e-3, abs=1e-3)


# ---------------------------------------------------------------- with a redshift


def with_redshift():
    """A posterior whose last dimension is ln(1 + redshift), some thousandths wide."""
    factor = posterior().member_factor.copy()
    factor[..., -1, :] *= 0.003
    gate = np.array([[0.0, 1.0], [0.3, 0.0], [0.0, 0.1]])
    parts = np.stack([np.eye(3), 1.5 * np.eye(3)])
    deviations = Deviations(np.array([[0.1, 0.0, 0.2], [-0.2, 0.1, 0.0]]), parts, gate)
    return replace(posterior(), member_factor=factor, deviations=deviations, has_redshift=True)


def table_of(whole):
    table = pa.table({name: lists(values) for name, values in moments_to_store(whole).items()})
    place = table.schema.get_field_index("member_cov")
    field = with_deviations(table.schema.field("member_cov"), whole)
    return table.set_column(place, field, table["member_cov"])


def test_a_posterior_with_a_redshift_comes_back_whole():
    whole = with_redshift()
    again = stored_posterior(table_of(whole), whole.source_id, with_redshift=True)
    assert again.has_redshift
    assert again.mean == pytest.approx(whole.mean, rel=1e-5, abs=1e-6)
    assert again.cov == pytest.approx(whole.cov, rel=1e-3, abs=1e-8)


@pytest.mark.parametrize("given", [posterior, with_redshift])
def test_no_source_has_columns_of_no_rows(given):
    whole, nobody = given(), given().take(slice(0, 0))
    columns = moments_to_store(nobody)
    for name, values in moments_to_store(whole).items():
        assert columns[name].shape == (0, *values.shape[1:])


def test_the_latents_of_a_posterior_with_a_redshift_come_back_alone():
    whole = with_redshift()
    again = stored_posterior(table_of(whole), whole.source_id)
    assert not again.has_redshift
    assert again.mean == pytest.approx(whole.latents.mean, rel=1e-5, abs=1e-6)
    assert again.cov == pytest.approx(whole.latents.cov, rel=1e-4, abs=1e-5)


def test_without_the_columns_of_a_redshift_there_are_latents_alone():
    table = table_of(with_redshift()).drop_columns("member_log1z_cov")
    assert stored_posterior(table, np.arange(4), with_redshift=True).member_mean.shape[2] == 2


def test_the_latents_of_a_posterior_with_a_redshift_have_its_marginals():
    whole = with_redshift()
    assert whole.latents.mean == pytest.approx(whole.mean[:, :2])
    assert whole.latents.cov == pytest.approx(whole.cov[:, :2, :2])
    assert whole.latents.quantile(0.1) == pytest.approx(whole.quantile(0.1)[:, :2], abs=1e-6)
