"""Pixels as a cutout store keeps them.

Pixels are 16-bit asinh codes or plain float32. A code is rint(128 asinh(f / 16 s)), with f the flux
and s the sky sigma of the band: a step of s / 8 in the sky and 1/128 of the flux where the source
is bright, so that rounding adds 0.04 s to the noise. The code -32768 marks a pixel without data. No
float32 flux reaches the largest code.

Measured on 512 cutouts of 5 x 64 x 64 with sky noise and exponential sources, one core: 16-bit
tensors with delta encoding and zstd take 19.6 % of float32 and are decoded at 4100 cutouts a
second; the same codes as opaque bytes take 25.7 %, at 9400. Both are far ahead of any network on
that core, so we keep the smaller one, which other Parquet readers understand. `CutoutStore.read`
then gives some 2700 cutouts a second, and `packing.write_store` takes in 900.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

SOFTENING = 16.0
STEPS = 128.0
NO_DATA = -32768

Encoding = Literal["asinh-int16", "float32"]
ASINH: Encoding = "asinh-int16"
FLOAT: Encoding = "float32"


def encode(flux: np.ndarray, sky_sigma: tuple[float, ...], encoding: Encoding) -> np.ndarray:
    """Stored pixels, shape (N, B, H, W), of a flux [nanomaggy]; infinities become no data."""
    usable = np.isfinite(flux)
    if encoding == FLOAT:
        return np.where(usable, flux, np.nan).astype(np.float32)
    unit = SOFTENING * _per_band(sky_sigma, np.float64)
    codes = np.rint(STEPS * np.arcsinh(np.where(usable, flux, 0.0) / unit))
    return np.where(usable, np.clip(codes, -32767, 32767), NO_DATA).astype(np.int16)


def decode(stored: np.ndarray, sky_sigma: tuple[float, ...], encoding: Encoding) -> np.ndarray:
    """The flux [nanomaggy], float32, shape (N, B, H, W), of stored pixels."""
    if encoding == FLOAT:
        return stored
    flux = _FLUX_OF_CODE[stored.view(np.uint16)]
    flux *= _per_band(sky_sigma, np.float32)
    return flux


def _per_band(sky_sigma: tuple[float, ...], dtype: type) -> np.ndarray:
    return np.asarray(sky_sigma, dtype=dtype)[:, None, None]


def _flux_of_code() -> np.ndarray:
    """Flux in units of the sky sigma, float32, at each code read as an unsigned number.

    A table is five times faster than a hyperbolic sine and gives the same bits.
    """
    codes = np.arange(65536, dtype=np.uint16).view(np.int16).astype(np.float64)
    largest = float(np.finfo(np.float32).max)
    flux = np.clip(SOFTENING * np.sinh(codes / STEPS), -largest, largest)
    flux[codes == NO_DATA] = np.nan
    return flux.astype(np.float32)


_FLUX_OF_CODE = _flux_of_code()
