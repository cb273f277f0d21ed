"""Noise, PSFs, astrometry and neighbours of real images, which `realism` of mock skies follows.

    python benchmarks/real_images.py FOLDER

FOLDER holds kids_viking/{g,r,i,Z,Y}.fits, a registered mosaic of KiDS and VIKING (its left 1040
columns), and hsc_cosmos/*.npz, deblender tests of HSC with their PSFs. Of the mosaic are measured,
in each band: how noise correlates in blank sky, and how it varies over 16 arcsec; the PSFs of
stars, and where stars lie compared with the r band; colours of stars and galaxies beside
blackbodies; numbers of stars, and of galaxies beside other galaxies.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from astropy.io import fits
from scipy import ndimage
from scipy.optimize import least_squares, minimize_scalar

from targetsel.mock.images import blackbody
from targetsel.mock.optics import AUREOLE_BETA, AUREOLE_WIDTH, moffat
from targetsel.surveys.card import Wings

BANDS = "griZY"
WAVELENGTH = np.array([4770.0, 6250.0, 7520.0, 8770.0, 10200.0])  # of VST g r i, VISTA Z Y
PIXEL = 0.339  # arcsec
HSC_PIXEL = 0.168  # arcsec
WINGS = Wings()
LAGS = ((0, 1), (1, 0), (1, 1), (0, 2), (2, 0), (0, 3), (3, 0), (0, 4), (4, 0), (0, 8), (0, 16))
BOX = 47  # pixels, 16 arcsec
HALF = 10  # pixels around a star that are fitted


def read_mosaic(folder: Path) -> np.ndarray:
    """The mosaic without its background [nanomaggy], shape (5, H, W)."""
    planes = []
    for band in BANDS:
        with fits.open(folder / "kids_viking" / f"{band}.fits") as file:
            image = file[1].data.astype(float)
            image = image * 10 ** (-0.4 * (file[1].header["MAGZERO"] - 22.5))
        planes.append(image - background(image))
    return np.array(planes)


def background(image: np.ndarray, box: int = 80) -> np.ndarray:
    """Medians of boxes without outliers, interpolated."""
    grid = np.empty((image.shape[0] // box, image.shape[1] // box))
    for row, column in np.ndindex(grid.shape):
        inside = image[row * box : (row + 1) * box, column * box : (column + 1) * box].ravel()
        for _ in range(6):
            inside = inside[np.abs(inside - np.median(inside)) < 2.5 * scatter(inside)]
        grid[row, column] = np.median(inside)
    places = (np.indices(image.shape) + 0.5) / box - 0.5
    return ndimage.map_coordinates(ndimage.median_filter(grid, 3), places, order=1, mode="nearest")


def scatter(values: np.ndarray) -> float:
    """Standard deviation of a Gaussian with these values' median absolute deviation."""
    return float(1.4826 * np.median(np.abs(values - np.median(values))))


def detection(mosaic: np.ndarray) -> np.ndarray:
    """Smoothed sum of g, r and i, in units of its noise."""
    summed = sum(image / scatter(image) for image in mosaic[:3])
    smooth = ndimage.gaussian_filter(summed, 1.5)
    return smooth / scatter(smooth)


def blank_sky(found: np.ndarray) -> np.ndarray:
    """Whether a pixel is far from everything found."""
    near = ndimage.binary_dilation(found > 2.0, iterations=4)
    return ~(near | ndimage.binary_dilation(found > 50.0, iterations=25))


def correlation(image: np.ndarray, blank: np.ndarray, lag: tuple[int, int]) -> float:
    """Correlation of blank pixels with others (rows, columns) away."""
    height, width = image.shape
    one = np.s_[: height - lag[0], : width - lag[1]]
    other = np.s_[lag[0] :, lag[1] :]
    both = blank[one] & blank[other]
    middle = image[blank].mean()
    return float(
        ((image[one] - middle) * (image[other] - middle))[both].mean() / image[blank].var()
    )


def tell_noise(mosaic: np.ndarray, blank: np.ndarray) -> None:
    print(
        f"Noise in blank sky ({blank.mean():.0%} of the mosaic), correlation by lag (rows, columns)"
    )
    print("band    " + "".join(f"{a:>5},{b:<2}" for a, b in LAGS))
    for band, image in zip(BANDS, mosaic, strict=True):
        print(f"{band:<8}" + "".join(f"{correlation(image, blank, lag):8.3f}" for lag in LAGS))
    print(
        "\nln(noise) in squares of 16 arcsec: scatter of squares; of quarters within, slopes x, y"
    )
    for band, image in zip(BANDS, mosaic, strict=True):
        squares, quarters = local_noise(image, blank)
        own = quarters - quarters.mean(axis=1, keepdims=True)
        x = (own[:, 1] + own[:, 3] - own[:, 0] - own[:, 2]) / 2
        y = (own[:, 2] + own[:, 3] - own[:, 0] - own[:, 1]) / 2
        told = (scatter(squares), own.std(), x.std(), y.std())
        print(f"{band:<8}" + "".join(f"{each:8.3f}" for each in told))


def local_noise(image: np.ndarray, blank: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """ln of the noise in squares of 16 arcsec, and in the quarters of each (N, 4)."""
    half = BOX // 2
    found = []
    for y in range(0, image.shape[0] - BOX, BOX):
        for x in range(0, image.shape[1] - BOX, BOX):
            quarters = [np.s_[y + a : y + a + half, x + b : x + b + half]
                        for a in (0, half) for b in (0, half)]  # fmt: skip
            if min(blank[each].sum() for each in quarters) > 300:
                found.append([np.log(image[each][blank[each]].std()) for each in quarters])
    return np.mean(found, axis=1), np.array(found)


# ---------------------------------------------------------------------- stars and galaxies


def objects(mosaic: np.ndarray, found: np.ndarray) -> dict[str, np.ndarray]:
    """Objects above 12 sigma: x, y, fluxes in 2.4 arcsec, r magnitude, half-light radius."""
    labels, n = ndimage.label(found > 5.0)
    every = np.arange(1, n + 1)
    bright = every[ndimage.maximum(found, labels, every) > 12.0]
    y, x = np.array(ndimage.maximum_position(found, labels, bright)).T
    inside = (np.minimum(x, y) > 20) & (x < found.shape[1] - 21) & (y < found.shape[0] - 21)
    x, y = x[inside], y[inside]
    rows, columns = np.mgrid[-14:15, -14:15]
    distance = np.hypot(rows, columns)
    order = np.argsort(distance, axis=None)
    fluxes, magnitude, radius = [], [], []
    for at_x, at_y in zip(x, y, strict=True):
        around = mosaic[:, at_y - 14 : at_y + 15, at_x - 14 : at_x + 15]
        fluxes.append(around[:, distance * PIXEL < 2.4].sum(axis=1))
        light = np.cumsum(around[1].ravel()[order])
        within = distance.ravel()[order] * PIXEL
        whole = light[within < 3.5][-1]
        magnitude.append(22.5 - 2.5 * np.log10(max(whole, 1e-3)))
        radius.append(within[np.argmax(light > 0.5 * whole)])
    return {"x": x, "y": y, "fluxes": np.array(fluxes), "r": np.array(magnitude),
            "radius": np.array(radius)}  # fmt: skip


def fit_moffat(image: np.ndarray, x: int, y: int, half: int = HALF) -> np.ndarray:
    """Peak, x, y, FWHM [pixel], beta and two components of the ellipticity of a star."""
    rows, columns = np.mgrid[-half : half + 1, -half : half + 1]
    around = image[y - half : y + half + 1, x - half : x + half + 1]
    inner = np.hypot(rows, columns) < half

    def model(values: np.ndarray) -> np.ndarray:
        peak, x0, y0, width, beta, e1, e2 = values
        dx, dy = columns - x0, rows - y0
        square = (1 - e1) * dx**2 + (1 + e1) * dy**2 - 2 * e2 * dx * dy
        core = (2 ** (1 / beta) - 1) * 4 / width**2
        return peak * (1 + core * square) ** -beta

    limits = ([0, -2, -2, 1.0, 1.2, -0.5, -0.5], [np.inf, 2, 2, 20, 12, 0.5, 0.5])
    first = [max(around.max(), 1e-6), 0, 0, 2.8, 2.5, 0, 0]
    error = 0.02 * np.abs(around) + scatter(image)  # real profiles are no Moffat's in detail
    return least_squares(
        lambda values: ((model(values) - around) / error)[inner], first, bounds=limits
    ).x


def tell_stars(mosaic: np.ndarray, found: dict[str, np.ndarray], star: np.ndarray) -> None:
    well = np.flatnonzero(star & (found["r"] > 16.5) & (found["r"] < 20.0))
    fitted = np.array([[fit_moffat(image, found["x"][k], found["y"][k]) for k in well]
                       for image in mosaic])  # fmt: skip
    print(f"\nPSFs of {len(well)} stars at 16.5 < r < 20: median [scatter]; offsets in mas")
    print("band     FWHM arcsec           beta             e1             e2     x to r     y to r")
    for band, each in zip(BANDS, fitted, strict=True):
        columns = [each[:, 3] * PIXEL, each[:, 4], each[:, 5], each[:, 6]]
        told = "".join(f"{np.median(v):8.3f} [{scatter(v):.3f}]" for v in columns)
        moved = 1000 * PIXEL * (each[:, 1:3] - fitted[1, :, 1:3])
        told += "".join(f"{np.median(v):6.0f} [{scatter(v):.0f}]" for v in moved.T)
        print(f"{band:<6}{told}")
    area = mosaic[0].size * (PIXEL / 60) ** 2
    print(f"\nStars in {area:.0f} square arcmin, brighter than r")
    for limit in range(15, 22):
        n = int((star & (found["r"] < limit)).sum())
        print(f"{limit:>4}{n:>6}{n / area:8.3f} in a square arcmin")


def tell_halos(mosaic: np.ndarray, found: dict[str, np.ndarray], star: np.ndarray) -> None:
    """Surface brightness around stars that hardly saturate, and of the mock's PSF."""
    well = np.flatnonzero(star & (found["r"] > 15.5) & (found["r"] < 17.3))
    rings = (2.3, 3.4, 5.7, 9.1, 13.7)
    rows, columns = np.indices(mosaic[0].shape)
    print(
        f"\nHalos of {len(well)} stars at 15.5 < r < 17.3: mag / arcsec^2 less the star's, median"
    )
    print("arcsec  " + "".join(f"{each:8.1f}" for each in rings))
    for band, image in zip(BANDS, mosaic, strict=True):
        faint = []
        for k in well:
            away = PIXEL * np.hypot(columns - found["x"][k], rows - found["y"][k])
            light = [np.median(image[(away > 0.87 * a) & (away < 1.15 * a)]) for a in rings]
            share = np.array(light) / PIXEL**2 / image[away < 8].sum()
            faint.append(-2.5 * np.log10(np.maximum(share, 1e-7)))
        print(f"{band:<8}" + "".join(f"{each:8.2f}" for each in np.median(faint, axis=0)))
    at = np.array(rings)
    for width in (0.8, 1.1):
        core, halo = (
            moffat(at, 0 * at, width, WINGS.beta),
            moffat(at, 0 * at, AUREOLE_WIDTH, AUREOLE_BETA),
        )
        mock = -2.5 * np.log10((1 - WINGS.aureole) * core + WINGS.aureole * halo)
        print(f"mock {width:<3}" + "".join(f"{each:8.2f}" for each in mock))


def tell_hsc(folder: Path) -> None:
    print("\nPSFs of HSC blends: FWHM [arcsec], beta, e1, e2 in g r i z y")
    known: list[bytes] = []
    for path in sorted((folder / "hsc_cosmos").glob("*.npz")):
        with np.load(path) as file:
            psfs = file["psfs"]
        if psfs.tobytes() in known:  # several blends of one patch
            continue
        known.append(psfs.tobytes())
        fitted = [fit_moffat(psf, 20, 20, 16) for psf in psfs / psfs.max()]
        told = (f"{f[3] * HSC_PIXEL:.2f} {f[4]:.2f} {f[5]:+.3f} {f[6]:+.3f}" for f in fitted)
        print(f"{path.stem}  " + "  |  ".join(told))


def tell_colours(kind: str, fluxes: np.ndarray) -> None:
    """Temperatures of blackbodies that fit the fluxes, and what is left in each band [mag]."""
    good = (fluxes > 0).all(axis=1)
    magnitude = -2.5 * np.log10(fluxes[good])
    kelvin, left = [], []
    for each in magnitude:

        def residual(ln_kelvin: float, each: np.ndarray = each) -> np.ndarray:
            off = each + 2.5 * np.log10(blackbody(WAVELENGTH, np.exp(ln_kelvin)))
            return off - off.mean()

        best = minimize_scalar(lambda t: (residual(t) ** 2).sum(), bounds=np.log([1500, 20000]),
                               method="bounded")  # fmt: skip
        kelvin.append(np.exp(best.x))
        left.append(residual(best.x))
    low, middle, high = np.percentile(kelvin, [16, 50, 84])
    print(f"\n{kind}: {len(kelvin)}, blackbodies of {middle:.0f} K, 68 % {low:.0f} to {high:.0f}, "
          f"half of ln(84 %/16 %) {0.5 * np.log(high / low):.2f}")  # fmt: skip
    off = np.array(left)
    print("left [mag], mean and scatter by band: " + ", ".join(
        f"{b} {m:+.2f} [{s:.2f}]" for b, m, s in
        zip(BANDS, np.median(off, axis=0), [scatter(v) for v in off.T], strict=True)))  # fmt: skip


def tell_company(found: dict[str, np.ndarray], star: np.ndarray, blank_area: float) -> None:
    galaxy = ~star & (found["r"] < 22.0)
    around = galaxy & (found["r"] > 17.0) & (found["r"] < 20.5)
    x, y = found["x"] * PIXEL, found["y"] * PIXEL
    density = galaxy.sum() / blank_area
    print(
        f"\nGalaxies at r < 22, {3600 * density:.2f} in a square arcmin, beside {around.sum()} ones"
    )
    for low, high in ((2, 4), (4, 8), (8, 16), (16, 32)):
        distance = np.hypot(x[around][:, None] - x[galaxy], y[around][:, None] - y[galaxy])
        seen = ((distance > low) & (distance <= high)).sum()
        expected = around.sum() * density * np.pi * (high**2 - low**2)
        print(f"at {low} to {high} arcsec: {seen}, as by chance {expected:.1f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    mosaic = read_mosaic(folder)
    above = detection(mosaic)
    tell_noise(mosaic, blank_sky(above))
    found = objects(mosaic, above)
    compact = (found["radius"] < 0.85) & (found["r"] < 22.0)
    star = compact | (found["r"] < 15.5)  # which saturate, and look wide
    tell_stars(mosaic, found, star)
    tell_halos(mosaic, found, star)
    tell_hsc(folder)
    tell_colours(
        "Stars at 17 < r < 21", found["fluxes"][star & (found["r"] > 17) & (found["r"] < 21)]
    )
    tell_colours("Galaxies at r < 21.5", found["fluxes"][~star & (found["r"] < 21.5)])
    tell_company(found, star, mosaic[0].size * PIXEL**2)


if __name__ == "__main__":
    main()
