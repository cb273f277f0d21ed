"""Sources of known spectra: what was predicted of them, and what is true."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from targetsel.calibration.truth import Truth
from targetsel.errors import CatalogError, EnsembleError
from targetsel.imaging.measurements import MAGNITUDE
from targetsel.networks.posterior import LatentPosterior
from targetsel.networks.stored_posterior import check_decoder, matrix, stored_posterior
from targetsel.scoring.ensemble import Ensemble
from targetsel.spectra.lines import PROXIES
from targetsel.spectra.proxies import QUANTILES
from targetsel.tables.ids import matched
from targetsel.tables.parquet import read_footer, says_simulated


@dataclass(frozen=True)
class KnownSources:
    """N scored sources with spectra.

    Attributes
    ----------
    posterior : LatentPosterior
        As the scored file has it.
    knots : mapping of proxy name to ndarray, shape (N, L)
        Its quantiles at `NORMAL_SCORES`.
    magnitude : ndarray, shape (N,)
    latents, noise : ndarray, shape (N, D)
        True ones, and the errors of their measurement; NaN where they are not known.
    proxies : mapping of proxy name to ndarray, shape (N,)
        True ones; NaN where they could not be measured.
    group : ndarray, shape (N,)
        Sources of one group stay together.
    weight : ndarray, shape (N,)
    left_out : dict of int
        Rows of both files that are not here, by the reason.
    simulated : bool
    """

    posterior: LatentPosterior
    knots: Mapping[str, np.ndarray]
    magnitude: np.ndarray
    latents: np.ndarray
    noise: np.ndarray
    proxies: Mapping[str, np.ndarray]
    group: np.ndarray
    weight: np.ndarray
    left_out: dict[str, int] = field(default_factory=dict)
    simulated: bool = False

    def __len__(self) -> int:
        return len(self.magnitude)

    def take(self, rows: np.ndarray) -> KnownSources:
        """Some of the sources, by mask or indices."""
        return KnownSources(
            self.posterior.take(rows),
            {name: values[rows] for name, values in self.knots.items()},
            self.magnitude[rows],
            self.latents[rows],
            self.noise[rows],
            {name: values[rows] for name, values in self.proxies.items()},
            self.group[rows],
            self.weight[rows],
            self.left_out,
            self.simulated,
        )

    @classmethod
    def read(cls, scored: Path, truth: Path, ensemble: Ensemble) -> KnownSources:
        """The sources that a scored file and a truth file share.

        Raises
        ------
        CatalogError, EnsembleError
            If there are none, the truth says nothing of what is predicted, or the scored file is
            not of this ensemble as it predicts without a calibration.
        """
        footer = read_footer(scored)
        _check_scored(scored, footer, ensemble)
        predicted, ids = _scored_table(scored, footer)
        known = Truth.read(truth, footer.get("columns", {}).get("source_id", "source_id"))
        rows = matched(ids, known.source_id)
        good = np.flatnonzero((rows >= 0) & (np.array(predicted["status"].to_pylist()) == "ok"))
        if not (rows >= 0).any():
            raise CatalogError(
                f"{truth}: none of its {len(known)} ids (the first is '{known.source_id[0]}') is "
                f"in {scored} (the first there is '{ids[0]}'). Use the same ids in both."
            )
        if not len(good):
            raise CatalogError(
                f"{truth}: none of its sources has a prediction (see the column 'status' of the "
                "scored file). Choose others."
            )
        left_out = {
            "only in the truth": len(known) - int((rows >= 0).sum()),
            "without a prediction": int((rows >= 0).sum()) - len(good),
        }
        predicted, known = predicted.take(pa.array(good)), known.take(rows[good])
        if known.has_latents:
            check_decoder(truth, known.footer, footer)
        latents, noise = known.latents(ensemble.decoder.n_latents)
        found = cls(
            stored_posterior(predicted, ids[good]),
            {name: matrix(predicted[name + QUANTILES]) for name in PROXIES},
            predicted[MAGNITUDE].to_numpy().astype(np.float64),
            latents,
            noise,
            known.proxies(),
            ids[good] if known.group is None else known.group,
            known.weight,
            left_out,
            says_simulated(known.footer),
        )
        return found._with_some_truth(truth)

    def _with_some_truth(self, truth: Path) -> KnownSources:
        """The sources that count and of which something is known."""
        known = np.isfinite(self.latents).all(axis=1)
        for values in self.proxies.values():
            known |= np.isfinite(values)
        known &= self.weight > 0
        if not known.any():
            raise CatalogError(
                f"{truth}: all {len(self)} sources that were scored have NaN for a truth. Measure "
                "their spectra, or give others."
            )
        found = self.take(known)
        found.left_out["with NaN for a truth"] = len(self) - len(found)
        return found


def _check_scored(path: Path, footer: Mapping[str, Any], ensemble: Ensemble) -> None:
    scored_by = footer.get("ensemble") or {}
    if scored_by.get("sha256") != ensemble.sha256:
        raise EnsembleError(
            f"{path}: scored by the ensemble '{scored_by.get('name', 'unknown')}' "
            f"({str(scored_by.get('sha256'))[:12]}), not by '{ensemble.card.get('name', '')}' "
            f"({ensemble.sha256[:12]}). Name the one that scored it with --ensemble."
        )
    if footer.get("calibration"):
        raise CatalogError(
            f"{path}: its posteriors are calibrated already. Score it with --uncalibrated first."
        )


def _scored_table(path: Path, footer: Mapping[str, Any]) -> tuple[pa.Table, np.ndarray]:
    ids = footer.get("columns", {}).get("source_id", "source_id")
    names = set(pq.read_schema(path).names)
    wanted = [ids, "status", MAGNITUDE, "member_mean", "member_cov"]
    wanted += [name + QUANTILES for name in PROXIES]
    missing = [name for name in wanted if name not in names]
    if missing:
        raise CatalogError(
            f"{path}: no column '{missing[0]}', so it is not a scored catalog of this version. "
            "Score it again."
        )
    table = pq.read_table(path, columns=wanted)
    return table, table[ids].to_numpy()
