"""The walk from a catalog row to a target, in eight steps. If you know them, you know the package.

::

    inside     = footprint.select(catalog)            # 1 Catalog          N rows; ra, dec [deg]
    cutouts    = cut_out(inside, images)              # 2 Cutouts          (N, B, H, W)  [nanomaggy]
    posterior  = ensemble.predict(cutouts)            # 3 LatentPosterior  (N, M, D), (N, M, D, D)
    latents    = posterior.draw(n_draws, seed)        # 4 ndarray          (N, S, D)
    spectra    = ensemble.decoder.decode(latents)     # 5 Spectra          (N, S, L)  rest frame
    proxies    = measure(spectra)                     # 6 Proxies          (N, S, P)  [Angstrom]
    membership = apply_rules(rules, scored)              # 7 Membership       (N, C)  probability
    targets    = rank(membership, rules)              # 8 TargetList       M <= N rows

In every shape the source comes first, then the draw, then the physical axis: N sources, B bands,
HxW pixels, M networks, D latents, S draws, L wavelengths, P proxies, C target classes.

`score_rows` composes stations 2 to 6; it decodes and measures at once (`Ensemble.measure`), and
calibrates. `choose_targets` composes all eight, in memory. `score` and `select`, which the commands
`targetsel score` and `targetsel select` call, do the same to files of any length: `score` reads a
catalog and its cutouts piece by piece. So both ways choose the same targets.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from targetsel.imaging.cutout import Images, cut_out
from targetsel.rules.rules import Rules
from targetsel.scoring.rows import ScoreOptions, score_rows
from targetsel.scoring.stream import score
from targetsel.selection.membership import apply_rules
from targetsel.selection.select import select
from targetsel.selection.target_list import TargetList, rank
from targetsel.sky.catalog import Catalog
from targetsel.sky.footprint import Footprint
from targetsel.spectra.lines import measure

if TYPE_CHECKING:
    from targetsel.scoring.ensemble import Ensemble

__all__ = [
    "apply_rules",
    "choose_targets",
    "cut_out",
    "measure",
    "rank",
    "score",
    "score_rows",
    "select",
]


def choose_targets(
    catalog: Catalog,
    images: Images,
    ensemble: Ensemble,
    rules: Rules,
    footprint: Footprint | None = None,
    options: ScoreOptions = ScoreOptions(),
) -> TargetList:
    """The targets of a catalog that fits into memory.

    Parameters
    ----------
    catalog : Catalog
    images : CutoutStore or Folder
        Where cutouts come from.
    ensemble : Ensemble
    rules : Rules
    footprint : Footprint, optional
        Part of the sky to choose from; by default all of it.
    options : ScoreOptions
        Seed and number of draws.

    Returns
    -------
    TargetList
        Rows as `targetsel score` and `targetsel select` write them for the same catalog.

    Raises
    ------
    CutoutError
        If the images cannot be read, or do not suit the ensemble.
    RuleError
        If the rules do not fit the columns of the scored rows.

    See Also
    --------
    score : Its first half, for files of any length.
    select : Its second half.

    Examples
    --------
    >>> import targetsel as ts
    >>> catalog = ts.read("catalog.parquet", "catalog")[:20]
    >>> images = ts.read("cutouts", "cutouts")
    >>> ensemble = ts.Ensemble.read("mock-ps1")
    >>> targets = ts.choose_targets(catalog, images, ensemble, ts.Rules.read("quiescent"))
    """
    footprint = footprint or Footprint.everywhere()
    inside = footprint.select(catalog)  # 1
    scored = score_rows(inside, images, ensemble, options)  # 2 to 6
    membership = apply_rules(rules, scored)  # 7
    return rank(membership, rules)  # 8
