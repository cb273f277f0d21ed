from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr

from targetsel.errors import SpectrumError
from targetsel.scoring.ensemble import find_ensemble
from targetsel.spectra.autoencoder import LatentSpace, SpectralAutoencoder
from targetsel.spectra.decoder import Decoder
from targetsel.spectra.encoding import (
    MOST_PANELS,
    draw_spectra,
    encode,
    encode_files,
    scatter_under_noise,
    table,
)
from targetsel.spectra.lines import measure
from targetsel.spectra.reading import read_spectra
from targetsel.spectra.rest_frame import Basis
from targetsel.spectra.spectrum import Spectra


@pytest.fixture
def decoder():
    """Untrained, but for the mean spectrum."""
    torch.manual_seed(0)
    network = SpectralAutoencoder(LatentSpace(4))
    network.mean_spectrum.copy_(torch.from_numpy(Basis.shipped().mean))
    return Decoder(network)


@pytest.fixture
def shipped():
    return Decoder.read(find_ensemble("mock-ps1"))


def test_encoding_is_that_of_the_filled_rest_frame_spectrum(decoder, write_sdss):
    (spectrum,) = read_spectra(write_sdss())
    encoded = encode([spectrum], decoder)
    assert encoded.latent_mean.shape == encoded.latent_std.shape == (1, 4)
    assert (encoded.spectra.flux**2).sum() == pytest.approx(1)
    expected, _ = decoder.encode(encoded.spectra.flux)
    np.testing.assert_array_equal(encoded.latent_mean, expected)
    assert 0.85 < encoded.covered[0] < 1


def test_the_errors_of_latents_are_those_of_spectra_measured_again(shipped):
    rng = np.random.default_rng(1)
    clean = np.repeat(Basis.shipped().mean[None], 200, axis=0).astype(np.float64)
    sigma = 0.1 * clean.mean()
    again = clean + sigma * rng.standard_normal(clean.shape)
    ivar, ids = np.full_like(clean, sigma**-2), np.arange(200)
    claimed = scatter_under_noise(ids, again, ivar, shipped)
    found = shipped.encode(again)[0].std(axis=0)
    assert np.sqrt((claimed**2).mean(axis=0)) == pytest.approx(found, rel=0.25)
    assert np.array_equal(
        claimed[5:7], scatter_under_noise(ids[5:7], again[5:7], ivar[5:7], shipped)
    )


def test_latents_do_not_depend_on_brightness(decoder, write_sdss):
    flux = 3 + np.sin(np.arange(3846) / 300)
    faint = write_sdss("faint.fits", flux=flux, ivar=np.full(3846, 100.0))
    bright = write_sdss("bright.fits", flux=flux * 50, ivar=np.full(3846, 100.0 / 50**2))
    one, other = (encode(read_spectra(path), decoder) for path in (faint, bright))
    np.testing.assert_allclose(one.latent_mean, other.latent_mean, atol=1e-5)
    np.testing.assert_allclose(one.chi2, other.chi2, rtol=1e-3)


def test_quality_counts_measured_pixels_only(decoder, write_sdss):
    encoded = encode(read_spectra(write_sdss()), decoder)
    spectra = encoded.spectra
    off = np.where(spectra.mask, 99.0, spectra.flux * 1.1)
    assert replace(encoded, reconstruction=off).residual[0] == pytest.approx(0.1)
    two_sigma = np.where(spectra.mask, 99.0, spectra.flux)
    two_sigma[~spectra.mask] += 2 / np.sqrt(spectra.ivar[~spectra.mask])
    assert replace(encoded, reconstruction=two_sigma).chi2[0] == pytest.approx(4)


def test_bad_file_stays_in_the_table_and_says_why(decoder, write_sdss, tmp_path):
    bad = write_sdss("bad.fits", ivar=np.zeros(3846))
    files = [write_sdss("good.fits"), bad, tmp_path / "absent.fits"]
    rows = table(encode_files(files, decoder), 4).to_pylist()
    assert [row["source_id"] for row in rows] == ["good", "bad", "absent"]
    assert [row["status"] == "ok" for row in rows] == [True, False, False]
    assert (
        rows[1]["status"]
        == f"{bad}: every pixel is masked (all 3846 have ivar 0; expected some above 0)"
    )
    assert rows[1]["latent_mean"] is rows[1]["chi2"] is rows[1]["redshift"] is None
    assert len(rows[0]["latent_mean"]) == 4


def test_answer_of_a_file_does_not_depend_on_the_others(decoder, write_sdss):
    paths = [write_sdss(f"{k}.fits", redshift=0.05 + 0.02 * k) for k in range(3)]
    together = table(encode_files(paths, decoder), 4).to_pylist()
    turned = table(encode_files(paths[::-1], decoder), 4).to_pylist()
    assert together == turned[::-1]


def test_picture_shows_the_first_spectra_only(decoder, write_sdss, tmp_path):
    encoded = encode(read_spectra(write_sdss()), decoder)
    assert draw_spectra([encoded] * (MOST_PANELS + 2), tmp_path / "p.png") == MOST_PANELS
    assert (tmp_path / "p.png").read_bytes().startswith(b"\x89PNG")


# ---------------------------------------------------------------- real ones, shipped decoder


def test_real_spectra_are_nearly_as_well_described_as_by_ten_components(real_spectra, shipped):
    encoded = encode([read_spectra(path)[0] for path in real_spectra], shipped)
    spectra, basis = encoded.spectra, Basis.shipped()
    fitted = np.array(
        [basis.reconstruct(*each) for each in zip(spectra.flux, spectra.ivar, strict=True)]
    )
    assert (encoded.covered > 0.75).all()
    assert np.median(encoded.residual) < 0.035
    by_components = replace(encoded, reconstruction=fitted).residual
    assert (encoded.residual < 1.25 * by_components).all()


def test_real_4000_angstrom_breaks_keep_their_order(real_spectra, shipped):
    encoded = encode([read_spectra(path)[0] for path in real_spectra], shipped)
    ids, grid = encoded.spectra.source_id, encoded.spectra.wavelength
    direct = measure(Spectra(ids, encoded.spectra.flux[:, None], grid))["d4000"][:, 0]
    decoded = measure(Spectra(ids, encoded.reconstruction[:, None], grid))["d4000"][:, 0]
    assert spearmanr(direct, decoded).statistic > 0.9


def test_real_spectrum_at_a_wrong_redshift_is_badly_described(real_spectra, shipped):
    right = encode_files(real_spectra[:1], shipped)[0].result
    wrong = encode_files(real_spectra[:1], shipped, redshift=0.2)[0].result
    assert not isinstance(wrong, SpectrumError)
    assert wrong.chi2[0] > 2 * right.chi2[0]
