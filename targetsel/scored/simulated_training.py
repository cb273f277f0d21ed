"""The caution on predictions for real images by an ensemble that learnt from simulated ones.

Such an ensemble says so in its card, and simulated images say so in the footer of their store.
`score` notes the sentence in the footer of the scored file, from where it goes to target lists.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from targetsel.tables.parquet import says_simulated

CAUTION = "caution"  # entry of a footer


def caution_about(card: Mapping[str, Any], images_are_simulated: bool) -> str:
    """The sentence for an ensemble's card and the images that it is shown; empty if they agree.

    Parameters
    ----------
    card : mapping
        The card of an ensemble.
    images_are_simulated : bool
        Whether the images call themselves simulated (`CutoutStore.simulated`).
    """
    if images_are_simulated or not card.get("simulated", False):
        return ""
    return (
        f"the ensemble '{card.get('name', '')}' learnt from simulated images, and these images do "
        "not call themselves simulated: how well it does on real ones is not known"
    )


def caution_in(footer: Mapping[str, Any]) -> str:
    """The sentence that the footer of a scored file or target list keeps; empty if none is due."""
    found = footer.get(CAUTION, "")
    return found if isinstance(found, str) and not says_simulated(footer) else ""
