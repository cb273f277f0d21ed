"""A decoder is distilled from the posteriors of scored sources, and its errors are measured."""

import shutil

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from targetsel.calibration.fitting import calibrate
from targetsel.errors import EnsembleError
from targetsel.scoring.ensemble import Ensemble
from targetsel.spectra.distilled import FILE_NAME, SLOPE
from targetsel.spectra.lines import PROXIES
from targetsel.tables.parquet import SIMULATED, read_footer, write_table
from targetsel.training import distillation
from targetsel.training.distillation import Lessons, distil, learn, quantiles, read_posteriors
from tests.calibration.known_sky import N, write_known

STEPS = 150


@pytest.fixture(scope="module")
def ensemble(ensemble_folder):
    return Ensemble.read(ensemble_folder)


@pytest.fixture(scope="module")
def files(ensemble, tmp_path_factory):
    """A scored file of simulated images and its truth; read only."""
    return write_known(tmp_path_factory.mktemp("known"), ensemble, footer=SIMULATED)


@pytest.fixture(scope="module")
def found(files, ensemble):
    return distil(ensemble, [files[0]], STEPS, bound=1.0)


def test_network_learns_a_function_of_its_own_kind():
    # |x| and the mean of two latents are sums of leaky units.
    latents = torch.randn(40_000, 2, generator=torch.Generator().manual_seed(0))
    values = torch.stack([latents[:, 0].abs() + 7, 100 * latents.mean(dim=1)], dim=1)
    unit = torch.tensor([1.0, 100.0]).repeat(len(values), 1)
    network = learn(Lessons(latents, values, unit), 400, seed=0)
    with torch.inference_mode():
        off = (network(latents) - values) / unit
    assert off.square().mean(dim=0).sqrt().max() < 0.02
    assert network.layers[1].negative_slope == SLOPE


def test_region_holds_nearly_all_lessons_and_ends_with_them():
    latents = torch.randn(20_000, 3, generator=torch.Generator().manual_seed(0))
    latents *= torch.tensor([1.0, 2.0, 0.1])
    network = learn(Lessons(latents, latents[:, :1], torch.ones(20_000, 1)), 1, seed=0)
    inside = network.contains(latents).double().mean()
    assert 0.99 < inside < 1
    assert network.high.tolist() == pytest.approx([3.3, 6.6, 0.33], rel=0.1)
    assert float(network.radius) == pytest.approx(4.2, rel=0.1)


def test_quantiles_are_those_of_measured_draws():
    values = torch.arange(101.0).repeat(2, 70, 1)
    values[1, 5, 51:] = torch.nan
    found = quantiles(values, (0.1, 0.5))
    assert found.shape == (2, 70, 2)
    assert found[0, 5].tolist() == pytest.approx([10, 50])
    assert found[1, 5].tolist() == pytest.approx([5, 25])


def test_errors_of_a_short_training_are_small_and_are_of_sources_kept_aside(found, files, ensemble):
    record = found.record
    assert record.n_sources + record.n_aside == N
    assert record.n_aside == pytest.approx(0.1 * N, abs=25)
    assert record.n_draws == record.n_sources * 192
    assert {*record.errors} == {*PROXIES}
    assert all(0 < each.median < 0.8 for each in record.errors.values())
    assert record.simulated
    assert record.outside < 0.2
    posterior, _ = read_posteriors(ensemble, [files[0]])
    latents = posterior.drawn(192, 7)
    true = distillation.decoded(ensemble.folded_decoder, latents)
    off = quantiles(found(latents), [0.5]) - quantiles(true, [0.5])
    sizes = (off[..., 0] / true.std(dim=2)).square().mean(dim=1).sqrt()
    told = [record.errors[name].median for name in PROXIES]
    np.testing.assert_allclose(sizes, told, rtol=0.5, atol=0.03)


def test_training_is_the_same_whatever_came_before(found, files, ensemble):
    torch.rand(3)
    again = distil(ensemble, [files[0]], STEPS, bound=1.0)
    assert again.record == found.record
    for one, other in zip(found.network.parameters(), again.network.parameters(), strict=True):
        np.testing.assert_array_equal(one.detach(), other.detach())


def test_errors_beyond_the_bound_are_refused(files, ensemble):
    with pytest.raises(EnsembleError, match=r"--steps 2: medians of .* Give more steps"):
        distil(ensemble, [files[0]], 2)


def test_few_sources_are_refused(files, ensemble, tmp_path):
    few = tmp_path / "few.parquet"
    write_table(pq.read_table(files[0]).slice(0, 50), few, read_footer(files[0]))
    with pytest.raises(EnsembleError, match="50 sources have a prediction, expected at least 100"):
        distil(ensemble, [few], 2)


def test_catalog_of_another_ensemble_is_refused(files):
    with pytest.raises(EnsembleError, match="scored by the ensemble 'tiny'"):
        distil(Ensemble.read(), [files[0]], 2)


def test_ensemble_uses_what_lies_in_its_folder(found, files, ensemble_folder, tmp_path):
    folder = shutil.copytree(ensemble_folder, tmp_path / "tiny")
    found.write(folder)
    exact, quick = Ensemble.read(ensemble_folder), Ensemble.read(folder)
    assert quick.sha256 == exact.sha256
    assert quick.draws_decoder.distilled is not None
    assert exact.draws_decoder.distilled is None
    assert quick.folded_decoder.distilled is None
    assert "distilled from the decoder" in quick.how_decoded
    assert not exact.how_decoded
    posterior, _ = read_posteriors(exact, [files[0]])
    some = posterior.take(slice(0, 70))
    one, other = (each.predict_proxies(some, 192).posterior for each in (exact, quick))
    for name in PROXIES:
        off = (other.quantile(name, 0.5) - one.quantile(name, 0.5)) / one.std(name)
        assert 0 < np.sqrt(np.nanmean(off**2)) < 0.5


def test_of_another_decoder_it_is_not_used_and_the_ensemble_says_so(
    found, ensemble_folder, tmp_path
):
    folder = shutil.copytree(ensemble_folder, tmp_path / "tiny")
    changed = found.record.model_copy(update={"decoder_sha256": "0" * 64})
    type(found)(found.network, changed).write(folder)
    ensemble = Ensemble.read(folder)
    assert ensemble.draws_decoder.distilled is None
    assert ensemble.how_decoded == (
        f"spectra are decoded: {FILE_NAME} is not used, since it was made for another decoder"
    )


def test_calibration_is_fitted_to_what_score_gives(found, files, ensemble_folder, tmp_path):
    folder = shutil.copytree(ensemble_folder, tmp_path / "tiny")
    found.write(folder)
    exact, quick = (
        calibrate(*files, Ensemble.read(each)).maps["ew_halpha"].by_prediction.values
        for each in (ensemble_folder, folder)
    )
    assert 0 < np.abs(exact - quick).max()
