"""Fibers of other diameters: the same galaxies and images, and spectra of the light in them."""

import numpy as np
import pyarrow.parquet as pq
import pytest

from targetsel.errors import MockError
from targetsel.mock.anchor import Anchor
from targetsel.mock.camera import PAN_STARRS
from targetsel.mock.galaxies import Galaxies
from targetsel.mock.images import FIBER, canvas_of, draw_components
from targetsel.mock.plan import SkyPlan, Variation
from targetsel.mock.sky import observe_block
from targetsel.mock.spectra import N_NORMALS, draw_spectra
from targetsel.mock.writing import write_sky
from targetsel.spectra.apertures import MOCK, aperture_in
from targetsel.spectra.grid import wavelengths
from targetsel.spectra.lines import measure
from targetsel.spectra.spectrum import Spectra
from tests.mock.test_mock_images import galaxy

CANVAS = canvas_of(0.25)


@pytest.fixture(scope="module")
def galaxies():
    return Galaxies.shipped().take(np.arange(0, 1200, 20))


@pytest.fixture(scope="module")
def by_fiber(galaxies):
    def seen(fiber):
        return observe_block(galaxies, 3, PAN_STARRS, Variation(fiber=fiber, realism=1, farther=0))

    return {fiber: seen(fiber) for fiber in (1.5, 3.0)}


def proxies(sources):
    spectra = Spectra(sources.galaxies.source_id, sources.spectra[:, None], wavelengths())
    found = measure(spectra)
    return {name: found[name][:, 0] for name in ("d4000", "ew_halpha", "ew_oii")}


def drawn(galaxies):
    normals = np.zeros((len(galaxies), N_NORMALS))
    return draw_spectra(galaxies.known, normals, Anchor.shipped())


def gain(diameter, **changes):
    parts = draw_components(galaxy(**changes), 0, CANVAS, np.random.default_rng(0))
    return parts.gain(CANVAS.fiber_of(diameter), CANVAS)


def test_a_fiber_changes_no_pixel_and_no_shape(by_fiber):
    narrow, usual = by_fiber[1.5], by_fiber[3.0]
    assert narrow.flux.tobytes() == usual.flux.tobytes()
    for name, values in vars(usual.structure).items():
        assert np.array_equal(getattr(narrow.structure, name), values), name
    assert not np.array_equal(narrow.spectra, usual.spectra)


def test_narrow_fibers_see_older_stars_where_bulges_are_in_disks(by_fiber):
    narrow, usual = by_fiber[1.5], by_fiber[3.0]
    mixed = (usual.structure.bulge_share > 0.1) & (usual.structure.bulge_share < 0.8)
    assert mixed.sum() > 10
    sharper = proxies(narrow)["d4000"] - proxies(usual)["d4000"]
    assert sharper[mixed].mean() > 0.005
    assert abs(np.median(sharper[~mixed])) < 0.005


@pytest.mark.parametrize(("nucleus", "weaker"), [(0.0, True), (0.5, False)])
def test_lines_are_weaker_in_a_narrow_fiber_unless_a_nucleus_has_them(galaxies, nucleus, weaker):
    spectra = drawn(galaxies)
    factors = gain(1.5, bulge_share=0.4, bulge_radius=0.8, point_share=nucleus)
    other = spectra.times(np.tile(factors, (len(galaxies), 1)))
    emits = spectra.widths["halpha"] > 1
    ratio = other.widths["halpha"][emits] / spectra.widths["halpha"][emits]
    assert emits.sum() > 10
    assert (np.median(ratio) < 0.97) if weaker else (np.median(ratio) > 1.03)


def test_the_line_widths_given_are_those_of_the_spectrum(by_fiber):
    narrow, usual = by_fiber[1.5], by_fiber[3.0]
    strong = usual.widths["halpha"] > 20
    assert strong.sum() > 5
    given = narrow.widths["halpha"][strong] / usual.widths["halpha"][strong]
    measured = proxies(narrow)["ew_halpha"][strong] / proxies(usual)["ew_halpha"][strong]
    assert given == pytest.approx(measured, rel=0.03)


@pytest.mark.parametrize("bulge", [0.0, 0.4, 1.0])
def test_a_wider_fiber_receives_more_of_every_component(bulge):
    gains = np.array([gain(each, bulge_share=bulge) for each in (1.0, 1.5, 2.0, 3.0, 5.0)])
    assert (np.diff(gains, axis=0) > 0).all()
    assert gains[3] == pytest.approx(1.0)


def test_a_point_keeps_its_spectrum():
    radii = dict.fromkeys(("bulge_radius", "disk_radius", "young_radius"), 1e-3)
    old, young, lines = gain(1.5, **radii)
    # Of a Gaussian of 1.4 arcsec, 2 ** -(diameter / 1.4) ** 2 is outside.
    expected = (1 - 2 ** -((1.5 / 1.4) ** 2)) / (1 - 2 ** -((3 / 1.4) ** 2))
    assert [old, young, lines] == pytest.approx([expected] * 3, rel=2e-3)


def test_equal_gains_leave_the_shape_of_a_spectrum(galaxies):
    spectra = drawn(galaxies)
    half = spectra.times(np.full((len(galaxies), 3), 0.5))
    assert 2 * half.total == pytest.approx(spectra.total)
    assert half.widths["halpha"] == pytest.approx(spectra.widths["halpha"])
    assert 2 * half.ultraviolet == pytest.approx(spectra.ultraviolet)


def test_only_what_spectra_tell_differs_between_skies_of_two_fibers(tmp_path):
    for fiber in (1.5, 3.0):
        write_sky(tmp_path / str(fiber), SkyPlan.of(8, 3, variation=Variation(fiber=fiber)))
    one, other = tmp_path / "1.5", tmp_path / "3.0"
    assert pq.read_table(one / "catalog.parquet").equals(pq.read_table(other / "catalog.parquet"))
    truth = [pq.read_table(each / "truth.parquet") for each in (one, other)]
    same = {n for n in truth[0].column_names if truth[0][n].equals(truth[1][n])}
    changed = set(truth[0].column_names) - same
    assert {"d4000", "input_halpha", "fiber_g_r", "latent"} <= changed
    assert not changed & {"snr", "weight", "bulge_share", "x", "y"}


@pytest.mark.parametrize("fiber", [0.1, 60.0])
def test_a_fiber_is_a_diameter_of_half_to_ten_arcsec(fiber, tmp_path):
    path = tmp_path / "varied.yaml"
    path.write_text(f"fiber: {fiber}\n")
    with pytest.raises(MockError, match=r"fiber is .*; expected 0\.5 to 10 arcsec"):
        Variation.read(path)


def test_every_mock_sky_states_the_fiber_of_its_plan():
    assert MOCK == FIBER
    for fiber in (1.5, FIBER, 3.3):
        plan = SkyPlan.of(1, variation=Variation(fiber=fiber))
        assert aperture_in(plan.footer()) == fiber
