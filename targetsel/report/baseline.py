"""What photometry alone can say of a claim: gradient boosting, judged on sources it has not seen.

It learns from the very sources of the evaluation, so it knows their population, which the
ensemble need not; but each source is predicted by a model that saw no source of its group.
"""

from __future__ import annotations

from importlib.util import find_spec

import numpy as np

from targetsel.tables.ids import uniform

N_FOLDS = 5
SEED = 0
FEWEST = 20  # sources of which the claim is true, and of which it is false


def is_available() -> bool:
    """Whether scikit-learn, which has the boosting, is installed."""
    return find_spec("sklearn") is not None


def photometry_probability(
    features: np.ndarray, true: np.ndarray, group: np.ndarray, weight: np.ndarray
) -> np.ndarray:
    """The probability that a claim is true, from other groups' photometry, shape (n,).

    Parameters
    ----------
    features : ndarray, shape (n, F)
        NaN where a magnitude is missing.
    true : ndarray of bool, shape (n,)
    group : ndarray of integers, shape (n,)
        Its hash says which of `N_FOLDS` folds a source is in.
    weight : ndarray, shape (n,)
    """
    from sklearn.ensemble import HistGradientBoostingClassifier

    fold = (uniform(group, SEED, "photometry")[:, 0] * N_FOLDS).astype(int)
    found = np.full(len(true), float(np.average(true, weights=weight)))
    for each in np.unique(fold):
        seen, unseen = fold != each, fold == each
        if len(np.unique(true[seen])) == 2:
            model = HistGradientBoostingClassifier(
                learning_rate=0.05, max_iter=120, max_leaf_nodes=15, min_samples_leaf=10,
                early_stopping=False, random_state=0,
            )  # fmt: skip
            model.fit(features[seen], true[seen], sample_weight=weight[seen])
            found[unseen] = model.predict_proba(features[unseen])[:, 1]
    return found
