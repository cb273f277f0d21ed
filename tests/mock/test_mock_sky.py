"""The mock sky is right in units and structure, source by source."""

from itertools import pairwise

import numpy as np
import pytest

from targetsel.mock.anchor import KNOWN, Anchor
from targetsel.mock.emission import COMPONENTS, FOLLOWERS, line_spectrum, profile
from targetsel.mock.galaxies import NANOJANSKY, Galaxies
from targetsel.mock.images import (
    Shapes,
    add_noise,
    draw_images,
    fiber_share,
    sersic_gaussians,
)
from targetsel.mock.photometry import PANSTARRS, SPEED_OF_LIGHT, response
from targetsel.mock.sky import observe
from targetsel.mock.spectra import N_NORMALS, draw_spectra
from targetsel.mock.survey import PAN_STARRS
from targetsel.mock.templates import DECODER_PIXELS, EDGES, WAVELENGTH
from targetsel.spectra.grid import wavelengths
from targetsel.spectra.lines import measure
from targetsel.spectra.spectrum import Spectra


@pytest.fixture(scope="module")
def galaxies():
    return Galaxies.shipped().take(np.arange(0, 300, 10))


@pytest.fixture(scope="module")
def sources(galaxies):
    return next(observe(galaxies, seed=3))


def round_shapes(n, radius=0.8, offset=0.0):
    one, zero = np.ones(n), np.zeros(n)
    return Shapes(one * radius, one * radius, one, one, zero, zero, one * offset, zero)


def test_the_catalog_is_9727_galaxies_within_its_stated_limits():
    shipped = Galaxies.shipped()
    magnitude = 31.4 - 2.5 * np.log10(shipped.flux[:, 2])
    assert len(shipped) == 9727
    assert len(np.unique(shipped.source_id)) == 9727
    assert (shipped.redshift > 0.02).all()
    assert (shipped.redshift < 0.28).all()
    assert magnitude.min() > 13.49
    assert magnitude.max() < 18.51


def test_the_demonstration_and_the_training_galaxies_do_not_overlap():
    shown, others = (set(Galaxies.of_demonstration(k).source_id.tolist()) for k in (True, False))
    assert not shown & others
    assert len(shown) + len(others) == 9727
    assert len(shown) >= 2000


def test_a_flat_spectrum_in_frequency_of_ab_22_5_is_one_nanomaggy_in_every_band():
    nanomaggy = 3.630_780_548e-29
    for redshift in (0.0, 0.2):
        observed = WAVELENGTH * (1 + redshift)
        flux = nanomaggy * SPEED_OF_LIGHT / observed**2 / 1e-17
        bands = ("g", "r", "i", "z") if redshift == 0 else PANSTARRS
        fluxes = response("panstarrs", bands, WAVELENGTH, np.array([redshift]))[0] @ flux
        assert fluxes == pytest.approx(1.0, rel=2e-3), redshift


def test_a_line_profile_holds_unit_flux_at_its_centre():
    shape = profile(EDGES, 6564.61, np.array([120.0]))[0]
    assert (shape * np.diff(EDGES)).sum() == pytest.approx(1.0, abs=1e-9)
    assert abs(WAVELENGTH[shape.argmax()] - 6564.61) < 3.0


def test_lines_on_a_flat_continuum_have_the_widths_they_were_given():
    widths = {name: np.array([10.0]) for name in COMPONENTS}
    continuum = np.ones((1, len(WAVELENGTH)))
    lines = line_spectrum(widths, continuum, EDGES, np.array([100.0]))
    total = (lines * np.diff(EDGES)).sum()
    followers = sum(10 * ratio for _, _, ratio in FOLLOWERS)
    assert total == pytest.approx(60 + followers, rel=1e-6)


def test_spectra_reproduce_the_continuum_bins_they_were_drawn_with():
    anchor = Anchor.shipped()
    known = Galaxies.shipped().known[:20]
    spectra = draw_spectra(known, np.random.default_rng(0).normal(size=(20, N_NORMALS)), anchor)
    stars = spectra.old + spectra.young
    inside = [(WAVELENGTH >= a) & (WAVELENGTH < b) for a, b in pairwise(anchor.bin_edges)]
    bins = np.stack([stars[:, pixels].mean(axis=1) for pixels in inside], axis=1)
    rebuilt = anchor.bins(anchor.colours(bins))
    shape = bins / np.exp(np.log(bins).mean(axis=1, keepdims=True))
    assert np.median(np.abs(rebuilt / shape - 1)) < 0.02


def test_draws_follow_what_the_broad_bands_tell():
    anchor = Anchor.shipped()
    rng = np.random.default_rng(1)
    known = np.repeat([[-0.8, 0.0, 6.3], [0.6, 0.0, 7.0]], 2000, axis=0)
    features = anchor.draw(known, np.full(3, 0.05), rng.normal(size=(4000, 14)))
    blue, red = features[:2000], features[2000:]
    assert np.median(blue[:, 0]) == pytest.approx(-0.8, abs=0.05)
    assert np.median(red[:, 0]) == pytest.approx(0.6, abs=0.05)
    halpha = 7 + 3  # after six colours and the luminosity: oii, hbeta, oiii, halpha
    assert np.median(np.sinh(blue[:, halpha])) > 5 * np.median(np.sinh(red[:, halpha]))
    assert features[:, KNOWN].std(axis=0).min() > 0


def test_gaussians_of_a_profile_hold_all_light_and_half_of_it_inside_one_radius():
    for index in (1.0, 4.0):
        share, sigma = sersic_gaussians(index)
        assert share.sum() == pytest.approx(1.0)
        assert share @ (1 - np.exp(-0.5 / sigma**2)) == pytest.approx(0.5, abs=0.005)


def test_exponential_disk_matches_its_closed_form_between_a_tenth_and_three_radii():
    share, sigma = sersic_gaussians(1.0)
    radius = np.linspace(0.1, 3.0, 30)
    surface = np.exp(-0.5 * (radius[:, None] / sigma) ** 2) @ (share / (2 * np.pi * sigma**2))
    scale = 1 / 1.678347
    expected = np.exp(-radius / scale) / (2 * np.pi * scale**2)
    assert surface == pytest.approx(expected, rel=0.06)


def test_a_galaxy_much_smaller_than_the_fiber_puts_most_of_its_light_into_it():
    tiny, huge = np.array([0.05]), np.array([30.0])
    assert fiber_share(tiny, np.ones(1), 1.0) == pytest.approx(0.959, abs=0.01)
    assert fiber_share(huge, np.ones(1), 1.0) == pytest.approx(0.02)


def test_image_sums_to_its_flux_and_is_centred():
    flux = np.array([[10.0, 20.0, 30.0, 40.0, 50.0]])
    image = draw_images(flux * 0.3, flux * 0.7, round_shapes(1), PAN_STARRS, 64)
    assert image.sum(axis=(2, 3)) == pytest.approx(flux, rel=0.02)
    y, x = np.mgrid[:64, :64] - 31.5
    for band in image[0]:
        assert (band * x).sum() / band.sum() == pytest.approx(0.0, abs=0.01)
        assert (band * y).sum() / band.sum() == pytest.approx(0.0, abs=0.01)


def test_an_offset_of_one_arcsecond_moves_the_image_by_four_pixels():
    flux = np.full((1, 5), 10.0)
    image = draw_images(flux, flux, round_shapes(1, 0.3, offset=1.0), PAN_STARRS, 64)[0, 1]
    x = np.arange(64) - 31.5
    assert (image.sum(axis=0) * x).sum() / image.sum() == pytest.approx(4.0, abs=0.05)


def test_a_point_source_has_the_seeing_of_its_band():
    flux = np.full((1, 5), 1.0)
    image = draw_images(flux, flux, round_shapes(1, 0.001), PAN_STARRS, 64)[0, 1]
    outwards = image[31:33].mean(axis=0)[32:]
    radius = 0.25 * (np.arange(32) + 0.5)
    peak = outwards[0] * np.exp(4 * np.log(2) * (0.125 / 1.19) ** 2)
    half = np.interp(peak / 2, outwards[::-1], radius[::-1])
    assert 2 * half == pytest.approx(1.25, abs=0.07)  # the pixel and the wings add a little


def test_blank_sky_has_the_noise_of_the_depth():
    blank = np.zeros((40, 5, 64, 64), dtype=np.float32)
    noisy = add_noise(blank, PAN_STARRS, [np.random.default_rng(k) for k in range(40)])
    assert noisy.std(axis=(0, 2, 3)) == pytest.approx(PAN_STARRS.sky_sigma, rel=0.01)


def test_a_point_source_at_the_stated_depth_is_found_at_five_sigma():
    flux = 10 ** (-0.4 * (PAN_STARRS.depth - 22.5))
    sigma = PAN_STARRS.seeing / 2.3548 / PAN_STARRS.pixel_scale
    noise = PAN_STARRS.sky_sigma * np.sqrt(4 * np.pi * sigma**2)
    assert flux / noise == pytest.approx(5.0)


def test_the_image_has_the_real_galaxys_r_flux(sources, galaxies):
    r = sources.flux[:, 1].sum(axis=(1, 2)) * NANOJANSKY
    small = galaxies.flux[:, 2] < 10 ** ((31.4 - 17.0) / 2.5)
    assert small.sum() > 5
    assert np.median(r[small] / galaxies.flux[small, 2]) == pytest.approx(1.0, abs=0.08)


def test_colours_of_images_follow_those_of_the_real_galaxies(sources, galaxies):
    light = sources.flux[:, :3].sum(axis=(2, 3))
    mock = np.log(light[:, 0] / light[:, 2])
    real = np.log(galaxies.flux[:, 1] / galaxies.flux[:, 3])
    assert np.corrcoef(mock, real)[0, 1] > 0.8


def test_a_source_is_the_same_alone_and_among_others(sources, galaxies):
    alone = next(observe(galaxies.take(np.array([7])), seed=3))
    assert np.array_equal(alone.flux[0], sources.flux[7])
    assert alone.spectra[0] == pytest.approx(sources.spectra[7], rel=1e-12)


def test_another_seed_gives_another_sky(galaxies, sources):
    assert not np.array_equal(next(observe(galaxies, seed=4)).flux, sources.flux)


def test_measured_widths_rise_with_the_widths_that_were_put_in():
    anchor, rng = Anchor.shipped(), np.random.default_rng(5)
    known = Galaxies.shipped().known[:400]
    spectra = draw_spectra(known, rng.normal(size=(400, N_NORMALS)), anchor)
    flux = spectra.total[:, None, DECODER_PIXELS]
    proxies = measure(Spectra(np.arange(400), flux, wavelengths()))
    for name in ("oii", "sii", "halpha"):
        pair = proxies[f"ew_{name}"][:, 0], spectra.widths[name]
        ranks = [np.argsort(np.argsort(values)) for values in pair]
        assert np.corrcoef(*ranks)[0, 1] > 0.95, name
