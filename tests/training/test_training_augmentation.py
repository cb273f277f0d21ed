"""Orientations and rotations: which there are, and what they leave as it is."""

import numpy as np
import pytest

from targetsel.training.augmentation import augmented, turned


def test_turned_cutouts_take_all_eight_orientations_and_keep_their_pixels():
    cutout = np.arange(2 * 9, dtype=np.float32).reshape(1, 2, 3, 3)
    many = turned(np.repeat(cutout, 400, axis=0), np.random.default_rng(0))
    seen = {each.tobytes() for each in many}
    assert len(seen) == 8
    assert all(np.array_equal(np.sort(each[0].ravel()), np.arange(9)) for each in many)


def test_augmented_cutouts_are_turned_by_ten_degrees_at_most_or_by_quarters():
    y, x = np.mgrid[-16:17, -16:17]
    ray = np.exp(-((x - 10) ** 2 + y**2) / 8.0).astype(np.float32)
    flux = augmented(np.repeat(ray[None, None], 2000, axis=0), np.random.default_rng(0)).numpy()
    total = flux.sum(axis=(1, 2, 3))
    east, north = (
        (flux[:, 0] * x).sum(axis=(1, 2)) / total,
        (flux[:, 0] * y).sum(axis=(1, 2)) / total,
    )
    assert np.hypot(east, north) == pytest.approx(10, abs=0.05)
    angle = np.degrees(np.arctan2(north, east))
    from_quarter = np.abs((angle + 45) % 90 - 45)
    assert 9 < from_quarter.max() < 10.1
    assert (from_quarter > 0.05).mean() == pytest.approx(0.75, abs=0.04)
    assert (np.abs(angle) < 11).mean() == pytest.approx(0.5 + 0.5 / 4, abs=0.04)
    assert augmented(np.ones((4, 2, 5, 5), np.float32), np.random.default_rng(1)).numpy() == (
        pytest.approx(1)  # nothing comes in from beyond the border
    )
