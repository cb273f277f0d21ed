"""targetsel select, funnel, explain and tune: choose targets by rules, and see why."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from targetsel.api import selecting as api
from targetsel.cli.options import (
    BrightnessOption,
    ClassOption,
    FoundScoredArgument,
    KnownOption,
    KnownRadiusOption,
    LabelledOption,
    RulesOption,
    SourceIdOption,
    TruthOption,
    both,
    say_labelled,
)
from targetsel.cli.terminal import print_table, say
from targetsel.documents.text_table import number
from targetsel.errors import counted
from targetsel.rules.rules import find_rules
from targetsel.selection.guarantees import LOOKS
from targetsel.selection.outcome import Selection
from targetsel.tables.writing import format_note

MOST_OVERLAPS = 6  # combinations of classes that are listed


def select(
    rules: Annotated[
        list[str],
        typer.Option(
            help="Rule file, or the name of a shipped one, such as emission. May be repeated: "
            "all classes go into one list."
        ),
    ],
    scored: FoundScoredArgument,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            help="Target list to write, in the format of its ending: .parquet, .fits, .vot, .ecsv "
            "or .csv. Default: <rules>.targets.parquet beside SCORED.",
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Count targets and write nothing.")
    ] = False,
    with_funnels: Annotated[
        bool,
        typer.Option(
            "--funnel",
            help="Write to the list's footer the number of sources each condition alone rejects.",
        ),
    ] = False,
    threads: Annotated[int, typer.Option(min=1, max=256, help="Number of worker threads.")] = 1,
    known: KnownOption = None,
    known_radius: KnownRadiusOption = 1.0,
    labelled: LabelledOption = None,
    truth: TruthOption = None,
    brightness: BrightnessOption = None,
) -> None:
    """Choose the targets of a scored catalog by RULES.

    Example:
        targetsel select --rules emission --rules quiescent catalog.scored.parquet
    """
    stem = "+".join(find_rules(name).stem for name in rules)
    output = output or scored.parent / f"{stem}.targets.parquet"
    pair = both(labelled, truth)
    found = api.select(
        scored,
        rules,
        None if dry_run else output,
        known=known,
        known_radius=known_radius,
        labelled=pair,
        with_funnels=with_funnels,
        brightness=brightness or (),
        threads=threads,
    ).run
    assert found is not None
    print_table(
        ("class", "bit", "priority", "passed", "selected", "expected true", "expected purity"),
        [
            (
                each.name,
                str(each.bit),
                str(each.priority),
                f"{each.n_passed:,}",
                f"{each.n_selected:,}",
                number(each.expected_true, ",.1f"),
                number(each.expected_purity, ".0%"),
            )
            for each in found.classes
        ],
    )
    for each in found.classes:
        if each.random is not None:
            say(f"{each.name}: {each.random.text}")
    if found.overlaps:
        say(_several_classes(found.overlaps))
    if found.known is not None:
        _say_known(found)
    for condition, n in found.left_out.items():
        say(f"{condition}: leaves out {counted(n, 'source')}")
    for name, promise in found.guarantees.items():
        say(f"{name}: {promise.text}")
    if found.guarantees:
        say(LOOKS)
    say_labelled(pair, scored)
    for line in found.brightness:
        say(line)
    of_known = found.known.cautions if found.known else ()
    for caution in (*of_known, *found.cautions, found.caution):
        if caution:
            say(f"caution: {caution}")
    where = f"written to {found.output}" if found.output else "chosen; nothing was written"
    sources, targets = counted(found.n_sources, "source"), counted(found.n_targets, "target")
    say(f"{targets} of {sources} {where}")
    if found.output and (note := format_note(found.output)):
        say(note)


def _say_known(found: Selection) -> None:
    """Say which sources have a spectrum already, and what became of them class by class."""
    assert found.known is not None
    for line in found.known.lines:
        say(line)
    for each in found.known_of_classes:
        say(each.text)


def _several_classes(overlaps: Mapping[tuple[str, ...], int]) -> str:
    """The number of targets in several classes, and in which."""
    n = sum(overlaps.values())
    shown = [f"{', '.join(names[:-1])} and {names[-1]} {n:,}" for names, n in overlaps.items()][
        :MOST_OVERLAPS
    ]
    more = len(overlaps) - len(shown)
    if more:
        shown.append(counted(more, "other combination"))
    verb = "is" if n == 1 else "are"
    return f"{counted(n, 'target')} {verb} in several classes: {'; '.join(shown)}"


def funnel(
    rules: RulesOption,
    scored: FoundScoredArgument,
    known: KnownOption = None,
    known_radius: KnownRadiusOption = 1.0,
) -> None:
    """Count, condition by condition, the sources that pass RULES.

    Example:
        targetsel funnel --rules emission
    """
    say(api.funnel(scored, rules, known=known, known_radius=known_radius))


def explain(
    rules: RulesOption,
    id: SourceIdOption,
    scored: FoundScoredArgument,
    known: KnownOption = None,
    known_radius: KnownRadiusOption = 1.0,
) -> None:
    """Show every condition of RULES for one source: value, threshold, margin and probability.

    Example:
        targetsel explain --rules emission --id 119
    """
    say(api.explain(scored, rules, id, known=known, known_radius=known_radius))


def tune(
    rules: RulesOption,
    class_: ClassOption,
    targets: Annotated[int, typer.Option(min=1, help="Largest number of targets.")],
    scored: FoundScoredArgument,
    known: KnownOption = None,
    known_radius: KnownRadiusOption = 1.0,
) -> None:
    """Find the bound of a class that gives no more than TARGETS sources.

    Beside it stand the bound of the rules and others that give about half to twice as many
    sources, each with the true members to expect.

    Example:
        targetsel tune --rules emission --class EXCITED --targets 50
    """
    found = api.tune(scored, rules, class_, targets, known=known, known_radius=known_radius)
    say(found)
    if found.written is None:
        say(f"The rules have no such bound yet: {counted(found.n_written, 'source')}.")
    if found.n_members < targets and found.n_tied:
        n = counted(found.n_members + found.n_tied, "source")
        looser = f"{found.text} {found.operator} {found.next_threshold!r}"
        say(f"The next looser bound, {looser}, gives {n} at once.")
    elif found.n_members < targets:
        say("No bound gives more: the other conditions let no more sources through.")
