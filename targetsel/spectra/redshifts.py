"""Redshifts of measured spectra: given, from a table that is joined by ids, or the file's own.

A pipeline that doubts its redshift says so by a bit mask, which SDSS calls ZWARNING and DESI ZWARN.
Such a redshift is not taken unless it is asked for, so that no doubtful one becomes a label.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa

from targetsel.errors import SpectrumError, absent
from targetsel.spectra.spectrum import as_numbers
from targetsel.tables.any_format import table_reader
from targetsel.tables.fits import open_fits
from targetsel.tables.ids import IdIndex, exact_ids
from targetsel.tables.reading import reading
from targetsel.tables.types import held, is_number

FITS_SUFFIXES = (".fits", ".fit", ".fits.gz", ".fit.gz")
# Tables of redrock, the second in files before 2022; and the names of their like in others.
REDROCK = ("REDSHIFTS", "ZBEST")
REDROCK_FILES = ("redrock-", "zbest-")  # beginnings of their files' names
IDS = ("targetid", "specobjid", "plateifu", "mangaid", "source_id", "objid", "id")
REDSHIFTS = ("z", "redshift", "z_best", "zbest", "z_spec", "zspec", "specz", "nsa_z")
WARNINGS = ("zwarn", "zwarning", "z_warning", "redshift_warning")
FETCHED = (  # a next step where an archive warns
    "Give a redshift in a column 'redshift' of the table of sources, and 0 in 'redshift_warning' "
    "if it has that."
)
# ZWARNING of SDSS, https://www.sdss4.org/dr17/algorithms/bitmasks/#ZWARNING, and of redrock, whose
# first nine are the same.
WARNING_BITS = (
    "SKY", "LITTLE_COVERAGE", "SMALL_DELTA_CHI2", "NEGATIVE_MODEL", "MANY_OUTLIERS", "Z_FITLIMIT",
    "NEGATIVE_EMISSION", "UNPLUGGED", "BAD_TARGET", "NODATA", "BAD_MINFIT", "POORDATA",
)  # fmt: skip


@dataclass(frozen=True)
class StatedRedshift:
    """A redshift, what its pipeline warns of, and where it is from.

    Attributes
    ----------
    value : float
    warning : str
        Such as "ZWARNING = 4 (SMALL_DELTA_CHI2)"; empty where there is none.
    source : Path or None
        Table that it was joined from; None: the file of the spectrum, or the user.
    """

    value: float
    warning: str = ""
    source: Path | None = None


@dataclass(frozen=True)
class SpectrumOptions:
    """How files of spectra are read.

    Attributes
    ----------
    redshifts : RedshiftTable or None
        Table of the redshifts, in place of those of the files.
    warned : bool
        Whether redshifts are taken that their pipelines warn of.
    id_from : "survey" or "file"
        Whether the one spectrum of a survey's file is named by the ids in it, or by the file.
    """

    redshifts: RedshiftTable | None = None
    warned: bool = False
    id_from: Literal["survey", "file"] = "survey"

    @classmethod
    def of(
        cls,
        redshifts: Path | None = None,
        warned: bool = False,
        id_from: Literal["survey", "file"] = "survey",
        given: float | None = None,
    ) -> SpectrumOptions:
        """These options, with the table of redshifts read from its file.

        Parameters
        ----------
        given : float, optional
            Redshift of every spectrum, which leaves no use for a table.

        Raises
        ------
        SpectrumError
            If the table cannot be read, there are both it and `given`, or `id_from` is neither
            word.
        """
        if given is not None and redshifts is not None:
            raise SpectrumError(
                f"both --redshift {given} and --redshifts {redshifts} are given, expected one of "
                "them. Leave one out."
            )
        if id_from not in ("survey", "file"):
            raise SpectrumError(f"id_from is '{id_from}', expected 'survey' or 'file'")
        return cls(RedshiftTable.read(redshifts) if redshifts else None, warned, id_from)


@dataclass(frozen=True)
class RedshiftTable:
    """Redshifts by id.

    Attributes
    ----------
    path : Path
    ids : IdIndex
    redshift, warning : ndarray, shape (N,)
        `warning` is the pipeline's bit mask, 0 where it has no doubt and NaN where it is missing.
    twice : dict
        Ids that occur with several redshifts or warnings, as text, and how two of these differ.
    warning_name : str
        The column of `warning`; empty where there is none.
    """

    path: Path
    ids: IdIndex
    redshift: np.ndarray
    warning: np.ndarray
    twice: dict[str, str]
    warning_name: str

    @classmethod
    def read(cls, path: Path) -> RedshiftTable:
        """The table in a file: of redrock, or any with a column of ids and one of redshifts.

        Raises
        ------
        SpectrumError
            If the file is missing or damaged, or lacks one of these columns.
        """
        path = Path(path)
        if not path.exists():
            raise SpectrumError(absent(path))
        if path.is_dir():
            raise SpectrumError(
                f"{path}: is a folder, expected a table of redshifts. Name the file."
            )
        columns = _of_redrock(path)
        if columns is None:
            with table_reader(path, SpectrumError) as file:
                named = file.schema.names
                found = (_named(named, each) for each in (IDS, REDSHIFTS, WARNINGS))
                wanted = [name for name in found if name]
                table = file.read(wanted)
            columns = {name: table[name].combine_chunks() for name in wanted}
        else:
            named = [*columns]
        return cls._of(path, columns, named)

    @classmethod
    def _of(cls, path: Path, columns: dict[str, Any], named: Sequence[str]) -> RedshiftTable:
        id_name, name = (_named(columns, each) for each in (IDS, REDSHIFTS))
        for kind, expected, found in (("ids", IDS, id_name), ("redshifts", REDSHIFTS, name)):
            if not found:
                raise SpectrumError(
                    f"{path}: no column of {kind} ({', '.join(expected[:4])}, ...); it has "
                    f"{', '.join(named)[:200]}. Rename the column."
                )
        assert id_name
        assert name
        if not len(columns[id_name]):
            raise SpectrumError(f"{path}: has no rows; expected one for each spectrum")
        warning_name = _named(columns, WARNINGS) or ""
        ids = exact_ids(_arrow(path, id_name, columns[id_name]), id_name, path, SpectrumError)
        redshift = _numbers(path, name, columns[name])
        warning = np.zeros(len(redshift))
        if warning_name:
            warning = _numbers(path, warning_name, columns[warning_name])
        known = np.asarray(ids.is_valid())
        ids, redshift, warning = ids.filter(pa.array(known)), redshift[known], warning[known]
        array = np.array(ids.to_pylist(), object) if ids.type == pa.string() else ids.to_numpy()
        twice = _twice(array, redshift, warning)
        index = IdIndex(array)
        return cls(path, index, redshift, warning, twice, warning_name)

    def find(self, names: Sequence[int | str]) -> StatedRedshift | None:
        """The redshift under the first of some names that the table has, or None.

        Raises
        ------
        SpectrumError
            If the table has several redshifts under it.
        """
        for name in names:
            if (row := int(self.ids.rows(np.array([name]))[0])) < 0:
                continue
            if str(name) in self.twice:
                raise SpectrumError(
                    f"{self.path}: has {name} with {self.twice[str(name)]}. Keep one row of each "
                    "id."
                )
            warning = warning_of(self.warning_name, float(self.warning[row]))
            return StatedRedshift(float(self.redshift[row]), warning, self.path)
        return None


def warning_of(name: str, number: float) -> str:
    """A warning in words, of the bit mask in a column or card `name`; empty for 0.

    What is missing or no bit mask is a warning, too.
    """
    if not number:
        return ""
    if not np.isfinite(number) or number != np.floor(number):
        return f"{name} = {number:g}"
    bits = int(number)
    said = [word for bit, word in enumerate(WARNING_BITS) if bits >> bit & 1] if bits > 0 else []
    return f"{name} = {bits}" + (f" ({', '.join(said)})" if said else "")


def chosen_redshift(
    place: str,
    names: Sequence[int | str],
    given: float | None,
    options: SpectrumOptions,
    stated: StatedRedshift | None,
    missing: str,
) -> StatedRedshift:
    """The redshift of a spectrum: as given, or of the table in `options`, or as its file states.

    Parameters
    ----------
    place : str
        Of the spectrum, for messages.
    names : sequence of int or str
        Its ids, under which it may stand in the table.
    missing : str
        Message where there is none.

    Raises
    ------
    SpectrumError
        If there is none.
    """
    if given is not None:
        return StatedRedshift(given)
    if (table := options.redshifts) is not None:
        if (found := table.find(names)) is None:
            raise SpectrumError(
                f"{place}: {table.path} has no redshift of {names[0]}. Add it, or leave the "
                "spectrum out."
            )
        return found
    if stated is None:
        raise SpectrumError(missing)
    return stated


def check_warning(
    place: str,
    redshift: StatedRedshift,
    options: SpectrumOptions,
    next_step: str = "Give another by --redshifts, or take it by --warned.",
) -> float:
    """The value of a redshift.

    Raises
    ------
    SpectrumError
        If its pipeline warns of it, and such redshifts are not wanted.
    """
    if redshift.warning and not options.warned:
        raise SpectrumError(
            f"{place}: the redshift {redshift.value:.6g} has the warning {redshift.warning}, so it "
            f"is not used. {next_step}"
        )
    return redshift.value


# ---------------------------------------------------------------- columns


def _of_redrock(path: Path) -> dict[str, Any] | None:
    """The columns of redrock's table in a FITS file; None if there is none."""
    if not path.name.lower().endswith(FITS_SUFFIXES):
        return None
    with open_fits(path, SpectrumError) as hdus, reading(path, SpectrumError, "a FITS file"):
        for hdu in hdus:
            if hdu.name in REDROCK and hasattr(hdu, "columns"):
                found = (_named(hdu.columns.names, each) for each in (IDS, REDSHIFTS, WARNINGS))
                return {name: np.asarray(hdu.data[name]) for name in found if name}
    return None


def _named(names: Any, among: Sequence[str]) -> str | None:
    by_lower = {name.lower(): name for name in reversed([*names])}
    return next((by_lower[each] for each in among if each in by_lower), None)


def _arrow(path: Path, name: str, values: Any) -> pa.Array:
    if not isinstance(values, np.ndarray):
        return values
    with reading(path, SpectrumError, f"a table whose '{name}' are whole numbers or text"):
        if values.dtype.kind in "SU":
            return pa.array([str(each) for each in values.astype(str)], pa.string())
        return pa.array(values.astype(values.dtype.newbyteorder("=")))


def _numbers(path: Path, name: str, values: Any) -> np.ndarray:
    if not isinstance(values, np.ndarray):
        kind = values.type
        if not is_number(kind) and not pa.types.is_boolean(kind) and len(values):
            raise SpectrumError(
                f"{path}: column '{name}' holds {held(kind)}, expected numbers. Convert it."
            )
        if pa.types.is_integer(kind) or pa.types.is_boolean(kind):
            values = values.cast(pa.float64())
        values = values.to_numpy(zero_copy_only=False)
    found = as_numbers(str(path), f"'{name}'", values)
    if found.ndim != 1:
        raise SpectrumError(f"{path}: '{name}' holds lists, expected one number in each row")
    return found


def _twice(ids: np.ndarray, redshift: np.ndarray, warning: np.ndarray) -> dict[str, str]:
    """Ids that occur with different redshifts or warnings, and how two of these differ."""
    twice = {}
    for name, values in (("warnings", warning), ("redshifts", redshift)):
        order = np.argsort(values, kind="stable")
        order = order[np.argsort(ids[order], kind="stable")]
        found, sorted_values = ids[order], values[order]
        differ = sorted_values[1:] != sorted_values[:-1]
        same = (found[1:] == found[:-1]) & differ & ~np.isnan(sorted_values[:-1])
        for k in np.flatnonzero(same)[::-1]:
            one, other = sorted_values[k : k + 2]
            twice[str(found[k])] = f"the {name} {one:.6g} and {other:.6g}"
    return twice
