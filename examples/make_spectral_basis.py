"""Make the basis of spectra that gaps are filled from, on a mock sky's spectra.

    targetsel mock --n 20000 --variation examples/variations/plain.yaml -o sky/
    python examples/make_spectral_basis.py sky/

Ten principal components of the noise-free, simulated spectra.
"""

from __future__ import annotations

import argparse
from importlib.resources import files
from pathlib import Path

from train_default_ensemble import noise_free

from targetsel.spectra.rest_frame import Basis


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    shipped = Path(str(files("targetsel.spectra") / "data" / "basis.npz"))
    parser.add_argument("sky", type=Path, help="folder of a mock sky")
    parser.add_argument("-o", "--output", type=Path, default=shipped)
    given = parser.parse_args()
    given.output.parent.mkdir(exist_ok=True)
    spectra = noise_free(given.sky)
    Basis.fit(spectra).write(given.output)
    print(f"{len(spectra)} mock spectra -> {given.output}")


if __name__ == "__main__":
    main()
