"""Names that surveys give to the columns of their brightness, and what those hold.

A name is found in whatever case. Some names, such as ``flux_r`` or ``r`` alone, mean something only
among other columns of the same survey.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

Role = Literal["value", "error", "ivar"]
PSF = "PSF"  # light of a point: it misses what is outside, of galaxies


@dataclass(frozen=True)
class UsualName:
    """The quantity in a column of a usual name.

    Attributes
    ----------
    band : str
        Such as "r_ps1".
    role : "value", "error" or "ivar"
        Standard deviation, or inverse variance.
    light : str
        Whose light, such as "Kron" or "PSF".
    unit : str
        Of a column that declares none.
    system : "AB", "Vega" or "asinh"
        Of magnitudes.
    corrected : bool
        For Galactic extinction.
    of_fiber : bool
    rank : int
        The smallest of a band is taken: galaxies' whole light before that of points.
    of : str
        The column of values; of errors, the one that they are of. In lower case.
    needs : tuple of str
        Columns one of which must be there, in lower case, for the name to mean this.
    unless : tuple of str
        Columns none of which may be there.
    """

    band: str
    role: Role
    light: str
    unit: str
    system: str
    corrected: bool
    of_fiber: bool
    rank: int
    of: str
    needs: tuple[str, ...] = ()
    unless: tuple[str, ...] = ()

    @property
    def survey(self) -> str:
        return self.band.partition("_")[2]


@dataclass(frozen=True)
class _Family:
    """Columns of all bands of a survey, by the pattern of their names; {b} is the band."""

    survey: str
    bands: Iterable[str]
    name: str
    light: str
    unit: str = "mag"
    error: str = ""
    ivar: str = ""
    system: str = "AB"
    corrected: bool = False
    of_fiber: bool = False
    needs: tuple[str, ...] = ()
    unless: tuple[str, ...] = ()


# Columns that tell the survey of a catalog whose other names could be anyone's.
_LEGACY = (
    *("flux_ivar_g", "flux_ivar_r", "flux_ivar_z", "brickname", "brickid", "brick_primary"),
    *("mw_transmission_g", "mw_transmission_r", "mw_transmission_z"),
)
_SDSS = (
    *("extinction_r", "extinction_g", "err_r", "err_g", "dered_r", "modelmagerr_r"),
    *("psfmagerr_r", "petrorad_r", "camcol", "mjd_plate_fiberid", "photoobjid"),
)
_SPECTRA = ("zerr", "z_err", "zwarning", "specobjid", "redshift", "z_warning")

_FAMILIES = (
    *(
        _Family("ps1", "grizy", f"{{b}}{mean}{light}{kind}", light.removeprefix("F"), unit,
                f"{{b}}{mean}{light}{kind}Err")
        for mean, light, kind, unit in (
            ("", "Kron", "Flux", "Jy"), ("", "Kron", "Mag", "mag"),
            ("", "FKron", "Flux", "Jy"), ("", "FKron", "Mag", "mag"),
            ("Mean", "Kron", "Mag", "mag"),
            ("", "PSF", "Flux", "Jy"), ("", "PSF", "Mag", "mag"),
            ("", "FPSF", "Flux", "Jy"), ("", "FPSF", "Mag", "mag"),
            ("Mean", "PSF", "Mag", "mag"),
        )
    ),
    _Family("ps1", "grizy", "{b}Kmag", "Kron", error="e_{b}Kmag"),  # as VizieR has them
    *(
        family
        for light, word in (("cmodel", "cModel"), ("Petrosian", "petro"), ("model", "model"),
                            (PSF, "psf"))
        for family in (
            _Family("sdss", "ugriz", f"{word}Flux_{{b}}", light, "nanomaggy",
                    ivar=f"{word}FluxIvar_{{b}}"),
            _Family("sdss", "ugriz", f"{word}Mag_{{b}}", light, error=f"{word}MagErr_{{b}}",
                    system="asinh"),
        )
    ),
    _Family("sdss", "ugri", "{b}", "model", error="err_{b}", system="asinh", needs=_SDSS),
    _Family("sdss", "z", "{b}", "model", error="err_{b}", system="asinh", needs=_SDSS,
            unless=_SPECTRA),
    _Family("sdss", "ugriz", "dered_{b}", "model", system="asinh", corrected=True),
    _Family("sdss", "ugriz", "fiberMag_{b}", "3 arcsec", error="fiberMagErr_{b}", system="asinh",
            of_fiber=True),
    _Family("ls", ("g", "r", "i", "z", "w1", "w2", "w3", "w4"), "flux_{b}", "model", "nanomaggy",
            ivar="flux_ivar_{b}", needs=_LEGACY),
    _Family("ls", ("g", "r", "i", "z"), "mag_{b}", "model", needs=_LEGACY),
    _Family("ls", ("g", "r", "i", "z", "w1", "w2"), "dered_flux_{b}", "model", "nanomaggy",
            corrected=True),
    _Family("ls", ("g", "r", "i", "z", "w1", "w2"), "dered_mag_{b}", "model", corrected=True),
    _Family("ls", ("g", "r", "i", "z"), "fiberflux_{b}", "1.5 arcsec", "nanomaggy", of_fiber=True,
            needs=_LEGACY),
    *(
        family
        for light, word in (("cmodel", "cmodel"), ("Kron", "kronflux"), (PSF, "psfflux"))
        for family in (
            _Family("hsc", "grizy", f"{{b}}_{word}_flux", light, "nJy", f"{{b}}_{word}_fluxerr"),
            _Family("hsc", "grizy", f"{{b}}_{word}_mag", light, error=f"{{b}}_{word}_magerr"),
            _Family("hsc", "grizy", f"{{b}}_{word}_mag", light, error=f"{{b}}_{word}_magsigma"),
        )
    ),
    *(
        family
        for light, word in (("cmodel", "cModel"), ("Kron", "kron"), (PSF, "psf"))
        for family in (
            _Family("lsst", "ugrizy", f"{{b}}_{word}Flux", light, "nJy", f"{{b}}_{word}FluxErr"),
            _Family("lsst", "ugrizy", f"{{b}}_{word}Mag", light, error=f"{{b}}_{word}MagErr"),
        )
    ),
    _Family("des", "grizy", "mag_auto_{b}", "Kron", error="magerr_auto_{b}"),
    _Family("des", "grizy", "mag_auto_{b}_dered", "Kron", corrected=True),
    _Family("2mass", "jhk", "{b}_m", PSF, error="{b}_msigcom", system="Vega"),
    _Family("wise", ("w1", "w2", "w3", "w4"), "{b}mpro", PSF, error="{b}sigmpro", system="Vega"),
    *(
        _Family("gaia", ("g", "bp", "rp"), f"{prefix}phot_{{b}}_mean_mag", PSF,
                error=f"{prefix}phot_{{b}}_mean_mag_error", system="Vega")
        for prefix in ("", "gaia_")
    ),
)  # fmt: skip


def _names() -> dict[str, UsualName]:
    found: dict[str, UsualName] = {}
    for rank, family in enumerate(_FAMILIES):
        rank += 1000 * (family.light == PSF) + 500 * family.corrected
        for band in family.bands:
            roles: tuple[tuple[Role, str], ...] = (
                ("value", family.name), ("error", family.error), ("ivar", family.ivar)
            )  # fmt: skip
            for role, pattern in roles:
                if pattern:
                    found.setdefault(
                        pattern.format(b=band).lower(),
                        UsualName(
                            f"{band}_{family.survey}", role, family.light, family.unit,
                            family.system, family.corrected, family.of_fiber, rank,
                            family.name.format(b=band).lower(), family.needs, family.unless,
                        ),
                    )  # fmt: skip
    return found


USUAL_NAMES = _names()
# What surveys publish extinction in, by the pattern of the name: so the brightness beside it is
# not corrected for it.
EXTINCTION_COLUMNS = {"ls": "mw_transmission_{b}", "sdss": "extinction_{b}", "hsc": "a_{b}"}


def usual_name(name: str, others: Iterable[str] = ()) -> UsualName | None:
    """The quantity in a column of this name, beside `others`; None if the name is not usual."""
    found = USUAL_NAMES.get(name.lower())
    if found is None or not (found.needs or found.unless):
        return found
    beside = {each.lower() for each in others}
    if found.needs and not beside.intersection(found.needs):
        return None
    return None if beside.intersection(found.unless) else found
