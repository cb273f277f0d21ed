"""Texts of `targetsel docs` and `targetsel.docs`: the entries that words find."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import typer

from targetsel.documents.text_table import text_table
from targetsel.errors import TargetselError, counted
from targetsel.manual.entries import (
    MOST,
    Entry,
    Loader,
    block,
    code,
    definitions,
    look_up,
    named,
    near,
)

WORDS_OF_ERRORS = 4  # so many words are looked for among messages, too
WIDTH = 100  # of a summary in a list
# What can be looked up, by its kind: how many are called, and where they are gathered.
KINDS = {
    "commands": "cli.lookup:commands",
    "functions and operators of rules": "manual.expressions:functions",
    "keys of rule files": "manual.expressions:rule_keys",
    "rules as a whole": "manual.expressions:topics",
    "files": "manual.columns:files",
    "columns": "manual.columns:columns",
    "errors": "manual.errors:classes",
    "names in Python": "manual.python:names",
    "surveys": "manual.surveys:survey_cards",
    "assignment tools": "manual.tools:tools",
    "pages": "manual.pages:pages",
}

# Those that import much to be gathered.
SLOW = {"commands", "files", "columns", "surveys", "assignment tools"}


class ShownText(str):
    """A text that notebooks show as it is."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


def docs(*words: str) -> str:
    """Explain a command, column, function, setting, error or page, as `targetsel docs` does.

    Works offline. Without words it says what can be asked for.

    Parameters
    ----------
    words : str
        A name; other words, which are looked for; or a whole line of error.

    Returns
    -------
    str
        A notebook shows it line by line.

    Raises
    ------
    TargetselError
        If nothing speaks of these words.

    See Also
    --------
    rule_functions : All that rules can say.
    rule_columns : What rules can say of one catalog.

    Examples
    --------
    >>> import targetsel as ts
    >>> ts.docs("typicality").splitlines()[0]
    'typicality (column)'
    """
    word = " ".join(words).removeprefix("targetsel ").strip()
    if not word:
        return ShownText("\n".join(_kinds()))
    found = find(word)
    if not found:
        close = near(word, loaders().values())
        hint = f" Did you mean {' or '.join(map(repr, close))}?" if close else ""
        raise TargetselError(
            f"nothing in the manual is called '{word}'.{hint} 'targetsel docs' says what there is."
        )
    if len(found) > 1 and not _are_one(found):
        return ShownText("\n".join(_listed(word, found)))
    return ShownText("\n\n".join(as_text(each) for each in found))


def _listed(word: str, found: Sequence[Entry]) -> Iterator[str]:
    """Lines of a list of entries."""
    yield f"{counted(len(found), 'entry', 'entries')} for '{word}':\n"
    rows = [(each.name, each.kind, each.summary[:WIDTH]) for each in found[:MOST]]
    yield from text_table(("name", "kind", ""), rows, n_texts=3)
    if len(found) > MOST:
        yield f"and {len(found) - MOST} more"


def find(word: str) -> list[Entry]:
    """The entries for a word, an option of a command, or a printed error."""
    if found := options(word):
        return found
    from targetsel.manual.columns import light_columns
    from targetsel.manual.errors import like

    if len(word.split()) >= WORDS_OF_ERRORS and (found := like(word)):
        return found
    known = loaders()
    first = word.split()[0]
    quick: list[Loader] = [lambda: commands(first), light_columns]
    quick += [known[title] for title in known if title not in SLOW]
    of_files = [known["columns"], known["files"]]
    found = named(word, quick) or named(word, of_files) or look_up(word, known.values())
    return found or (like(word) if len(word.split()) > 1 else [])


def _are_one(entries: list[Entry]) -> bool:
    """Whether all are of one name, such as the command and the Python function `select`."""
    return len({each.name for each in entries}) == 1 or all(
        each.kind in ("error message", "warning") for each in entries
    )


def as_text(entry: Entry) -> str:
    """An entry as the terminal shows it."""
    return f"{entry.title.strip('`') or entry.name} ({entry.kind})\n\n{entry.text}"


def _kinds() -> Iterator[str]:
    """Lines that say what can be looked up."""
    from targetsel.manual.columns import KINDS as FILES

    for title, load in loaders().items():
        if title == "columns":
            yield "columns of these files, such as typicality, ew_halpha_q16 and priority\n"
            continue
        names = [each.name for each in (FILES if title == "files" else load())]
        yield f"{title} ({len(names)}): {', '.join(names)}\n"
    yield (
        "'targetsel docs WORD' explains one of them; other words, or a line of error in quotes, "
        "are found as well."
    )


def loaders() -> dict[str, Loader]:
    """The functions that gather entries by kind, each imported when it is called."""

    def loader(place: str) -> Loader:
        module, function = place.split(":")
        return lambda: getattr(import_module(f"targetsel.{module}"), function)()

    return {title: loader(place) for title, place in KINDS.items()}


# --- commands ------------------------------------------------------------------------------------


def commands(only: str = "") -> Iterator[Entry]:
    """One entry for each command, or for one and those in it: arguments, options and example."""
    from targetsel.cli import GROUPS, Commands

    for group, names in GROUPS.items():
        for name in [each for each in names if only in ("", each)]:
            command = Commands()[name]
            if not hasattr(command, "commands"):
                yield _entry(name, command, group)
                continue
            inner = {f"{name} {each}": one for each, one in command.commands.items()}
            told = definitions((code(f"targetsel {each}"), _help(one).split("\n\n")[0])
                               for each, one in inner.items())  # fmt: skip
            yield Entry("command", name, _help(command), f"{_help(command)}\n\n{told}", (), group,
                        code(f"targetsel {name}"))  # fmt: skip
            for each, one in inner.items():
                yield _entry(each, one, group)


def options(words: str) -> list[Entry]:
    """The entry of an option of a command, such as "select --rules"; none for other words."""
    from targetsel.cli import Commands

    name, *inner, option = words.split() if " " in words else ("", "")
    if not option.startswith("-"):
        return []
    command: Any = Commands().get(name)
    for each in inner:
        command = getattr(command, "commands", {}).get(each)
    if command is None:
        return []
    context = typer.Context(command, info_name=name)
    found = [
        each for each in command.get_params(context) if option in (*each.opts, *each.secondary_opts)
    ]
    return [
        Entry("option", words, _unescaped(each.help), definitions([_parameter(each, context)]))
        for each in found
    ]


def _entry(name: str, command: Any, group: str) -> Entry:
    context = typer.Context(command, info_name=f"targetsel {name}")
    parameters = [each for each in command.get_params(context) if each.name != "help"]
    usage = " ".join([f"targetsel {name}", *command.collect_usage_pieces(context)])
    parts = [_help(command), block([usage], "text")]
    for title, kind in (("Arguments", "argument"), ("Options", "option")):
        told = [each for each in parameters if each.param_type_name == kind]
        if told:
            parts.append(
                f"**{title}**\n\n{definitions(_parameter(each, context) for each in told)}"
            )
    if command.example:
        lines = block(command.example, "sh")
        parts.append(f"**Example**, in the folder of `targetsel demo`\n\n{lines}")
    aliases = tuple(word for each in parameters for word in (*each.opts, *each.secondary_opts))
    summary = _help(command).split("\n\n")[0]
    options = tuple(each for each in aliases if each.startswith("--"))
    return Entry("command", name, summary, "\n\n".join(parts), options, group,
                 code(f"targetsel {name}"))  # fmt: skip


def _parameter(parameter: Any, context: Any) -> tuple[str, str]:
    """An argument or option, and all that is to know of it."""
    if parameter.param_type_name == "argument":
        term = code(parameter.metavar or parameter.name.upper())
    else:
        names = [*parameter.opts, *parameter.secondary_opts]
        shown = parameter.metavar or parameter.display_type_rich(context)
        value = f" {code(shown)}" if shown and not parameter.is_flag else ""
        term = ", ".join(map(code, names)) + value
    help_ = _unescaped(parameter.help or "")
    default = parameter.default
    if parameter.required:
        help_ += " Required."
    elif is_told(default) and "efault" not in help_:
        help_ += f" Default: {code(str(default))}."
    return term, help_


def is_told(default: object) -> bool:
    """Whether a default is worth telling: not of flags, and not where there is none."""
    return isinstance(default, str | int | float | Path) and not isinstance(default, bool)


def _help(command: Any) -> str:
    return _unescaped(command.help or "")


def _unescaped(text: str) -> str:
    """A text as it was before it was escaped for the terminal; see `help.as_written`."""
    return text.replace("\\[", "[").strip()
