"""Mock spectra have the bins, lines and breaks they are given, and a spectrograph's noise."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from targetsel.mock.anchor import (
    CONTINUUM,
    DECODER_PIXELS,
    KNOWN,
    LINE,
    WAVELENGTH,
    Anchor,
    widths_of,
)
from targetsel.mock.continuum import BREAK_SCATTER, DUST, break_strength, draw_continuum
from targetsel.mock.continuum import N_NORMALS as N_CONTINUUM
from targetsel.mock.galaxies import Galaxies
from targetsel.mock.spectra import (
    N_NORMALS,
    SNR_LIMITS,
    draw_spectra,
    measure_spectra,
    signal_to_noise,
)
from targetsel.photometry.bands import passbands, synthetic_photometry
from targetsel.photometry.flux import NANOMAGGY, SPEED_OF_LIGHT
from targetsel.spectra.grid import wavelengths
from targetsel.spectra.lines import measure
from targetsel.spectra.spectrum import Spectra

N = 1200


@pytest.fixture(scope="module")
def anchor():
    return Anchor.shipped()


@pytest.fixture(scope="module")
def known():
    return Galaxies.shipped().known[: 8 * N : 8]


def normals(seed, n=N):
    return np.random.default_rng(seed).standard_normal((n, N_NORMALS))


@pytest.fixture(scope="module")
def spectra(known, anchor):
    return draw_spectra(known, normals(0), anchor)


@pytest.fixture(scope="module")
def proxies(spectra):
    flux = spectra.total[:, None, DECODER_PIXELS]
    return measure(Spectra(np.arange(N), flux, wavelengths()))


def test_a_flat_spectrum_in_frequency_of_ab_22_5_is_one_nanomaggy_in_every_band():
    for redshift in (0.0, 0.2):
        observed = WAVELENGTH * (1 + redshift)
        flux = NANOMAGGY * SPEED_OF_LIGHT / observed**2 / 1e-17
        bands = passbands("ps1", "griz" if redshift == 0 else "grizy")
        fluxes = synthetic_photometry(bands, WAVELENGTH, np.array([redshift]))[0] @ flux
        assert fluxes == pytest.approx(1.0, rel=2e-3), redshift


def test_colours_and_bins_are_inverse_to_each_other_up_to_the_components_left_out(anchor):
    colours = anchor.mixture.draw(50, np.random.default_rng(0))[:, :6]
    assert anchor.colours(anchor.bins(colours)) == pytest.approx(colours, abs=1e-6)


def test_spectra_reproduce_the_continuum_bins_they_were_drawn_with(anchor):
    features = anchor.mixture.draw(200, np.random.default_rng(0))
    normal = np.random.default_rng(1).standard_normal((200, N_CONTINUUM))
    stars = draw_continuum(features, normal, anchor).total
    inside = [(WAVELENGTH >= a) & (WAVELENGTH < b) for a, b in pairwise(anchor.bin_edges)]
    found = np.stack([stars[:, pixels].mean(axis=1) for pixels in inside], axis=1)
    found /= np.exp(np.log(found).mean(axis=1, keepdims=True))
    asked = anchor.bins(features[:, :6])
    asked /= np.exp(np.log(asked).mean(axis=1, keepdims=True))
    assert np.median(np.abs(found / asked - 1)) < 0.005
    assert np.percentile(np.abs(found / asked - 1), 99) < 0.06


def test_continua_of_equal_bins_differ_in_dust_and_beyond_the_bins(anchor):
    typical = np.median(anchor.mixture.draw(1000, np.random.default_rng(4)), axis=0)
    features = np.repeat(typical[None], 300, axis=0)
    normal = np.random.default_rng(1).standard_normal((300, N_CONTINUUM))
    drawn = draw_continuum(features, normal, anchor)
    scatter = drawn.total.std(axis=0) / drawn.total.mean(axis=0)
    middle = (WAVELENGTH > 4500) & (WAVELENGTH < 6500)
    assert drawn.dust.std() > 0.1
    assert (drawn.dust >= 0).all()
    assert drawn.dust.max() < DUST[-1] + 0.16
    assert np.median(scatter[middle]) < 0.02
    assert 0.02 < scatter[np.argmin(np.abs(WAVELENGTH - 8300))] < 0.10


def test_breaks_scatter_at_equal_bins_by_what_is_stated(anchor):
    features = np.repeat(anchor.mixture.draw(20, np.random.default_rng(0)), 2, axis=0)
    normal = np.zeros((40, N_CONTINUUM))
    normal[1::2, 6] = 1.0
    stars = draw_continuum(features, normal, anchor).total
    sharper = np.diff(np.log(break_strength(stars)))[::2]
    assert sharper == pytest.approx(np.full(20, BREAK_SCATTER), rel=0.1)
    inside = [(WAVELENGTH >= a) & (WAVELENGTH < b) for a, b in pairwise(anchor.bin_edges)]
    bins = np.stack([stars[:, pixels].mean(axis=1) for pixels in inside], axis=1)
    assert bins[1::2] == pytest.approx(bins[::2], rel=1e-3)


def test_draws_follow_what_the_broad_bands_tell(anchor):
    rng = np.random.default_rng(1)
    known = np.repeat([[-0.8, 0.0, 6.3], [0.6, 0.0, 7.0]], 2000, axis=0)
    features, weight = anchor.draw(known, np.full(3, 0.05), rng.normal(size=(4000, 15)))
    blue, red = features[:2000], features[2000:]
    assert np.median(blue[:, 0]) == pytest.approx(-0.8, abs=0.05)
    assert np.median(red[:, 0]) == pytest.approx(0.6, abs=0.05)
    halpha = widths_of(features)["halpha"]
    assert np.median(halpha[:2000]) > 5 * np.median(halpha[2000:])
    assert features[:, KNOWN].std(axis=0).min() > 0
    assert (weight == 1).all()


def test_measured_widths_rise_with_the_widths_that_were_put_in(spectra, proxies):
    for name in ("oii", "oiii", "halpha", "nii", "sii"):
        pair = proxies[f"ew_{name}"][:, 0], spectra.widths[name]
        ranks = [np.argsort(np.argsort(values)) for values in pair]
        assert np.corrcoef(*ranks)[0, 1] > 0.93, name


def test_excesses_of_many_sources_have_mean_zero_and_variance_one(anchor):
    features = anchor.mixture.draw(4000, np.random.default_rng(2))
    for excess in (anchor.line_excess(features), anchor.ratio_excess(features)):
        assert excess.mean() == pytest.approx(0.0, abs=0.06)
        assert excess.std() == pytest.approx(1.0, abs=0.06)


def test_age_excess_of_many_sources_is_centred_and_of_order_one(anchor):
    features = anchor.mixture.draw(1500, np.random.default_rng(5))
    normal = np.random.default_rng(6).standard_normal((1500, N_CONTINUUM))
    d4000 = break_strength(draw_continuum(features, normal, anchor).total)
    excess = anchor.age_excess(features, d4000)
    assert excess.mean() == pytest.approx(0.0, abs=0.1)
    assert excess.std() == pytest.approx(1.0, abs=0.2)
    assert (anchor.age_excess(features, d4000 + 0.1) > excess).all()


def test_a_stronger_line_at_the_same_continuum_has_the_larger_excess(anchor):
    features = np.repeat(anchor.mixture.draw(1, np.random.default_rng(3)), 5, axis=0)
    features[:, LINE["halpha"]] = np.arcsinh([1, 5, 20, 60, 200])
    assert (np.diff(anchor.line_excess(features)) > 0).all()
    features = np.repeat(features[2:3], 5, axis=0)
    features[:, LINE["nii"]] = np.arcsinh([1, 3, 9, 20, 30])
    assert np.ptp(anchor.line_excess(features)) < 1e-9
    assert (np.diff(anchor.ratio_excess(features)) > 0).all()
    assert len(CONTINUUM) == 7


def test_over_sampling_brings_strong_emitters_and_weights_that_undo_it(known, anchor, spectra):
    more = draw_spectra(known, normals(0), anchor, over_sampling=0.5)
    strong = {each: (drawn.widths["halpha"] > 60) for each, drawn in
              (("plain", spectra), ("more", more))}  # fmt: skip
    assert strong["more"].mean() > 2 * strong["plain"].mean()
    weighted = (more.weight * strong["more"]).mean()
    assert weighted == pytest.approx(strong["plain"].mean(), rel=0.5)
    assert more.weight.mean() == pytest.approx(1.0, abs=0.05)
    assert more.weight.max() <= 2.0
    assert (spectra.weight == 1).all()


def test_a_spectrum_is_the_same_alone_and_among_others(known, anchor, spectra):
    alone = draw_spectra(known[7:8], normals(0)[7:8], anchor)
    assert alone.total[0] == pytest.approx(spectra.total[7], rel=1e-9)
    for name in ("line_excess", "ratio_excess", "age_excess", "dust", "agn"):
        assert getattr(alone, name)[0] == pytest.approx(getattr(spectra, name)[7], rel=1e-6), name


def test_no_spectrum_is_negative_and_stars_are_one_at_5500_to_6100_angstrom(spectra):
    middle = (WAVELENGTH > 5500) & (WAVELENGTH < 6100)
    assert (spectra.total >= 0).all()
    assert np.isfinite(spectra.total).all()
    # Interstellar sodium takes a little.
    level = (spectra.old + spectra.young)[:, middle].mean(axis=1)
    assert ((level > 0.99) & (level <= 1 + 1e-9)).all()


def test_signal_to_noise_is_ten_at_17_7_and_stays_within_its_limits():
    snr = signal_to_noise(np.array([17.7, 16.7, 12.0, 22.0]), np.zeros(4))
    assert snr == pytest.approx([10.0, 10**1.3, *SNR_LIMITS[::-1]])


def test_half_of_the_pixels_are_above_the_signal_to_noise_asked_for():
    flux, snr = np.full((3, 1000), 0.03), np.array([4.0, 10.0, 60.0])
    _, ivar = measure_spectra(flux, np.full(3, 0.1), snr, np.zeros((3, 1000)))
    assert np.median(flux * np.sqrt(ivar), axis=1) == pytest.approx(snr, rel=1e-3)


@given(st.floats(0.02, 0.28), st.floats(4.0, 60.0))
def test_noise_over_sigma_is_the_normals_that_were_given(redshift, snr):
    flux = np.linspace(0.01, 0.05, 1000)[None]
    noise = np.random.default_rng(0).normal(size=(1, 1000))
    measured, ivar = measure_spectra(flux, np.array([redshift]), np.array([snr]), noise)
    seen = ivar > 0
    assert seen.mean() > 0.9
    assert ((measured - flux) * np.sqrt(ivar))[seen] == pytest.approx(noise[seen], abs=2e-3)


def test_ends_are_noisier_than_the_middle():
    _, ivar = measure_spectra(
        np.full((1, 1000), 0.03), np.array([0.1]), np.array([10.0]), np.zeros((1, 1000))
    )
    assert ivar[0, 600] > 2 * ivar[0, 0]
    assert ivar[0, 600] > 1.5 * ivar[0, -1]
