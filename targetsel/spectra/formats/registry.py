"""The kinds of files that surveys write spectra into, each of which is a module of this folder."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from targetsel.errors import SpectrumError
from targetsel.spectra.redshifts import SpectrumOptions
from targetsel.spectra.spectrum import ObservedSpectrum

if TYPE_CHECKING:
    from astropy.io.fits import HDUList

# Modules of this folder, each of which defines a `SpectrumFormat` called FORMAT.
MODULES = ("sdss_spec", "sdss_spspec", "desi", "with_specutils")


@dataclass(frozen=True)
class OpenSpectra:
    """An open file of spectra, and how it is to be read.

    Attributes
    ----------
    hdus : HDUList
    place : str
        Name of the file in messages.
    path : Path or None
        None for the contents of an answer of an archive.
    name : str
        Id of the spectrum where the file has none; the file's name.
    redshift : float or None
        Of every spectrum, in place of the file's own.
    options : SpectrumOptions
    """

    hdus: HDUList
    place: str
    path: Path | None
    name: str
    redshift: float | None = None
    options: SpectrumOptions = SpectrumOptions()  # noqa: RUF009


@dataclass(frozen=True)
class SpectrumFormat:
    """A kind of file of spectra.

    Attributes
    ----------
    name : str
        Its name in a few words.
    holds : callable
        Whether an HDUList is such a file, by the names of its parts.
    spectra : callable
        The spectra of an `OpenSpectra`, and the error in place of each that is not usable.
    """

    name: str
    holds: Callable[[HDUList], bool]
    spectra: Callable[[OpenSpectra], Iterator[ObservedSpectrum | SpectrumError]]


@cache
def formats() -> tuple[SpectrumFormat, ...]:
    """All kinds of files, in the order in which they are tried."""
    return tuple(import_module(f"targetsel.spectra.formats.{module}").FORMAT for module in MODULES)


def format_of(hdus: HDUList) -> SpectrumFormat | None:
    """The kind of an open file, or None if it is of no survey that we know."""
    return next((each for each in formats() if each.holds(hdus)), None)
