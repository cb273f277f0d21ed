"""targetsel: choose which galaxies deserve a spectrum.

From a catalog to a target list, as a library::

    import targetsel as ts

    inside     = ts.Footprint.everywhere().select(catalog)
    scored     = ts.score_rows(inside, images, ensemble)
    membership = ts.evaluate(rules, scored)
    targets    = ts.rank(membership, rules)

`ts.choose_targets` does these four at once; the module `targetsel.walk` describes the eight steps
that they are made of.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from targetsel.version import __version__

if TYPE_CHECKING:
    from targetsel.errors import TargetselError
    from targetsel.imaging.cutout import Cutouts, cut_out
    from targetsel.imaging.store import CutoutStore
    from targetsel.networks.posterior import LatentPosterior
    from targetsel.priors.files import PriorFile
    from targetsel.priors.prior import Prior
    from targetsel.rules.rules import Rules
    from targetsel.scoring.ensemble import Ensemble
    from targetsel.scoring.rows import ScoreOptions, score_rows
    from targetsel.scoring.stream import score
    from targetsel.selection.membership import Membership, evaluate
    from targetsel.selection.select import select
    from targetsel.selection.target_list import TargetList, rank
    from targetsel.sky.catalog import Catalog, CatalogFile
    from targetsel.sky.footprint import Footprint
    from targetsel.spectra.decoder import Decoder
    from targetsel.spectra.lines import measure
    from targetsel.spectra.proxies import Proxies, ProxyPosterior
    from targetsel.spectra.spectrum import Spectra
    from targetsel.walk import choose_targets

# Where each public name lives. They are imported when first used, so that checking a rule file
# never waits for torch.
_HOMES = {
    "Catalog": "sky.catalog",
    "CatalogFile": "sky.catalog",
    "CutoutStore": "imaging.store",
    "Cutouts": "imaging.cutout",
    "Decoder": "spectra.decoder",
    "Ensemble": "scoring.ensemble",
    "Footprint": "sky.footprint",
    "LatentPosterior": "networks.posterior",
    "Membership": "selection.membership",
    "Prior": "priors.prior",
    "PriorFile": "priors.files",
    "Proxies": "spectra.proxies",
    "ProxyPosterior": "spectra.proxies",
    "Rules": "rules.rules",
    "ScoreOptions": "scoring.rows",
    "Spectra": "spectra.spectrum",
    "TargetList": "selection.target_list",
    "TargetselError": "errors",
    "choose_targets": "walk",
    "cut_out": "imaging.cutout",
    "evaluate": "selection.membership",
    "measure": "spectra.lines",
    "rank": "selection.target_list",
    "score": "scoring.stream",
    "score_rows": "scoring.rows",
    "select": "selection.select",
}
__all__ = [
    "Catalog",
    "CatalogFile",
    "CutoutStore",
    "Cutouts",
    "Decoder",
    "Ensemble",
    "Footprint",
    "LatentPosterior",
    "Membership",
    "Prior",
    "PriorFile",
    "Proxies",
    "ProxyPosterior",
    "Rules",
    "ScoreOptions",
    "Spectra",
    "TargetList",
    "TargetselError",
    "__version__",
    "choose_targets",
    "cut_out",
    "evaluate",
    "measure",
    "rank",
    "score",
    "score_rows",
    "select",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(f"targetsel.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'targetsel' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
