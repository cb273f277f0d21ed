"""The files `coadd-*.fits` and `spectra-*.fits` of DESI.

https://desidatamodel.readthedocs.io, healpix/.../coadd-SURVEY-PROGRAM-PIXNUM: images of the
flux, inverse variance and mask of each arm of the spectrographs, B, R and Z, a fiber in each row,
and a table FIBERMAP of the fibers. Arms lie on one grid of 0.8 Angstrom, in vacuum, and overlap.
A `spectra` file has a row for each exposure, which are averaged by inverse variance here.
Redshifts are in files of redrock, beside these.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from targetsel.errors import SpectrumError
from targetsel.spectra.formats.registry import OpenSpectra, SpectrumFormat
from targetsel.spectra.formats.sdss_spec import check_vacuum
from targetsel.spectra.redshifts import (
    FITS_SUFFIXES,
    REDROCK_FILES,
    RedshiftTable,
    SpectrumOptions,
    StatedRedshift,
    check_warning,
    chosen_redshift,
)
from targetsel.spectra.spectrum import (
    ObservedSpectrum,
    UnusableSpectrum,
    flux_scale,
    in_angstrom,
    noise_scale,
)
from targetsel.tables.reading import reading

if TYPE_CHECKING:
    from astropy.io.fits import HDUList

FIBER = 1.5  # diameter [arcsec]
_ARM = re.compile(r"([BRZ](?:_?[BRZ])*)_(?:FLUX|WAVELENGTH)")
_BEGINNING = re.compile(r"^(?:coadd|spectra)-")
# FIBERSTATUS, `fibermask` of desispec: bits with which a fiber's spectrum is of no use. Those that
# only inform (STUCKPOSITIONER, RESTRICTED, POORPOSITION, ...) are not among them.
BAD_FIBER = {
    0: "UNASSIGNED", 2: "BROKENFIBER", 8: "MISSINGPOSITION", 9: "BADPOSITION", 16: "BADFIBER",
    17: "BADTRACE", 18: "BADFLAT", 19: "BADARC", 20: "MANYBADCOL", 21: "MANYREJECTED",
    25: "BADPETALPOS", 26: "BADPETALSKY", 27: "BADPETALSTDSTAR", 28: "BADPETALFLUXCAL",
    29: "BADPETALSNR",
}  # fmt: skip
BAD_AMPLIFIER = {"B": 22, "R": 23, "Z": 24}  # bits that spoil one arm
NO_TARGET = {"SKY": "a sky fiber", "BAD": "a bad fiber", "NON": "a fiber without a target"}
OFF_GRID = 0.02  # largest distance from the common grid [its steps]
# Columns of FIBERMAP that are used: the kinds of their values, and these in words.
KINDS = {
    "OBJTYPE": ("SU", "text"),
    **dict.fromkeys(("TARGET_RA", "TARGET_DEC"), ("iuf", "numbers")),
    **dict.fromkeys(
        ("TARGETID", "COADD_FIBERSTATUS", "FIBERSTATUS", "COADD_NUMEXP"), ("iu", "whole numbers")
    ),
    **dict.fromkeys(("NIGHT", "EXPID", "TILEID", "FIBER"), ("iuSU", "whole numbers")),
}  # fmt: skip


@dataclass(frozen=True)
class ArmSpectra:
    """The spectra of one arm, in units of the data model.

    Attributes
    ----------
    name : str
    wavelength : ndarray, shape (L,)
        In vacuum [Angstrom].
    flux, ivar : ndarray, shape (N, L)
        As in the file, with `scales` to 1e-17 erg/s/cm2/Angstrom.
    mask : ndarray, shape (N, L), or None
        0 where a pixel is good.
    scales : tuple of two floats
    """

    name: str
    wavelength: np.ndarray
    flux: np.ndarray
    ivar: np.ndarray
    mask: np.ndarray | None
    scales: tuple[float, float]

    def row(self, place: str, row: int) -> tuple[np.ndarray, np.ndarray]:
        """Flux, 0 where masked, and inverse variance of one row, shape (L,) each.

        Raises
        ------
        SpectrumError
            If an inverse variance is negative or NaN.
        """
        flux = self.flux[row].astype(np.float64) * self.scales[0]
        ivar = self.ivar[row].astype(np.float64) * self.scales[1]
        if self.mask is not None:
            ivar[self.mask[row] != 0] = 0
        if (bad := ~(ivar >= 0) | np.isinf(ivar)).any():
            k = int(np.flatnonzero(bad)[0])
            raise SpectrumError(
                f"{place}: {self.name}_IVAR is {ivar[k]:.6g} at {self.wavelength[k]:.1f} Angstrom, "
                "expected a number of at least 0. Set it to 0 where a pixel is masked."
            )
        flux[ivar == 0] = 0
        return flux, ivar


@dataclass(frozen=True)
class Grid:
    """The wavelengths that the arms share.

    Attributes
    ----------
    wavelength : ndarray, shape (L,)
        From the first pixel of all arms to the last [Angstrom].
    places : tuple of ndarray
        Where the pixels of each arm are in it.
    """

    wavelength: np.ndarray
    places: tuple[np.ndarray, ...]

    @classmethod
    def of(cls, place: str, arms: Sequence[ArmSpectra]) -> Grid:
        """The grid of some arms.

        Raises
        ------
        SpectrumError
            If they are on no common one.
        """
        if len(arms) == 1:
            return cls(arms[0].wavelength, (np.arange(len(arms[0].wavelength)),))
        first = arms[0].wavelength
        step = float(first[-1] - first[0]) / (len(first) - 1)  # exact also in single precision
        start = float(min(arm.wavelength[0] for arm in arms))
        places: list[np.ndarray] = []
        for arm in arms:
            exact = (arm.wavelength - start) / step
            places.append(np.rint(exact).astype(np.int64))
            is_near = np.abs(exact - places[-1]).max() <= OFF_GRID
            if not (is_near and (np.diff(places[-1]) == 1).all()):
                raise SpectrumError(
                    f"{place}: arm {arm.name} is not on the grid of arm {arms[0].name}, of "
                    f"{step:.4g} Angstrom; expected arms whose pixels coincide where they overlap. "
                    "Give a file of each arm."
                )
        length = 1 + max(int(each[-1]) for each in places)
        wavelength = start + step * np.arange(length, dtype=np.float64)
        for arm, at in zip(arms, places, strict=True):
            wavelength[at] = arm.wavelength
        return cls(wavelength, tuple(places))


def _spectra(opened: OpenSpectra) -> Iterator[ObservedSpectrum | SpectrumError]:
    place = opened.place
    fibers = _fibermap(opened)
    arms = _arms(opened, len(fibers["TARGETID"]))
    grid = Grid.of(place, arms)
    opened = replace(opened, options=_with_redshifts(opened))
    ids = fibers["TARGETID"]
    is_coadd = "COADD_FIBERSTATUS" in fibers or "COADD_NUMEXP" in fibers
    rows_of: dict[int, list[int]] = {}
    for row, target in enumerate(ids.tolist()):
        rows_of.setdefault(target, []).append(row)
    for target, rows in rows_of.items():
        where = f"{place}, target {target}"
        if is_coadd and len(rows) > 1:
            for _ in rows:
                yield UnusableSpectrum(
                    f"{where}: stands in {len(rows)} rows ({', '.join(map(str, rows[:5]))}), "
                    "expected one of each target in a coadd. Remove the others.",
                    target,
                )
            continue
        yield _of_target(opened, where, target, fibers, rows, arms, grid)


def _of_target(
    opened: OpenSpectra,
    where: str,
    target: int,
    fibers: dict[str, np.ndarray],
    rows: list[int],
    arms: Sequence[ArmSpectra],
    grid: Grid,
) -> ObservedSpectrum | SpectrumError:
    """The spectrum of a target from its rows, or why there is none."""
    position = (
        float(fibers["TARGET_RA"][rows[0]]) if "TARGET_RA" in fibers else np.nan,
        float(fibers["TARGET_DEC"][rows[0]]) if "TARGET_DEC" in fibers else np.nan,
    )
    redshift, lacking = StatedRedshift(np.nan), None
    try:
        redshift = chosen_redshift(
            where, [target], opened.redshift, opened.options, None, _missing(opened)
        )
    except SpectrumError as error:
        lacking = error  # which matters only if the fiber saw a target
    try:
        _check_type(where, fibers, rows)
        good = _good_rows(where, fibers, rows)
        if lacking is not None:
            raise lacking
        value = check_warning(where, redshift, opened.options)
        flux, ivar = _joined(where, arms, grid, fibers, good)
        return ObservedSpectrum(
            where, target, grid.wavelength, flux, ivar, value, position, aperture=FIBER,
            redshift_from=redshift.source,
        )  # fmt: skip
    except SpectrumError as error:
        return UnusableSpectrum(str(error), target, position, redshift.source)


def _joined(
    where: str,
    arms: Sequence[ArmSpectra],
    grid: Grid,
    fibers: dict[str, np.ndarray],
    rows: Sequence[int],
) -> tuple[np.ndarray, np.ndarray]:
    """Flux and inverse variance of some rows and all arms on the grid, averaged where they meet."""
    weighted, ivar = np.zeros((2, len(grid.wavelength)))
    for arm, at in zip(arms, grid.places, strict=True):
        for row in rows:
            if _status(fibers, row) >> BAD_AMPLIFIER.get(arm.name, 63) & 1:
                continue
            flux, weight = arm.row(where, row)
            weighted[at] += flux * weight
            ivar[at] += weight
    return np.divide(weighted, ivar, out=np.zeros_like(ivar), where=ivar > 0), ivar


# ---------------------------------------------------------------- fibers


def _status(fibers: dict[str, np.ndarray], row: int) -> int:
    name = next((n for n in ("COADD_FIBERSTATUS", "FIBERSTATUS") if n in fibers), None)
    return int(fibers[name][row]) if name else 0


def _check_type(where: str, fibers: dict[str, np.ndarray], rows: Sequence[int]) -> None:
    """Refuse a target none of whose exposures is of one."""
    kind = _kind(fibers, rows[0])
    if all(_kind(fibers, row) in NO_TARGET for row in rows):
        raise SpectrumError(
            f"{where}: is {NO_TARGET[kind]} (OBJTYPE is '{kind}'), expected a target"
        )


def _kind(fibers: dict[str, np.ndarray], row: int) -> str:
    """OBJTYPE of a row; empty where a file has none."""
    return str(fibers["OBJTYPE"][row]).strip().upper() if "OBJTYPE" in fibers else ""


def _good_rows(where: str, fibers: dict[str, np.ndarray], rows: Sequence[int]) -> list[int]:
    """The rows of a target whose fiber was in order and on it, in the order of their exposures."""
    rows = [row for row in rows if _kind(fibers, row) not in NO_TARGET]
    good = [row for row in rows if not any(_status(fibers, row) >> bit & 1 for bit in BAD_FIBER)]
    if not good:
        status = _status(fibers, rows[0])
        said = ", ".join(word for bit, word in BAD_FIBER.items() if status >> bit & 1)
        more = f", and none of its {len(rows)} exposures is better" if len(rows) > 1 else ""
        raise SpectrumError(
            f"{where}: its fiber was not in order (status {status}: {said}){more}; expected none "
            "of these bits"
        )
    keys = [name for name in ("NIGHT", "EXPID", "TILEID", "FIBER") if name in fibers]
    return sorted(good, key=lambda row: [fibers[name][row] for name in keys])


def _fibermap(opened: OpenSpectra) -> dict[str, np.ndarray]:
    """The columns of the fibers that are used, shape (N,) each."""
    place, hdus = opened.place, opened.hdus
    if "FIBERMAP" not in hdus:
        raise SpectrumError(
            f"{place}: has no table FIBERMAP, which tells of which target each spectrum is. Copy "
            "the whole file."
        )
    with reading(place, SpectrumError, "a FITS file"):
        table = hdus["FIBERMAP"]
        names = [name for name in KINDS if name in table.columns.names]
        fibers = {name: np.asarray(table.data[name]) for name in names}
    if "TARGETID" not in fibers:
        raise SpectrumError(f"{place}: FIBERMAP has no column TARGETID. Copy the whole file.")
    for name, values in fibers.items():
        kinds, expected = KINDS[name]
        if values.dtype.kind not in kinds or values.ndim != 1:
            raise SpectrumError(
                f"{place}: {name} of FIBERMAP holds {values.dtype}, expected {expected}"
            )
    if not len(fibers["TARGETID"]):
        raise SpectrumError(f"{place}: FIBERMAP has no rows; expected one for each spectrum")
    if (largest := int(fibers["TARGETID"].max())) >= 2**63:
        raise SpectrumError(
            f"{place}: FIBERMAP has the TARGETID {largest}, expected less than 2^63. Copy the file "
            "again."
        )
    fibers["TARGETID"] = fibers["TARGETID"].astype(np.int64)
    return fibers


# ---------------------------------------------------------------- arms


def _arms(opened: OpenSpectra, n_rows: int) -> list[ArmSpectra]:
    """The arms of a file, the bluest first."""
    found = (_ARM.fullmatch(hdu.name) for hdu in opened.hdus)
    names = list(dict.fromkeys(each[1] for each in found if each))
    check_vacuum(opened.place, opened.hdus[0].header)
    twice = [arm for arm in "BRZ" if sum(arm in name for name in names) > 1]
    if twice:
        raise SpectrumError(
            f"{opened.place}: holds arm {twice[0]} in several images ({', '.join(names)}), "
            "expected each arm once, alone or joined. Remove the others."
        )
    arms = [_arm(opened, name, n_rows) for name in names]
    _check_units(opened, names, arms)
    return sorted(arms, key=lambda arm: float(arm.wavelength[0]))


def _arm(opened: OpenSpectra, name: str, n_rows: int) -> ArmSpectra:
    place, hdus = opened.place, opened.hdus
    parts: dict[str, Any] = {}
    units = {}
    for part in ("WAVELENGTH", "FLUX", "IVAR", "MASK"):
        if f"{name}_{part}" not in hdus:
            if part == "MASK":
                continue
            raise SpectrumError(
                f"{place}: arm {name} has no {name}_{part}; expected wavelength, flux, ivar and "
                "mask of each arm. Copy the whole file."
            )
        with reading(place, SpectrumError, "a FITS file"):
            hdu = hdus[f"{name}_{part}"]
            parts[part] = np.asarray(hdu.data)
            units[part] = str(hdu.header.get("BUNIT", ""))
            header = dict(hdu.header)
        check_vacuum(place, header)
    wavelength = in_angstrom(place, parts["WAVELENGTH"].astype(np.float64), units["WAVELENGTH"])
    if wavelength.ndim != 1 or len(wavelength) < 2 or not _increases(wavelength):
        raise SpectrumError(
            f"{place}: {name}_WAVELENGTH has shape {wavelength.shape}, expected one list of "
            "wavelengths that increase"
        )
    for part in ("FLUX", "IVAR", "MASK"):
        if part in parts and parts[part].shape != (n_rows, len(wavelength)):
            raise SpectrumError(
                f"{place}: {name}_{part} has shape {parts[part].shape}, expected "
                f"{(n_rows, len(wavelength))}: the rows of FIBERMAP, and the pixels of "
                f"{name}_WAVELENGTH. Copy the whole file."
            )
    scale = flux_scale(place, units["FLUX"])
    of_noise = noise_scale(place, units["FLUX"], units["IVAR"], f"{name}_IVAR", has_ivar=True)
    scales = float(f"{scale:.12g}"), float(f"{of_noise / scale**2:.12g}")  # exact powers of ten
    return ArmSpectra(name, wavelength, parts["FLUX"], parts["IVAR"], parts.get("MASK"), scales)


def _check_units(opened: OpenSpectra, names: Sequence[str], arms: Sequence[ArmSpectra]) -> None:
    """Refuse arms without a unit of their flux beside arms in another one than DESI's."""
    units = [str(opened.hdus[f"{name}_FLUX"].header.get("BUNIT", "")).strip() for name in names]
    stated = [k for k, unit in enumerate(units) if unit]
    silent = [k for k, unit in enumerate(units) if not unit]
    other = next((k for k in stated if arms[k].scales[0] != 1), None)
    if silent and other is not None:
        raise SpectrumError(
            f"{opened.place}: {names[silent[0]]}_FLUX states no unit, and {names[other]}_FLUX "
            f"is in '{units[other]}'; expected a unit in each arm, or in none. "
            "Add BUNIT to the header of each."
        )


def _increases(wavelength: np.ndarray) -> bool:
    return bool(np.isfinite(wavelength).all() and (np.diff(wavelength) > 0).all())


# ---------------------------------------------------------------- redshifts


def _with_redshifts(opened: OpenSpectra) -> SpectrumOptions:
    """The options, with the table of redshifts beside the file where none is given.

    Raises
    ------
    SpectrumError
        If a redshift is needed, and there is no table.
    """
    options = opened.options
    if opened.redshift is not None or options.redshifts is not None:
        return options
    beside = next((each for each in _beside(opened.path) if each.exists()), None)
    if beside is None:
        raise SpectrumError(_missing(opened))
    return replace(options, redshifts=RedshiftTable.read(beside))


def _beside(path: Path | None) -> list[Path]:
    """Where redrock's files of a file of spectra would be: the newer name first."""
    if path is None or not _BEGINNING.search(path.name):
        return []
    name = path.name.lower()
    ending = next(each for each in sorted(FITS_SUFFIXES, key=len)[::-1] if name.endswith(each))
    stem = path.name[: -len(ending)]
    return [
        path.with_name(_BEGINNING.sub(begin, stem) + suffix)
        for begin in REDROCK_FILES
        for suffix in (".fits", ".fits.gz")
    ]


def _missing(opened: OpenSpectra) -> str:
    expected = _beside(opened.path)
    beside = f"Put redrock's file {expected[0].name} beside it, or give" if expected else "Give"
    return (
        f"{opened.place}: DESI keeps redshifts in another file. {beside} a table with TARGETID "
        "and Z by --redshifts, or one redshift by --redshift."
    )


def _holds(hdus: HDUList) -> bool:
    return any(_ARM.fullmatch(hdu.name) for hdu in hdus)


FORMAT = SpectrumFormat("DESI coadd or spectra", _holds, _spectra)
