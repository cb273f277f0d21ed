"""targetsel rules: commands about rule files themselves."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from targetsel.documents.document import read_text
from targetsel.errors import OutputError, RuleError
from targetsel.rules.bits import BitLock
from targetsel.rules.columns import CatalogColumns
from targetsel.rules.formatting import formatted
from targetsel.rules.lint import lint as remarks_on
from targetsel.rules.rules import Rules, find_rules
from targetsel.rules.schema import json_schema
from targetsel.selection.scored_file import scored_file
from targetsel.tables.files import written_beside

app = typer.Typer(help="Check, format and describe rule files.", no_args_is_help=True)

FilesArgument = Annotated[
    list[str], typer.Argument(metavar="RULES...", help="Rule files, or names of shipped ones.")
]
ScoredOption = Annotated[
    Path | None, typer.Option("--catalog", help="Scored catalog to check names and units against.")
]


@app.command()
def lint(rules: FilesArgument, catalog: ScoredOption = None) -> None:
    """Check RULES; exit status 1 if there is something to mend, 2 if a file has an error."""
    status = 0
    for name in rules:
        try:
            remarks = remarks_on(Rules.read(name), catalog)
        except RuleError as error:
            print(error, getattr(error, "detail", ""), sep="\n", file=sys.stderr)
            status = 2
            continue
        for remark in remarks:
            print(remark, remark.detail, sep="\n")
        if remarks:
            status = max(status, 1)
        else:
            print(f"{find_rules(name)}: nothing to mend")
    raise typer.Exit(status)


@app.command()
def schema(catalog: ScoredOption = None) -> None:
    """Print the JSON schema of rule files, for completion in editors."""
    if catalog is None:
        found = json_schema()
    else:
        with scored_file(catalog) as file:
            found = json_schema(file.schema)
    print(json.dumps(found, indent=2, ensure_ascii=False))


@app.command()
def fmt(
    rules: FilesArgument,
    check: Annotated[
        bool, typer.Option("--check", help="Change nothing; exit status 1 if a file would change.")
    ] = False,
) -> None:
    """Lay RULES out alike, comments kept."""
    changed = 0
    for name in rules:
        path = find_rules(name)
        before = read_text(path)
        after = formatted(before, str(path))
        if before == after:
            continue
        changed += 1
        print(f"{path}: {'would change' if check else 'formatted'}")
        if not check:
            with written_beside(path) as beside:
                beside.write_text(after, encoding="utf-8", newline="\n")
    raise typer.Exit(1 if check and changed else 0)


@app.command()
def columns(
    scored: Annotated[Path, typer.Argument(help="Scored catalog.")],
) -> None:
    """List what rules can speak of in SCORED."""
    with scored_file(scored) as file:
        known = CatalogColumns(file.schema)
        rows = []
        for name in known.names:
            field, meaning = file.schema.field(name), known[name]
            about = (field.metadata or {}).get(b"description", b"").decode()
            role, kind = (getattr(meaning.formula, each, "") for each in ("role", "type"))
            what = {"predicted": "predicted", "statistic": "its width or quantile"}.get(role, kind)
            if what != "other":
                rows.append((name, str(meaning.unit or ""), what, about))
    table = Table("column", "unit", "kind", "description", box=None, pad_edge=False)
    for row in rows:
        table.add_row(*row)
    Console(soft_wrap=True, markup=False, highlight=False).print(table)


@app.command()
def lock(
    folder: Annotated[Path, typer.Argument(help="Folder of rule files.")] = Path(),
) -> None:
    """Give the bits of all rule files in FOLDER for ever, and retire those no longer used."""
    files = sorted([*folder.glob("*.yaml"), *folder.glob("*.yml")])
    if not files:
        raise OutputError(f"{folder}: no rule files here. Name the folder that holds them.")
    rules = Rules.together(Rules.read(path) for path in files)
    print(f"written to {BitLock.read(folder).updated(rules.classes).write(folder)}")
