"""Learning curves can be read, whatever the first epoch did."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.image import imread

from targetsel.training.picture import draw_training, limits


def row(epoch, loss, watched):
    return {"phase": "mean", "epoch": epoch, "loss": loss, "watched_loss": watched}


def test_a_wild_first_epoch_does_not_flatten_the_rest():
    low, high = limits([row(1, 2500.0, -4.8), row(2, -4.7, -5.0), row(3, -5.0, -5.2)])
    assert low == pytest.approx(-5.225)
    assert high == pytest.approx(-4.675)


@pytest.mark.parametrize("watched", [None, 0.7])
def test_one_epoch_is_shown_too(watched):
    low, high = limits([row(1, 0.7, watched)])
    assert low < 0.7 < high


def test_picture_shows_every_member(tmp_path):
    histories = [[row(1, 0.9, 0.8), row(2, 0.7, 0.6)], [row(1, 1.9, 0.9), row(2, 0.8, 0.7)]]
    draw_training(histories, tmp_path / "curves.png")
    pixels = np.rint(255 * imread(tmp_path / "curves.png")[..., :3]).astype(int).reshape(-1, 3)
    assert {(31, 119, 180), (255, 127, 14)} <= set(map(tuple, pixels.tolist()))
