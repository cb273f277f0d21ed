"""What every service of spectra can do: answer for a few sources at a time."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from targetsel.spectra.measured import ObservedSpectrum
from targetsel.surveys.http import Answer, Unanswered

OK = "ok"
NO_SPECTRUM = "no such spectrum"


@dataclass(frozen=True)
class Wanted:
    """A spectrum to fetch.

    Attributes
    ----------
    source_id : int or str
    names : mapping
        What the service knows it by: plate, mjd, fiber and run2d, or a target id.
    redshift : float or None
        None: what the service says.
    """

    source_id: int | str
    names: Mapping[str, int | str]
    redshift: float | None = None


@dataclass(frozen=True)
class Found:
    """What a service said of one spectrum.

    Attributes
    ----------
    status : str
        "ok", or why there is no spectrum.
    spectrum : ObservedSpectrum or None
    final : bool
        False where another run should ask again.
    about : mapping
        For the manifest: url, bytes, sha256, time, and troubles on the way.
    """

    status: str
    spectrum: ObservedSpectrum | None = None
    final: bool = True
    about: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, answer: Answer, status: str, spectrum: ObservedSpectrum | None = None) -> Found:
        """A final answer, with its fingerprint."""
        about = {
            "url": answer.url,
            "bytes": len(answer.content),
            "sha256": hashlib.sha256(answer.content).hexdigest(),
            "time": time.time(),
            "troubles": list(answer.troubles),
        }
        return cls(status, spectrum, True, about)

    @classmethod
    def unanswered(cls, url: str, error: Unanswered) -> Found:
        """No good answer; another run should ask again."""
        about = {
            "url": url,
            "bytes": 0,
            "sha256": "",
            "time": time.time(),
            "troubles": list(error.troubles),
        }
        return cls(str(error), None, False, about)


class SpectrumService(Protocol):
    """A place to fetch spectra from; `fetch` is called from several threads."""

    @property
    def at_once(self) -> int:
        """How many spectra one call may ask for."""
        ...

    @property
    def columns(self) -> Mapping[str, tuple[str, ...]]:
        """The catalog's columns that name a spectrum, and their usual names; "?" may lack."""
        ...

    def settings(self) -> Mapping[str, Any]:
        """What the answers depend on, apart from the sources; plain values for JSON."""
        ...

    def fetch(self, wanted: Sequence[Wanted]) -> list[Found]:
        """One answer for each spectrum, in their order."""
        ...
