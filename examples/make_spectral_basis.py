"""Make the basis of spectra that gaps are filled from, on the mock sky's training spectra.

    python examples/make_spectral_basis.py

Ten principal components of the noise-free spectra that the shipped decoder has learnt: the same
galaxies, seeds and split as in train_default_ensemble.py. About a minute.
"""

from __future__ import annotations

import argparse
from importlib.resources import files
from pathlib import Path

import numpy as np
from targetsel.mock.demo import in_demonstration
from train_default_ensemble import REALISATIONS, SEED

from targetsel.identity import uniform
from targetsel.mock.anchor import Anchor
from targetsel.mock.galaxies import Galaxies
from targetsel.mock.spectra import N_NORMALS, draw_spectra
from targetsel.mock.templates import DECODER_PIXELS
from targetsel.spectra.infill import Basis


def training_spectra() -> np.ndarray:
    """Noise-free mock spectra on the decoder's grid, shape (N, 1000)."""
    galaxies = Galaxies.shipped()
    ids = galaxies.source_id
    held_out = uniform(ids, SEED, "held out")[:, 0] < 0.1
    galaxies = galaxies.take(np.flatnonzero(~in_demonstration(ids) & ~held_out))
    parts = []
    for realisation in range(REALISATIONS):
        for start in range(0, len(galaxies), 256):
            rows = galaxies.take(np.arange(start, min(start + 256, len(galaxies))))
            rngs = [np.random.default_rng([SEED + realisation, int(n)]) for n in rows.source_id]
            normals = np.array([rng.standard_normal(N_NORMALS) for rng in rngs])
            spectra = draw_spectra(rows.known, normals, Anchor.shipped())
            parts.append(spectra.total[:, DECODER_PIXELS].astype(np.float32))
    return np.concatenate(parts)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    shipped = Path(str(files("targetsel.spectra") / "data" / "basis.npz"))
    parser.add_argument("-o", "--output", type=Path, default=shipped)
    output = parser.parse_args().output
    output.parent.mkdir(exist_ok=True)
    spectra = training_spectra()
    Basis.fit(spectra).write(output)
    print(f"{len(spectra)} mock spectra -> {output}")


if __name__ == "__main__":
    main()
