"""The scale of ln(1 + redshift) in a network's targets: standardised, as the latents are."""

from __future__ import annotations

from typing import Annotated

import numpy as np
from pydantic import Field

from targetsel.documents.models import DocumentModel

DIGITS = 6


class RedshiftScale(DocumentModel):
    """Mean and standard deviation of ln(1 + redshift) over the sources of a training.

    Errors of redshifts grow with 1 + redshift, so those of its logarithm are about the same
    everywhere.
    """

    mean: float
    std: Annotated[float, Field(gt=0)]

    @classmethod
    def of(cls, redshift: np.ndarray) -> RedshiftScale:
        """The scale of these redshifts, shape (N,), which are not all the same."""
        logarithm = np.log1p(redshift)
        return cls(
            mean=round(float(logarithm.mean()), DIGITS), std=round(float(logarithm.std()), DIGITS)
        )

    def standardised(self, redshift: np.ndarray) -> np.ndarray:
        """ln(1 + redshift) in units of this scale, from redshifts of any shape."""
        return np.asarray((np.log1p(redshift) - self.mean) / self.std)

    def restored(self, mean: np.ndarray, factor: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Means (..., D) and Cholesky factors (..., D, D) with the last target as ln(1 + redshift).

        Parameters
        ----------
        mean, factor : ndarray
            As a network predicts them: the last target is standardised.
        """
        mean, factor = mean.copy(), factor.copy()
        mean[..., -1] = self.mean + self.std * mean[..., -1]
        factor[..., -1, :] *= self.std
        return mean, factor
