"""targetsel forecast, diff, density, randoms and selection-function: reports on a selection."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from targetsel.api import reports as api
from targetsel.api import selecting
from targetsel.cli.options import (
    FoundScoredArgument,
    KnownOption,
    KnownRadiusOption,
    LabelledOption,
    RulesOption,
    TruthOption,
    both,
    say_labelled,
)
from targetsel.cli.terminal import print_table, say
from targetsel.errors import CatalogError, counted
from targetsel.rules.rules import find_rules
from targetsel.scored.beside import SCORED, only_scored_file
from targetsel.selection.reports.difference import ClassDifference, n_shared
from targetsel.selection.reports.selection_function import Inclusion
from targetsel.selection.target_list import TargetList

LIST = ".parquet"


def forecast(
    rules: RulesOption,
    scored: FoundScoredArgument,
    class_: Annotated[
        str | None,
        typer.Option("--class", help="Target class to forecast. Default: all that make a claim."),
    ] = None,
    known: KnownOption = None,
    known_radius: KnownRadiusOption = 1.0,
    labelled: LabelledOption = None,
    truth: TruthOption = None,
) -> None:
    """Forecast true members, purity and completeness of each class of RULES.

    Example:
        targetsel forecast --rules emission
    """
    from targetsel.scored.columns import NOT_NEEDED
    from targetsel.scored.file import ScoredFile
    from targetsel.selection.needed import n_not_needed

    pair = both(labelled, truth)
    found = selecting.forecast(
        scored, rules, name=class_, labelled=pair, known=known, known_radius=known_radius
    )
    if found:
        say(found)
        with ScoredFile(scored) as file:
            n = n_not_needed(file)
        if n:
            say(f"completeness is not known: {n:,} sources are '{NOT_NEEDED}'")
        say_labelled(pair, scored)
    if not found:
        say(f"No class of {rules} has a condition with P(), so there is nothing to forecast.")
    elif pair is None:
        say("Without labelled sources there are no intervals: give --labelled and --truth.")


def diff(
    before: Annotated[str, typer.Argument(help="Rule file or target list.")],
    after: Annotated[str, typer.Argument(help="Changed rule file or target list.")],
    scored: Annotated[
        Path | None,
        typer.Option(
            help="Scored catalog, needed for the reasons. Default for rule files: the only "
            f"*{SCORED} of this folder."
        ),
    ] = None,
    known: KnownOption = None,
    known_radius: KnownRadiusOption = 1.0,
    labelled: LabelledOption = None,
    truth: TruthOption = None,
) -> None:
    """Count the sources that enter or leave from BEFORE to AFTER, and the conditions for it.

    Example:
        targetsel diff emission oiii
    """
    are_lists = before.endswith(LIST) and after.endswith(LIST)
    catalog = scored
    if catalog is None and not before.endswith(LIST) and not after.endswith(LIST):
        catalog = only_scored_file(by="--scored")
    pair = None if are_lists else both(labelled, truth)
    found = selecting.diff(
        before, after, catalog, known=known, known_radius=known_radius, labelled=pair
    )
    if catalog is not None:
        say_labelled(pair, catalog)
    print_table(ClassDifference.headings, [each.cells for each in found])
    for each in found:
        for line in each.reasons:
            say(line)
    if are_lists:
        n = n_shared(TargetList.read(before), TargetList.read(after))
        say(f"{counted(n, 'source')} in both lists")
    if are_lists and scored is None:
        say("Name the scored catalog with --scored to see which condition did it.")


def density(
    targets: Annotated[Path, typer.Argument(help="Target list.")],
    reach: Annotated[
        float,
        typer.Option(
            min=0.0,
            help="Radius within which targets compete for a fiber, in arcsec. Default: DESI's.",
        ),
    ] = 88.8,
    nside: Annotated[int, typer.Option(help="HEALPix resolution to count targets in.")] = 64,
    scored: Annotated[
        Path | None,
        typer.Option(help="Scored catalog; its pixels without targets are counted too."),
    ] = None,
    rules: Annotated[
        str | None,
        typer.Option(help="Rule file of TARGETS, where files that it names are elsewhere."),
    ] = None,
    against: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="MAP",
            help="Map of the sky that the density may follow, such as stars or seeing: a HEALPix "
            "file as FILE, FILE:COLUMN or FILE:COLUMN:nested (or ring), or a column of --scored; "
            "may be repeated.",
        ),
    ] = None,
    randoms: Annotated[
        Path | None,
        typer.Option(
            help="Random points that tell the area of pixels, for --against. Default: the sources "
            "of --scored within the footprint of the rules, or that footprint."
        ),
    ] = None,
    method: Annotated[
        str | None,
        typer.Option(
            help="How weights follow maps: linear or boosted. Default: what parts of the sky that "
            "are left out say."
        ),
    ] = None,
    page: Annotated[
        Path | None, typer.Option(help="Report of one page to write, .html, for --against.")
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            help="List to write, with weights that make its density even, for --against.",
        ),
    ] = None,
) -> None:
    """Measure the density of TARGETS on the sky and their neighbours within a fiber's REACH.

    Example:
        targetsel density emission.targets.parquet
    """
    from targetsel.selection.reports.density import Density
    from targetsel.selection.reports.evenness import MapTrend

    found = api.density(
        targets,
        output,
        reach=reach,
        nside=nside,
        scored=scored,
        rules=rules,
        against=against or None,
        randoms=randoms,
        method=method,
        page=page,
    )
    print_table(Density.headings, [each.cells for each in found])
    say(found.note)
    if found.evenness is not None:
        print_table(MapTrend.headings, [each.cells for each in found.evenness.trends])
        for line in found.evenness.sentences:
            say(line)
    if written := [str(each) for each in (output, page) if each is not None]:
        say(f"written to {' and '.join(written)}")


density.may_write_nothing = True  # type: ignore[attr-defined]


def randoms(
    rules: RulesOption,
    points: Annotated[
        Path | None, typer.Argument(help="Table of random points with ra and dec in deg.")
    ] = None,
    per_deg2: Annotated[
        float | None,
        typer.Option(
            min=0.001, help="Number of points to make per square degree, in place of POINTS."
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="File to write. Default: <rules>.randoms.parquet."),
    ] = None,
) -> None:
    """Keep the random POINTS at which RULES could have targets.

    Example:
        targetsel randoms --rules emission --per-deg2 1
    """
    source = per_deg2 if points is None else points
    if source is None or (points is not None and per_deg2 is not None):
        raise CatalogError("randoms: expected POINTS, or --per-deg2 to make some in their place.")
    output = output or Path(f"{find_rules(rules).stem}.randoms.parquet")
    done = api.randoms(rules, output, source)
    print_table(
        ("class", "points kept"), [(each.name, f"{each.n_kept:,}") for each in done.classes]
    )
    for each in done.classes:
        if each.left_out:
            left_out = ", ".join(each.left_out)
            say(f"{each.name}: conditions on columns that the points lack are left out: {left_out}")
    say(f"{done.n_written:,} of {done.n_points:,} points written to {done.output}")


def selection_function(
    rules: RulesOption,
    scored: FoundScoredArgument,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="File to write. Default: <rules>.inclusion.parquet."),
    ] = None,
    map_: Annotated[
        Path | None,
        typer.Option("--map", help="Map to write. Default: <rules>.inclusion-map.parquet."),
    ] = None,
    nside: Annotated[int, typer.Option(help="HEALPix resolution of the map.")] = 64,
    known: KnownOption = None,
    known_radius: KnownRadiusOption = 1.0,
    labelled: LabelledOption = None,
    truth: TruthOption = None,
) -> None:
    """Write every target's inclusion probability, and a sky map of their mean.

    Example:
        targetsel selection-function --rules emission
    """
    stem = find_rules(rules).stem
    output = output or scored.parent / f"{stem}.inclusion.parquet"
    map_ = map_ or scored.parent / f"{stem}.inclusion-map.parquet"
    pair = both(labelled, truth)
    found = api.selection_function(
        scored,
        rules,
        output,
        map_,
        nside=nside,
        known=known,
        known_radius=known_radius,
        labelled=pair,
    )
    print_table(Inclusion.headings, [each.cells for each in found])
    say_labelled(pair, scored)
    say(f"written to {output} and {map_}")
