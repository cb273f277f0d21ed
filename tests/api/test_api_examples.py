"""What the docstrings of public functions say: their parts, and their examples, which are run."""

from __future__ import annotations

import ast
import doctest
import inspect
import re

import pytest

import targetsel as ts
from targetsel.manual import python
from tests.api.test_commands_in_python import COMMANDS, in_python
from tests.mock.fixtures import add_stand_ins

FUNCTIONS = [name for names in python.TASKS.values() for name in names]
OF_COMMANDS = {
    command: in_python(command).__name__
    for command in COMMANDS
    if getattr(in_python(command), "__module__", "").startswith("targetsel.api")
}
ARCHIVES = ("fetch_catalog", "fetch_cutouts", "fetch_spectra", "trainingset")
# Functions whose examples go on from that of another one, as they say.
GOES_ON_FROM = {
    "calibrate": "train",
    "distil": "train",
    "fit_novelty": "train",
    "fit_residual": "train",
    "import_ensemble": "import_decoder",
    "update_priors": "write_priors",
}


def doc(name: str) -> str:
    return inspect.getdoc(getattr(ts, name))


def part(name: str, heading: str) -> str:
    """A part of a docstring, such as its examples; empty if it has none."""
    line = f"\n{heading}\n{'-' * len(heading)}\n"
    return re.split(r"\n\n.+\n--+\n", doc(name).partition(line)[2])[0]


def lines_of(name: str) -> list[doctest.Example]:
    return doctest.DocTestParser().get_examples(part(name, "Examples"))


def run(name: str) -> None:
    """Run the example of a function, which must print what it says."""
    add_stand_ins(part(name, "Examples"))
    test = doctest.DocTestParser().get_doctest(part(name, "Examples"), {}, name, None, None)
    said: list[str] = []
    doctest.DocTestRunner().run(test, out=said.append)
    assert not said, "".join(said)


def test_every_public_function_stands_under_one_task():
    functions = {
        name
        for name in ts.__all__
        if name != "__version__" and not inspect.isclass(getattr(ts, name))
    }
    assert sorted(FUNCTIONS) == sorted(functions)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_function_has_an_example_that_calls_it(name):
    assert any(f"{name}(" in line.source for line in lines_of(name))


@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_function_names_its_neighbours(name):
    names = re.findall(r"^([\w.]+) : [A-Z].*\.$", part(name, "See Also"), re.MULTILINE)
    assert names
    for each in names:
        found = ts
        for word in each.split("."):
            found = getattr(found, word)
        assert each != name


@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_error_of_a_function_is_there_with_its_condition(name):
    raises = part(name, "Raises")
    if getattr(ts, name).__module__.startswith("targetsel.api"):
        assert bool(raises) == bool(inspect.signature(getattr(ts, name)).parameters)
    found = re.findall(r"^(\w+)\n((?:    .+\n?)+)", raises, re.MULTILINE)
    assert len(found) == len([line for line in raises.splitlines() if line[:1].strip()])
    for error, condition in found:
        assert issubclass(getattr(ts.errors, error), ts.TargetselError)
        assert re.fullmatch(r"If [^:]+\.", " ".join(condition.split())), condition


@pytest.mark.parametrize("command", sorted(OF_COMMANDS))
def test_the_function_of_a_command_names_it_at_the_beginning(command):
    assert f"`targetsel {command}" in doc(OF_COMMANDS[command]).split("\n\n")[0]


@pytest.mark.parametrize("name", [each for each in FUNCTIONS if each not in ARCHIVES])
def test_the_example_of_a_function_runs_in_the_folder_of_the_demonstration(name, in_demonstration):
    if name in GOES_ON_FROM:
        assert f"`{GOES_ON_FROM[name]}`" in part(name, "Examples")
        run(GOES_ON_FROM[name])
    run(name)


@pytest.mark.parametrize("name", ARCHIVES)
def test_an_example_that_asks_an_archive_fits_its_function_and_is_not_run(name):
    tree = ast.parse("".join(line.source for line in lines_of(name)))
    (call,) = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    words = {each.arg: each.value for each in call.keywords}
    assert inspect.signature(getattr(ts, name)).bind(*call.args, **words)
