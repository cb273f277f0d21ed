"""The decoder combined with the line table, against the full grid."""

import copy

import numpy as np
import pytest
import torch

from targetsel.mock.anchor import DECODER_PIXELS, Anchor
from targetsel.mock.galaxies import Galaxies
from targetsel.mock.spectra import N_NORMALS, draw_spectra
from targetsel.scoring.ensemble import find_ensemble
from targetsel.spectra.autoencoder import LatentSpace, SpectralAutoencoder
from targetsel.spectra.decoder import SOURCES_AT_ONCE, Decoder, FoldedDecoder
from targetsel.spectra.grid import wavelengths
from targetsel.spectra.lines import PROXIES, LineTable, measure

TABLE = LineTable.shipped()


@pytest.fixture(scope="module")
def decoder():
    return Decoder.read(find_ensemble("mock-ps1"))


@pytest.fixture(scope="module")
def latents(decoder):
    """Of galaxies: elsewhere a decoder may divide by next to nothing."""
    normals = np.random.default_rng(0).standard_normal((900, N_NORMALS))
    spectra = draw_spectra(Galaxies.shipped().known[:900], normals, Anchor.shipped())
    return decoder.encode(spectra.total[:, DECODER_PIXELS])[0].reshape(3, 300, 6).astype(float)


def in_double_precision(decoder, latents):
    """Spectra (N, S, 1000) by the decoder's weights in double precision."""
    network = copy.deepcopy(decoder.network).double()
    with torch.inference_mode():
        raw = network.unstandardise(torch.from_numpy(latents))
        return (network.decoder(raw) + network.mean_spectrum).numpy()


@pytest.mark.parametrize("name", TABLE.names)
def test_every_index_is_that_of_the_full_grid_in_double_precision(decoder, latents, name):
    # What is divided by needs some strength: a ratio to nothing may be anything.
    table = TABLE.choose([name, "ew_halpha_gas", "ew_hbeta_gas", "mgb"])
    found = FoldedDecoder(decoder, table).measure(latents).values
    full = table.measure(in_double_precision(decoder, latents), wavelengths())
    expected, *strengths = np.moveaxis(full, -1, 0)
    compared = np.isfinite(found[..., 0]) & np.isfinite(expected)
    assert (np.isfinite(found[..., 0]) == np.isfinite(expected)).mean() > 0.99
    if name.startswith("log_") or name in ("balmer_decrement", "mgfe_prime"):
        compared &= (np.array(strengths) > 1).all(axis=0)
    assert compared.sum() > 20
    one, other = found[..., 0][compared], expected[compared]
    if name.startswith("log_"):
        one, other = 10**one, 10**other
    # A width beyond 30 Angstrom may divide by next to nothing, and counts by its own size.
    usual = 30.0 if table[name].unit == "Angstrom" else 1.0
    scale = np.maximum(1.0, np.abs(other) / usual)
    assert np.max(np.abs(one - other) / scale) < 1e-4


def test_proxies_are_the_default_and_carry_the_sources_ids(decoder, latents):
    found = FoldedDecoder(decoder).measure(latents, np.array([5, 3, 9]))
    full = measure(decoder.decode(latents, np.array([5, 3, 9])))
    assert found.names == full.names == PROXIES
    np.testing.assert_array_equal(found.source_id, full.source_id)
    np.testing.assert_allclose(found.values, full.values, rtol=1e-5, atol=2e-4)


def test_values_do_not_depend_on_the_other_sources(decoder, latents):
    folded = FoldedDecoder(decoder)
    whole = folded.measure(latents).values
    np.testing.assert_array_equal(folded.measure(latents[2:]).values, whole[2:])
    copies = SOURCES_AT_ONCE // 3 + 1  # more sources than are measured at once
    many = np.concatenate([latents] * copies)
    np.testing.assert_array_equal(folded.measure(many).values[-3:], whole)


def test_source_without_a_prediction_has_no_proxies_and_leaves_its_neighbours_alone(
    decoder, latents
):
    folded = FoldedDecoder(decoder)
    whole = folded.measure(latents).values
    gone = latents.copy()
    gone[1] = np.nan
    found = folded.measure(gone).values
    assert np.isnan(found[1]).all()
    np.testing.assert_array_equal(found[[0, 2]], whole[[0, 2]])


def test_decoder_of_principal_components_is_folded_alike():
    torch.manual_seed(0)
    network = SpectralAutoencoder(LatentSpace(10, 6))
    with torch.no_grad():
        network.mean_spectrum.fill_(1000**-0.5)
        network.decoder[-1].weight *= 0.02
        network.decoder[-1].bias *= 0.02
        network.pca_mean.uniform_(-1, 1)
        network.latent_mean.uniform_(-1, 1)
        network.latent_std.uniform_(0.5, 2)
    decoder = Decoder(network)
    latents = np.random.default_rng(1).normal(size=(2, 10, 6))
    found = FoldedDecoder(decoder).measure(latents).values
    expected = measure(decoder.decode(latents)).values
    np.testing.assert_allclose(found, expected, atol=2e-4)


def test_no_sources_have_no_proxies(decoder):
    assert FoldedDecoder(decoder).measure(np.empty((0, 8, 6))).values.shape == (0, 8, len(PROXIES))
