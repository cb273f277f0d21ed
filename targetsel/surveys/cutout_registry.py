"""The surveys by name, and what each has to be told."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from targetsel.errors import CutoutError
from targetsel.surveys.http import Web
from targetsel.surveys.survey import Survey

# Besides bands, size and rate: what a survey takes, and what it cannot do without.
TAKES = {
    "ps1": ("url",),
    "legacy": ("url", "layer", "pixel_scale"),
    "sia2": ("url", "pixel_scale", "zeropoint"),
    "local": ("tiles", "zeropoint"),
}
NEEDS = {"sia2": ("url", "pixel_scale"), "local": ("tiles",)}


@dataclass(frozen=True)
class Wanted:
    """Which cutouts, and from where; None leaves the choice to the survey.

    Attributes
    ----------
    bands : tuple of B strings
    size : int
        Width and height [pixel].
    pixel_scale : float or None
        [arcsec]
    url : str or None
        Where the service is.
    tiles : Path or None
        Folder of FITS tiles.
    layer : str or None
        Layer of the Legacy viewer.
    zeropoint : float or None
        AB magnitude of one count, where images do not tell.
    """

    bands: tuple[str, ...]
    size: int
    pixel_scale: float | None = None
    url: str | None = None
    tiles: Path | None = None
    layer: str | None = None
    zeropoint: float | None = None


def open_survey(name: str, wanted: Wanted, web: Web) -> Survey:
    """The survey called "ps1", "legacy", "sia2" or "local".

    Raises
    ------
    CutoutError
        If it lacks something it needs, or was given something it has no use for.
    """
    given = {key: value for key, value in asdict(wanted).items() if value is not None}
    options: dict[str, Any] = {k: v for k, v in given.items() if k not in ("bands", "size")}
    _check(name, options)
    if "url" in options:
        options["url"] = options["url"].rstrip("/")
    what = wanted.bands, wanted.size
    if name == "local":
        from targetsel.surveys.mosaics import Mosaic

        return Mosaic.open(options["tiles"], *what, options.get("zeropoint"))
    if name == "ps1":
        from targetsel.surveys.ps1_cutouts import PanSTARRS

        return PanSTARRS(web, *what, **options)
    if name == "legacy":
        from targetsel.surveys.legacy_cutouts import Legacy

        return Legacy(web, *what, **options)
    try:
        from targetsel.surveys.virtual_observatory import VirtualObservatory
    except ImportError as error:
        raise CutoutError(
            f"--survey sia2: needs {error.name}. Install it: pip install 'targetsel[fetch]'."
        ) from error
    return VirtualObservatory(web, *what, **options)


def _check(name: str, options: dict[str, Any]) -> None:
    """Refuse options that are missing, of no use, or senseless."""
    for key in options:
        if key not in TAKES[name]:
            raise CutoutError(f"--survey {name}: has no use for {_option(key)}. Leave it out.")
    for key in NEEDS.get(name, ()):
        if key not in options:
            raise CutoutError(f"--survey {name}: needs {_option(key)}.")
    url = options.get("url", "https://x")
    if urlsplit(url).scheme not in ("http", "https") or not urlsplit(url).netloc:
        raise CutoutError(f"--url {url}: expected an address such as https://archive.org/sia2.")
    scale = options.get("pixel_scale", 1.0)
    if not 0.001 <= scale <= 100:
        raise CutoutError(f"--pixel-scale {scale:g}: expected 0.001 to 100 arcsec.")


def _option(key: str) -> str:
    return "--" + key.replace("_", "-")
