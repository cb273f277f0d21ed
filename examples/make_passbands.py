"""Copy the response curves of the bands that targetsel knows from the packages speclite and sedpy.

    pip install speclite
    pip download --no-deps astro-sedpy
    python examples/make_passbands.py --sedpy astro_sedpy-0.4.1-py3-none-any.whl

The copy saves users both packages. Their licences stand beside the curves. Those of VISTA's camera
are of sedpy: filter, detector, mirrors and atmosphere, around the peak down to a thousandth of it.
"""

from __future__ import annotations

import argparse
import zipfile
from importlib.resources import files
from pathlib import Path

import numpy as np
from speclite.filters import load_filter

from targetsel.photometry.bands import PASSBANDS

LEAST = 1e-3  # of the peak


def vista_curve(wheel: Path, name: str) -> np.ndarray:
    """Wavelength [Angstrom] and response of "vista-Z", shape (2, K)."""
    file = f"sedpy/data/filters/vista_vircam_{name.removeprefix('vista-')}.par"
    with zipfile.ZipFile(wheel) as inside:
        rows = np.loadtxt(inside.read(file).decode().splitlines())
    wavelength, response = rows[np.argsort(rows[:, 0])].T
    response = np.clip(response / response.max(), 0, None)
    dark, peak = np.flatnonzero(response < LEAST), int(response.argmax())
    before = dark[dark < peak].max(initial=0)
    after = dark[dark > peak].min(initial=len(response) - 1)
    response[[before, after]] = 0.0
    return np.array([wavelength[before : after + 1], response[before : after + 1]])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    shipped = Path(str(files("targetsel.photometry") / "data" / "passbands.npz"))
    parser.add_argument("-o", "--output", type=Path, default=shipped)
    parser.add_argument("--sedpy", type=Path, required=True, help="wheel of astro-sedpy")
    given = parser.parse_args()
    curves = {}
    for name in sorted({band.curve for band in PASSBANDS.values()}):
        if name.startswith("vista-"):
            curves[name] = vista_curve(given.sedpy, name)
            continue
        response = load_filter(name)
        curves[name] = np.array([response.wavelength, response.response], dtype=np.float64)
    np.savez_compressed(given.output, **curves)
    print(f"{len(curves)} curves -> {given.output}")


if __name__ == "__main__":
    main()
