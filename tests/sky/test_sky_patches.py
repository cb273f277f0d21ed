"""Patches of the sky, and folds made of them."""

import numpy as np

from targetsel.sky.patches import ENOUGH, folds_of, patches_of


def test_patches_are_the_largest_pixels_of_which_there_are_a_hundred():
    sky = np.arange(12 * 4**6)
    assert len(np.unique(patches_of(sky, 6))) == 192  # nside 4
    sixth = sky[: len(sky) // 6]
    assert len(np.unique(patches_of(sixth, 6))) == 128  # nside 8
    few = np.arange(64)
    assert len(np.unique(patches_of(few, 6))) == 16 < ENOUGH  # the next larger pixels


def test_folds_are_whole_patches_of_nearly_equal_area_that_alternate_on_the_sky():
    pixels = np.arange(12 * 4**6)
    patches = patches_of(pixels, 6)
    areas = np.ones(len(pixels))
    fold = folds_of(patches, areas, 10)
    assert all(len(np.unique(fold[patches == patch])) == 1 for patch in range(192))
    area = np.bincount(fold, areas)
    assert area.max() - area.min() <= 256  # a patch
    assert fold[0] != fold[256]


def test_folds_do_not_depend_on_the_order_of_pixels():
    pixels = np.arange(0, 12 * 4**5, 7)
    areas = np.random.default_rng(0).uniform(0.1, 1, len(pixels))
    order = np.random.default_rng(1).permutation(len(pixels))
    fold = folds_of(patches_of(pixels, 5), areas, 5)
    other = folds_of(patches_of(pixels[order], 5), areas[order], 5)
    assert (fold[order] == other).all()
