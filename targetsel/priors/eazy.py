"""EAZY: a list of redshifts and errors, for the array `full_logprior` of eazy-py's `PhotoZ`.

EAZY itself knows priors by magnitude alone, and no file of priors by source.
"""

from __future__ import annotations

from pathlib import Path

from targetsel.errors import CatalogError
from targetsel.priors.fitter import Fitter, KnownRedshifts


def write(redshifts: KnownRedshifts, _function: str, path: Path) -> None:
    """Write a line for each source: its id, the mean and the standard deviation."""
    rows = zip(redshifts.source_id, redshifts.redshift, redshifts.error, strict=True)
    for name in redshifts.source_id:
        if len(str(name).split()) != 1:
            raise CatalogError(
                f"the id '{name}' has blanks, which separate the columns of a list. "
                "Give a catalog with other ids."
            )
    lines = [f"{name} {z:.6g} {error:.6g}\n" for name, z, error in rows]
    path.write_text("# id z_prior z_prior_sigma\n" + "".join(lines))


FITTER = Fitter(
    "eazy",
    "eazy/photoz.py of gbrammer/eazy-py",
    "Experimental: the file was not tried with eazy-py.",
    ".txt",
    write,
)
