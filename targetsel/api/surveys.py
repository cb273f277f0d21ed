"""Cards of surveys."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from targetsel.surveys.card import SurveyCard


def survey(name: str) -> SurveyCard:
    """The card of a survey, as `targetsel surveys` shows it.

    It tells bands, seeing, depth, pixels, zero point and mask bits of the survey's images. The
    cards of all surveys are in what `fetch_surveys` gives.

    Parameters
    ----------
    name : str
        Such as "hsc" or "rubin", in whatever case.

    Returns
    -------
    SurveyCard

    Raises
    ------
    CutoutError
        If no survey of this name has a card.

    See Also
    --------
    mock_sky : Simulates images of a survey.
    pack : Takes from a card what image files do not say.
    train : Takes the input of the networks from a card.

    Examples
    --------
    >>> import targetsel as ts
    >>> card = ts.survey("hsc")
    >>> card.band_names, card.pixel_scale, card.zeropoint
    (('g', 'r', 'i', 'z', 'y'), 0.168, 27.0)
    """
    from targetsel.surveys.registry import find_card

    return find_card(name)
