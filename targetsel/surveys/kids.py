"""The Kilo-Degree Survey and VIKING, its partner in the near infrared: their card.

Z and Y are of VISTA, in the near infrared: they are other bands than z and y, which no image of
KiDS has. Coadds of KiDS are in units of the flux of magnitude 0; images of VIKING are brought to
its pixels and zero point.
"""

from __future__ import annotations

from targetsel.surveys.card import CardBand, SurveyCard
from targetsel.surveys.registry import SkySurvey

# Depth of ugri in apertures of 2 arcsec, and seeing in r: Kuijken et al. (2019, A&A 625, A2).
# VIKING's seeing and depth rounded from Edge et al. (2013, The Messenger 154, 32) from memory. The
# other seeing and the sky are set by hand.
CARD = SurveyCard(
    name="kids",
    about="coadds of KiDS DR4, and VIKING on its pixels",
    bands=(
        CardBand("u", "u_kids", seeing=1.00, depth=24.2, sky=22.0),
        CardBand("g", "g_kids", seeing=0.88, depth=25.1, sky=22.0),
        CardBand("r", "r_kids", seeing=0.70, depth=25.0, sky=21.0),
        CardBand("i", "i_kids", seeing=0.81, depth=23.7, sky=20.0),
        CardBand("Z", "z_vista", seeing=1.0, depth=23.1, sky=18.8),
        CardBand("Y", "y_vista", seeing=1.0, depth=22.3, sky=17.9),
        CardBand("J", "j_vista", seeing=0.9, depth=22.1, sky=16.9),
        CardBand("H", "h_vista", seeing=1.0, depth=21.5, sky=15.5),
        CardBand("Ks", "ks_vista", seeing=0.9, depth=21.2, sky=14.9),
    ),
    pixel_scale=0.2,
    zeropoint=0.0,
    unit="maggy",
    cutout_size=80,
    binning=2,
    sources=(
        "Kuijken et al. (2019, A&A 625, A2): depth of ugri, seeing in r",
        "Edge et al. (2013, The Messenger 154, 32): seeing and depth of VIKING, not checked",
        "sky, and seeing in u, g and i, set by hand",
        "curves of ugri are SDSS's, after which OmegaCAM's filters are made",
    ),
)

SURVEY = SkySurvey(name="kids", title="KiDS and VIKING: a card alone", card=CARD, also=("viking",))
