"""Copy the response curves of the bands that targetsel knows from the package speclite.

    pip install speclite
    python examples/make_passbands.py

The copy saves users speclite, which installs matplotlib, too. Its licence stands beside the curves.
"""

from __future__ import annotations

import argparse
from importlib.resources import files
from pathlib import Path

import numpy as np
from speclite.filters import load_filter

from targetsel.photometry.bands import PASSBANDS


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    shipped = Path(str(files("targetsel.photometry") / "data" / "passbands.npz"))
    parser.add_argument("-o", "--output", type=Path, default=shipped)
    given = parser.parse_args()
    curves = {}
    for name in sorted({band.curve for band in PASSBANDS.values()}):
        response = load_filter(name)
        curves[name] = np.array([response.wavelength, response.response], dtype=np.float64)
    np.savez_compressed(given.output, **curves)
    print(f"{len(curves)} curves -> {given.output}")


if __name__ == "__main__":
    main()
