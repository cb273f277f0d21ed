"""Cutouts in a scratch file: found by id, whatever the order in which they came."""

from __future__ import annotations

import resource

import numpy as np
import pytest

from targetsel.errors import OutputError
from targetsel.imaging import scratch_cutouts
from targetsel.imaging.cutout import Cutouts
from targetsel.imaging.scratch_cutouts import ScratchCutouts
from targetsel.imaging.store import FLOAT, Layout

BANDS = ("g", "r")
LAYOUT = Layout(
    bands=BANDS, pixel_scale=0.25, height=4, width=4, encoding=FLOAT, sky_sigma=(1.0, 1.0)
)
FLUX = np.random.default_rng(1).normal(size=(9, 2, 4, 4)).astype(np.float32)
PRESENT = np.arange(9) != 5
IDS = {
    "text": np.array([f"s{k}" for k in range(9)], dtype=object),
    "numbers": np.array([3, -1, 12, 7, 2**60, 5, 0, 99, 8]),
}


def made(tmp_path, ids, order=np.arange(9), sizes=(4, 5), flux=FLUX):
    pieces = []
    for rows in np.split(order, np.cumsum(sizes)[:-1]):
        pieces.append(Cutouts(ids[rows], flux[rows], BANDS, 0.25, PRESENT[rows]))
    return ScratchCutouts(tmp_path / "pixels", pieces, LAYOUT, tmp_path / "sky")


@pytest.mark.parametrize("kind", IDS)
def test_pixels_are_found_by_id(tmp_path, kind):
    store = made(tmp_path, IDS[kind])
    asked = np.array([7, 5, 0, 7, 3])
    got = store.read(IDS[kind][asked])
    assert got.present.tolist() == [True, False, True, True, True]
    np.testing.assert_array_equal(got.flux[[0, 2, 3, 4]], FLUX[[7, 0, 7, 3]])
    assert np.isnan(got.flux[1]).all()
    assert store.has(IDS[kind]).tolist() == PRESENT.tolist()
    assert len(store) == 8
    strangers = np.array(["s77"], object) if kind == "text" else np.array([77])
    assert not store.has(strangers).any()


@pytest.mark.parametrize("kind", IDS)
def test_the_fingerprint_depends_on_the_pixels_and_not_on_their_order(tmp_path, kind):
    turned = np.arange(9)[::-1]
    first = made(tmp_path, IDS[kind]).sha256
    assert made(tmp_path, IDS[kind], turned, (2, 3, 4)).sha256 == first
    brighter = FLUX.copy()
    brighter[2, 0, 1, 1] += 1
    assert made(tmp_path, IDS[kind], flux=brighter).sha256 != first


def test_ids_of_one_key_are_told_apart(tmp_path, monkeypatch):
    monkeypatch.setattr(scratch_cutouts, "keys_of", lambda ids: np.zeros(len(ids), np.uint64))
    store = made(tmp_path, IDS["text"])
    got = store.read(np.array(["s8", "s1", "strange"], dtype=object))
    assert got.present.tolist() == [True, True, False]
    np.testing.assert_array_equal(got.flux[:2], FLUX[[8, 1]])
    assert made(tmp_path, IDS["text"], np.arange(9)[::-1]).sha256 == store.sha256


def test_no_source_makes_cutouts_of_nothing(tmp_path):
    store = ScratchCutouts(tmp_path / "pixels", [], LAYOUT, tmp_path / "sky")
    assert len(store) == 0
    assert store.read(IDS["text"]).status.tolist() == ["no cutout"] * 9


def test_a_full_disk_is_said(tmp_path):
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (500, limits[1]))
    try:
        with pytest.raises(OutputError, match="pixels: could not be written: File too large"):
            made(tmp_path, IDS["text"])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
