"""Wrong command lines, told in one line like every other error."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import typer

from targetsel.errors import did_you_mean

# What typer raises for a wrong command line, whichever library it takes the class from.
UsageError: type[Exception] = typer.BadParameter.__bases__[0]

# What pydantic, by which typer reads values, expects of one; by the type of its error.
_EXPECTED = {
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "float_parsing": "a number",
    "bool_parsing": "true or false",
    "greater_than_equal": "{ge:g} or more",
    "greater_than": "more than {gt:g}",
    "less_than_equal": "at most {le:g}",
    "less_than": "less than {lt:g}",
}


def usage_line(error: Exception) -> str:
    """The fault of a command line and the command that gives help, in one line.

    Parameters
    ----------
    error : UsageError
        As typer raises it.

    Returns
    -------
    str
        Such as "targetsel score: no option '--ensembl'. Did you mean '--ensemble'? See
        'targetsel score --help'."
    """
    context = getattr(error, "ctx", None)
    command = context.command_path if context else "targetsel"
    return f"{command}: {_fault(error, context)}" + f" See '{command} --help'." * bool(context)


def is_only_help(error: Exception) -> bool:
    """Whether the command line is a group without a command, for which typer shows its help."""
    return type(error).__name__ == "NoArgsIsHelpError"


def _fault(error: Any, context: Any) -> str:
    """The fault in our words, as sentences."""
    said = str(error.format_message())
    if said.startswith("No such option"):
        option = error.option_name
        known = [each for one in context.command.params for each in one.opts]
        return f"no option '{option}'.{did_you_mean(option, known)}"
    if found := re.match(r"No such command '(.*?)'\.", said):
        return f"no command '{found[1]}'.{did_you_mean(found[1], context.command.commands)}"
    if found := re.match(r"Got unexpected extra arguments?(?:\(s\))? \((.*)\)", said):
        return f"did not expect '{found[1]}'."
    if found := re.match(r"Missing argument '(.*?)'", said):
        return f"missing argument {found[1].upper()}."
    if found := re.match(r"Option '(.*?)' requires (.*)\.", said):
        return f"{found[1]}: expected {found[2].replace('argument', 'value').replace('an ', 'a ')}."
    if found := re.match(r"Invalid value for (.*?): (.*)", said, re.DOTALL):
        name = found[1].replace("'", "").split(" / ")[-1]
        faults: list[Any] = getattr(error.__cause__, "errors", list)()
        return _wrong_value(name, faults[0]) if faults else f"{name}: {_sentence(found[2])}"
    return _sentence(said)


def _wrong_value(name: str, fault: Mapping[str, Any]) -> str:
    """The fault of an option's or argument's value, as pydantic gives it."""
    value, known = fault["input"], fault.get("ctx", {})
    if fault["type"] in _EXPECTED:
        expected = _EXPECTED[fault["type"]].format(**known)
    elif "is not one of" in fault["msg"]:
        choices = re.findall(r"'([^']*)'", fault["msg"].split("is not one of")[1])
        expected = " or ".join(filter(None, [", ".join(choices[:-1]), choices[-1]]))
    else:
        return f"{name} {value}: {_sentence(fault['msg'])}"
    return f"{name} {value}: expected {expected}."


def _sentence(text: str) -> str:
    """A text that begins small and ends with a full stop."""
    text = " ".join(text.split())
    return f"{text[:1].lower()}{text[1:].rstrip('.')}."
