"""targetsel rules: commands about rule files themselves."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import numpy as np
import pyarrow as pa
import typer

from targetsel.cli.terminal import print_table, say, say_error
from targetsel.documents.document import read_text
from targetsel.errors import OutputError, RuleError, counted
from targetsel.expressions.grammar import quoted
from targetsel.rules.bits import BitLock
from targetsel.rules.checking import check
from targetsel.rules.columns import CatalogColumns
from targetsel.rules.formatting import formatted
from targetsel.rules.lint import STRANGE
from targetsel.rules.reference import sections, units_of_numbers
from targetsel.rules.rule_file import SCHEMA, json_schema
from targetsel.rules.rules import Rules, find_rules
from targetsel.scored.columns import is_scored
from targetsel.tables.columns import floats
from targetsel.tables.files import written_beside
from targetsel.tables.text import texts_in

ROWS_AT_A_TIME = 262_144
FEW_TEXTS = 12  # of a column that are listed
MOST_TEXTS = 50  # of a column that are told to be all there are

if TYPE_CHECKING:
    from targetsel.tables.folders import ParquetFiles
    from targetsel.tables.formats import InMemory

app = typer.Typer(
    help="Begin, check and format rule files, and see what they can say.", no_args_is_help=True
)

FilesArgument = Annotated[
    list[str], typer.Argument(metavar="RULES", help="Rule files, or names of shipped ones.")
]
ScoredOption = Annotated[
    Path | None, typer.Option("--catalog", help="Scored catalog whose columns are known.")
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
    from targetsel.rules.starting import first_rules

    if output.exists():
        raise OutputError(f"{output}: is there already. Name another file with -o, or remove it.")
    text = first_rules(output.name, catalog)
    with written_beside(output) as beside:
        beside.write_text(text, encoding="utf-8", newline="\n")
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
    for title, entries in sections().items():
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
    from targetsel.tables.formats import open_table

    schema, table = columns_of(catalog), open_table(catalog)
    known = CatalogColumns(schema)
    rows = []
    for name in known.names:
        about = (schema.field(name).metadata or {}).get(b"description", b"").decode()
        role, kind = (getattr(known[name].formula, each, "") for each in ("role", "type"))
        words = {"condition": "true or false", "statistic": "its width or quantile"}
        what = kind if role == "measured" else role
        what = words.get(what, what)
        if what == "text" and (values := _values(table, name)):
            about = f"{about}: {values}" if about else values
        if what != "other":
            rows.append((name, str(known[name].unit or ""), what, about))
    print_table(("column", "unit", "kind", "description"), rows, n_texts=4)


def _values(table: ParquetFiles | InMemory, name: str) -> str:
    """The texts of a column where they are few."""
    batches = table.batches(ROWS_AT_A_TIME, [name])
    texts = texts_in((batch.column(0) for batch in batches), FEW_TEXTS)
    return ", ".join(map(quoted, texts or ()))


@app.command()
def lint(rules: FilesArgument, catalog: ScoredOption = None) -> None:
    """Check RULES, and tell all their faults at once; exit status 2 for errors, 1 for warnings.

    Example:
        targetsel rules lint emission --catalog catalog.scored.parquet
    """
    status = 0
    schema, strange = (None, None) if catalog is None else _known_of(catalog)
    texts = None if catalog is None else _texts_of(catalog)
    for name in rules:
        try:
            found = check(name, schema, strange, texts)
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
        before = read_text(path)
        after = formatted(before, str(path))
        if before == after:
            continue
        changed += 1
        say(f"{path}: {'would change' if check else 'formatted'}")
        if not check:
            with written_beside(path) as beside:
                beside.write_text(after, encoding="utf-8", newline="\n")
    raise typer.Exit(1 if check and changed else 0)


@app.command()
def lock(
    folder: Annotated[Path, typer.Argument(help="Folder of rule files.")] = Path(),
) -> None:
    """Write the bits of all rule files in FOLDER to rules.bits, so that they stay for ever.

    Classes that ask for no bit get the lowest free one. Bits of classes that are gone are retired:
    no other class can have them.

    Example:
        targetsel rules init -o emitters.yaml
        targetsel rules lock
    """
    files = [path for path in sorted(folder.glob("*.y*ml")) if _is_rule_file(path)]
    if not files:
        raise OutputError(f"{folder}: no rule files here. Name the folder that holds them.")
    rules = Rules.together(Rules.read(path) for path in files)
    locked = BitLock.read(folder).updated(rules.classes)
    path = locked.write(folder)
    headings = ("bit", "class", "")
    rows = [(str(bit), each.name, each.retired) for bit, each in sorted(locked.owners.items())]
    print_table(headings, rows, n_texts=3)
    say(
        f"{counted(len(rules.classes), 'class', 'classes')} of {counted(len(files), 'rule file')} "
        f"written to {path}"
    )


@app.command()
def schema(catalog: ScoredOption = None) -> None:
    """Print the JSON schema of rule files, for completion in editors.

    Example:
        targetsel rules schema --catalog catalog.scored.parquet
    """
    found = json_schema(None if catalog is None else _known_of(catalog)[0])
    say(json.dumps(found, indent=2, ensure_ascii=False))


def columns_of(catalog: Path) -> pa.Schema:
    """The columns of a scored catalog, or of one that is not scored, in any format we read."""
    from targetsel.scored.file import ScoredFile
    from targetsel.tables.formats import open_table

    table = open_table(catalog)
    if not is_scored(table.schema):
        return table.schema
    with ScoredFile(catalog) as file:
        return file.schema


def _known_of(catalog: Path) -> tuple[pa.Schema, float | None]:
    """The schema of a scored catalog, and the share of its sources with low typicality."""
    from targetsel.scored.file import ScoredFile

    with ScoredFile(catalog) as file:
        if "typicality" not in file.schema.names:
            return file.schema, None
        values = [floats(table["typicality"]) for table in file.tables(["typicality"])]
    known = np.concatenate([np.empty(0), *values])
    known = known[~np.isnan(known)]
    return file.schema, float((known < STRANGE).mean()) if len(known) else 0.0


def _texts_of(catalog: Path) -> Callable[[str], list[str] | None]:
    """Gives the texts that a column of a scored catalog holds, by its name; None if they are many.

    Each column is read once.
    """
    from targetsel.scored.file import ScoredFile

    @cache
    def texts(name: str) -> list[str] | None:
        with ScoredFile(catalog) as file:
            return file.texts(name, MOST_TEXTS)

    return texts


def _is_rule_file(path: Path) -> bool:
    """Whether a YAML file says that it holds rules, or says nothing of what it holds."""
    found = re.search(r"^schema:\s*(\S+)", read_text(path), re.MULTILINE)
    return found is None or found[1].strip("'\"").startswith(SCHEMA.rsplit("/", 1)[0])
