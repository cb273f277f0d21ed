"""What is known of the sources of each class: how many have a spectrum, and at which redshifts."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from targetsel.errors import counted

SHARES = (0.0, 0.16, 0.5, 0.84, 1.0)  # of the sources, below each of the redshifts


@dataclass(frozen=True)
class KnownOfClass:
    """The sources of one class that have a spectrum already.

    Attributes
    ----------
    name : str
    left_out : int or None
        Known sources that obey all else of the class, and that it leaves out for that; None where
        its rules say what becomes of known sources.
    kept : int
        Known sources among its targets.
    failed : int
        Its targets of which spectra were taken that all failed.
    n_redshifts : int
        Known sources of the class, left out or kept, whose redshift is known.
    redshifts : tuple of float
        Below these lie the shares `SHARES` of the redshifts: the least, three between, and the
        largest; empty where there are none.
    """

    name: str
    left_out: int | None
    kept: int
    failed: int
    n_redshifts: int
    redshifts: tuple[float, ...]

    @classmethod
    def of(
        cls,
        name: str,
        left_out: int | None,
        kept: int,
        failed: int,
        redshifts: Iterable[np.ndarray],
    ) -> KnownOfClass:
        """The same of redshifts in pieces, in any order; those that are NaN are not known."""
        values = np.sort(np.concatenate([np.empty(0), *redshifts]))
        values = values[np.isfinite(values)]
        below = np.quantile(values, SHARES).tolist() if len(values) else []
        return cls(name, left_out, kept, failed, len(values), tuple(below))

    @property
    def record(self) -> dict[str, Any]:
        """All as plain values, for a footer."""
        return asdict(self) | {"redshifts": list(self.redshifts)}

    @property
    def text(self) -> str:
        """A sentence without its full stop."""
        if self.left_out is None:
            n = counted(self.kept, "known source")
            said = f"{self.name}: its rules say what becomes of known sources; it keeps {n}"
        else:
            said = f"{self.name}: leaves out {counted(self.left_out, 'known source')}"
        if self.redshifts:
            least, low, middle, high, most = (f"{each:.4g}" for each in self.redshifts)
            if self.n_redshifts == 1:
                said += f", at redshift {middle}"
            else:
                said += (
                    f", at redshifts {least} to {most} (median {middle}, two of three within "
                    f"{low} to {high})"
                )
        if self.failed:
            verb = "has" if self.failed == 1 else "have"
            said += f"; {counted(self.failed, 'target')} {verb} only spectra that failed"
        return said
