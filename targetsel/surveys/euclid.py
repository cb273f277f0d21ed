"""The Euclid Wide Survey: its card.

Its mosaics have VIS and the three bands of NISP on the same pixels of 0.1 arcsec. Y, J and H are
bands of the near infrared, each wider than the one of the same name on the ground.
"""

from __future__ import annotations

from targetsel.surveys.card import CardBand, SurveyCard, Wings
from targetsel.surveys.registry import SkySurvey

# Depth, seeing and zodiacal light rounded from Mellier et al. (2025, A&A 697, A1) from memory; NISP
# undersamples its PSF, and seeing is that of the mosaics. A telescope in space has no atmosphere:
# thinner wings, and bands that lie on each other; both set by hand. Each band has a zero point
# of its own, which the mosaics' headers give as MAGZERO.
CARD = SurveyCard(
    name="euclid",
    about="mosaics of the Euclid Wide Survey",
    bands=(
        CardBand("VIS", "vis_euclid", seeing=0.16, depth=26.2, sky=22.3),
        CardBand("Y", "y_euclid", seeing=0.47, depth=24.3, sky=22.1),
        CardBand("J", "j_euclid", seeing=0.49, depth=24.5, sky=22.1),
        CardBand("H", "h_euclid", seeing=0.51, depth=24.4, sky=22.3),
    ),
    pixel_scale=0.1,
    zeropoint=None,
    unit="",
    cutout_size=160,
    binning=2,
    wings=Wings(beta=3.0, aureole=0.03, offset=0.01),
    sources=(
        "Mellier et al. (2025, A&A 697, A1): depth, PSF, zodiacal light, rounded, not checked",
        "wings of the PSF set by hand",
    ),
)

SURVEY = SkySurvey(name="euclid", title="Euclid Wide Survey: a card alone", card=CARD)
