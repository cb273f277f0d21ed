"""Galaxies moved to higher redshifts are as bright, as red and as frequent as they should be."""

from dataclasses import replace

import numpy as np
import pytest

from targetsel.mock import farther
from targetsel.mock.anchor import Anchor
from targetsel.mock.camera import PAN_STARRS, find_camera
from targetsel.mock.cosmology import comoving_distance, distance_modulus
from targetsel.mock.farther import (
    BRIGHTEST,
    FAINTEST,
    REDSHIFTS,
    at_redshift,
    drawn_farther,
    magnitudes_at,
    mean_magnitudes,
    with_farther,
)
from targetsel.mock.galaxies import SDSS, Galaxies
from targetsel.mock.morphology import N_NORMALS, draw_structure
from targetsel.mock.plan import SkyPlan, Variation
from targetsel.mock.sky import observe_block
from targetsel.mock.spectra import N_NORMALS as SPECTRUM_NORMALS
from targetsel.mock.spectra import SEEN, draw_spectra
from targetsel.mock.ultraviolet import WHOLE, templates
from targetsel.mock.writing import catalog_table, truth_table
from targetsel.photometry.flux import ab_magnitude
from targetsel.spectra.grid import wavelengths


@pytest.fixture(scope="module")
def galaxies():
    return Galaxies.shipped().take(np.arange(0, 9600, 40))


@pytest.fixture(scope="module")
def moved(galaxies):
    return drawn_farther(galaxies, seed=3)


@pytest.fixture(scope="module")
def sky():
    """2,000 galaxies that were moved."""
    plan = SkyPlan.of(2000, 3, variation=Variation(farther=1.0))
    parts = [plan.sources(start) for start in plan.blocks]
    return {
        "redshift": np.concatenate([part.redshift for part in parts]),
        "absolute": np.concatenate([part.absolute_magnitude for part in parts]),
        "magnitude": ab_magnitude(np.concatenate([part.flux for part in parts])),
    }


@pytest.mark.parametrize("slope", [-2.0, 0.0, 1.5])
def test_a_power_law_has_the_k_correction_done_by_hand(slope):
    # Flux per wavelength is (wavelength / (1 + z))^slope / (1 + z) in every band.
    magnitude = magnitudes_at(WHOLE[None] ** slope)[0]
    expected = 2.5 * (slope + 1) * np.log10((1 + REDSHIFTS) / (1 + REDSHIFTS[0]))
    for band in range(5):
        assert magnitude[:, band] - magnitude[0, band] == pytest.approx(expected, abs=2e-3)


def test_a_spectrum_flat_in_frequency_has_no_colour_at_any_redshift():
    magnitude = magnitudes_at(WHOLE[None] ** -2.0)[0]
    assert np.ptp(magnitude, axis=1) == pytest.approx(np.zeros(len(REDSHIFTS)), abs=4e-3)


def test_without_k_corrections_only_the_distance_makes_a_galaxy_fainter(galaxies):
    one = replace(galaxies.take(np.array([0])), redshift=np.array([0.1]))
    flat = np.zeros((1, len(REDSHIFTS), 5))
    far = at_redshift(one, np.array([0.5]), flat)
    # The moduli at 0.1 and 0.5 are 38.316 and 42.261.
    fainter = ab_magnitude(far.flux[0, 2]) - ab_magnitude(one.flux[0, 2])
    assert fainter == pytest.approx(3.945, abs=1e-3)
    assert far.k_correction == pytest.approx(one.k_correction)


def test_where_it_really_is_a_galaxy_keeps_its_r_flux(galaxies):
    few = galaxies.take(np.arange(5))
    same = at_redshift(few, few.redshift, mean_magnitudes(few.known))
    assert same.flux[:, 2] == pytest.approx(few.flux[:, 2])
    assert same.k_correction == pytest.approx(few.k_correction)
    colours = ab_magnitude(same.flux)[:, 1:] - ab_magnitude(few.flux)[:, 1:]
    assert np.abs(colours).max() < 0.5  # those of the mean spectrum, in griz


def test_elsewhere_galaxies_keep_their_luminosity_and_features(galaxies, moved):
    assert moved.absolute_magnitude == pytest.approx(galaxies.absolute_magnitude)
    assert np.array_equal(moved.known, galaxies.known)
    assert np.array_equal(moved.source_id, galaxies.source_id)


def test_galaxies_are_beyond_the_real_sample_and_not_too_faint(galaxies, moved):
    r = ab_magnitude(moved.flux[:, 2])
    assert r.min() > BRIGHTEST - 0.01
    assert r.max() < FAINTEST + 0.01
    assert np.median(r) > 19.5
    assert (moved.redshift > galaxies.redshift).mean() > 0.95
    assert moved.redshift.max() < 0.6


def test_half_of_the_galaxies_lie_in_the_outer_half_of_the_volume(galaxies, monkeypatch):
    n = len(galaxies)
    flux = np.full((n, 5), 10 ** (0.4 * (31.4 - 17.0)))
    alike = replace(galaxies, redshift=np.full(n, 0.1), flux=flux)
    no_k_correction = np.zeros((n, len(REDSHIFTS), 5))
    monkeypatch.setattr(farther, "mean_magnitudes", lambda known: no_k_correction)
    distance = comoving_distance(drawn_farther(alike, seed=3).redshift)
    # The moduli of r = 17.77 and 20.8 are 39.086 and 42.116, those of 576 and 1799 Mpc.
    assert distance.min() > 576
    assert distance.max() == pytest.approx(1799, rel=0.01)
    outer = distance**3 > 0.5 * (576.0**3 + 1799.0**3)
    assert outer.mean() == pytest.approx(0.5, abs=0.1)


def test_a_galaxy_five_times_as_far_is_as_large_in_kpc(galaxies):
    near = replace(galaxies, redshift=np.full(len(galaxies), 0.06))
    far = at_redshift(near, np.full(len(near), 0.4), mean_magnitudes(near.known))
    nothing = np.zeros((len(near), SPECTRUM_NORMALS))
    spectra = draw_spectra(near.known, nothing, Anchor.shipped())
    sizes = [
        draw_structure(each, spectra, np.zeros((len(near), N_NORMALS)), 1.0).radius
        for each in (near, far)
    ]
    # One kpc is 0.8625 arcsec at redshift 0.06, and 0.1861 at 0.4.
    within = (sizes[0] < 11.9) & (sizes[1] > 0.26)
    assert within.sum() > 100
    assert (sizes[0] / sizes[1])[within] == pytest.approx(0.8625 / 0.1861, rel=1e-3)


def test_which_galaxies_are_moved_and_where_does_not_depend_on_the_others(galaxies):
    whole = with_farther(galaxies, galaxies, 3, 0.4)
    backwards = np.arange(len(galaxies))[::-1]
    turned = with_farther(galaxies.take(backwards), galaxies.take(backwards), 3, 0.4)
    assert turned.redshift[backwards] == pytest.approx(whole.redshift, rel=1e-9)
    assert turned.flux[backwards] == pytest.approx(whole.flux, rel=1e-9)
    alone = with_farther(galaxies.take([7]), galaxies.take([7]), 3, 0.4)
    assert alone.redshift == pytest.approx(whole.redshift[7:8], rel=1e-9)


def test_another_seed_moves_other_galaxies(galaxies):
    assert not np.array_equal(
        with_farther(galaxies, galaxies, 3, 0.4).redshift,
        with_farther(galaxies, galaxies, 4, 0.4).redshift,
    )


def test_the_share_that_is_asked_for_is_moved(galaxies):
    same = with_farther(galaxies, galaxies, 3, 0.3).redshift == galaxies.redshift
    assert (~same).mean() == pytest.approx(0.3, abs=0.07)
    none = with_farther(galaxies, galaxies, 3, 0.0)
    assert np.array_equal(none.redshift, galaxies.redshift)


def test_moved_galaxies_are_less_luminous_than_real_ones_by_up_to_two_magnitudes(galaxies):
    moved = with_farther(galaxies, galaxies, 3, 1.0)
    less = moved.absolute_magnitude - galaxies.absolute_magnitude
    assert (less >= -1e-9).all()
    assert less.max() <= 2.0 + 1e-9
    assert less.mean() == pytest.approx(1.0, abs=0.15)


def test_luminosities_follow_the_luminosity_function(sky):
    # Schechter function of Blanton et al. (2003, ApJ 592, 819), from memory, for H0 = 70, times
    # the volume to r = 20.8, K-corrected by one magnitude per unit redshift.
    absolute = np.array([-22.75, -21.75, -20.75, -19.75])
    light = 10 ** (-0.4 * (absolute + 0.2 + 21.21))
    redshift = np.linspace(0.01, 0.6, 600)
    fading = distance_modulus(redshift) + redshift
    volume = comoving_distance(np.interp(20.8 - absolute, fading, redshift)) ** 3
    expected = light**-0.05 * np.exp(-light) * volume
    counts = np.histogram(sky["absolute"], [-23, -22.5, -22, -21.5, -21, -20.5, -20, -19.5])[0][::2]
    ratio = (counts / counts.sum()) / (expected / expected.sum())
    assert np.abs(np.log(ratio)).max() < 0.5


def test_the_median_redshift_to_r_19_8_is_that_of_gama(sky):
    # About 0.2 (Driver et al. 2011, MNRAS 413, 971; from memory).
    seen = sky["magnitude"][:, 2] < 19.8
    assert np.median(sky["redshift"][seen]) == pytest.approx(0.20, abs=0.02)


def test_counts_rise_towards_the_limit(sky):
    counts = np.histogram(sky["magnitude"][:, 2], [18.8, 19.8, 20.8])[0]
    assert np.log10(counts[1] / counts[0]) == pytest.approx(0.4, abs=0.1)


def test_red_galaxies_have_the_colours_of_their_redshift(galaxies):
    red = galaxies.take(galaxies.known[:, 0] > np.quantile(galaxies.known[:, 0], 0.6))
    magnitude = np.median(mean_magnitudes(red.known), axis=0)
    g_r = dict(zip(REDSHIFTS.round(2), magnitude[:, 1] - magnitude[:, 2], strict=True))
    # Of luminous red galaxies without evolution, to 0.15 mag (Eisenstein et al. 2001, AJ 122,
    # 2267; from memory).
    assert [g_r[z] for z in (0.1, 0.3, 0.5)] == pytest.approx([0.95, 1.5, 1.75], abs=0.15)


def test_the_ultraviolet_continues_the_templates():
    first = Anchor.shipped().templates[:, 0]
    assert templates().shape == (5, 505)
    assert templates()[:, -1] == pytest.approx(first, rel=0.06)


def test_two_of_five_galaxies_of_a_sky_are_moved_unless_another_share_is_asked_for():
    real = dict(zip(Galaxies.shipped().source_id, Galaxies.shipped().redshift, strict=True))

    def moved(variation):
        plan = SkyPlan.of(400, 3, variation=variation)
        parts = [plan.sources(start) for start in plan.blocks]
        group, redshift = (
            np.concatenate([getattr(part, name) for part in parts])
            for name in ("group_id", "redshift")
        )
        return np.mean(redshift != [real[each] for each in group])

    assert moved(Variation()) == pytest.approx(0.4, abs=0.07)
    assert moved(Variation(farther=0)) == 0


def test_spectra_end_where_the_spectrograph_does(moved):
    far = moved.take(np.argsort(moved.redshift)[-5:])
    made = observe_block(far, 3)
    observed = wavelengths() * (1 + far.redshift[:, None])
    seen = (observed >= SEEN[0]) & (observed <= SEEN[1])
    assert 0.5 < seen.mean() < 0.9
    assert np.array_equal(made.ivar > 0, seen)
    assert (made.measured[~seen] == 0).all()
    assert (made.spectra > 0).all()
    snr = np.where(seen, made.spectra * np.sqrt(made.ivar), np.nan)
    assert np.nanmedian(snr, axis=1) == pytest.approx(made.snr, rel=1e-3)


def test_images_of_far_galaxies_have_their_flux_and_are_red(moved):
    far = moved.take(np.argsort(moved.redshift)[-40:])
    deep = Variation(realism=0.0, neighbours=0.0, depth=5.0)
    light = observe_block(far, 3, PAN_STARRS, deep).flux.sum(axis=(2, 3))
    r = light[:, 1] * 3630.780548 / far.flux[:, 2]
    assert np.nanmedian(r) == pytest.approx(0.98, abs=0.04)
    assert np.nanmedian(-2.5 * np.log10(light[:, 0] / light[:, 1])) > 1.3
    few, rubin = far.take(np.arange(20)), find_camera("lsst")
    lsst = observe_block(few, 3, rubin, deep).flux.sum(axis=(2, 3))
    assert np.isfinite(-2.5 * np.log10(lsst[:, 0])).sum() >= 15  # u, from 2000 Angstrom at rest


def test_the_catalog_holds_the_redshift_and_magnitude_of_where_the_galaxy_was_moved(moved):
    few = moved.take(np.arange(3))
    table = catalog_table(observe_block(few, 3), weighted=False)
    about = table.schema.field("redshift").metadata[b"description"].decode()
    assert about == "SDSS spectroscopic redshift, or a simulated one beyond the real sample"
    assert table["redshift"].to_numpy() == pytest.approx(few.redshift)
    assert table["rmag"].to_numpy() == pytest.approx(ab_magnitude(few.flux[:, SDSS.index("r")]))


def test_the_truth_tells_redshifts(moved):
    few = moved.take(np.arange(3))
    table = truth_table(observe_block(few, 3))
    assert table["redshift"].to_numpy() == pytest.approx(few.redshift)
