"""Real blends of HSC beside simulated cutouts of Rubin, which is nearly as deep.

    TARGETSEL_DATA=FOLDER python benchmarks/real_blends.py SKY

The blends are all hsc_cosmos/*.npz in `real_images` of that folder (HSC-SSP public data, from
lsst/testdata_deblender): arrays images and weights (5, H, W) in g r i z y, psfs (5, P, P), and
peaks (N, 2), x and y [pixel]. Their zero point is 27 and their pixels are 0.168 arcsec wide, as
HSC's are by convention. SKY is a folder that `targetsel mock --survey lsst` wrote.
Prints of each blend its seeing, depth and galaxies; wings of the PSFs and correlation of the noise;
and how many sources are seen beside galaxies, once they are brought to Rubin's pixels, seeing and
noise. These files were chosen as tests of deblending, so they have more neighbours than others.
`real_sky.py` brings those that are bright enough to Pan-STARRS. Needs photutils and scikit-image.
"""

from __future__ import annotations

import argparse
import zipfile
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import real_images
from real_galaxies import Brought, Moffat, Sources, folder_of_images
from real_images import HSC_PIXEL

from targetsel.imaging.store import CutoutStore
from targetsel.mock.camera import Camera, find_camera
from targetsel.mock.optics import AUREOLE_BETA, AUREOLE_WIDTH, moffat
from targetsel.surveys.card import Wings

BANDS = "grizy"
WINGS = Wings()
LSST_YEAR_1 = find_camera("lsst")
NANOMAGGY = 10 ** (-0.4 * (27.0 - 22.5))  # of one unit of the files
APERTURE = 2.0  # arcsec, for magnitudes and half-light radii
EXTENDED = 1.2  # half-light radius over the PSF's, which stars have within 1 %
COVERED, APART = 1.5, 3.0  # arcsec around a galaxy with data in all bands, without a brighter peak
BRIGHTEST = 19.5  # r of sources around which others are counted: brighter ones spread far
RINGS = (1.0, 1.7, 2.4)  # arcsec; near 3.4 the images of the PSF end, and fall below the real one
LAGS = ((0, 1), (1, 0), (1, 1), (0, 2), (2, 0), (0, 4), (4, 0))
SHAPES = {"images": "(5, H, W)", "weights": "(5, H, W)", "psfs": "(5, P, P)", "peaks": "(N, 2)"}


@dataclass(frozen=True)
class Blend:
    """One file: a `Field` around some sources that overlap, with a PSF of its own.

    Attributes
    ----------
    flux, weight : ndarray, shape (5, H, W)
        [nanomaggy], and its inverse variance; 0 where there are no data, and outside the blend.
    stars : ndarray, shape (5, P, P)
        Images of the PSF.
    peaks : ndarray, shape (N, 2)
        x, y of its sources [pixel].
    """

    name: str
    flux: np.ndarray
    weight: np.ndarray
    stars: np.ndarray
    peaks: np.ndarray
    pixel: float = HSC_PIXEL

    @classmethod
    def read(cls, path: Path) -> Blend:
        try:
            with path.open("rb") as stream, np.load(stream) as file:
                found = {name: np.asarray(file[name], dtype=float) for name in SHAPES}
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
            raise SystemExit(f"{path}: cannot be read: {error}. {_expected()}") from None
        images, weights, psfs, peaks = found.values()
        side = psfs.shape[-1]
        fits = images.ndim == 3 and len(images) == 5 and weights.shape == images.shape
        if not (fits and psfs.shape == (5, side, side) and side % 2 and peaks.shape[1:] == (2,)):
            shapes = ", ".join(f"{name} {each.shape}" for name, each in found.items())
            raise SystemExit(f"{path}: {shapes}. {_expected()}")
        known = np.isfinite(images) & np.isfinite(weights)
        flux, weight = np.where(known, images, 0), np.where(known, weights, 0)
        return cls(path.stem, flux * NANOMAGGY, weight / NANOMAGGY**2, psfs, peaks)

    @cached_property
    def sigma(self) -> np.ndarray:
        """Usual noise of a pixel, shape (5,); infinite in a band without data."""
        return np.array([np.median(w[w > 0]) ** -0.5 if (w > 0).any() else np.inf
                         for w in self.weight])  # fmt: skip

    @cached_property
    def psf(self) -> tuple[Moffat, ...]:
        middle = self.stars.shape[-1] // 2
        half = min(16, middle)
        fitted = [real_images.fit_moffat(psf / psf.max(), middle, middle, half)
                  for psf in self.stars]  # fmt: skip
        return tuple(Moffat(float(f[3]) * self.pixel, float(f[4])) for f in fitted)

    @cached_property
    def sources(self) -> Sources:
        """Its peaks; clear are those without a saturated one within 15 arcsec."""
        x, y = self.peaks.T
        light = [self._radius_and_light(self.flux[1], *peak) for peak in self.peaks]
        radius, flux = np.array(light).reshape(-1, 2).T
        middle = self.stars.shape[-1] // 2
        point, _ = self._radius_and_light(self.stars[1], middle, middle)
        last = np.array(self.flux.shape[1:])[:, None] - 1
        rows, columns = np.clip(np.rint([y, x]).astype(int), 0, last)
        lost = (self.weight[:, rows, columns] == 0).any(axis=0)
        magnitude = 22.5 - 2.5 * np.log10(np.maximum(flux, 1e-4))
        saturated = lost & (magnitude < 20)
        apart = np.hypot(x[:, None] - x[saturated], y[:, None] - y[saturated]) * self.pixel
        clear = ~(apart < 15).any(axis=1)
        return Sources(x, y, magnitude, radius, radius > EXTENDED * point, clear)

    def _radius_and_light(self, image: np.ndarray, x: float, y: float) -> tuple[float, float]:
        """Half-light radius [arcsec] and light within `APERTURE`."""
        away = self._away(x, y, image.shape)
        inside = np.flatnonzero(away < APERTURE)
        order = inside[np.argsort(away.ravel()[inside], kind="stable")]
        grown = np.cumsum(image.ravel()[order])
        if not len(grown):
            return 0.0, 0.0
        return float(away.ravel()[order][np.argmax(grown > 0.5 * grown[-1])]), float(grown[-1])

    def _away(self, x: float, y: float, shape: tuple[int, ...]) -> np.ndarray:
        rows, columns = np.indices(shape)
        return np.hypot(rows - y, columns - x) * self.pixel

    def galaxies(self, faintest: float) -> Sources:
        """Extended peaks brighter than this r, with data in all bands, the brightest around."""
        s = self.sources
        beside = np.hypot(s.x[:, None] - s.x, s.y[:, None] - s.y) * self.pixel < APART
        brightest = ~(beside & (s.magnitude < s.magnitude[:, None])).any(axis=1)
        covered = np.array([
            (self.weight[:, self._away(x, y, self.flux.shape[1:]) < COVERED] > 0).all()
            for x, y in self.peaks], dtype=bool)  # fmt: skip
        return s.take(s.is_extended & brightest & covered & (s.magnitude < faintest))

    @property
    def depth(self) -> np.ndarray:
        """Magnitude of a point source at 5 sigma in white noise, in each band."""
        pixels = np.array([1 / ((psf / psf.sum()) ** 2).sum() for psf in self.stars])
        return 22.5 - 2.5 * np.log10(5 * self.sigma * np.sqrt(pixels))


def _expected() -> str:
    wanted = ", ".join(f"{name} {shape}" for name, shape in SHAPES.items())
    return f"Expected are arrays {wanted}, P odd; take such files, or move this one away."


def read_blends() -> list[Blend]:
    """All blends of the folder that TARGETSEL_DATA names; none, if it has no hsc_cosmos."""
    return [Blend.read(path) for path in sorted((folder_of_images() / "hsc_cosmos").glob("*.npz"))]


def tell_blends(blends: list[Blend]) -> None:
    print("blend                FWHM [arcsec]                5 sigma of a point [mag]          "
          "galaxies: r")  # fmt: skip
    for blend in blends:
        seeing = "".join(f"{psf.width:6.2f}" for psf in blend.psf)
        depth = "".join(f"{each:6.1f}" for each in blend.depth)
        found = " ".join(f"{m:.1f}" for m in np.sort(blend.galaxies(24.0).magnitude))
        print(f"{blend.name:<18}{seeing}{depth}   {found or 'none of r < 24'}")


def tell_wings(blends: list[Blend]) -> None:
    """Surface brightness of the PSFs in rings, beside that of the mock's of the same width."""
    distinct = {blend.stars.tobytes(): blend for blend in blends}.values()
    print(f"\n{len(distinct)} PSFs: mag / arcsec^2 less the star's at {RINGS} arcsec, median; "
          "and the mock's")  # fmt: skip
    at = np.array(RINGS)
    for k, band in enumerate(BANDS):
        real, mock = [], []
        for blend in distinct:
            psf = blend.stars[k] / blend.stars[k].sum()
            away = blend._away(psf.shape[1] // 2, psf.shape[0] // 2, psf.shape)
            light = [np.mean(psf[np.abs(away - a) < 0.17]) / blend.pixel**2 for a in at]
            real.append(-2.5 * np.log10(np.maximum(light, 1e-7)))
            core = moffat(at, 0 * at, blend.psf[k].width, WINGS.beta)
            halo = moffat(at, 0 * at, AUREOLE_WIDTH, AUREOLE_BETA)
            mock.append(-2.5 * np.log10((1 - WINGS.aureole) * core + WINGS.aureole * halo))
        told = ("".join(f"{each:7.2f}" for each in np.median(of, axis=0)) for of in (real, mock))
        print(f"{band}  real{next(told)}   mock{next(told)}")


def tell_noise(blends: list[Blend]) -> None:
    print(
        "\nCorrelation of noise, by lag (rows, columns) in pixels of 0.168 arcsec, mean of blends"
    )
    print("    " + "".join(f"{a:>5},{b:<2}" for a, b in LAGS))
    blank = [real_images.blank_sky(real_images.detection(blend.flux)) for blend in blends]
    for k, band in enumerate(BANDS):
        found = [[real_images.correlation(blend.flux[k], sky, lag) for lag in LAGS]
                 for blend, sky in zip(blends, blank, strict=True)
                 if sky.sum() > 500 and np.isfinite(blend.sigma[k])]  # fmt: skip
        if found:
            print(f"{band:<4}" + "".join(f"{each:8.3f}" for each in np.mean(found, axis=0)))


def beside(images: list[np.ndarray], seen: list[np.ndarray], camera: Camera) -> np.ndarray:
    """Sources per square arcmin 3 arcsec or more from the centre, to r = 21, 22.5, 24 and 25.5.

    Parameters
    ----------
    images : list of ndarray, shape (H, W)
        r images [nanomaggy].
    seen : list of ndarray of bool, shape (H, W)
        Which pixels count.
    """
    from photutils.segmentation import SourceCatalog, SourceFinder

    finder, limits = SourceFinder(8, contrast=0.005, progress_bar=False), (21, 22.5, 24, 25.5)
    noise = camera.sky_sigma[camera.bands.index("r")]
    area, magnitude = 0.0, []
    for image, inside in zip(images, seen, strict=True):
        side = image.shape[0]
        rows, columns = (np.indices(image.shape) - (side - 1) / 2) * camera.pixel_scale
        inside = inside & (np.hypot(rows, columns) > 3)
        area += inside.sum() * (camera.pixel_scale / 60) ** 2
        segments = finder(image.astype(float), 2 * noise)
        if segments is None:
            continue
        found = SourceCatalog(image.astype(float), segments)
        at = np.clip(np.rint([found.y_centroid, found.x_centroid]).astype(int), 0, side - 1)
        flux = np.maximum(found.segment_flux, 1e-4)[inside[at[0], at[1]]]
        magnitude += list(22.5 - 2.5 * np.log10(flux))
    return np.array([(np.array(magnitude) < limit).sum() for limit in limits]) / area


def tell_company(blends: list[Blend], sky: Path, faintest: float) -> None:
    bands = [LSST_YEAR_1.bands.index(band) for band in BANDS]
    curves = tuple(LSST_YEAR_1.passbands[k] for k in bands)
    camera = replace(LSST_YEAR_1, bands=tuple(BANDS), passbands=curves,
                     **{name: getattr(LSST_YEAR_1, name)[bands]
                        for name in ("seeing", "depth", "sky")})  # fmt: skip
    how, images, seen = Brought(camera), [], []
    for blend in blends:
        galaxies = blend.galaxies(faintest)
        galaxies = galaxies.take(galaxies.magnitude > BRIGHTEST)
        for k in range(len(galaxies)):
            x, y = galaxies.x[k], galaxies.y[k]
            images.append(how.cutout(blend, x, y, np.random.default_rng([0, k]))[1])
            seen.append(_inside(blend, x, y, how.size, camera.pixel_scale))
    mock = _mock(sky)
    print(f"\nSources per square arcmin 3 to 9 arcsec from {len(images)} real galaxies of "
          f"{BRIGHTEST} < r < {faintest}\nbrought to Rubin, and from {len(mock)} mock ones: "
          "to r = 21, 22.5, 24, 25.5")  # fmt: skip
    whole = [np.ones(each.shape, bool) for each in mock]
    for name, these, inside in (("real", images, seen), ("mock", mock, whole)):
        if len(these):
            told = beside(list(these), inside, camera)
            print(f"{name}  " + "".join(f"{each:8.1f}" for each in told))


def _inside(blend: Blend, x: float, y: float, size: int, scale: float) -> np.ndarray:
    """Which pixels of a cutout lie in the blend's image."""
    steps = (np.arange(size) - (size - 1) / 2) * scale / blend.pixel
    height, width = blend.flux.shape[1:]
    rows, columns = ((at + steps >= 0) & (at + steps <= end - 1)
                     for at, end in ((y, height), (x, width)))  # fmt: skip
    return rows[:, None] & columns


def _mock(sky: Path, most: int = 1000) -> np.ndarray:
    """r images of the first sources of a mock sky of Rubin, faint and without lost pixels."""
    if not (sky / "catalog.parquet").is_file():
        raise SystemExit(f"{sky}: is no mock sky. Make one: targetsel mock --survey lsst -o {sky}")
    ids = pq.read_table(sky / "catalog.parquet", columns=["source_id"])["source_id"]
    store = CutoutStore.open(sky / "cutouts")
    if store.bands != LSST_YEAR_1.bands:
        raise SystemExit(f"{sky}: has the bands {', '.join(store.bands)}, not Rubin's. "
                         f"Make a sky: targetsel mock --survey lsst -o {sky}")  # fmt: skip
    flux = store.read(ids.to_numpy()[:most]).flux[:, store.bands.index("r")]
    flux = flux[np.isfinite(flux).all(axis=(1, 2))]
    rows, columns = (np.indices(flux.shape[1:]) - (flux.shape[1] - 1) / 2) * store.pixel_scale
    light = flux[:, np.hypot(rows, columns) < 3].sum(axis=1)
    return flux[light < 10 ** (-0.4 * (BRIGHTEST - 22.5))]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("sky", type=Path)
    parser.add_argument("--faintest", type=float, default=24.0)
    options = parser.parse_args()
    blends = read_blends()
    if not blends:
        raise SystemExit(f"{folder_of_images() / 'hsc_cosmos'}: holds no .npz of a blend.")
    tell_blends(blends)
    tell_wings(blends)
    tell_noise(blends)
    tell_company(blends, options.sky, options.faintest)


if __name__ == "__main__":
    main()
