"""Prospector: the arguments of `priors.ClippedNormal` for the parameter `zred` of each source."""

from __future__ import annotations

import json
from pathlib import Path

from targetsel.priors.fitter import Fitter, KnownRedshifts
from targetsel.priors.prior import HIGHEST


def write(redshifts: KnownRedshifts, _function: str, path: Path) -> None:
    """Write a JSON object with the arguments for each id."""
    rows = zip(
        redshifts.source_id.tolist(),
        redshifts.redshift.tolist(),
        redshifts.error.tolist(),
        strict=True,
    )
    found = {
        str(name): {"mean": z, "sigma": error, "mini": 0.0, "maxi": HIGHEST}
        for name, z, error in rows
    }
    path.write_text(json.dumps(found, indent=1) + "\n")


FITTER = Fitter(
    "prospector",
    "prospect/models/priors.py of bd-j/prospector",
    "Experimental: Prospector 1.4.1 took the arguments; nothing was fitted.",
    ".json",
    write,
)
