"""targetsel: choose which galaxies deserve a spectrum.

The walk from a catalog to a target list, as a library::

    inside     = ts.Footprint.everywhere().select(catalog)
    cutouts    = ts.cut_out(inside, images)
    posterior  = ensemble.predict(cutouts)
    latents    = posterior.draw(n_draws, seed)
    spectra    = ensemble.decoder.decode(latents, inside.source_id)
    proxies    = ts.measure(spectra)
    membership = ts.evaluate(rules, ts.scored(inside, cutouts, posterior, proxies))
    targets    = ts.rank(membership, rules)
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
    from targetsel.scoring.scored_rows import scored
    from targetsel.scoring.stream import score
    from targetsel.selection.membership import Membership, evaluate
    from targetsel.selection.select import select
    from targetsel.selection.target_list import TargetList, rank
    from targetsel.sky.catalog import Catalog, CatalogFile, Footprint
    from targetsel.spectra.decoder import Decoder
    from targetsel.spectra.lines import measure
    from targetsel.spectra.proxies import Proxies, ProxyPosterior
    from targetsel.spectra.spectrum import Spectra

# Where each public name lives. They are imported when first used, so that checking a rule file
# never waits for torch.
_HOMES = {
    "Catalog": "sky.catalog",
    "CatalogFile": "sky.catalog",
    "CutoutStore": "imaging.store",
    "Cutouts": "imaging.cutout",
    "Decoder": "spectra.decoder",
    "Ensemble": "scoring.ensemble",
    "Footprint": "sky.catalog",
    "LatentPosterior": "networks.posterior",
    "Membership": "selection.membership",
    "Prior": "priors.prior",
    "PriorFile": "priors.files",
    "Proxies": "spectra.proxies",
    "ProxyPosterior": "spectra.proxies",
    "Rules": "rules.rules",
    "Spectra": "spectra.spectrum",
    "TargetList": "selection.target_list",
    "TargetselError": "errors",
    "cut_out": "imaging.cutout",
    "evaluate": "selection.membership",
    "measure": "spectra.lines",
    "rank": "selection.target_list",
    "score": "scoring.stream",
    "scored": "scoring.scored_rows",
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
    "Spectra",
    "TargetList",
    "TargetselError",
    "__version__",
    "cut_out",
    "evaluate",
    "measure",
    "rank",
    "score",
    "scored",
    "select",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(f"targetsel.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'targetsel' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
