import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm

from targetsel.errors import SpectrumError
from targetsel.spectra.grid import (
    SpectrumPixels,
    WavelengthBand,
    air_to_vacuum,
    edges,
    wavelengths,
)
from targetsel.spectra.lines import (
    BPT_CLASSES,
    PROXIES,
    WHAN_CLASSES,
    LineTable,
    bpt_probabilities,
    measure,
    whan_probabilities,
)
from targetsel.spectra.lines.index import Break, SideBands, Width
from targetsel.spectra.proxies import Proxies
from targetsel.spectra.spectrum import Spectra

FINE = np.arange(4901.0, 5100.0) + 0.5  # pixels of 1 Angstrom
SIDES = SideBands(WavelengthBand(4950.0, 4980.0), WavelengthBand(5020.0, 5050.0))
LINE = Width(WavelengthBand(4990.0, 5010.0), SIDES)
BALOGH = Break(WavelengthBand(3850.0, 3950.0), WavelengthBand(4000.0, 4100.0))
HALPHA, NII, NII_WEAK = 6564.61, 6585.27, 6549.86


def value(index, flux, wavelength):
    estimator = index.on(SpectrumPixels.of(wavelength))
    return estimator.value(estimator.moments(flux))


def with_line(continuum, wavelength, width):
    """A continuum with a line that doubles the flux over `width` Angstrom around 5000."""
    return continuum * np.where(np.abs(wavelength - 5000.0) < width / 2, 2.0, 1.0)


def gaussian(pixel_edges, centre, sigma):
    """A Gaussian line of unit flux [1/Angstrom], averaged over pixels; sigma in km/s."""
    spread = centre * sigma / 299_792.458
    return np.diff(norm.cdf(pixel_edges, centre, spread)) / np.diff(pixel_edges)


def spectra_of(flux):
    return Spectra(np.arange(len(flux)), flux, wavelengths())


# ---------------------------------------------------------------- widths


def test_line_of_ten_angstrom_on_flat_continuum_has_width_ten():
    assert value(LINE, with_line(np.ones_like(FINE), FINE, 10), FINE) == pytest.approx(10, abs=1e-6)


def test_absorption_turns_the_sign():
    flux = with_line(np.ones_like(FINE), FINE, 10)
    index = Width(LINE.line, SIDES, "absorption")
    assert value(index, flux, FINE) == pytest.approx(-10, abs=1e-6)


def test_a_line_that_takes_half_of_the_light_is_0_75_magnitudes():
    flux = np.where(np.abs(FINE - 5000) < 10, 0.5, 1.0)
    index = Width(LINE.line, SIDES, "magnitude")
    assert value(index, flux, FINE) == pytest.approx(2.5 * np.log10(2), abs=1e-4)


@pytest.mark.parametrize("slope", [-0.004, 0.001, 0.005])
def test_sloping_continuum_without_a_line_has_no_width(slope):
    assert value(LINE, 1 + slope * (FINE - 5000), FINE) == pytest.approx(0, abs=1e-4)


def test_line_in_proportion_to_a_sloping_continuum_keeps_its_width():
    flux = with_line(1 + 0.005 * (FINE - 5000), FINE, 10)
    assert value(LINE, flux, FINE) == pytest.approx(10, abs=1e-3)


def test_half_a_pixel_in_the_line_band_counts_half():
    flux = np.where(np.abs(FINE - 5010.5) < 0.1, 3.0, 1.0)  # the pixel 5010-5011
    index = Width(WavelengthBand(4990.0, 5010.5), SIDES)
    assert value(index, flux, FINE) == pytest.approx(1, abs=1e-4)


def test_negative_continuum_has_no_width():
    assert np.isnan(value(LINE, -np.ones_like(FINE), FINE))


def test_band_beyond_the_spectrum_is_refused_with_both_ranges():
    index = Width(WavelengthBand(5090.0, 5120.0), SIDES)
    with pytest.raises(SpectrumError, match=r"5090.0-5120.0 Angstrom .* covers 4901.0-5100.0"):
        value(index, np.ones_like(FINE), FINE)


def test_wavelengths_that_do_not_increase_are_refused_with_the_pixel():
    wavelength = np.array([4901.5, 4902.5, 4905.5, 4904.5])
    with pytest.raises(SpectrumError, match=r"4905.5 is followed by 4904.5 \(pixel 3\)"):
        LineTable.shipped().measure(np.ones(4), wavelength)


# ---------------------------------------------------------------- light beyond windows

EMISSION = [each for each in LineTable.shipped().definitions if each.kind == "emission"]


def integrated_share(index, lines, sigma):
    """Share of lines that a width counts, by sums over steps of 0.002 Angstrom."""
    grid = np.arange(index.sides.blue.start - 1, index.sides.red.end + 1, 0.002)
    spread = [centre * sigma / 299_792.458 for centre, _ in lines]
    flux = sum(
        strength * norm.pdf(grid, centre, width)
        for (centre, strength), width in zip(lines, spread, strict=True)
    )

    def inside(band):
        return (grid > band.start) & (grid < band.end)

    sides = (index.sides.blue, index.sides.red)
    means = [flux[inside(side)].mean() for side in sides]
    middles = [(side.start + side.end) / 2 for side in sides]
    straight = np.polynomial.Polynomial.fit(middles, means, 1)
    counted = inside(index.line)
    return (flux[counted] - straight(grid[counted])).sum() * 0.002


@pytest.mark.parametrize("sigma", [60, 100, 150, 250, 500])
@pytest.mark.parametrize("definition", EMISSION, ids=lambda each: each.name)
def test_share_of_a_line_that_a_window_counts_is_its_integral(definition, sigma):
    expected = integrated_share(definition.index, definition.emission_lines, sigma)
    assert definition.counted_share(sigma) == pytest.approx(expected, abs=1e-3)


def test_width_of_a_faint_broad_line_is_smaller_by_the_share_that_its_window_counts():
    grid = 10 ** np.arange(3.8, 3.84, 1e-5)
    flux = 1 + 0.1 * gaussian(SpectrumPixels.of(grid).edges, HALPHA, 250)
    found = LineTable.shipped().choose(["ew_halpha"]).measure(flux, grid)[0]
    assert found == pytest.approx(0.1 * LineTable.shipped()["ew_halpha"].counted_share(250), 1e-2)


def test_only_widths_of_emission_lines_between_side_bands_have_a_counted_share():
    shares = {each.name: each.counted_share(150) for each in LineTable.shipped().definitions}
    assert {name for name, share in shares.items() if share} == {each.name for each in EMISSION}


# ---------------------------------------------------------------- breaks


def test_break_of_flux_constant_in_frequency_is_one():
    grid = wavelengths()
    flux = grid**-2
    assert value(BALOGH, flux, grid) == pytest.approx(1, abs=1e-5)
    stepped = np.where(grid > 3975, 1.7, 1.0) * flux
    assert value(BALOGH, stepped, grid) == pytest.approx(1.7, abs=1e-4)


def test_break_over_a_dark_blue_band_is_missing():
    grid = wavelengths()
    assert np.isnan(value(BALOGH, np.where(grid > 3975, 1.0, 0.0), grid))


# ---------------------------------------------------------------- the proxies


@pytest.mark.parametrize("sigma", [80, 150])
@pytest.mark.parametrize(
    ("name", "centres"),
    [
        ("ew_oii", (3727.09, 3729.88)),
        ("ew_hbeta", (4862.69,)),
        ("ew_oiii", (5008.24,)),
        ("ew_oi", (6302.05,)),
        ("ew_halpha_nii", (HALPHA, NII, NII_WEAK)),
    ],
)
@pytest.mark.parametrize(("pixel", "rel"), [(1e-4, 0.005), (3.9e-4, 0.01)])
def test_gaussian_lines_on_a_power_law_keep_their_width(name, centres, sigma, pixel, rel):
    # Pixels of SDSS, and of the decoder: these spread a line a little beyond its window.
    grid = 10 ** np.arange(3.53, 3.9196, pixel)
    continuum = (grid / 5000) ** -1.5
    flux = continuum.copy()
    for centre in centres:
        flux += (
            12 * (centre / 5000) ** -1.5 * gaussian(SpectrumPixels.of(grid).edges, centre, sigma)
        )
    table = LineTable.shipped().choose([name])
    found, empty = table.measure(np.stack([flux, continuum]), grid)[:, 0]
    assert abs(empty) < 0.1  # a power law is nearly straight between the side bands
    assert found - empty == pytest.approx(12 * len(centres), rel=rel)


def test_gaussian_line_of_forty_angstrom_keeps_its_width_on_the_decoder_grid():
    line = 40 * np.diff(norm.cdf(edges(), 6564.6, 3.3)) / np.diff(edges())
    proxies = measure(spectra_of((1 + line)[None, None]))
    assert proxies["ew_halpha_nii"][0, 0] == pytest.approx(40, rel=1e-3)
    assert proxies["ew_halpha"][0, 0] == pytest.approx(40 * 0.94, rel=0.01)  # 14 A hold 94 %
    assert proxies["ew_oii"][0, 0] == pytest.approx(0, abs=1e-9)


@given(st.floats(1e-20, 1e20))
def test_no_proxy_depends_on_brightness(scale):
    flux = np.random.default_rng(0).uniform(0.5, 1.5, (1, 2, 1000))
    expected = measure(spectra_of(flux)).values
    np.testing.assert_allclose(measure(spectra_of(flux * scale)).values, expected, rtol=1e-6)


def test_shuffled_sources_have_shuffled_proxies():
    flux = np.random.default_rng(1).uniform(0.5, 1.5, (7, 3, 1000))
    order = np.random.default_rng(2).permutation(7)
    expected = measure(spectra_of(flux)).values[order]
    np.testing.assert_array_equal(measure(spectra_of(flux[order])).values, expected)


def test_every_shipped_index_lies_on_the_grid():
    pixels = SpectrumPixels.of_decoder()
    for name, index in LineTable.shipped().measured:
        assert all(pixels.cover(band) for band, _ in index.bands), name


def test_halpha_in_air_is_1_8_angstrom_bluer_than_in_vacuum():
    assert air_to_vacuum(6562.79) == pytest.approx(6564.60, abs=0.01)


def test_balmer_decrement_of_lines_without_stars_is_their_ratio_of_fluxes():
    grid = wavelengths()
    flux = np.where(grid < 3990, 1.0, 1.2) * 3.0  # a break of about 1.2 asks for some absorption
    table = LineTable.shipped()
    d4000 = table.choose(["d4000"]).measure(flux, grid)[0]
    under = {HALPHA: 0.99 + 0.13 * d4000, 4862.69: 1.84 + 0.51 * d4000}
    for centre, width in ((HALPHA, 30.0), (4862.69, 10.0)):
        flux = flux + 3.6 * (width - under[centre]) * gaussian(edges(), centre, 60)
    found = table.choose(["balmer_decrement"]).measure(flux, grid)[0]
    assert found == pytest.approx(3.0, rel=0.02)


# ---------------------------------------------------------------- classes of ionisation


@given(st.integers(0, 2**32 - 1))
def test_shares_of_ionisation_classes_add_to_one(seed):
    values = np.random.default_rng(seed).normal(3, 8, (4, 16, len(PROXIES)))
    proxies = Proxies(np.arange(4), PROXIES, values)
    for classes, shares in (
        (BPT_CLASSES, bpt_probabilities(proxies)),
        (WHAN_CLASSES, whan_probabilities(proxies)),
    ):
        assert set(shares) == set(classes)
        np.testing.assert_allclose(sum(shares.values()), 1, atol=1e-12)


def one_draw(**given):
    """Proxies of one draw; Halpha and Hbeta as they are once absorption is put back."""
    widths = dict.fromkeys(PROXIES, 0.0) | {"d4000": 1.0} | given
    widths["ew_halpha"] -= 0.99 + 0.13
    widths["ew_hbeta"] -= 1.84 + 0.51
    return Proxies(np.arange(1), PROXIES, np.array([[[widths[name] for name in PROXIES]]]))


@pytest.mark.parametrize(
    ("nii", "oiii", "expected"),
    [(6, 5, "bpt_sf"), (20, 10, "bpt_composite"), (20, 60, "bpt_agn"), (0.2, 60, "bpt_weak")],
)
def test_line_ratios_fall_in_their_class(nii, oiii, expected):
    # log [NII]/Ha is -0.7 or -0.18.
    proxies = one_draw(ew_halpha=30, ew_hbeta=10, ew_nii=nii, ew_oiii=oiii)
    assert bpt_probabilities(proxies)[expected][0] == 1


def test_a_further_proxy_that_cannot_be_measured_leaves_the_classes_as_they_are():
    proxies = one_draw(ew_halpha=30, ew_hbeta=10, ew_nii=6, ew_oiii=5)
    values = np.append(proxies.values, np.full((1, 1, 1), np.nan), axis=2)
    more = Proxies(proxies.source_id, (*PROXIES, "ew_new"), values)
    assert bpt_probabilities(more)["bpt_sf"][0] == bpt_probabilities(proxies)["bpt_sf"][0] == 1


@pytest.mark.parametrize(
    ("halpha", "nii", "expected"),
    [
        (20, 5, "whan_sf"),
        (20, 10, "whan_strong_agn"),
        (5, 3, "whan_weak_agn"),
        (2, 2, "whan_retired"),
        (0.3, 0.3, "whan_passive"),
    ],
)
def test_halpha_and_nii_fall_in_their_class(halpha, nii, expected):
    proxies = one_draw(ew_halpha=halpha, ew_nii=nii)
    assert whan_probabilities(proxies)[expected][0] == 1
