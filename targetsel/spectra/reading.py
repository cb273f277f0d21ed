"""Measured spectra from files, and the results of what is done with each of them.

Files are those of surveys (see `formats`), or plain arrays (see `arrays`), which may be in FITS,
too.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np
import pyarrow as pa
from astropy.io import fits

from targetsel.errors import SpectrumError, absent
from targetsel.spectra.apertures import APERTURE, aperture_in
from targetsel.spectra.arrays import ArraySpectra, file_stem, pieces
from targetsel.spectra.formats.registry import OpenSpectra, format_of
from targetsel.spectra.formats.with_specutils import unknown_spectra
from targetsel.spectra.redshifts import FITS_SUFFIXES, SpectrumOptions
from targetsel.spectra.spectrum import ObservedSpectrum, UnusableSpectrum
from targetsel.tables.any_format import footer_if_any
from targetsel.tables.columns import ID, NEVER, Column, schema_of
from targetsel.tables.files import PARQUET_SUFFIXES
from targetsel.tables.fits import open_fits
from targetsel.tables.ids import as_id, id_type
from targetsel.tables.parquet import SIMULATED, says_simulated
from targetsel.tables.reading import ParquetReader, reading
from targetsel.tasks import task

T = TypeVar("T")

OK = "ok"
MOST_NAMED = 3  # kinds of errors that a message repeats where every spectrum failed


def read_spectra(
    path: Path, redshift: float | None = None, options: SpectrumOptions = SpectrumOptions()
) -> list[ObservedSpectrum]:
    """The spectra of one file.

    Parameters
    ----------
    redshift : float, optional
        Redshift of every spectrum of the file, in place of the file's own.
    options : SpectrumOptions
        Where else redshifts come from, and which are taken.

    Raises
    ------
    SpectrumError
        If the file is of no known kind or damaged, lacks a redshift or another quantity, or has
        unusable values.
    """
    spectra = []
    for spectrum in try_spectra(path, redshift, options):
        if isinstance(spectrum, SpectrumError):
            raise spectrum
        spectra.append(spectrum)
    return spectra


def try_spectra(
    path: Path, redshift: float | None = None, options: SpectrumOptions = SpectrumOptions()
) -> Iterator[ObservedSpectrum | SpectrumError]:
    """The spectra of one file as in `read_spectra`, with the error in place of a bad one."""
    path = Path(path)
    try:
        if not path.exists():
            raise SpectrumError(absent(path))
        if path.is_dir():
            raise SpectrumError(f"{path}: is a folder. Name the files in it.")
        if path.name.lower().endswith(FITS_SUFFIXES):
            with open_fits(path, SpectrumError) as hdus:
                with reading(path, SpectrumError, "a FITS file"):
                    kind = format_of(hdus)
                    has_table = any(isinstance(hdu, fits.BinTableHDU) for hdu in hdus)
                opened = OpenSpectra(hdus, str(path), path, file_stem(path), redshift, options)
                if kind is not None:
                    yield from kind.spectra(opened)
                    return
                if not has_table:
                    yield from unknown_spectra(opened)
                    return
        for first, is_one, arrays in pieces(path):
            yield from ArraySpectra(path, arrays, redshift, first, is_one, options).spectra()
    except SpectrumError as error:
        yield error


# ---------------------------------------------------------------- results of many spectra


@dataclass(frozen=True)
class Attempt(Generic[T]):
    """One spectrum of a file, and the result or error of its processing.

    Attributes
    ----------
    path : Path
        The file.
    source_id : int or str
        Id of the spectrum, or the name of a file that could not be read.
    spectrum : ObservedSpectrum or None
        None if it could not be read.
    result : T or SpectrumError
        The result, or the error that prevented it.
    """

    path: Path
    source_id: int | str
    spectrum: ObservedSpectrum | None
    result: T | SpectrumError


def attempts(
    paths: Iterable[Path],
    make: Callable[[ObservedSpectrum], T],
    redshift: float | None = None,
    what: str = "measuring",
    options: SpectrumOptions = SpectrumOptions(),
) -> Iterator[Attempt[T]]:
    """Results of `make` for every spectrum of some files, or its `SpectrumError` where it fails.

    `what` is being done, for those who want to see its progress.
    """
    expected = [(path, _n_expected(path)) for path in map(Path, paths)]
    with task(what, sum(n for _, n in expected), "spectra") as advance:
        for path, left in expected:
            for spectrum in try_spectra(path, redshift, options):
                yield _attempt(path, spectrum, make)
                advance(min(left, 1))
                left -= min(left, 1)
            advance(left)


def _n_expected(path: Path) -> int:
    """The number of spectra in a file as far as that is known at once; one, where it is not."""
    if path.suffix.lower() not in PARQUET_SUFFIXES or not path.is_file():
        return 1
    try:
        with ParquetReader(path, SpectrumError) as file:
            return file.num_rows
    except SpectrumError:
        return 1


def _attempt(
    path: Path,
    spectrum: ObservedSpectrum | SpectrumError,
    make: Callable[[ObservedSpectrum], T],
) -> Attempt[T]:
    if isinstance(spectrum, SpectrumError):
        name: int | str = file_stem(path)
        if isinstance(spectrum, UnusableSpectrum):
            name = spectrum.source_id
        return Attempt(path, name, None, spectrum)
    result: T | SpectrumError
    try:
        result = make(spectrum)
    except SpectrumError as error:
        result = error
    return Attempt(path, spectrum.source_id, spectrum, result)


def usable(tried: Iterable[Attempt[T]]) -> list[T]:
    """The results.

    Raises
    ------
    SpectrumError
        If every spectrum failed: the error of the only one, or how many and their first errors.
    """
    tried = list(tried)
    errors = errors_of(tried)
    if errors and len(errors) == len(tried):
        raise errors[0] if len(errors) == 1 else SpectrumError(_all_of(errors))
    return [each.result for each in tried if not isinstance(each.result, SpectrumError)]


def _all_of(errors: Sequence[SpectrumError]) -> str:
    """How many spectra failed, and the first errors that differ in more than numbers."""
    alike: dict[str, list[str]] = {}
    for each in map(str, errors):
        alike.setdefault(re.sub(r"[-\d.]+", "", each), []).append(each.rstrip("."))
    kinds = list(alike.values())
    named = [
        each[0] + (f" ({len(each):,} such)" if len(each) > 1 else "") for each in kinds[:MOST_NAMED]
    ]
    more = sum(map(len, kinds[MOST_NAMED:]))
    named += [f"{more:,} others"] if more else []
    return (
        f"none of {len(errors):,} spectra can be used, expected one at least: {'; '.join(named)}."
    )


def errors_of(tried: Iterable[Attempt[Any]]) -> list[SpectrumError]:
    """The errors of the spectra that failed."""
    return [each.result for each in tried if isinstance(each.result, SpectrumError)]


def stated_marks(tried: Iterable[Attempt[Any]]) -> dict[str, Any]:
    """What a footer repeats of the files that gave a result.

    It is the mark of simulated data, if one has it, and the fiber's diameter, if all have the same.
    """
    good = [each for each in tried if not isinstance(each.result, SpectrumError)]
    footers = {path: footer_if_any(path) for path in sorted({each.path for each in good})}
    apertures = {
        each.spectrum.aperture if each.spectrum is not None and each.spectrum.aperture is not None
        else aperture_in(footers[each.path]) for each in good
    }  # fmt: skip
    marks: dict[str, Any] = dict(SIMULATED) if any(map(says_simulated, footers.values())) else {}
    if len(apertures) == 1 and (aperture := apertures.pop()) is not None:
        marks[APERTURE] = aperture
    return marks


def columns_of_results(columns: Sequence[Column], named: pa.DataType = ID) -> tuple[Column, ...]:
    """The columns of a table of results: the spectrum's own, those of a result, and `status`."""
    return (
        Column("source_id", named, "", "meta.id;meta.main",
               "of the spectrum: the survey's id in the file, or the name of the file",
               "ids are whole numbers, and the spectrum could not be read"),
        Column("ra", pa.float64(), "deg", "pos.eq.ra;meta.main", "ICRS"),
        Column("dec", pa.float64(), "deg", "pos.eq.dec;meta.main", "ICRS"),
        Column("file", pa.string(), meaning="where the spectrum was read from", null_when=NEVER),
        Column("redshift", pa.float64(), ucd="src.redshift", null_when="it was not read"),
        *columns,
        Column("status", pa.string(), "", "meta.code.status", "ok, or why there is no result",
               NEVER),
    )  # fmt: skip


def results_table(
    tried: Iterable[Attempt[T]],
    columns: Sequence[Column],
    values: Callable[[T], dict[str, object]],
) -> pa.Table:
    """One row for each spectrum that was tried, in their order.

    Id, position, file and redshift stand before the columns of the results, and `status` after
    them: "ok", or why there is no result; the columns of the result are null then. Ids are whole
    numbers where those of all spectra are that could be read, and otherwise text.

    Parameters
    ----------
    columns : sequence of Column
        The columns of a result.
    values : callable
        The values of these columns by name, of one result.
    """
    tried = list(tried)
    named = id_type([each.source_id for each in tried if each.spectrum is not None])
    columns = columns_of_results(columns, named)
    names = [each.name for each in columns]
    if clash := [name for name in names if names.count(name) > 1]:
        raise SpectrumError(
            f"two columns of the table would have the name '{clash[0]}'. Rename the index."
        )
    rows = []
    for attempt in tried:
        row: dict[str, object] = {
            "source_id": as_id(attempt.source_id, named),
            "file": str(attempt.path),
            "status": OK,
        }
        if (spectrum := attempt.spectrum) is not None:
            row |= _place_on_sky(spectrum.position) | {"redshift": spectrum.redshift}
        elif isinstance(attempt.result, UnusableSpectrum):
            row |= _place_on_sky(attempt.result.position)
        if isinstance(attempt.result, SpectrumError):
            row["status"] = str(attempt.result)
        else:
            row |= values(attempt.result)
        rows.append(row)
    return pa.Table.from_pylist(rows, schema=schema_of(columns))


def _place_on_sky(position: tuple[float, float]) -> dict[str, object]:
    ra, dec = (each if np.isfinite(each) else None for each in position)
    if (ra is not None and not -180 <= ra <= 360) or (dec is not None and not -90 <= dec <= 90):
        ra = dec = None  # such as -999 where a survey has no position
    return {"ra": ra, "dec": dec}


def joined_redshifts(tried: Iterable[Attempt[Any]]) -> list[str]:
    """For each table that redshifts were joined from, a line with how many matched."""
    tried = list(tried)
    found: dict[Path, list[Path]] = {}
    for each in tried:
        about = each.spectrum if each.spectrum is not None else each.result
        if (source := getattr(about, "redshift_from", None)) is not None:
            found.setdefault(source, []).append(each.path)
    lines = []
    for source, paths in found.items():
        n = sum(each.path in paths for each in tried)
        lines.append(f"{source}: has the redshifts of {len(paths)} of {n} spectra")
    return lines
