"""What every survey's service can do: answer for one source, band by band."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from targetsel.surveys.http import Answer, Unanswered

OK = "ok"
OUTSIDE = "outside the footprint"
NO_DATA = "no data"


@dataclass(frozen=True)
class BandAnswer:
    """What a survey said about one band of one source.

    Attributes
    ----------
    band : str
    status : str
        "ok", or why there are no pixels.
    flux : ndarray of float32, shape (H, W), or None
        [nanomaggy]; NaN where there is no data.
    final : bool
        False where another run should ask again.
    url : str
    n_bytes : int
        Length of the answer.
    sha256 : str
        Of the answer.
    time : float
        When it came [Unix time, s].
    troubles : tuple of str
        What went wrong before.
    """

    band: str
    status: str
    flux: np.ndarray | None = None
    final: bool = True
    url: str = ""
    n_bytes: int = 0
    sha256: str = ""
    time: float = 0.0
    troubles: tuple[str, ...] = ()

    @classmethod
    def of(
        cls, answer: Answer, band: str, status: str, flux: np.ndarray | None = None
    ) -> BandAnswer:
        """A final answer, with its fingerprint."""
        return cls(
            band,
            status,
            flux,
            url=answer.url,
            n_bytes=len(answer.content),
            sha256=hashlib.sha256(answer.content).hexdigest(),
            time=time.time(),
            troubles=answer.troubles,
        )


class Survey(Protocol):
    """A place to fetch cutouts from; `fetch` is called from several threads."""

    @property
    def bands(self) -> tuple[str, ...]: ...

    @property
    def pixel_scale(self) -> float:
        """[arcsec]"""
        ...

    @property
    def size(self) -> int:
        """Width and height of a cutout [pixel]."""
        ...

    def settings(self) -> Mapping[str, Any]:
        """What the pixels depend on, apart from the source; plain values for JSON."""
        ...

    def fetch(self, ra: float, dec: float) -> list[BandAnswer]:
        """One answer for each band, in order, about the place (ra, dec) [deg, ICRS]."""
        ...


def unanswered(band: str, url: str, error: Unanswered) -> BandAnswer:
    """The answer for a band that another run should ask for again."""
    return BandAnswer(band, str(error), None, False, url, time=time.time(), troubles=error.troubles)
