"""Every command in Python: under which name, and with which parameters."""

from __future__ import annotations

import importlib
import inspect
from enum import Enum
from operator import attrgetter
from pathlib import Path

import pytest

import targetsel as ts
from targetsel.cli import Commands

PYTHON = {  # what does in Python what a command does, where it is not a function of its name
    "cutouts pack": "pack",
    "cutouts show": "show_cutouts",
    "decoder import": "import_decoder",
    "decoder train": "train_decoder",
    "ensemble distil": "distil",
    "ensemble export-onnx": "export_onnx",
    "ensemble fit-novelty": "fit_novelty",
    "ensemble import": "import_ensemble",
    "ensemble presets": "ensemble_presets",
    "fetch catalog": "fetch_catalog",
    "fetch cutouts": "fetch_cutouts",
    "fetch spectra": "fetch_spectra",
    "fetch surveys": "fetch_surveys",
    "lines apply": "apply_lines",
    "lines calibrate": "calibrate_lines",
    "lines show": "LineTable.read",
    "mock": "mock_sky",
    "priors residual": "fit_residual",
    "priors update": "update_priors",
    "priors write": "write_priors",
    "rules columns": "rule_columns",
    "rules distil": "distil_rules",
    "rules fmt": "format_rules",
    "rules functions": "rule_functions",
    "rules init": "init_rules",
    "rules lint": "lint_rules",
    "rules lock": "lock_rules",
    "rules schema": "rule_schema",
    "rules show": "Rules.read",
    "spectra encode": "encode_spectra",
    "spectra measure": "measure_spectra",
    "surveys": "survey",
}
RENAMED = {  # parameters of commands to those of functions; "" for none
    "truth": "labelled",  # a pair in Python, so that one is not given without the other
}
RENAMED_IN = {
    # It writes nothing; `Calibration.write` does.
    "calibrate": {"truth": "truth", "force": ""},
    "cutouts pack": {"folder": "images"},  # which may be cutouts in memory
    "cutouts show": {"store": "cutouts", "source_id": "source_ids"},  # given once for each
    "evaluate": {"truth": "truth", "claim": "claims"},  # given once for each
    "explain": {"id": "source_id"},
    "export": {
        "tool_name": "tool",  # --for, which is a word of Python
        "read_back": "check",
        "tools": "",  # it lists the tools
    },
    "inspect": {"truth": "like"},
    "forecast": {"class_": "name"},  # --class, which is a word of Python
    "inject": {"class_": "classes"},  # given once for each
    "mock": {"page": "picture"},
    "observe": {"line": "lines"},  # given once for each
    "outcomes": {"truth": "truth", "window": "windows"},  # given once for each
    "randoms": {"per_deg2": "points"},  # a number in place of a path
    "score": {"uncalibrated": "calibrated"},  # flags of commands are off by default
    "select": {"dry_run": ""},  # as without `output`
    "rules distil": {"class_": "name", "column": "columns"},
    "selection-function": {"map_": "map_output"},
    "status": {"json": ""},  # how it prints
    "show": {"id": "source_id", "all_": "", "predictions": ""},  # of `show_all`
    "spectra encode": {"files": "spectra"},
    "spectra measure": {"files": "spectra", "index": "indices"},  # given once for each
    "tune": {"class_": "name"},  # --class, which is a word of Python
}
MORE_IN_PYTHON = {"report"}  # who is told of progress; commands print it
# Commands take all cores and a GPU where there is one; in a notebook others may want them.
OF_THE_COMPUTER = {"threads", "workers", "device"}


def leaves():
    """Every command with its parameters, by its words."""
    for name, command in Commands().items():
        for word, each in getattr(command, "commands", {"": command}).items():
            yield f"{name} {word}".strip(), each


COMMANDS = dict(leaves())
IN_BOTH = sorted(COMMANDS.keys() - {"lines show", "rules show"})


def in_python(command):
    """What does the same in Python: a public name, a method of one, or a name in a module."""
    name = PYTHON.get(command, command.replace("-", "_"))
    if name.split(".")[0] in ts.__all__:
        return attrgetter(name)(ts)
    module, _, name = name.rpartition(".")
    return getattr(importlib.import_module(f"targetsel.{module}"), name)


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_every_command_has_a_name_in_python(command):
    assert callable(in_python(command))
    assert " " not in command or command in PYTHON, f"say in PYTHON what does {command}"


def test_no_command_is_named_here_that_is_gone():
    named = {*PYTHON, *RENAMED_IN}
    assert not named - COMMANDS.keys()


@pytest.mark.parametrize("command", IN_BOTH)
def test_a_command_and_its_function_take_the_same_under_the_same_names(command):
    taken = {each.name: each for each in COMMANDS[command].params}
    names = RENAMED | RENAMED_IN.get(command, {})
    function = inspect.signature(in_python(command)).parameters
    expected = {names.get(name, name) for name in taken} - {""}
    assert function.keys() - MORE_IN_PYTHON == expected


@pytest.mark.parametrize("command", IN_BOTH)
def test_a_command_and_its_function_begin_with_the_same_values(command):
    function = inspect.signature(in_python(command)).parameters
    for each in COMMANDS[command].params:
        if each.name not in function or each.name in OF_THE_COMPUTER or each.required:
            continue
        ours, theirs = function[each.name].default, each.default
        if ours is not inspect.Parameter.empty:  # the command may find a file by itself
            theirs = theirs.value if isinstance(theirs, Enum) else theirs
            theirs = str(theirs) if isinstance(theirs, Path) else theirs
            assert (ours or None) == (theirs or None), each.name
