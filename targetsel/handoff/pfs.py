"""What the three PFS formats share: names, filters and checks.

Subaru-PFS/spt_target_uploader (8507313, v3.3.6) ``docs/docs/inputs.md`` and ``validation.md``.
"""

from __future__ import annotations

import numpy as np

from targetsel.errors import HandoffError
from targetsel.handoff.brightness import known_bands
from targetsel.handoff.prepare import Prepared
from targetsel.photometry.bands import Band

NAMES = r"[A-Za-z0-9_+.-]+"
NAMES_ARE = "letters, digits and _ - + . only"

# Filters by category, in the order of preference; a target may have one of each category.
CATEGORIES = (
    ("g_hsc", "g_ps1", "g_sdss", "bp_gaia"),
    ("r_old_hsc", "r2_hsc", "r_ps1", "r_sdss", "g_gaia"),
    ("i_old_hsc", "i2_hsc", "i_ps1", "i_sdss", "rp_gaia"),
    ("z_hsc", "z_ps1", "z_sdss"),
    ("y_hsc", "y_ps1"),
)


def filters_of(targets: Prepared) -> list[tuple[Band, ...]]:
    """The filters that both the list and PFS have, category by category.

    Raises
    ------
    HandoffError
        If there are none, or a name is ambiguous.
    """
    for each in targets.photometry.bands():
        if each.system == "hsc" and each.name in ("r", "i"):
            raise HandoffError(
                f"the list's column flux_{each} is ambiguous for '{targets.tool.name}': HSC has "
                f"two filters {each.name}. Name it flux_{each.name}_old_hsc or "
                f"flux_{each.name}2_hsc."
            )
    wanted = {name: Band.parse(name) for category in CATEGORIES for name in category}
    known = known_bands(targets, wanted.values())
    grouped = [tuple(wanted[n] for n in names if wanted[n] in known) for names in CATEGORIES]
    return [each for each in grouped if each]


def total_fluxes(targets: Prepared) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Total flux and its error [nJy] by PFS's name of the filter, each shape (M,).

    In each category a target keeps the flux of the first filter that it has one in.

    Raises
    ------
    HandoffError
        If any target has no flux at all.
    """
    tool, photometry = targets.tool.name, targets.photometry
    fluxes = {}
    seen_in_any = np.zeros(len(targets), dtype=bool)
    for category in filters_of(targets):
        seen = np.zeros(len(targets), dtype=bool)
        for each in category:
            flux, error = photometry.flux(each), photometry.flux_error(each)
            usable = np.isfinite(flux) & ~seen
            fluxes[str(each)] = np.where(usable, flux, np.nan), np.where(usable, error, np.nan)
            seen |= usable
        seen_in_any |= seen
    if not seen_in_any.all():
        first = targets.name[~seen_in_any][0]
        raise HandoffError(
            f"{(~seen_in_any).sum()} of {len(targets)} targets, the first is {first}, have no flux "
            f"in any filter that '{tool}' knows; it asks for one at least. Leave them out in the "
            "rules (`flux_... is not missing`)."
        )
    return fluxes
