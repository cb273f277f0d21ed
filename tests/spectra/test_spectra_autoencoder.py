import math
import re

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA

from targetsel.errors import EnsembleError, SpectrumError
from targetsel.spectra.autoencoder import LatentSpace, SpectralAutoencoder, maximum_mean_discrepancy
from targetsel.spectra.decoder import Decoder
from targetsel.weights.safetensors import write_safetensors


def fixed_autoencoder(mean, log_variance, output):
    """One that gives the same latents and the same output for every spectrum."""
    network = SpectralAutoencoder(LatentSpace(len(mean)))
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.zero_()
        network.encoder[4].bias.copy_(torch.tensor([*mean, *log_variance]))
        network.decoder[4].bias.fill_(output)
    return network


# ---------------------------------------------------------------- latent spaces


@pytest.mark.parametrize(
    ("name", "native", "n_latents"), [("vae6", 6, 6), ("vae10pca6", 10, 6), ("vae2", 2, 2)]
)
def test_latent_space_is_told_by_its_name(name, native, n_latents):
    space = LatentSpace.parse(name)
    assert (space.native, space.n_latents, space.name) == (native, n_latents, name)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("6", "latent space '6' is not known. Expected vaeN or vaeNpcaK"),
        ("vae6pca10", "10 principal components of 6 latents; expected 1 to 6"),
        ("vae0", "0 latents: an autoencoder needs at least one"),
    ],
)
def test_latent_space_that_cannot_be_is_refused(name, message):
    with pytest.raises(SpectrumError, match=message):
        LatentSpace.parse(name)


# ---------------------------------------------------------------- the loss


def test_shape_is_1000_549_110_latents_and_back():
    shapes = [tuple(p.shape) for p in SpectralAutoencoder(LatentSpace(10)).parameters()]
    encoder = [(549, 1000), (549,), (110, 549), (110,), (20, 110), (20,)]
    assert shapes == [*encoder, (110, 10), (110,), (549, 110), (549,), (1000, 549), (1000,)]


def test_fit_and_divergence_are_those_worked_out_by_hand():
    mean, log_variance = [0.5, -1.0], [math.log(0.25), math.log(4.0)]
    network = fixed_autoencoder(mean, log_variance, output=0.1)
    x = torch.zeros(3, 1000)
    x[:, 0] = 1.1
    weight = torch.full((3, 1000), 2.0)
    weight[:, 500:] = 0.0  # masked pixels
    with torch.no_grad():
        parts = network.loss_parts(x, weight, torch.Generator().manual_seed(0))
    # (1.1 - 0.1)^2 + 499 * 0.1^2 = 5.99, times weight 2, halved, for 3 spectra
    assert float(parts.fit) == pytest.approx(3 * 5.99, rel=1e-5)
    # (0.25 + 1) from the means; (0.25 - 1 + 1.3863) + (4 - 1 - 1.3863) from the variances
    assert float(parts.divergence) == pytest.approx(3 * 0.5 * (1.25 + 2.25), rel=1e-5)


def test_parts_are_weighted_with_alpha_and_lambda():
    network = fixed_autoencoder([0.0], [0.0], output=0.0)
    x, weight = torch.ones(4, 1000), torch.ones(4, 1000)
    with torch.no_grad():
        parts = network.loss_parts(x, weight, torch.Generator().manual_seed(0))
    fit, divergence, mismatch = (float(v) for v in vars(parts).values())
    assert float(parts.total()) == pytest.approx(fit + divergence + 99 * mismatch)
    assert float(parts.total(1.0, 1.0)) == pytest.approx(fit + mismatch)


def test_mismatch_of_single_points_is_closed_form():
    x, y = torch.tensor([[0.0, 0.0]]), torch.tensor([[1.0, 2.0]])
    found = float(maximum_mean_discrepancy(x, y))
    assert found == pytest.approx(2 - 2 * math.exp(-(1 + 4) / 2))  # mean over two latents


def test_mismatch_is_that_of_a_slow_double_loop():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(7, 3)), rng.normal(size=(5, 3))

    def kernel(a, b):
        return np.mean([[math.exp(-np.mean((p - q) ** 2)) for q in b] for p in a])

    expected = kernel(x, x) + kernel(y, y) - 2 * kernel(x, y)
    found = maximum_mean_discrepancy(torch.from_numpy(x), torch.from_numpy(y))
    assert float(found) == pytest.approx(expected, rel=1e-9)


def test_mismatch_vanishes_for_latents_that_are_the_prior():
    x = torch.randn(400, 4, generator=torch.Generator().manual_seed(1))
    far = maximum_mean_discrepancy(x + 3, x)
    assert float(maximum_mean_discrepancy(x, x)) == pytest.approx(0, abs=1e-6)
    assert float(far) == pytest.approx(0.5, abs=0.05)  # twice the 1/4 of 4 latents with themselves


def test_mismatch_part_counts_every_latent_of_the_batch():
    network = fixed_autoencoder([2.0, 2.0], [-40.0, -40.0], output=0.0)
    x = torch.zeros(8, 1000)
    with torch.no_grad():
        parts = network.loss_parts(x, x, torch.Generator().manual_seed(0))
    generator = torch.Generator().manual_seed(0)
    torch.randn((8, 2), generator=generator)  # the draw that is decoded comes first
    normal = torch.randn((200, 2), generator=generator)
    expected = maximum_mean_discrepancy(torch.full((8, 2), 2.0), normal) * 16
    assert float(parts.mismatch) == pytest.approx(float(expected), rel=1e-5)


# ---------------------------------------------------------------- the label scaler


def trained_scaler(space):
    torch.manual_seed(3)
    network = SpectralAutoencoder(space)
    raw = torch.randn(500, space.native, generator=torch.Generator().manual_seed(4))
    raw = raw * torch.linspace(0.5, 3, space.native) + 7
    with torch.no_grad():
        network.fit_scaler(raw)
    return network, raw


@pytest.mark.parametrize("name", ["vae6", "vae10pca6", "vae10pca10"])
def test_standardised_labels_have_mean_0_and_variance_1(name):
    network, raw = trained_scaler(LatentSpace.parse(name))
    labels, _ = network.standardise(raw, torch.zeros_like(raw))
    assert labels.shape == (500, network.space.n_latents)
    np.testing.assert_allclose(labels.mean(dim=0), 0, atol=1e-5)
    np.testing.assert_allclose(labels.std(dim=0), 1, atol=1e-5)


@pytest.mark.parametrize("name", ["vae6", "vae10pca10"])
def test_scaler_is_inverted(name):
    network, raw = trained_scaler(LatentSpace.parse(name))
    labels, _ = network.standardise(raw, torch.zeros_like(raw))
    np.testing.assert_allclose(network.unstandardise(labels), raw, atol=1e-4)


def test_six_components_of_ten_are_those_of_scikit_learn():
    network, raw = trained_scaler(LatentSpace(10, 6))
    pca = PCA(6).fit(raw.numpy())
    labels, _ = network.standardise(raw, torch.zeros_like(raw))
    expected = pca.inverse_transform(pca.transform(raw.numpy()))
    np.testing.assert_allclose(network.unstandardise(labels), expected, atol=1e-3)


def test_variance_of_components_is_that_of_draws():
    network, raw = trained_scaler(LatentSpace(10, 6))
    variance = torch.linspace(0.1, 2.0, 10)
    noise = torch.randn(100_000, 10, generator=torch.Generator().manual_seed(5)) * variance.sqrt()
    labels, _ = network.standardise(raw[:1] + noise, noise)
    _, found = network.standardise(raw[:1], variance[None])
    np.testing.assert_allclose(labels.var(dim=0), found[0], rtol=0.03)


# ---------------------------------------------------------------- the decoder around it


@pytest.mark.parametrize("name", ["vae6", "vae10pca6"])
def test_decoder_reads_back_as_it_was_written(name, tmp_path, galaxies):
    network, _ = trained_scaler(LatentSpace.parse(name))
    Decoder(network).write(tmp_path / "decoder.safetensors")
    read = Decoder.read(tmp_path)
    assert (read.space.name, read.n_latents) == (name, 6)
    latents, std = read.encode(galaxies(4))
    expected, expected_std = Decoder(network).encode(galaxies(4))
    np.testing.assert_array_equal(latents, expected)
    np.testing.assert_array_equal(std, expected_std)
    assert read.decode(latents[:, None]).flux.shape == (4, 1, 1000)


def test_encoding_does_not_depend_on_brightness(galaxies):
    network, _ = trained_scaler(LatentSpace(6))
    flux = galaxies(3)
    bright, _ = Decoder(network).encode(1e4 * flux)
    np.testing.assert_allclose(bright, Decoder(network).encode(flux)[0], atol=1e-6)


def test_weights_of_something_else_are_refused(tmp_path):
    from safetensors.torch import save_file

    path = tmp_path / "other.safetensors"
    save_file({"weight": torch.zeros(2)}, path)
    with pytest.raises(EnsembleError, match="no tensor 'latent_mean', so it is not a spectral dec"):
        Decoder.read(path)


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        ("decoder.0.weight", torch.zeros(1, 1_000_000), r"shape (1, 1000000), expected 110 rows"),
        ("pca_components", torch.tensor(1.0), "'pca_components' has 0 axes"),
        ("latent_std", torch.zeros(6), "'latent_std' holds numbers of 0 or less"),
        ("encoder.0.bias", torch.full((549,), torch.nan), "'encoder.0.bias' holds NaN or infinity"),
    ],
)
def test_decoder_that_cannot_work_is_refused_when_it_is_read(tmp_path, name, values, message):
    tensors = SpectralAutoencoder(LatentSpace(10, 6)).state_dict() | {name: values}
    write_safetensors(tensors, tmp_path / "odd.safetensors")
    with pytest.raises(EnsembleError, match=re.escape(message)):
        Decoder.read(tmp_path / "odd.safetensors")


def test_spectra_off_the_grid_are_refused():
    with pytest.raises(SpectrumError, match=r"shape \(2, 999\), expected \(N, 1000\)"):
        Decoder(SpectralAutoencoder(LatentSpace(2))).encode(np.ones((2, 999)))
