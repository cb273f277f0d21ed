"""Cards of surveys, as `targetsel surveys` prints them and as their page of the reference."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from targetsel.documents.text_table import text_table
from targetsel.manual.entries import Entry, block, code, page
from targetsel.surveys.card import SurveyCard
from targetsel.surveys.registry import cards, surveys

ABOUT = (
    "A card tells what is known of a survey's images. `targetsel mock --survey NAME` simulates "
    "them, `targetsel cutouts pack --survey NAME` takes from it what the files do not say, and "
    "`targetsel train --survey NAME` the input of the networks. `targetsel surveys NAME` prints it."
)
COLUMNS = ("band", "curve", "Angstrom", "seeing", "depth", "sky")


def survey_cards() -> Iterator[Entry]:
    """One entry for each card."""
    for name, card in cards().items():
        facts = [*_facts(card)]
        text = "\n\n".join([f"{card.about}.", block(bands_table(card)), *facts])
        also = surveys()[name].also
        yield Entry("survey", name, card.about, text, also)


def bands_table(card: SurveyCard) -> list[str]:
    """Lines of a table of the card's bands."""
    rows = [
        (
            band.name,
            str(band.curve),
            f"{band.wavelength:,.0f}",
            f"{band.seeing:.2f}",
            f"{band.depth:.2f}",
            f"{band.sky:.1f}",
        )
        for band in card.bands
    ]
    return text_table(COLUMNS, rows, n_texts=2)


def lines_of(card: SurveyCard) -> list[str]:
    """All that a card says, line by line."""
    facts = [each.replace("**", "").replace("`", "") for each in _facts(card)]
    return [f"{card.name}: {card.about}", "", *bands_table(card), "", *facts]


def _facts(card: SurveyCard) -> Iterator[str]:
    yield (
        "Seeing is the FWHM [arcsec], depth the AB magnitude of a point source at 5 sigma, sky its "
        "brightness [AB mag / arcsec^2]."
    )
    side = card.cutout_size
    yield (
        f"**Pixels** of {card.pixel_scale:g} arcsec; cutouts of {side} x {side}, "
        f"{side * card.pixel_scale:.1f} arcsec; networks take sums of {card.binning} x "
        f"{card.binning}."
    )
    if card.zeropoint is None:
        yield "**Zero point**: as the headers say."
    else:
        yield f"**Zero point**: {card.zeropoint:g}, of one {card.unit}."
    bits = ", ".join(f"{code(name)} {bit}" for name, bit in card.mask_bits.items())
    yield f"**Bits** of masks that make a pixel unusable: {bits or 'none known'}."
    wings, edges = card.wings, card.correlation.edges
    yield (
        f"**PSF**: Moffat exponent {wings.beta:g}, aureole {wings.aureole:.0%} of the light, bands "
        f"{wings.offset:g} arcsec apart; noise blurred by {edges[0]:g} to {edges[1]:g}."
    )
    yield f"**From**: {'; '.join(card.sources)}."


def write(folder: Path) -> None:
    """Write the page surveys.md."""
    (folder / "surveys.md").write_text(
        page("Surveys", ABOUT, {"": survey_cards()}), encoding="utf-8"
    )
