"""Names of image files and of filters: which band they tell of, and what is no image."""

from __future__ import annotations

import re
from functools import cache

from targetsel.errors import CutoutError
from targetsel.photometry.bands import OPTICAL, parse_bands

FITS_SUFFIXES = (".fits", ".fit", ".fts", ".fits.gz", ".fit.gz", ".fts.gz", ".fits.fz")
NPY = ".npy"
# Words for what accompanies images in files and folders, and is none itself.
NO_IMAGE = frozenset(
    """
    mask masks maskbits msk invvar ivar weight weights wht wt expwt variance var err error errors
    rms sigma uncertainty unc model models blobmodel psf dq flag flags exp expmap nexp num chi2
    resid residual residuals seg segm segmentation bkg background ctx context depth galdepth
    psfdepth
    """.split()  # noqa: SIM905
)
IMAGE = frozenset({"sci", "science", "image", "img", "data", "primary", "coadd", "stack"})
USUAL = tuple(OPTICAL)  # bands that names tell of where no survey is known
# Files that nothing here decompresses, or that hide their ending behind another one.
_OTHER_PACKING = re.compile(r"(?i)\.(fits?|fts)\.(bz2|xz|z|zip|zst|7z)")
# As cameras write a filter: "g", "g.00000" (Pan-STARRS), "g DECam SDSS c0001 4720.0 1520.0",
# "r.MP9602" (MegaCam), "r_SDSS", "HSC-R2", "ZTF_g". A capital alone may be of another system, as R
# of Johnson's; Y has no such double.
_SYSTEMS = "HSC|ZTF|SDSS|PS1|DES|DECam|LSST|Rubin|OCAM|SkyMapper|VISTA|NIR|NISP|Euclid"


@cache
def _patterns(names: tuple[str, ...]) -> tuple[re.Pattern[str], ...]:
    """Patterns of a file's name, a filter, a filter behind its system, and a band in a name."""
    any_band = "|".join(sorted(map(re.escape, names), key=len, reverse=True))
    alone = f"{any_band}|Y" if "y" in names and "Y" not in names else any_band
    return (
        re.compile(rf"(?i)(?P<id>.+)[._-](?P<band>{any_band})"),
        re.compile(rf"(?P<band>{alone})2?(?:[. _-].*)?"),
        re.compile(rf"(?i)(?:{_SYSTEMS})[-_. ](?P<band>{any_band})2?(?:[. _-].*)?"),
        re.compile(rf"(?i)[._-]({any_band})(?=[._-])"),
    )


def band_called(name: str, names: tuple[str, ...] = USUAL) -> str:
    """The one of some bands that has this name, or else has it in another case; or ""."""
    if name in names:
        return name
    return next((band for band in names if band.lower() == name.lower()), "")


def names_understood(names: tuple[str, ...] = USUAL) -> str:
    """How files of images in some bands may be called, in words."""
    return (
        "<id>.fits, <id>.<band>.fits (or with _ or -), <band>/<id>.fits and <id>.npy, with bands "
        f"{', '.join(names)} in either case"
    )


def split_suffix(name: str) -> tuple[str, str]:
    """The name of an image file without its ending, and the ending in lower case.

    The ending is empty where the file is no image by its name.

    Raises
    ------
    CutoutError
        If it is an image that is compressed by other means than gzip or FITS tiles.
    """
    if name.startswith("."):
        return name, ""
    lower = name.lower()
    suffix = next((end for end in (*FITS_SUFFIXES, NPY) if lower.endswith(end)), "")
    if not suffix and _OTHER_PACKING.search(name):
        raise CutoutError(
            f"{name}: is compressed in a way that is not read here, other than .gz and .fz. "
            "Decompress it."
        )
    return name[: len(name) - len(suffix)], suffix


def names_no_image(name: str) -> bool:
    """Whether a file's name, without its ending, says that it is a mask, a weight or the like.

    The word stands at the end, or before or behind the band: "7.mask", "7_invvar_g", "7_g.wt".
    """
    *others, last = re.split(r"[._-]", name.lower())
    if last in USUAL and others:
        *others, last = others
    return bool(others) and last in NO_IMAGE


def split_band(name: str, names: tuple[str, ...] = USUAL) -> tuple[str, str]:
    """The source id and the band of a name such as "7.g", "7_g" or "7-Y"; no band: ""."""
    found = _patterns(names)[0].fullmatch(name)
    return (found["id"], band_called(found["band"], names)) if found else (name, "")


def band_within(name: str, names: tuple[str, ...] = USUAL) -> str:
    """The last band in a tile's name such as "legacysurvey-1500p022-image-g.fits", or ""."""
    return band_called((_patterns(names)[3].findall(name) or [""])[-1], names)


def bands_in_words(text: str, names: tuple[str, ...] = USUAL) -> tuple[str, ...]:
    """The bands that a card of a header lists, such as "grz" or "g,r,Y"; () for other words.

    Y is y beside optical bands alone, as of the Dark Energy Survey, and itself beside others of the
    near infrared.
    """
    try:
        bands = parse_bands(text.strip())
    except CutoutError:
        return ()
    if names != USUAL:
        of_survey = tuple(band_called(band, names) for band in bands)
        return of_survey if all(of_survey) else bands
    if set(bands) <= {*OPTICAL, "Y"} and "y" not in bands:
        return tuple("y" if band == "Y" else band for band in bands)
    return bands


def band_of_filter(text: str, names: tuple[str, ...] = USUAL) -> str:
    """The band of a filter as cameras write it, or ""."""
    _, alone, of_system, _ = _patterns(names)
    found = alone.fullmatch(text.strip()) or of_system.fullmatch(text.strip())
    return band_called(found["band"], names) if found else ""
