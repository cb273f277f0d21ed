"""The one magnitude that most text formats have room for."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from targetsel.errors import HandoffError, did_you_mean
from targetsel.handoff.prepare import Prepared
from targetsel.handoff.settings import Settings
from targetsel.photometry.bands import Band
from targetsel.photometry.columns import Kind

BANDS = ("r", "i", "z", "g", "y", "u", "j", "h", "k")
FILTER = "filter of the magnitude, such as r_sdss; by default the first the list has of r i z g y u"
UNKNOWN = 99.0


def one_magnitude(
    prepared: Prepared, settings: Settings, bands: tuple[str, ...] = BANDS
) -> tuple[Band, np.ndarray]:
    """A filter and the AB magnitudes in it, shape (M,), `UNKNOWN` where there is no flux.

    The filter is that of the setting ``filter``, or else the first of `bands` that the list has in
    any photometric system.

    Raises
    ------
    HandoffError
        If the list has no such flux, or no target has.
    """
    present = prepared.photometry.bands()
    if settings.has("filter"):
        chosen = _named(settings, present)
    else:
        known = [each for band in bands for each in present if each.name == band]
        if not known:
            has = ", ".join(f"flux_{each}" for each in present) or "none"
            raise HandoffError(
                f"the list has no flux in any filter that '{settings.tool.name}' knows: it has "
                f"{has}, expected flux_<band>_<system> [nJy] for a band of {' '.join(bands)}."
            )
        chosen = known[0]
    magnitude = prepared.photometry.magnitude(chosen)
    if np.isnan(magnitude).all():
        raise HandoffError(
            f"no target has a flux above zero in {chosen}, which '{settings.tool.name}' would be "
            "given magnitudes of. Choose another one with the setting `filter`."
        )
    return chosen, np.where(np.isnan(magnitude), UNKNOWN, magnitude)


def known_bands(prepared: Prepared, wanted: Iterable[Band], kind: Kind = "flux") -> list[Band]:
    """Those of the wanted bands that the list has, in the order wanted.

    Raises
    ------
    HandoffError
        If there is none.
    """
    wanted, present = list(wanted), prepared.photometry.bands(kind)
    found = [each for each in wanted if each in present]
    if not found:
        has = ", ".join(f"{kind}_{each}" for each in present) or "none"
        raise HandoffError(
            f"the list has no flux in any filter that '{prepared.tool.name}' knows: it has {has}, "
            f"expected one of {', '.join(f'{kind}_{each}' for each in wanted)} [nJy]."
        )
    return found


def _named(settings: Settings, present: list[Band]) -> Band:
    by_name = {str(each): each for each in present}
    name = settings.text("filter").lower()
    if name not in by_name:
        hint = did_you_mean(name, by_name) or f" It has {', '.join(by_name) or 'none'}."
        raise settings.error(f"'filter' is '{name}', and the list has no flux_{name}.{hint}")
    return by_name[name]
