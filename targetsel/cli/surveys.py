"""The command targetsel surveys: what is known of the images of surveys."""

from __future__ import annotations

from typing import Annotated

import typer

from targetsel.cli.terminal import print_table, say


def surveys(
    name: Annotated[
        str | None, typer.Argument(help="Survey, such as hsc. Default: list them all.")
    ] = None,
) -> None:
    """Show the card of survey NAME: bands, seeing, depth, pixels, zero point and mask bits.

    Without NAME it lists the surveys that have one.

    Example:
        targetsel surveys hsc
    """
    from targetsel.api.surveys import survey
    from targetsel.manual.surveys import lines_of
    from targetsel.surveys.registry import cards

    if name is not None:
        say("\n".join(lines_of(survey(name))))
        return
    rows = [
        (card.name, card.about, ",".join(card.band_names), f"{card.pixel_scale:g}")
        for card in cards().values()
    ]
    print_table(("survey", "", "bands", "arcsec"), rows, n_texts=3)
