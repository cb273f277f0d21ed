"""The public names of the package, told from its sources so that nothing needs to be imported."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from importlib import import_module
from itertools import pairwise
from pathlib import Path

import targetsel
from targetsel.manual.entries import Entry, block, code, first_sentence, plain

PACKAGE = Path(targetsel.__file__).parent
UNDERLINES = {"-", "="}
# The public functions by what one wants to do, in the order of their page.
TASKS = {
    "Score and select": (
        *("demo", "read", "score", "select", "explain", "funnel", "tune", "forecast", "diff"),
        *("density", "randoms", "selection_function", "inject"),
    ),
    "Rule files": (
        *("init_rules", "lint_rules", "format_rules", "lock_rules"),
        *("rule_columns", "rule_functions", "rule_schema", "distil_rules"),
    ),
    "Cutouts and spectra": (
        *("pack", "survey", "fetch_surveys", "fetch_catalog", "fetch_cutouts", "fetch_spectra"),
        *("encode_spectra", "measure_spectra", "calibrate_lines", "apply_lines"),
    ),
    "Training and calibration": (
        *("mock_sky", "trainingset", "train", "calibrate", "evaluate", "fit_novelty"),
        *("distil", "selection_weights", "embed"),
        *("train_decoder", "import_decoder", "import_ensemble", "ensemble_presets", "export_onnx"),
    ),
    "Priors and observing": (
        *("join_redshifts", "observe", "compare", "visibility", "night", "sites"),
        *("write_priors", "update_priors", "fit_residual"),
    ),
    "Large catalogs": ("partition", "score_catalog", "select_catalog", "status"),
    "Hand-off": ("export", "assign", "import_assignment", "restore"),
    "After the spectra": ("cells", "outcomes", "relearn", "recalibrate"),
    "Looking": ("show", "show_all", "show_cutouts", "inspect", "inspect_merge", "progress", "docs"),
    "The walk, step by step": (
        *("choose_targets", "cut_out", "measure", "score_rows", "apply_rules", "rank"),
    ),
}
# Classes of what stands in that which functions give.
PARTS = {
    "handoff.assignment": ("Match",),
    "handoff.export": ("ReadBack",),
    "handoff.pointings": ("PointingPlan",),
    "handoff.simulation": ("PointingForecast",),
    "imaging.store": ("Packed",),
    "inspection.merging": ("Agreement",),
    "inspection.notes_file": ("PageSource",),
    "inspection.serving": ("ServedPage",),
    "nights.adding": ("VisibleSources",),
    "nights.plan": ("NightPlan",),
    "report.figures": ("Figure", "Figures"),
    "rules.lint": ("Remark",),
    "selection.funnel": ("FunnelRow",),
    "selection.outcome": ("ClassSummary", "Selection"),
    "selection.reports.density": ("Density",),
    "selection.reports.evenness": ("ClassEvenness", "Evenness", "MapTrend"),
    "selection.reports.explain": ("TruthRow",),
    "selection.reports.forecast": ("Expectation",),
    "selection.reports.randoms": ("Kept",),
    "selection.reports.tuning": ("BoundOutcome",),
    "statistics.count_regression": ("Gain", "Prediction"),
    "statistics.count_trends": ("CountTrend",),
}


def names() -> Iterator[Entry]:
    """One entry for each public name: its signature and its docstring."""
    for name in targetsel.__all__:
        if name == "__version__":
            about = "Version of the package."
            yield Entry("Python", name, about, about, title=code("targetsel.__version__"))
            continue
        node = _definition(f"targetsel.{targetsel._HOME_OF[name]}", name)
        docstring = ast.get_docstring(node) or ""
        text = f"{block(_signature(node), 'python')}\n\n{_without_underlines(plain(docstring))}"
        title = f"targetsel.{name}"
        aliases = (title, f"ts.{name}")
        yield Entry("Python", name, first_sentence(docstring), text, aliases, title=code(title))


def class_names() -> list[str]:
    """The public names that are no functions."""
    functions = {name for names in TASKS.values() for name in names}
    return [name for name in targetsel.__all__ if name not in functions | {"__version__"}]


def results() -> dict[str, type]:
    """The classes without a public name that public functions give, and their parts, by name."""
    found: dict[str, type] = {
        name: getattr(import_module(f"targetsel.{module}"), name)
        for module, parts in PARTS.items()
        for name in parts
    }
    for home in sorted({*targetsel._HOME_OF.values()}):
        if home.startswith("api."):
            gives = _names_given(_tree(f"targetsel.{home}"))
            for node in ast.walk(_tree(f"targetsel.{home}")):
                module = getattr(node, "module", None) or ""
                if isinstance(node, ast.ImportFrom) and module.startswith("targetsel."):
                    for each in node.names:
                        if each.name in gives and each.name not in targetsel.__all__:
                            found[each.name] = getattr(import_module(module), each.name)
    return dict(sorted(found.items()))


def _names_given(tree: ast.Module) -> set[str]:
    """The names in what the public functions of a module give."""
    return {
        name.id
        for node in tree.body
        if isinstance(node, ast.FunctionDef) and node.name in targetsel.__all__ and node.returns
        for name in ast.walk(node.returns)
        if isinstance(name, ast.Name)
    }


def _signature(node: ast.ClassDef | ast.FunctionDef) -> list[str]:
    """The call, one parameter a line where there are many; of a class, its methods."""
    if isinstance(node, ast.FunctionDef):
        return [_call(node)]
    lines = []
    for each in node.body:
        if isinstance(each, ast.FunctionDef) and not each.name.startswith("_"):
            decorators = {ast.unparse(one).rsplit(".", 1)[-1] for one in each.decorator_list}
            is_value = decorators & {"property", "cached_property"}
            lines.append(f"{node.name}.{each.name if is_value else _call(each)}")
    return lines or [node.name]


def _call(node: ast.FunctionDef) -> str:
    arguments = ast.unparse(node.args)
    for first in ("self, ", "cls, ", "self", "cls"):
        if arguments.startswith(first):
            arguments = arguments.removeprefix(first)
            break
    gives = f" -> {ast.unparse(node.returns)}" if node.returns else ""
    return f"{node.name}({arguments}){gives}"


def _definition(module: str, name: str) -> ast.ClassDef | ast.FunctionDef:
    """The class or function of a name, followed through the modules that only pass it on."""
    tree = _tree(module)
    for node in reversed(tree.body):  # the last has the docstring, where there are overloads
        if isinstance(node, ast.ClassDef | ast.FunctionDef) and node.name == name:
            return node
    for node in tree.body:
        if isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                if (alias.asname or alias.name) == name:
                    return _definition(node.module, alias.name)
    raise LookupError(f"{module}: {name}")


@cache
def _tree(module: str) -> ast.Module:
    path = PACKAGE.joinpath(*module.split(".")[1:])
    path = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    return ast.parse(path.read_text(encoding="utf-8"))


def _without_underlines(docstring: str) -> str:
    """A docstring of numpy's form as Markdown: its headings are bold."""
    lines = docstring.splitlines()
    found = []
    for line, below in pairwise([*lines, ""]):
        if line and {*line} <= UNDERLINES:
            continue
        is_heading = below and {*below} <= UNDERLINES
        found.append(f"**{line}**\n" if is_heading else line)
    return "\n".join(found)
