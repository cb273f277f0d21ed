"""Vectors on their way into networks: scales, and networks that take them."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
import torch

from targetsel.embeddings.file import Embeddings
from targetsel.errors import EnsembleError
from targetsel.networks.network import Network, NetworkPlan, parted
from targetsel.networks.vector_plan import FARTHEST, VectorPlan

N = 400
IDS = np.arange(N)


def plan_of(values: np.ndarray) -> VectorPlan:
    table = pa.table({"source_id": IDS, "embedding": list(values)})
    return VectorPlan.of(Embeddings.open(table), IDS)


@pytest.mark.parametrize("scale", [1e-30, 1e-3, 1.0, 1e6, 1e30, 1e150])
@pytest.mark.parametrize("middle", [0.0, -1e4])
def test_prepared_numbers_do_not_depend_on_the_scale_of_a_model(scale, middle):
    normal = np.random.default_rng(0).normal(size=(N, 3))
    expected = plan_of(normal).prepare(normal)
    values = scale * (normal + middle)
    np.testing.assert_allclose(plan_of(values).prepare(values), expected, atol=1e-4)
    assert 0.9 < expected.std() < 1.1


def test_outliers_and_constant_numbers_are_finite_and_order_stays():
    values = np.random.default_rng(1).normal(size=(N, 3))
    values[:, 1] = 7.0
    values[:, 2] = 0.0
    values[:40, 2] = np.arange(40)
    plan = plan_of(values)
    values[0, 0], values[1, 0] = 1e300, 100.0
    found = plan.prepare(values)
    assert np.isfinite(found).all()
    assert found[0, 0] == FARTHEST
    assert 5 < found[1, 0] < FARTHEST
    assert (found[:, 1] == 0).all()
    assert (np.diff(found[:40, 2]) > 0).all()


def test_scales_do_not_depend_on_the_order_of_sources():
    values = np.random.default_rng(2).normal(size=(N, 5))
    table = pa.table({"source_id": IDS, "embedding": list(values)})
    mixed = np.random.default_rng(3).permutation(N)
    one = VectorPlan.of(Embeddings.open(table), IDS)
    assert one == VectorPlan.of(Embeddings.open(table.take(mixed)), IDS[mixed])


def test_sources_without_any_finite_vector_are_refused():
    table = pa.table({"source_id": IDS, "embedding": list(np.full((N, 3), np.inf))})
    with pytest.raises(EnsembleError, match="no vector of finite numbers for any of the 400"):
        VectorPlan.of(Embeddings.open(table), IDS)


@pytest.mark.parametrize("length", [8, 4096])
def test_a_network_of_vectors_alone_has_no_convolutions(length):
    plan = NetworkPlan(n_bands=0, width=0, vector=length, vector_features=16)
    mean, factor = Network(plan)(torch.randn(3, length))
    assert (mean.shape, factor.shape) == ((3, 6), (3, 6, 6))
    assert plan.n_features == 16


def test_cutouts_and_vectors_are_parted_as_they_were_joined():
    plan = NetworkPlan(n_bands=2, width=0.0625, photometry=4, vector=5, vector_features=3)
    cutouts, vectors = torch.randn(3, 2, 8, 8), torch.randn(3, 5)
    found = parted(torch.cat([cutouts.flatten(1), vectors], dim=1), plan)
    assert torch.equal(found[0], cutouts)
    assert torch.equal(found[1], vectors)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"n_bands": 0}, "n_bands is 0, so there are no cutouts"),
        ({"vector": 5}, "vector is 5 and vector_features 0; expected both above 0, or both 0"),
    ],
)
def test_plans_that_contradict_themselves_are_refused(given, message):
    with pytest.raises(ValueError, match=message):
        NetworkPlan(**given)
