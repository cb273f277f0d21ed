"""Columns of brightness of fainter sources."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from targetsel.injection.brightness import brightness_names, with_brightness_of
from targetsel.injection.steps import UNCHANGED, ImageStep
from targetsel.photometry.bands import Band
from targetsel.photometry.systems import find_system

STEP = ImageStep(dim=2.5, noisier=2.0)


def column(name, values, step=STEP, **metadata):
    field = pa.field(name, pa.array(values).type, metadata=metadata or None)
    table = pa.table([pa.array(values)], schema=pa.schema([field]))
    return with_brightness_of(table, step)[name]


def test_magnitudes_grow_and_fluxes_fall():
    assert column("rmag", [17.0]).to_pylist() == [19.5]
    assert column("flux_r_sdss", [100.0], unit="nJy").to_pylist() == pytest.approx([10.0])
    assert column("fiberflux_r", [100.0], unit="nanomaggy").to_pylist() == pytest.approx([10.0])


def test_codes_and_nulls_stay():
    assert column("rmag", [99.0, -999.0, None]).to_pylist() == [99.0, -999.0, None]
    assert column("flux_r_sdss", [-999.0, None], unit="nJy").to_pylist() == [-999.0, None]
    assert np.isnan(column("rmag", [float("nan"), 17.0]).to_pylist()[0])


def test_errors_grow_with_the_noise_and_of_magnitudes_as_light_falls():
    assert column("flux_r_sdss_err", [3.0], unit="nJy").to_pylist() == [6.0]
    assert column("rmag_err", [0.01]).to_pylist() == pytest.approx([0.2])


def test_asinh_magnitudes_follow_the_flux():
    system = find_system("asinh", Band.parse("r_sdss"))
    flux = np.array([1e4, 100.0, -50.0])
    assert system.flux(system.magnitude(flux)) == pytest.approx(flux)


def test_columns_keep_their_types_and_whole_numbers_become_decimal():
    assert column("rmag", pa.array([17.0], pa.float32())).type == pa.float32()
    for step in (UNCHANGED, STEP):
        assert column("rmag", [17], step).type == pa.float64()


def test_other_columns_stay():
    table = pa.table({"size": [1.0], "rmag": [17.0], "name": ["a"]})
    found = with_brightness_of(table, STEP)
    assert brightness_names(table.schema) == ("rmag",)
    assert found.select(["size", "name"]).equals(table.select(["size", "name"]))
