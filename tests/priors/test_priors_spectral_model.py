"""What a decoder leaves out of spectra."""

import numpy as np
import pytest

from targetsel.errors import EnsembleError, SpectrumError
from targetsel.priors.spectral_model import RESIDUAL_FILE, SpectralResidual, line_strength
from tests.priors.toy import LEVEL, LineDecoder


class Remembering(LineDecoder):
    """A decoder whose encoder is told the latents."""

    def __init__(self, latents):
        super().__init__()
        self.waiting = latents

    def encode(self, flux):
        found, self.waiting = self.waiting[: len(flux)], self.waiting[len(flux) :]
        return found, np.zeros_like(found)


def planted(n=3000):
    """Spectra with one wave more than their decoder knows, and its size for each."""
    rng = np.random.default_rng(1)
    latents = rng.normal(size=(n, 1))
    decoder = Remembering(latents)
    wave = LEVEL * np.cos(np.linspace(0, 9, 1000))
    flux = decoder.decode(latents[:, None]).flux[:, 0] + 0.03 * rng.normal(size=(n, 1)) * wave
    return decoder, flux, 0.03 * wave


def test_a_planted_wave_is_found_in_every_range():
    decoder, flux, wave = planted(8000)
    residual = SpectralResidual.fit(flux, decoder, "a")
    assert residual.factor.shape == (5, 1000, 12)
    for factor in residual.factor:
        assert np.abs(factor @ factor.T - np.outer(wave, wave)).max() < 0.3 * (wave**2).max()
    assert residual.variance.max() < 1e-4 * (wave**2).max()


def test_ranges_part_weak_lines_from_strong_ones():
    decoder, flux, _ = planted()
    residual = SpectralResidual.fit(flux, decoder, "a")
    weak, strong = decoder.decode(np.array([[[-2.0]], [[2.0]]])).flux[:, 0]
    assert residual.range_of(np.stack([weak, strong])).tolist() == [0, 4]
    assert (np.diff(residual.edges) > 0).all()
    assert line_strength(weak[None])[0] < residual.edges[0]


def test_too_few_spectra_are_refused():
    decoder, flux, _ = planted(100)
    with pytest.raises(SpectrumError, match=r"^100 spectra .*, expected at least 1000$"):
        SpectralResidual.fit(flux, decoder, "a")


@pytest.fixture
def written(tmp_path):
    decoder, flux, _ = planted(1000)
    residual = SpectralResidual.fit(flux, decoder, "0123456789abcdef")
    residual.write(tmp_path)
    return residual, tmp_path


def test_it_comes_back_to_the_digits_of_half_precision(written):
    residual, folder = written
    again = SpectralResidual.read(folder, "0123456789abcdef")
    assert again.factor == pytest.approx(residual.factor, rel=2e-3, abs=1e-6)
    assert np.array_equal(again.edges, residual.edges)
    assert again.variance == pytest.approx(residual.variance, rel=1e-2, abs=1e-12)


def test_that_of_another_decoder_is_refused(written):
    with pytest.raises(EnsembleError, match="was fitted for the decoder 0123456789ab, but the one"):
        SpectralResidual.read(written[1], "f" * 64)


def test_a_damaged_file_is_refused(written):
    path = written[1] / RESIDUAL_FILE
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(EnsembleError, match=r"damaged .*Fit it with 'targetsel priors residual'\."):
        SpectralResidual.read(written[1], "0123456789abcdef")


def test_an_ensemble_without_one_says_how_to_get_it(tmp_path):
    with pytest.raises(EnsembleError, match=r"no spectral_residual\.npz there.*Fit it with"):
        SpectralResidual.read(tmp_path, "a")
