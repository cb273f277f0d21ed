import numpy as np
import pytest

from targetsel.spectra.grid import edges, wavelengths


def test_grid_runs_from_3388_to_8310_angstrom_in_1000_pixels():
    grid = wavelengths()
    assert len(grid) == 1000
    assert grid[[0, -1]] == pytest.approx([3388.4416, 8310.1718], abs=1e-3)


def test_halpha_lies_in_pixel_736():
    assert np.searchsorted(edges(), 6564.61) - 1 == 736


def test_every_pixel_centre_is_the_geometric_mean_of_its_edges():
    sides = edges()
    np.testing.assert_allclose(np.sqrt(sides[1:] * sides[:-1]), wavelengths(), rtol=1e-12)


def test_pixels_beyond_the_ends_continue_the_steps():
    np.testing.assert_allclose(wavelengths(-5, 1005)[5:-5], wavelengths())
    assert len(edges(-5, 1005)) == 1011
