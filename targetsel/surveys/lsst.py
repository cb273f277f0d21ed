"""The Legacy Survey of Space and Time of the Vera C. Rubin Observatory: its card."""

from __future__ import annotations

from targetsel.photometry.flux import AB_ZERO_POINT
from targetsel.surveys.card import CardBand, SurveyCard
from targetsel.surveys.registry import SkySurvey

# Seeing, sky and depth of one visit rounded from Ivezic et al. (2019, ApJ 873, 111), table 2; a
# tenth of the visits of ten years (6, 8, 18, 18, 16, 16) deepens it by 1.25 log10 n. Coadds are in
# nJy. Bits as the pipeline of HSC and LSST has them, whose headers name them.
CARD = SurveyCard(
    name="lsst",
    about="coadds of Rubin after one year",
    bands=(
        CardBand("u", "u_lsst", seeing=0.92, depth=24.8, sky=22.9),
        CardBand("g", "g_lsst", seeing=0.87, depth=25.9, sky=22.3),
        CardBand("r", "r_lsst", seeing=0.83, depth=26.0, sky=21.2),
        CardBand("i", "i_lsst", seeing=0.80, depth=25.5, sky=20.5),
        CardBand("z", "z_lsst", seeing=0.78, depth=24.8, sky=19.6),
        CardBand("y", "y_lsst", seeing=0.76, depth=23.9, sky=18.6),
    ),
    pixel_scale=0.2,
    zeropoint=AB_ZERO_POINT,
    unit="nJy",
    mask_bits={"BAD": 0, "SAT": 1, "EDGE": 4, "NO_DATA": 8},
    sources=("Ivezic et al. (2019, ApJ 873, 111), table 2: seeing, sky, depth, rounded",),
)

SURVEY = SkySurvey(
    name="lsst", title="Rubin after one year: a card alone", card=CARD, also=("rubin",)
)
