"""The posterior of sources' latents: as a scored file holds it, or predicted again of slim rows."""

from __future__ import annotations

from copy import copy

import numpy as np
import pyarrow as pa

from targetsel.errors import CutoutError, EnsembleError
from targetsel.imaging.cutout import Cutouts
from targetsel.imaging.store import CutoutStore
from targetsel.networks.posterior import LatentPosterior, stored_posterior
from targetsel.scored.file import ScoredFile
from targetsel.scoring.ensemble import Ensemble


def stores_latents(schema: pa.Schema) -> bool:
    """Whether scored rows hold the posterior of the latents, which slim ones lack."""
    return {"member_mean", "member_cov"} <= {*schema.names}


def ensemble_as_scored(file: ScoredFile, ensemble: Ensemble) -> Ensemble:
    """The ensemble as it scored a file, so that it can predict the latents again.

    Raises
    ------
    EnsembleError
        If another ensemble scored it; or, where latents must be predicted, the ensemble has
        another calibration now, or takes embeddings.
    """
    file.check_scored_by(ensemble.name, ensemble.sha256)
    told = file.footer.get("calibration")
    if not stores_latents(file.schema) and ensemble.inputs.vectors is not None:
        raise EnsembleError(
            f"{file.path}: its latents are not stored (see score --slim), and the ensemble "
            f"'{ensemble.name}' predicts them from embeddings, which are not read here. Score the "
            "catalog without --slim."
        )
    if stores_latents(file.schema) or not (told or ensemble.calibration):
        return ensemble
    if not told:
        uncalibrated = copy(ensemble)
        uncalibrated.calibration = None
        return uncalibrated
    own = ensemble.calibration
    if own is None or own.provenance["sha256"] != told.get("sha256"):
        has = "none" if own is None else own.provenance["sha256"][:12]
        raise EnsembleError(
            f"{file.path}: its latents are not stored (see score --slim), and to predict them "
            f"again the ensemble '{ensemble.name}' needs the calibration "
            f"{str(told.get('sha256'))[:12]}; it has {has}. Score the catalog again."
        )
    return ensemble


def check_store(store: CutoutStore | None, ensemble: Ensemble, reason: str = "") -> None:
    """Refuse to go without the cutouts that an ensemble takes; `reason` is why none were found.

    Raises
    ------
    CutoutError
    """
    if store is None and ensemble.inputs.cutouts is not None:
        raise CutoutError(
            f"the ensemble '{ensemble.name}' takes {ensemble.inputs.described}"
            f"{', but ' * bool(reason)}{reason}. Name the store that was scored with --cutouts."
        )


def check_was_scored(store: CutoutStore | None, file: ScoredFile) -> None:
    """Refuse other cutouts than those that were scored where latents are predicted again.

    Raises
    ------
    CutoutError
    """
    told = file.footer.get("cutouts")
    wanted = told.get("sha256") if isinstance(told, dict) else None
    if stores_latents(file.schema) or store is None or wanted in (None, store.sha256):
        return
    raise CutoutError(
        f"{store.path}: is not the store that was scored, and the rows of {file.path} are slim, so "
        "that spectra must be predicted again from it. Name that store with --cutouts."
    )


def latent_posterior(
    table: pa.Table, source_id: np.ndarray, cutouts: Cutouts | None, ensemble: Ensemble
) -> LatentPosterior:
    """The posterior of N scored rows, whose cutouts are in the same order.

    Parameters
    ----------
    cutouts : Cutouts or None
        None for an ensemble that takes none.
    ensemble : Ensemble
        Result of `ensemble_as_scored`.
    """
    if stores_latents(table.schema):
        return stored_posterior(table, source_id)
    assert cutouts is not None
    return ensemble.predict(cutouts).latents
