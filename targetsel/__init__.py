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

from targetsel.version import __version__ as __version__

if TYPE_CHECKING:  # what `_HOMES` says, for type checkers
    from targetsel.api.archives import fetch_catalog as fetch_catalog
    from targetsel.api.archives import fetch_cutouts as fetch_cutouts
    from targetsel.api.archives import fetch_spectra as fetch_spectra
    from targetsel.api.archives import fetch_surveys as fetch_surveys
    from targetsel.api.archives import trainingset as trainingset
    from targetsel.api.catalogs import partition as partition
    from targetsel.api.catalogs import selection_weights as selection_weights
    from targetsel.api.cells import cells as cells
    from targetsel.api.embeddings import embed as embed
    from targetsel.api.handoff import assign as assign
    from targetsel.api.handoff import export as export
    from targetsel.api.handoff import import_assignment as import_assignment
    from targetsel.api.images import pack as pack
    from targetsel.api.images import show_cutouts as show_cutouts
    from targetsel.api.injection import inject as inject
    from targetsel.api.inspection import inspect as inspect
    from targetsel.api.inspection import inspect_merge as inspect_merge
    from targetsel.api.mock_skies import demo as demo
    from targetsel.api.mock_skies import mock_sky as mock_sky
    from targetsel.api.nights import night as night
    from targetsel.api.nights import visibility as visibility
    from targetsel.api.outcomes import outcomes as outcomes
    from targetsel.api.partitions import score_catalog as score_catalog
    from targetsel.api.partitions import select_catalog as select_catalog
    from targetsel.api.partitions import status as status
    from targetsel.api.pictures import show as show
    from targetsel.api.pictures import show_all as show_all
    from targetsel.api.priors import fit_residual as fit_residual
    from targetsel.api.priors import update_priors as update_priors
    from targetsel.api.priors import write_priors as write_priors
    from targetsel.api.published import ensemble_presets as ensemble_presets
    from targetsel.api.published import import_decoder as import_decoder
    from targetsel.api.published import import_ensemble as import_ensemble
    from targetsel.api.reading import read as read
    from targetsel.api.redshifts import join_redshifts as join_redshifts
    from targetsel.api.relearning import recalibrate as recalibrate
    from targetsel.api.relearning import relearn as relearn
    from targetsel.api.reports import density as density
    from targetsel.api.reports import evaluate as evaluate
    from targetsel.api.reports import randoms as randoms
    from targetsel.api.reports import selection_function as selection_function
    from targetsel.api.rule_files import distil_rules as distil_rules
    from targetsel.api.rule_files import format_rules as format_rules
    from targetsel.api.rule_files import init_rules as init_rules
    from targetsel.api.rule_files import lint_rules as lint_rules
    from targetsel.api.rule_files import lock_rules as lock_rules
    from targetsel.api.rule_files import rule_columns as rule_columns
    from targetsel.api.rule_files import rule_functions as rule_functions
    from targetsel.api.rule_files import rule_schema as rule_schema
    from targetsel.api.scoring import calibrate as calibrate
    from targetsel.api.scoring import compare as compare
    from targetsel.api.scoring import observe as observe
    from targetsel.api.scoring import restore as restore
    from targetsel.api.scoring import score as score
    from targetsel.api.selecting import diff as diff
    from targetsel.api.selecting import explain as explain
    from targetsel.api.selecting import forecast as forecast
    from targetsel.api.selecting import funnel as funnel
    from targetsel.api.selecting import select as select
    from targetsel.api.selecting import tune as tune
    from targetsel.api.spectra import apply_lines as apply_lines
    from targetsel.api.spectra import calibrate_lines as calibrate_lines
    from targetsel.api.spectra import encode_spectra as encode_spectra
    from targetsel.api.spectra import measure_spectra as measure_spectra
    from targetsel.api.surveys import survey as survey
    from targetsel.api.training import distil as distil
    from targetsel.api.training import export_onnx as export_onnx
    from targetsel.api.training import fit_novelty as fit_novelty
    from targetsel.api.training import train as train
    from targetsel.api.training import train_decoder as train_decoder
    from targetsel.cli.lookup import docs as docs
    from targetsel.errors import TargetselError as TargetselError
    from targetsel.imaging.cutout import Cutouts as Cutouts
    from targetsel.imaging.cutout import cut_out as cut_out
    from targetsel.imaging.folder import Folder as Folder
    from targetsel.imaging.store import CutoutStore as CutoutStore
    from targetsel.networks.posterior import LatentPosterior as LatentPosterior
    from targetsel.nights.sites import Site as Site
    from targetsel.nights.sites import sites as sites
    from targetsel.priors.files import PriorFile as PriorFile
    from targetsel.priors.prior import Prior as Prior
    from targetsel.rules.rules import Rules as Rules
    from targetsel.scored.rows import Scored as Scored
    from targetsel.scoring.ensemble import Ensemble as Ensemble
    from targetsel.scoring.rows import ScoreOptions as ScoreOptions
    from targetsel.scoring.rows import score_rows as score_rows
    from targetsel.selection.membership import Membership as Membership
    from targetsel.selection.membership import apply_rules as apply_rules
    from targetsel.selection.target_list import TargetList as TargetList
    from targetsel.selection.target_list import rank as rank
    from targetsel.sky.catalog import Catalog as Catalog
    from targetsel.sky.catalog import CatalogFile as CatalogFile
    from targetsel.sky.footprint import Footprint as Footprint
    from targetsel.spectra.decoder import Decoder as Decoder
    from targetsel.spectra.lines import LineTable as LineTable
    from targetsel.spectra.lines import measure as measure
    from targetsel.spectra.proxies import Proxies as Proxies
    from targetsel.spectra.proxies import ProxyPosterior as ProxyPosterior
    from targetsel.spectra.spectrum import Spectra as Spectra
    from targetsel.tasks import progress as progress
    from targetsel.walk import choose_targets as choose_targets

# Where each public name lives. They are imported when first used, so that checking a rule file
# never waits for torch.
_HOMES = {
    "errors": ("TargetselError",),
    "api.archives": (
        "fetch_catalog",
        "fetch_cutouts",
        "fetch_spectra",
        "fetch_surveys",
        "trainingset",
    ),
    "api.catalogs": ("partition", "selection_weights"),
    "api.cells": ("cells",),
    "api.embeddings": ("embed",),
    "api.handoff": (
        "assign",
        "export",
        "import_assignment",
    ),
    "api.images": (
        "pack",
        "show_cutouts",
    ),
    "api.injection": ("inject",),
    "api.inspection": (
        "inspect",
        "inspect_merge",
    ),
    "api.mock_skies": (
        "demo",
        "mock_sky",
    ),
    "api.nights": (
        "night",
        "visibility",
    ),
    "api.outcomes": ("outcomes",),
    "api.partitions": (
        "score_catalog",
        "select_catalog",
        "status",
    ),
    "api.pictures": (
        "show",
        "show_all",
    ),
    "api.priors": (
        "fit_residual",
        "update_priors",
        "write_priors",
    ),
    "api.published": (
        "ensemble_presets",
        "import_decoder",
        "import_ensemble",
    ),
    "api.reading": ("read",),
    "api.redshifts": ("join_redshifts",),
    "api.relearning": ("recalibrate", "relearn"),
    "api.reports": (
        "density",
        "evaluate",
        "randoms",
        "selection_function",
    ),
    "api.rule_files": (
        "distil_rules",
        "format_rules",
        "init_rules",
        "lint_rules",
        "lock_rules",
        "rule_columns",
        "rule_functions",
        "rule_schema",
    ),
    "api.scoring": (
        "calibrate",
        "compare",
        "observe",
        "restore",
        "score",
    ),
    "api.selecting": (
        "diff",
        "explain",
        "forecast",
        "funnel",
        "select",
        "tune",
    ),
    "api.spectra": (
        "apply_lines",
        "calibrate_lines",
        "encode_spectra",
        "measure_spectra",
    ),
    "api.surveys": ("survey",),
    "api.training": (
        "distil",
        "export_onnx",
        "fit_novelty",
        "train",
        "train_decoder",
    ),
    "cli.lookup": ("docs",),
    "imaging.cutout": (
        "Cutouts",
        "cut_out",
    ),
    "imaging.folder": ("Folder",),
    "imaging.store": ("CutoutStore",),
    "networks.posterior": ("LatentPosterior",),
    "nights.sites": ("Site", "sites"),
    "priors.files": ("PriorFile",),
    "priors.prior": ("Prior",),
    "rules.rules": ("Rules",),
    "scored.rows": ("Scored",),
    "scoring.ensemble": ("Ensemble",),
    "scoring.rows": (
        "ScoreOptions",
        "score_rows",
    ),
    "selection.membership": (
        "Membership",
        "apply_rules",
    ),
    "selection.target_list": (
        "TargetList",
        "rank",
    ),
    "sky.catalog": (
        "Catalog",
        "CatalogFile",
    ),
    "sky.footprint": ("Footprint",),
    "spectra.decoder": ("Decoder",),
    "spectra.lines": (
        "LineTable",
        "measure",
    ),
    "spectra.proxies": (
        "Proxies",
        "ProxyPosterior",
    ),
    "spectra.spectrum": ("Spectra",),
    "tasks": ("progress",),
    "walk": ("choose_targets",),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}
__all__ = sorted((*_HOME_OF, "__version__"))


def __getattr__(name: str) -> object:
    if name in _HOME_OF:
        return getattr(_import_module(f"targetsel.{_HOME_OF[name]}"), name)
    raise AttributeError(f"module 'targetsel' has no attribute '{name}'")


def __dir__() -> list[str]:
    return [*__all__]
