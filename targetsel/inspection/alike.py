"""The labelled sources that are most alike to a target, with what is true of them.

Alike are sources whose predicted rest-frame spectra are: the posterior means of their latents lie
near each other. A difference counts by the target's own posterior, so that what is not known of the
target makes nothing unlike it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.linalg import solve_triangular

from targetsel.imaging.store import CutoutStore
from targetsel.inspection.cutouts import small_pictures
from targetsel.inspection.listing import redshifts_of, rounded
from targetsel.networks.posterior import LatentPosterior
from targetsel.report.companions import companions_of
from targetsel.scored.file import ScoredFile
from targetsel.scored.labelled_sources import LabelledSources
from targetsel.sky.positions import separation
from targetsel.spectra.photoz import PHOTOZ
from targetsel.spectra.proxies import proxy_names
from targetsel.tables.columns import floats

N_ALIKE = 3
SELF = 1.0  # [arcsec] within which a labelled source of a target's id is the target itself
STEPS = 10  # decimals to which squared distances are compared, so that ties are ties everywhere


@dataclass(frozen=True)
class AlikeSources:
    """R labelled sources among which alike ones are found.

    Attributes
    ----------
    labelled : LabelledSources
        In the order of their ids, as text.
    mean : ndarray, shape (R, D)
        Posterior means of their latents.
    position : tuple of two ndarrays, shape (R,)
        Their ra and dec [deg].
    store : CutoutStore or None
        The cutouts that were scored, if they lie beside.
    """

    labelled: LabelledSources
    mean: np.ndarray
    position: tuple[np.ndarray, np.ndarray]
    store: CutoutStore | None

    @classmethod
    def read(cls, scored: Path, truth: Path, file: ScoredFile) -> AlikeSources:
        """The sources that a scored catalog and a truth file share.

        Parameters
        ----------
        scored, truth : Path
        file : ScoredFile
            The targets', which must have been scored alike.

        Raises
        ------
        CatalogError
            If a file cannot be read, they share no source, or the rows are slim.
        EnsembleError
            If another ensemble or calibration scored the catalog.
        """
        with ScoredFile(scored, ["status", "member_mean", "member_cov"]) as own:
            own.check_scored_like(file)
            names = [own.names[name] for name in ("ra", "dec")]
        read = LabelledSources.read(scored, truth)
        order = np.argsort(np.array([str(each) for each in read.source_id]), kind="stable")
        labelled = read.take(order)
        ra, dec = (floats(labelled.scored[name]) for name in names)
        mean = labelled.posterior().latents.mean
        return cls(labelled, mean, (ra, dec), companions_of(scored).store)

    def __len__(self) -> int:
        return len(self.labelled)

    def nearest(self, posterior: LatentPosterior) -> tuple[np.ndarray, np.ndarray]:
        """The rows of the K sources most alike to each of N targets, and their distances.

        The distance is the root mean square, over the latents, of the differences of the means in
        standard deviations of the target's posterior (the Mahalanobis distance over the root of D).

        Returns
        -------
        rows : ndarray, shape (N, K)
            -1 where the target has no posterior.
        distance : ndarray, shape (N, K)
            Ascending; NaN there.
        """
        latents = posterior.latents
        k = min(N_ALIKE, len(self))
        rows, distance = np.full((len(latents), k), -1), np.full((len(latents), k), np.nan)
        mean, cov = latents.mean, latents.cov
        for target in np.flatnonzero(latents.known):
            factor = np.linalg.cholesky(cov[target])
            white = solve_triangular(factor, (self.mean - mean[target]).T, lower=True)
            square = np.round((white**2).mean(axis=0), STEPS)
            near = np.flatnonzero(square <= np.partition(square, k - 1)[k - 1])
            rows[target] = near[np.argsort(square[near], kind="stable")][:k]
            distance[target] = np.sqrt(square[rows[target]])
        return rows, distance

    def records(
        self,
        posterior: LatentPosterior,
        ids: Sequence[str],
        position: tuple[np.ndarray, np.ndarray],
        names: Sequence[str],
    ) -> tuple[list[list[list[Any]]], list[dict[str, Any]]]:
        """What is shown of N targets' alike sources, and of these, each once.

        Parameters
        ----------
        posterior : LatentPosterior
            Of the targets.
        ids, position
            The targets' ids, as text, and ra and dec [deg].
        names : sequence of str
            Line strengths, in the order in which they are shown.

        Returns
        -------
        alike : list of N lists
            Of each target, for each alike source: its place in `sources`, the distance, and whether
            it is the target itself.
        sources : list of dict
            Id, redshift, true and predicted line strengths, and a picture if there is one.
        """
        rows, distance = self.nearest(posterior)
        wanted = np.unique(rows[rows >= 0])
        place = {int(row): k for k, row in enumerate(wanted)}
        alike = [
            [
                [place[int(row)], rounded(apart, 3), self._is(int(row), ids[k], position, k)]
                for row, apart in zip(rows[k], distance[k], strict=True)
                if row >= 0
            ]
            for k in range(len(ids))
        ]
        return alike, self._sources(wanted, names)

    def _is(
        self, row: int, source_id: str, position: tuple[np.ndarray, np.ndarray], target: int
    ) -> bool:
        if str(self.labelled.source_id[row]) != source_id:
            return False
        ours, theirs = (
            [each[[k]] for each in of] for of, k in ((self.position, row), (position, target))
        )
        apart = separation(ours[0], ours[1], theirs[0], theirs[1])[0] * 3600
        return not apart > SELF

    def _sources(self, rows: np.ndarray, names: Sequence[str]) -> list[dict[str, Any]]:
        some = self.labelled.take(rows)
        shown: list[dict[str, Any]] = [{}] * len(rows)
        if self.store is not None and len(rows):
            shown = small_pictures(self.store.read(some.source_id))
        nothing = np.full(len(rows), np.nan)
        true = [some.proxies.get(name, nothing) for name in names]
        known = {*proxy_names(some.scored.schema)}
        predicted = [floats(some.scored[name]) if name in known else nothing for name in names]
        redshift = _redshift(some.proxies, redshifts_of(some.scored)[0])
        return [
            {
                "id": str(source_id),
                "z": rounded(redshift[k]),
                "true": [rounded(each[k], 4) for each in true],
                "predicted": [rounded(each[k], 4) for each in predicted],
                **shown[k],
            }
            for k, source_id in enumerate(some.source_id)
        ]


def _redshift(true: Mapping[str, np.ndarray], catalog: np.ndarray) -> np.ndarray:
    """The redshifts of the truth, or else those of the catalog, shape (R,)."""
    own = true.get(PHOTOZ)
    return catalog if own is None else np.where(np.isfinite(own), own, catalog)
