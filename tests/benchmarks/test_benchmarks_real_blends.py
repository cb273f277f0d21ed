"""Blends of real images: how they are read, and what becomes of a source that is brought."""

import numpy as np
import pytest
from real_blends import Blend, read_blends
from real_galaxies import Brought

from targetsel.mock.camera import PAN_STARRS

STAR, GALAXY, LOST = (30, 60), (100, 60), (160, 60)  # x, y


def moffat(x: float, y: float, width: float, shape: tuple[int, int]) -> np.ndarray:
    """A Moffat profile of beta 2.5 and unit sum, full width at half maximum in pixels."""
    rows, columns = np.indices(shape)
    core = 4 * (2**0.4 - 1) / width**2
    light = (1 + core * ((rows - y) ** 2 + (columns - x) ** 2)) ** -2.5
    return light / light.sum()


def write(folder, **changed):
    """A file as HSC's: a star, a galaxy, and a galaxy beside which the z band has no data."""
    shape = (120, 190)
    image = 1e4 * sum(moffat(*place, width, shape)
                      for place, width in ((STAR, 3), (GALAXY, 8), (LOST, 8)))  # fmt: skip
    images = image + 0.02 * np.random.default_rng(0).standard_normal((5, *shape))
    weights = np.full((5, *shape), 2500.0)
    weights[3, :, 163:] = 0
    psf = moffat(20, 20, 3, (41, 41))
    arrays = {"images": images, "weights": weights, "psfs": np.array([psf] * 5),
              "peaks": np.array([STAR, GALAXY, LOST], dtype=float)}  # fmt: skip
    path = folder / "blend.npz"
    np.savez(path, **{name: each for name, each in (arrays | changed).items() if each is not None})
    return path


def test_a_galaxy_with_data_in_all_bands_is_found_and_neither_a_star_nor_another(tmp_path):
    blend = Blend.read(write(tmp_path))
    found = blend.galaxies(20.0)
    assert list(zip(found.x, found.y, strict=True)) == [GALAXY]
    assert found.magnitude == pytest.approx(17.0, abs=0.2)  # 10^4 units of zero point 27
    assert len(blend.galaxies(16.0)) == 0
    assert [psf.width for psf in blend.psf] == pytest.approx([3 * 0.168] * 5, rel=0.01)


def test_a_brought_galaxy_keeps_its_place_and_light(tmp_path):
    blend = Blend.read(write(tmp_path))
    seen = Brought(PAN_STARRS).cutout(blend, *GALAXY, np.random.default_rng(1))
    assert seen.shape == (5, 64, 64)
    rows, columns = np.indices(seen.shape[1:]) - 31.5
    near = np.hypot(rows, columns) < 3.0 / 0.25
    assert 22.5 - 2.5 * np.log10(seen[1][near].sum()) == pytest.approx(17.0, abs=0.2)
    assert abs((seen[1] * columns)[near].sum() / seen[1][near].sum()) < 1.5


def test_noise_stands_where_a_cutout_leaves_the_image(tmp_path):
    blend = Blend.read(write(tmp_path))
    seen = Brought(PAN_STARRS).cutout(blend, 100, 118, np.random.default_rng(1))
    beyond = seen[:, -16:]  # 4 arcsec, beyond which the image has 0.3 arcsec
    assert beyond.std(axis=(1, 2)) == pytest.approx(PAN_STARRS.sky_sigma, rel=0.4)


def test_a_band_without_data_leaves_no_galaxy(tmp_path):
    weights = np.full((5, 120, 190), 2500.0)
    weights[4] = 0
    blend = Blend.read(write(tmp_path, weights=weights))
    assert len(blend.galaxies(20.0)) == 0
    assert np.isinf(blend.sigma[4])


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"psfs": None}, "psfs is not a file in the archive"),
        ({"images": np.zeros((4, 120, 190))}, r"images \(4, 120, 190\)"),
        ({"peaks": np.zeros(3)}, r"peaks \(3,\)"),
        ({"peaks": np.array([["a", "b"]])}, "could not convert"),
    ],
)
def test_a_file_of_another_form_is_named_with_what_was_expected(tmp_path, changed, words):
    path = write(tmp_path, **changed)
    with pytest.raises(SystemExit, match=words) as error:
        Blend.read(path)
    assert str(error.value).startswith(str(path))
    assert "Expected are arrays images (5, H, W)" in str(error.value)


def test_a_file_that_is_cut_short_is_named(tmp_path):
    path = write(tmp_path)
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(SystemExit, match="cannot be read"):
        Blend.read(path)


def test_all_files_of_the_folder_are_read_in_order(tmp_path, monkeypatch):
    folder = tmp_path / "real_images" / "hsc_cosmos"
    folder.mkdir(parents=True)
    path = write(folder)
    (folder / "another.npz").write_bytes(path.read_bytes())
    monkeypatch.setenv("TARGETSEL_DATA", str(tmp_path))
    assert [blend.name for blend in read_blends()] == ["another", "blend"]
