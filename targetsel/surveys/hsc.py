"""Hyper Suprime-Cam's Subaru Strategic Program: its card. Its archive asks for a login.

Coadds have a zero point of 27.0 (FLUXMAG0 in their headers), and a plane of masks whose bits the
header names (MP_SAT and so on).
"""

from __future__ import annotations

from targetsel.surveys.card import CardBand, SurveyCard
from targetsel.surveys.registry import SkySurvey

# Seeing and depth of the Wide layer rounded from Aihara et al. (2022, PASJ 74, 247), table 2, from
# memory; sky of a dark night on Maunakea, set by hand. Bits as releases since PDR2 have them: those
# that spoil a pixel of a coadd. Bright objects' halos and interpolated cosmic rays do not.
CARD = SurveyCard(
    name="hsc",
    about="coadds of the Wide layer of HSC-SSP, PDR3",
    bands=(
        CardBand("g", "g_hsc", seeing=0.79, depth=26.5, sky=22.0),
        CardBand("r", "r2_hsc", seeing=0.75, depth=26.5, sky=21.1),
        CardBand("i", "i2_hsc", seeing=0.61, depth=26.2, sky=20.2),
        CardBand("z", "z_hsc", seeing=0.68, depth=25.2, sky=19.2),
        CardBand("y", "y_hsc", seeing=0.68, depth=24.4, sky=18.2),
    ),
    pixel_scale=0.168,
    zeropoint=27.0,
    unit="count of the coadds",
    cutout_size=96,
    binning=2,
    mask_bits={"BAD": 0, "SAT": 1, "EDGE": 4, "NO_DATA": 8},
    sources=(
        "Aihara et al. (2022, PASJ 74, 247): seeing, depth, rounded, not checked",
        "sky set by hand",
        "planes of masks since PDR2",
    ),
)

SURVEY = SkySurvey(name="hsc", title="HSC-SSP, Wide layer: a card alone", card=CARD)
