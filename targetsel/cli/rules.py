"""targetsel rules: commands about rule files themselves."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from targetsel.api.rule_files import (
    distil_rules,
    format_rules,
    init_rules,
    lint_rules,
    lock_rules,
    rule_columns,
    rule_functions,
    rule_schema,
)
from targetsel.cli.options import ClassOption, FoundScoredArgument, RulesOption
from targetsel.cli.terminal import print_table, say, say_error
from targetsel.documents.document import read_text
from targetsel.errors import RuleError, counted
from targetsel.expressions.grammar import quoted
from targetsel.rules.reference import units_of_numbers
from targetsel.rules.rules import find_rules

app = typer.Typer(
    help="Begin, check and format rule files, and see what they can say.", no_args_is_help=True
)

FilesArgument = Annotated[
    list[str], typer.Argument(metavar="RULES", help="Rule files, or names of shipped ones.")
]
ScoredOption = Annotated[
    Path | None, typer.Option("--catalog", help="Catalog, scored or not, whose columns are known.")
]


@app.command()
def init(
    catalog: Annotated[
        Path | None,
        typer.Argument(
            help="Scored catalog, or any catalog that 'score' reads: the rules name its columns.",
            show_default=False,
        ),
    ] = None,
    output: Annotated[Path, typer.Option("--output", "-o", help="Rule file to write.")] = Path(
        "my.yaml"
    ),
) -> None:
    """Write a commented rule file to begin with, for the columns of CATALOG.

    Example:
        targetsel rules init catalog.scored.parquet -o my.yaml
    """
    init_rules(catalog, output)
    say(f"written to {output}; change it, and check it with 'targetsel rules lint {output}'")


@app.command()
def show(
    name: Annotated[str, typer.Argument(help="Name of a shipped rule file, or a file.")],
) -> None:
    """Print a shipped rule file, to read it or to begin with a copy.

    Example:
        targetsel rules show emission
    """
    say(read_text(find_rules(name)).removesuffix("\n"))


@app.command()
def functions() -> None:
    """List the functions and operators that expressions can use, each with an example.

    Example:
        targetsel rules functions
    """
    for title, entries in rule_functions().items():
        rows = []
        for each in entries:
            about = f"{each.help}; {each.gives}" if each.gives else each.help
            rows += [(f"  {each.written}", about), ("", f"  {each.example}")]
        print_table((title, ""), rows, n_texts=2)
        say("")
    units = ", ".join(units_of_numbers())
    say(f"Units, written after numbers: {units}; also Å for Angstrom, and µ for u")


@app.command()
def columns(
    catalog: Annotated[
        Path, typer.Argument(help="Scored catalog, or any catalog that 'score' reads.")
    ],
) -> None:
    """List the columns of CATALOG that rules can use, with their units; of text, the values.

    Example:
        targetsel rules columns catalog.scored.parquet
    """
    rows = []
    for each in rule_columns(catalog):
        texts = ", ".join(map(quoted, each.texts))
        about = ": ".join(text for text in (each.description, texts) if text)
        rows.append((each.name, each.unit, each.kind, about))
    print_table(("column", "unit", "kind", "description"), rows, n_texts=4)


@app.command()
def lint(rules: FilesArgument, catalog: ScoredOption = None) -> None:
    """Check RULES, and tell all their faults at once; exit status 2 for errors, 1 for warnings.

    Example:
        targetsel rules lint emission --catalog catalog.scored.parquet
    """
    status = 0
    for name in rules:
        try:
            found = lint_rules(name, catalog)
        except RuleError as error:  # there is no such file, or it cannot be read
            say_error(error)
            status = 2
            continue
        for each in found.in_order:
            if isinstance(each, RuleError):
                say_error(each)
            else:
                say(f"{each}\n{each.detail}")
        n_errors, n_remarks = len(found.errors), len(found.remarks)
        status = max(status, 2 if n_errors else 1 if n_remarks else 0)
        counts = [counted(n_errors, "error")] * bool(n_errors)
        counts += [counted(n_remarks, "warning")] * bool(n_remarks)
        say(f"{found.path}: {' and '.join(counts) or 'no remarks'}")
    raise typer.Exit(status)


@app.command()
def fmt(
    rules: FilesArgument,
    check: Annotated[
        bool,
        typer.Option(
            "--check", help="Check only: change nothing; exit status 1 if a file would change."
        ),
    ] = False,
) -> None:
    """Format RULES in one layout; comments are kept.

    Example:
        targetsel rules fmt --check emission
    """
    changed = 0
    for name in rules:
        path = find_rules(name)
        if format_rules(path, check=check):
            changed += 1
            say(f"{path}: {'would change' if check else 'formatted'}")
    raise typer.Exit(1 if check and changed else 0)


@app.command()
def lock(
    folder: Annotated[Path, typer.Argument(help="Folder of rule files.")] = Path(),
) -> None:
    """Write the bits of all rule files in FOLDER to rules.bits, so that they stay for ever.

    Classes that ask for no bit get the lowest free one. Bits of classes that are gone are retired:
    no other class can have them.

    Example:
        targetsel rules lock
    """
    found = lock_rules(folder)
    headings = ("bit", "class", "")
    rows = [(str(bit), each.name, each.retired) for bit, each in sorted(found.lock.owners.items())]
    print_table(headings, rows, n_texts=3)
    say(
        f"{counted(len(found.rules.classes), 'class', 'classes')} of "
        f"{counted(len(found.files), 'rule file')} written to {found.path}"
    )


@app.command()
def distil(
    rules: RulesOption,
    class_: ClassOption,
    scored: FoundScoredArgument,
    cuts: Annotated[int, typer.Option(min=1, max=20, help="The most cuts.")] = 5,
    column: Annotated[
        list[str] | None,
        typer.Option(help="Column to compare, too; give the option once for each."),
    ] = None,
    output: Annotated[Path, typer.Option("--output", "-o", help="Rule file to write.")] = Path(
        "cuts.yaml"
    ),
) -> None:
    """Write a class as a few cuts on magnitudes, colours and sizes, and say what that loses.

    The cuts need no images: 'select' applies them to a catalog without scores. They are found on
    one half of the sky and measured on the other.

    Example:
        targetsel rules distil --rules emission --class STAR_FORMING --cuts 3
    """
    say(distil_rules(scored, rules, class_, output, cuts=cuts, columns=column or ()))
    say(f"written to {output}")


@app.command()
def schema(catalog: ScoredOption = None) -> None:
    """Print the JSON schema of rule files, for completion in editors.

    Example:
        targetsel rules schema --catalog catalog.scored.parquet
    """
    say(json.dumps(rule_schema(catalog), indent=2, ensure_ascii=False))
