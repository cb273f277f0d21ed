"""Latents from aperture photometry alone, the baseline of a network.

"basic" is what a catalog has: total magnitudes, colours in two apertures and a size, 14 numbers in
five bands. "rich" is 74: magnitudes and colours in five apertures, colour gradients,
concentrations, and sizes and ellipticities in two windows. Gradient boosting and a small network
learn from each, with the settings below, which were not tuned.
"""

from __future__ import annotations

import numpy as np
from skies import Sky, places
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.neural_network import MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from targetsel.imaging.stretch import Stretch
from targetsel.networks.aperture_photometry import apertures

FIBER, TOTAL, LARGEST = 1, 3, 4  # apertures, by number
WINDOWS = (2, 4)
CLIP = 2000.0  # [sky sigma]


def features(sky: Sky, kind: str, bands: tuple[str, ...]) -> np.ndarray:
    """The numbers "basic" or "rich" of every source, shape (N, F)."""
    measure = {"basic": basic, "rich": rich}[kind]
    order = [sky.store.bands.index(band) for band in bands]
    sigma = [sky.store.sky_sigma[k] for k in order]
    stretch = Stretch(kind="linear", sky_sigma=sigma, scale=1.0, softening=1.0, clip=CLIP)
    as_stored = np.argsort(places(sky.store.source_ids(), sky.source_id))  # each is read once
    found = []
    for cutouts in sky.take(as_stored).cutouts():
        flux = cutouts.select_bands(bands).flux
        flux = np.where(np.isnan(flux), flux[..., ::-1, ::-1], flux)  # as the networks' photometry
        found.append(measure(stretch.apply(flux)).astype(np.float32))
    return np.concatenate(found)[np.argsort(as_stored)]


def basic(x: np.ndarray) -> np.ndarray:
    """Total magnitudes, colours in fiber and total aperture, mean size: (N, 3 B - 1)."""
    magnitude = magnitudes(x)
    size = second_moments(x, TOTAL)[0].mean(axis=1, keepdims=True)
    colours = np.diff(magnitude[..., [FIBER, TOTAL]], axis=1)
    return np.concatenate([magnitude[..., TOTAL], colours.reshape(len(x), -1), size], axis=1)


def rich(x: np.ndarray) -> np.ndarray:
    """Everything apertures and moments tell: (N, 15 B - 1)."""
    magnitude = magnitudes(x)
    colours = np.diff(magnitude, axis=1)
    parts = [
        magnitude,
        colours,
        colours[..., 0] - colours[..., LARGEST],
        magnitude[..., FIBER] - magnitude[..., LARGEST],
        *(moment for window in WINDOWS for moment in second_moments(x, window)),
    ]
    return np.concatenate([part.reshape(len(x), -1) for part in parts], axis=1)


def magnitudes(x: np.ndarray) -> np.ndarray:
    """asinh of the flux over its noise in each aperture, shape (N, B, 5).

    Parameters
    ----------
    x : ndarray, shape (N, B, H, W)
        [sky sigma]
    """
    weights = apertures(*x.shape[2:]).numpy()
    flux = x.reshape(*x.shape[:2], -1) @ weights.T
    return np.arcsinh(flux / np.sqrt((weights**2).sum(axis=1)))


def second_moments(x: np.ndarray, window: int) -> tuple[np.ndarray, np.ndarray]:
    """Size [pixel] and ellipticity of the light in an aperture, each of shape (N, B)."""
    height, width = x.shape[2:]
    weight = apertures(height, width)[window].numpy()
    dy, dx = np.mgrid[:height, :width].reshape(2, -1) - np.array([[height - 1], [width - 1]]) / 2
    squares = np.stack([dx**2 + dy**2, dx**2 - dy**2, 2 * dx * dy, np.ones_like(dx)])
    sums = x.reshape(*x.shape[:2], -1) @ (weight * squares).astype(np.float32).T
    light = np.maximum(sums[..., 3], 5 * np.sqrt((weight**2).sum()))
    extent = np.clip(sums[..., 0] / light, 0.5, None)
    elongation = np.hypot(sums[..., 1], sums[..., 2]) / light
    return np.sqrt(extent), np.clip(elongation / extent, 0, 1)


def learnt(
    kind: str, seen: np.ndarray, latents: np.ndarray, weight: np.ndarray, unseen: np.ndarray
) -> np.ndarray:
    """Latents of unseen sources by "boosting" or a small "network", shape (N, D).

    Those seen count by their weight, as they do for the networks of an ensemble.
    Learning stops by sources that are kept aside at random. With whole galaxies kept aside, models
    of rich photometry from 144,000 mock sources had RMSEs 0.4 and 0.6 % higher, in one run each.
    """
    weight = weight / weight.mean()
    if kind == "network":
        model = make_pipeline(
            StandardScaler(),
            MLPRegressor(
                hidden_layer_sizes=(128, 128), batch_size=256, early_stopping=True, random_state=0
            ),
        )
        return model.fit(seen, latents, mlpregressor__sample_weight=weight).predict(unseen)
    predicted = [
        HistGradientBoostingRegressor(max_iter=500, early_stopping=True, random_state=0)
        .fit(seen, latent, weight)
        .predict(unseen)
        for latent in latents.T
    ]
    return np.stack(predicted, axis=1)
