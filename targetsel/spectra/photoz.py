"""The redshift predicted beside the spectrum: what `photoz` means, and which values are redshifts.

It stands beside the proxies: it has draws, quantiles and correlations with them as they have among
each other. But its draws come from the networks, whose last target is ln(1 + redshift), and not
from decoded spectra, which are at rest.
"""

from __future__ import annotations

import numpy as np

PHOTOZ = "photoz"
TRUE = "redshift"  # the column of a truth file that tells it
ABOUT = "redshift, predicted from the image beside the spectrum"
UCD = "src.redshift.phot"
SYMBOL = "photometric redshift"
# Columns of the members' Gaussians in a scored file: the last rows of mean and covariance.
OF_MEMBERS = ("member_log1z_mean", "member_log1z_cov")
# Columns of catalogs that hold redshifts, the first one present; in capitals or not.
COLUMNS = ("redshift", "z_spec", "zspec", "specz", "z_hp", "z_best")
# Beyond these no galaxy lies: catalogs write -1, -99 or 9999 where there is no redshift.
LEAST, LARGEST = -0.01, 20.0


def known_redshifts(values: np.ndarray) -> np.ndarray:
    """Redshifts as float64, NaN where a number is none, such as -99; of the same shape."""
    values = np.asarray(values, dtype=np.float64)
    return np.where((values > LEAST) & (values < LARGEST), values, np.nan)


def column_of_truth(name: str) -> str:
    """The column of a truth file for a predicted quantity: `redshift` for `photoz`.

    That of a proxy has the proxy's name. A column `photoz` of a truth file is somebody's
    prediction, and no truth.
    """
    return TRUE if name == PHOTOZ else name
