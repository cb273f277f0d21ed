"""Distilled indices stand for a decoder where they hold, and nowhere else."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from targetsel.errors import EnsembleError
from targetsel.scoring.ensemble import find_ensemble
from targetsel.spectra.decoder import Decoder, FoldedDecoder
from targetsel.spectra.distilled import (
    FILE_NAME,
    RECORD,
    DistillationErrors,
    DistillationRecord,
    DistilledIndices,
    IndexNetwork,
    lines_sha256,
)
from targetsel.spectra.lines import PROXIES, LineTable
from targetsel.weights.safetensors import read_safetensors, write_safetensors

N, S, D = 9, 195, 6
TABLE = LineTable.shipped().choose(PROXIES)


def record(**changes):
    errors = DistillationErrors(median=0.02, one_sigma=0.03, two_sigma=0.04, worst_median=0.1)
    values = {
        "code_version": "0",
        "decoder_sha256": "a" * 64,
        "lines_sha256": lines_sha256(TABLE),
        "scored_sha256": ("b" * 64,),
        "proxies": PROXIES,
        "simulated": True,
        "n_sources": 900,
        "n_draws": 900 * S,
        "n_aside": 100,
        "seed": 0,
        "steps": 1,
        "outside": 0.01,
        "errors": dict.fromkeys(PROXIES, errors),
    }
    return DistillationRecord(**(values | changes))


def untaught(decoder_sha256="a" * 64):
    """A network that learnt nothing, which holds within 4 of the origin and 3 along each axis."""
    torch.manual_seed(0)
    network = IndexNetwork(D, 128, len(PROXIES))
    network.low.fill_(-3)
    network.high.fill_(3)
    network.radius.fill_(4)
    return DistilledIndices(network.eval(), record(decoder_sha256=decoder_sha256))


@pytest.fixture(scope="module")
def distilled():
    return untaught()


@pytest.fixture(scope="module")
def decoder():
    return Decoder.read(find_ensemble("mock-ps1"))


@pytest.fixture(scope="module")
def latents():
    """Of sources of which the third lies outside and the fifth has no prediction."""
    found = 0.3 * torch.randn(N, S, D, generator=torch.Generator().manual_seed(1))
    found[2] += 2.5
    found[4] = torch.nan
    return found


def test_network_gives_the_products_of_its_layers(distilled, latents):
    with torch.inference_mode():
        expected = distilled.network(latents).permute(2, 0, 1)
    np.testing.assert_allclose(distilled(latents), expected, rtol=1e-5, atol=1e-6)


def test_region_ends_at_its_range_and_its_radius(distilled):
    points = torch.zeros(4, D)
    points[1, 0] = 3.01  # out of the range
    points[2, :3] = 2.9  # at 5.02 of the origin
    points[3, :] = torch.nan
    assert distilled.network.contains(points).tolist() == [True, False, False, False]


@pytest.mark.parametrize(("n_outside", "held"), [(0, True), (3, True), (4, False), (S, False)])
def test_source_is_held_with_two_percent_of_its_draws_outside(distilled, n_outside, held):
    draws = torch.zeros(1, S, D)
    draws[0, :n_outside, 3] = 5
    assert distilled.holds(draws).tolist() == [held]


def test_sources_outside_are_decoded_to_the_last_bit(decoder, distilled, latents):
    found = FoldedDecoder(decoder, distilled=distilled).indices(latents)
    exact = FoldedDecoder(decoder).indices(latents)
    held = np.array([k not in (2, 4) for k in range(N)])
    np.testing.assert_array_equal(found[:, ~held], exact[:, ~held])
    np.testing.assert_array_equal(found[:, held], distilled(latents)[:, held])
    assert found[:, 4].isnan().all()
    assert found[:, held].isfinite().all()


def test_values_of_a_source_do_not_depend_on_the_others(decoder, distilled, latents):
    folded = FoldedDecoder(decoder, distilled=distilled)
    whole = folded.indices(latents)
    order = np.random.default_rng(0).permutation(N)
    np.testing.assert_array_equal(folded.indices(latents[order]), whole[:, order])
    for k in range(N):
        np.testing.assert_array_equal(folded.indices(latents[k : k + 1]), whole[:, k : k + 1])


@pytest.mark.parametrize("n_threads", [2, 3, 4])
def test_several_threads_give_the_same_values(distilled, latents, n_threads):
    threads = torch.get_num_threads()
    one = distilled(latents)
    try:
        torch.set_num_threads(n_threads)
        np.testing.assert_array_equal(distilled(latents), one)
    finally:
        torch.set_num_threads(threads)


def test_on_another_device_than_a_cpu_spectra_are_decoded(decoder, distilled):
    assert FoldedDecoder(decoder, device="meta", distilled=distilled).distilled is None


def test_what_was_written_is_read_again(distilled, latents, tmp_path):
    distilled.write(tmp_path)
    found = DistilledIndices.read(tmp_path, D)
    assert found.record == distilled.record
    assert len(found.sha256) == 64
    np.testing.assert_array_equal(found(latents), distilled(latents))
    np.testing.assert_array_equal(found.holds(latents), distilled.holds(latents))
    assert (tmp_path / FILE_NAME).stat().st_size < 90_000


def test_a_folder_without_one_has_none(tmp_path):
    assert DistilledIndices.read(tmp_path, D) is None


def test_it_fits_its_own_decoder_and_definitions_alone(distilled):
    assert distilled.misfit("a" * 64, TABLE) == ""
    assert distilled.misfit("c" * 64, TABLE) == "it was made for another decoder"
    fewer = LineTable.shipped().choose(PROXIES[:-1])
    assert "other indices" in distilled.misfit("a" * 64, fewer)


def test_definitions_differ_by_a_wavelength_and_not_by_a_description():
    def hashed(**changes):
        first, *others = TABLE.definitions
        return lines_sha256(replace(TABLE, definitions=(first.model_copy(update=changes), *others)))

    assert hashed(about="another text", source="somebody") == lines_sha256(TABLE)
    assert hashed(medium="vacuum") != hashed(medium="air")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"layers.0.weight": torch.zeros(128, 5)}, "shape"),
        ({"layers.0.weight": torch.zeros(9000, 6)}, "9000 units"),
        ({"layers.4.weight": torch.zeros(3, 128)}, "with 3 results"),
        ({"layers.0.weight": torch.full((128, 6), torch.nan)}, "NaN"),
        ({"more": torch.zeros(1)}, "'more' has no place"),
    ],
)
def test_damaged_weights_are_refused(distilled, tmp_path, change, message):
    path = tmp_path / FILE_NAME
    told = json.dumps(record().model_dump(mode="json", by_alias=True))
    write_safetensors(distilled.network.state_dict() | change, path, {RECORD: told})
    with pytest.raises(EnsembleError, match=message) as error:
        DistilledIndices.read(tmp_path, D)
    assert str(path) in str(error.value)


@pytest.mark.parametrize(
    ("told", "message"),
    [
        ({}, "says nothing of what it was made from"),
        ({RECORD: "7"}, "no map in JSON"),
        ({RECORD: "{"}, "no map in JSON"),
        ({RECORD: '{"schema": "targetsel/indices/v9"}'}, "its record: schema"),
    ],
)
def test_damaged_record_is_refused(distilled, tmp_path, told, message):
    write_safetensors(distilled.network.state_dict(), tmp_path / FILE_NAME, told)
    with pytest.raises(EnsembleError, match=message):
        DistilledIndices.read(tmp_path, D)


def test_file_that_is_none_is_refused(tmp_path):
    (tmp_path / FILE_NAME).write_bytes(b"no weights")
    with pytest.raises(EnsembleError, match="safetensors file"):
        DistilledIndices.read(tmp_path, D)


def test_weights_hold_no_more_than_network_and_region(distilled, tmp_path):
    distilled.write(tmp_path)
    names = {name.split(".")[0] for name in read_safetensors(tmp_path / FILE_NAME)}
    assert names == {"layers", "low", "high", "centre", "whitening", "radius"}
