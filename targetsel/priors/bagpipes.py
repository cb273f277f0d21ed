"""Bagpipes: the entries of `fit_instructions` that say what is known of a source's redshift."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from targetsel.priors.fitter import Fitter, KnownRedshifts
from targetsel.priors.prior import HIGHEST

REACH = 5.0  # standard deviations at which the redshift is cut off


def write(redshifts: KnownRedshifts, _function: str, path: Path) -> None:
    """Write a JSON object with the entries of each id."""
    found: dict[str, dict[str, Any]] = {}
    rows = zip(
        redshifts.source_id.tolist(),
        redshifts.redshift.tolist(),
        redshifts.error.tolist(),
        redshifts.known.tolist(),
        strict=True,
    )
    for name, z, error, known in rows:
        limits = [max(z - REACH * error, 0.0), min(z + REACH * error, HIGHEST)]
        found[str(name)] = {"redshift": limits} | (
            {
                "redshift_prior": "Gaussian",
                "redshift_prior_mu": z,
                "redshift_prior_sigma": error,
            }
            if known
            else {}
        )
    path.write_text(json.dumps(found, indent=1) + "\n")


FITTER = Fitter(
    "bagpipes",
    "the page on fit instructions of Bagpipes' documentation",
    "Experimental: the prior of Bagpipes 1.3.6 took an entry; nothing was fitted.",
    ".json",
    write,
)
