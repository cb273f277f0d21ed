"""targetsel: choose which galaxies deserve a spectrum.

Everything that commands do, under the same words; in the folder of the demonstration::

    import targetsel as ts

    catalog = ts.read("catalog.parquet")  # or a table of astropy, pandas, polars
    scored = ts.score(catalog, "cutouts")  # latents, line strengths [Angstrom]
    targets = ts.select(scored, "emission")  # a shipped rule file, or your own
    first = targets["source_id"][0]
    why = ts.explain(scored, "emission", first)  # every condition, with its margin
    ts.show(scored, first, "cutouts", "first.png", rules="emission")
    ts.export(targets, "desi", "desi.fits", config={"epoch": 2026.5, "obsconditions": "DARK"})

The module `targetsel.walk` describes the eight steps that they are made of.
"""

from __future__ import annotations

from importlib import import_module as _import_module
from typing import TYPE_CHECKING

from targetsel.version import __version__

if TYPE_CHECKING:
    from targetsel.errors import TargetselError
    from targetsel.imaging.cutout import Cutouts, cut_out
    from targetsel.imaging.folder import Folder
    from targetsel.imaging.store import CutoutStore
    from targetsel.networks.posterior import LatentPosterior
    from targetsel.notebook.predicting import calibrate, compare, observe, pack, read, score
    from targetsel.notebook.selecting import (
        diff,
        explain,
        export,
        forecast,
        funnel,
        select,
        show,
        tune,
    )
    from targetsel.priors.files import PriorFile
    from targetsel.priors.prior import Prior
    from targetsel.rules.rules import Rules
    from targetsel.scored.rows import Scored
    from targetsel.scoring.ensemble import Ensemble
    from targetsel.scoring.rows import ScoreOptions, score_rows
    from targetsel.selection.membership import Membership, evaluate
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
    "Folder": "imaging.folder",
    "Footprint": "sky.footprint",
    "LatentPosterior": "networks.posterior",
    "Membership": "selection.membership",
    "Prior": "priors.prior",
    "PriorFile": "priors.files",
    "Proxies": "spectra.proxies",
    "ProxyPosterior": "spectra.proxies",
    "Rules": "rules.rules",
    "ScoreOptions": "scoring.rows",
    "Scored": "scored.rows",
    "Spectra": "spectra.spectrum",
    "TargetList": "selection.target_list",
    "TargetselError": "errors",
    "calibrate": "notebook.predicting",
    "choose_targets": "walk",
    "compare": "notebook.predicting",
    "cut_out": "imaging.cutout",
    "diff": "notebook.selecting",
    "evaluate": "selection.membership",
    "explain": "notebook.selecting",
    "export": "notebook.selecting",
    "forecast": "notebook.selecting",
    "funnel": "notebook.selecting",
    "measure": "spectra.lines",
    "observe": "notebook.predicting",
    "pack": "notebook.predicting",
    "rank": "selection.target_list",
    "read": "notebook.predicting",
    "score": "notebook.predicting",
    "score_rows": "scoring.rows",
    "select": "notebook.selecting",
    "show": "notebook.selecting",
    "tune": "notebook.selecting",
}
__all__ = [
    "Catalog",
    "CatalogFile",
    "CutoutStore",
    "Cutouts",
    "Decoder",
    "Ensemble",
    "Folder",
    "Footprint",
    "LatentPosterior",
    "Membership",
    "Prior",
    "PriorFile",
    "Proxies",
    "ProxyPosterior",
    "Rules",
    "ScoreOptions",
    "Scored",
    "Spectra",
    "TargetList",
    "TargetselError",
    "__version__",
    "calibrate",
    "choose_targets",
    "compare",
    "cut_out",
    "diff",
    "evaluate",
    "explain",
    "export",
    "forecast",
    "funnel",
    "measure",
    "observe",
    "pack",
    "rank",
    "read",
    "score",
    "score_rows",
    "select",
    "show",
    "tune",
]


def __getattr__(name: str) -> object:
    if name in _HOMES:
        return getattr(_import_module(f"targetsel.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'targetsel' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted(__all__)
