"""Messages of errors, and warnings of `rules lint`, harvested from the sources of the package.

Every call that makes an error or a warning with a text becomes a `Message`: its fixed words, and
words in angle brackets for what is filled in, such as ``<path>: no column '<name>'.``
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from targetsel.manual.entries import first_sentence

PACKAGE = Path(__file__).parents[1]
ANY = "TargetselError"  # the class of errors whose own class depends on the file that is read
REMARK = "Remark"  # in place of a class of errors: warnings of `rules lint`, which are no errors
# Faults of a file's values: `documents.models` makes them errors of the file, with its line.
VALIDATION = {"ValueError", "FieldError"}
METHODS = {"error", "_error"}
_NAMES = re.compile(r"[A-Za-z_]\w*")
_GAP = re.compile(r"<[^<>]*>")
_SPLIT = re.compile(r'"\s*\n\s*f?"')  # a text that goes on in the next line
_ENDS = re.compile(r'[{}"\n]')  # of the fixed parts of texts
_CLASS = re.compile(r"^class (\w+)\((\w+)\)", re.MULTILINE)
# Names and docstrings of functions that word messages, and leave it to others to raise them.
_WORDING = re.compile(r"(?i)message|fault|refus|reason|remark|\bwrong|_about_|needs")
MOST_FILES = 12  # that are read for one printed error
LONG = 20  # characters of a first part that tell a message, where the line is cut behind it
FEWEST = 8  # characters of fixed words that tell one message from others


@dataclass(frozen=True)
class Message:
    """One message of an error, or one warning.

    Attributes
    ----------
    text : str
        With words in angle brackets for what is filled in.
    error : str
        Name of the error's class; `REMARK` of a warning.
    module : str
        Where it comes from, such as ``tables.fits``.
    subject : str
        The first sentence of that module's docstring.
    """

    text: str
    error: str
    module: str
    subject: str

    @property
    def fixed(self) -> list[str]:
        """The fixed parts, in their order."""
        return [part for part in _GAP.split(self.text) if part.strip(" .,:;'")]

    def share_in(self, line: str) -> float:
        """The share of the fixed characters that a line holds, in their order; 0 to 1."""
        found, start = 0, 0
        for part in self.fixed:
            at = line.find(part.strip(), start)
            if at >= 0:
                found, start = found + len(part.strip()), at + len(part.strip())
        return found / max(self.length, 1)

    def begins_in(self, line: str) -> bool:
        """Whether a line, perhaps cut, has the first fixed part, which is long enough to tell."""
        return len(self.fixed[0].strip()) >= LONG and self.fixed[0].strip() in line

    @property
    def length(self) -> int:
        """Number of fixed characters."""
        return sum(len(part.strip()) for part in self.fixed)


@cache
def messages(near: str = "") -> tuple[Message, ...]:
    """All messages of the package, each once, by the order of its files.

    Parameters
    ----------
    near : str
        A printed error: only the files that have the longest parts of it are read.
    """
    texts = {path: path.read_text(encoding="utf-8") for path in sorted(PACKAGE.rglob("*.py"))}
    chosen = _likely_files(texts, near) if near else [*texts]
    classes = _classes(texts)
    found: dict[tuple[str, str], Message] = {}
    for path in chosen:
        for message in _Harvest(path, ast.parse(texts[path]), classes).messages():
            found.setdefault((message.text, message.error), message)
    return tuple(found.values())


def _likely_files(texts: Mapping[Path, str], line: str) -> list[Path]:
    """The files with the longest pieces of text that a line has, too."""
    longest = {}
    for path, text in texts.items():
        pieces = _ENDS.split(_SPLIT.sub("", text))
        longest[path] = max((len(each) for each in pieces if each in line), default=0)
    return sorted(sorted(texts, key=lambda path: -longest[path])[:MOST_FILES])


def matching(line: str) -> list[Message]:
    """The messages that a printed error may be, the likeliest first."""
    line = " ".join(line.split())
    known = [each for each in messages(line) if each.length >= FEWEST]
    shares = {each: each.share_in(line) for each in known}
    likely = [each for each in known if shares[each] > 0.6 or each.begins_in(line)]
    likely.sort(key=lambda each: -each.length * shares[each] ** 2)
    whole = [each for each in likely if shares[each] == 1]
    return whole[:1] or likely[:3]


def _classes(texts: Mapping[Path, str]) -> dict[str, str]:
    """The public error class that each class of errors in the package is, or derives from."""
    bases: dict[str, str] = {ANY: ""}
    public = set()
    for path, text in texts.items():
        for name, base in _CLASS.findall(text):
            bases[name] = base
            public |= {name} if path.name == "errors.py" else set()
    found = {}
    for name in bases:
        up = name
        while up in bases and up not in public:
            up = bases[up]
        if up in public or name == ANY:
            found[name] = up or ANY
    return found


class _Harvest:
    """The messages of one file."""

    def __init__(self, path: Path, tree: ast.Module, classes: Mapping[str, str]) -> None:
        self.tree, self.classes = tree, classes
        self.module = ".".join(path.relative_to(PACKAGE).with_suffix("").parts)
        self.room = self.module.split(".")[0]
        self.subject = first_sentence(ast.get_docstring(tree))
        self.imported = {
            alias.name
            for node in ast.walk(tree)
            if isinstance(node, ast.ImportFrom)
            for alias in node.names
        }

    def messages(self) -> Iterator[Message]:
        constants = {**_imported(self.tree), **_assigned(self.tree)}
        for function in self._functions():
            known = {**constants, **_assigned(function)}
            for text in self._returned(function, known):
                yield Message(text, self._usual_of(function), self.module, self.subject)
            for node in _own(function):
                if isinstance(node, ast.Call) and (error := self._error_of(node.func)):
                    for argument in (*node.args, *(each.value for each in node.keywords)):
                        for text in _long(_texts(argument, known)):
                            yield Message(text, error, self.module, self.subject)

    def _returned(self, function: ast.AST, known: Mapping[str, ast.expr]) -> list[str]:
        """The texts that a function gives which words messages for others to raise."""
        if not _WORDING.search(_told(function)):
            return []
        found = []
        for node in _own(function):
            if isinstance(node, ast.Return) and node.value is not None:
                parts = node.value.elts if isinstance(node.value, ast.Tuple) else [node.value]
                found += [text for part in parts for text in _texts(part, known)]
        return _long(found)

    def _functions(self) -> Iterator[ast.AST]:
        yield self.tree
        for node in ast.walk(self.tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                yield node

    def _error_of(self, function: ast.expr) -> str | None:
        """The public class of the error that a call makes; None if it makes none."""
        name = ast.unparse(function)
        if name in self.classes:
            return self.classes[name]
        if name == REMARK:
            return REMARK
        if name in VALIDATION:
            reads_files = {"DocumentModel", "field_validator", "model_validator", "Parsed"}
            return self._usual if reads_files & self.imported or name != "ValueError" else None
        last = name.rsplit(".", 1)[-1]
        if last in METHODS and name not in ("logger.error", "ctx.error"):
            of_any = name == "error" or (name == "self.error" and self.room == "tables")
            return ANY if of_any else self._usual
        return None

    def _usual_of(self, function: ast.AST) -> str:
        """The class of the messages that a function words for others."""
        return REMARK if "remark" in _told(function).lower() else self._usual

    @property
    def _usual(self) -> str:
        """The class that errors pointing into a file of this room's have."""
        return {
            "expressions": "RuleError", "rules": "RuleError", "sky": "RuleError",
            "selection": "RuleError", "handoff": "HandoffError", "spectra": "SpectrumError",
            "observing": "SpectrographError", "spectrographs": "SpectrographError",
            "mock": "MockError", "imaging": "CutoutError",
            "scoring": "EnsembleError", "calibration": "EnsembleError", "novelty": "EnsembleError",
            "networks": "EnsembleError", "photometry": "CatalogError", "tables": ANY,
            "nights": "VisibilityError",
        }.get(self.room, ANY)  # fmt: skip


def _told(function: ast.AST) -> str:
    """The name of a function and its first sentence; nothing of what is no function."""
    if not isinstance(function, ast.FunctionDef):
        return ""
    return f"{function.name} {first_sentence(ast.get_docstring(function))}"


def _long(texts: list[str]) -> list[str]:
    """The texts on one line, without those of too few fixed words to be told from others."""
    fixed = {text: _GAP.sub("", text).strip(" .,:;'") for text in texts}
    kept = [text for text in texts if len(fixed[text]) >= FEWEST and " " in fixed[text]]
    return [" ".join(text.split()) for text in kept]


def _own(function: ast.AST) -> Iterator[ast.AST]:
    """The nodes of a function, without those of functions inside."""
    for node in ast.iter_child_nodes(function):
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node
            yield from _own(node)


def _assigned(function: ast.AST) -> dict[str, ast.expr]:
    """The values that a function assigns to plain names, the last of each name."""
    return {
        target.id: node.value
        for node in _own(function)
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name)
    }


def _imported(tree: ast.Module) -> dict[str, ast.expr]:
    """The values of constants that a file imports from other files of the package."""
    found: dict[str, ast.expr] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("targetsel."):
            path = PACKAGE.parent.joinpath(*str(node.module).split(".")).with_suffix(".py")
            names = [each.name for each in node.names if each.name.isupper()]
            if names and path.is_file():
                there = _constants(path)
                found |= {name: there[name] for name in names if name in there}
    return found


@cache
def _constants(path: Path) -> dict[str, ast.expr]:
    return _assigned(ast.parse(path.read_text(encoding="utf-8")))


def _texts(node: ast.expr, known: Mapping[str, ast.expr], deep: int = 0) -> list[str]:
    """The texts that an expression may be, with placeholders; empty where it is no text."""
    if isinstance(node, ast.Constant):
        return [node.value] if isinstance(node.value, str) else []
    if isinstance(node, ast.JoinedStr):
        return ["".join(_part(each, known) for each in node.values)]
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        left, right = _texts(node.left, known, deep), _texts(node.right, known, deep)
        if left or right:
            return [a + b for a in left or [_gap(node.left)] for b in right or [_gap(node.right)]]
        return []
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult):
        return _texts(node.left, known, deep)
    if isinstance(node, ast.IfExp):
        return _texts(node.body, known, deep) + _texts(node.orelse, known, deep)
    if isinstance(node, ast.Name) and node.id in known and deep < 3:
        return _texts(known[node.id], known, deep + 1)
    if isinstance(node, ast.Call) and ast.unparse(node.func) == "unknown":
        kind = _texts(node.args[0], known, deep) or [_gap(node.args[0])]
        return [f"unknown {each} '{_gap(node.args[1])}'." for each in kind]
    return []


def _part(node: ast.expr, known: Mapping[str, ast.expr]) -> str:
    """A part of an f-string: its words, or a placeholder."""
    if isinstance(node, ast.Constant):
        return str(node.value)
    assert isinstance(node, ast.FormattedValue)
    value = node.value
    if isinstance(value, ast.Name) and value.id.isupper():
        assigned = known.get(value.id)
        value = assigned if isinstance(assigned, ast.Constant) else value
    if isinstance(value, ast.Constant):
        return str(value.value)
    if isinstance(value, ast.Call) and ast.unparse(value.func) == "counted":
        words = [str(each.value) for each in value.args[1:] if isinstance(each, ast.Constant)]
        if words:
            return f"<n> <{' or '.join((*words, f'{words[0]}s')[:2])}>"
    gap = _gap(value)
    return f"'{gap}'" if node.conversion == ord("r") else gap


def _gap(node: ast.expr) -> str:
    """A placeholder for a value, named after it."""
    if isinstance(node, ast.Call) and "did_you_mean" in ast.unparse(node.func):
        return "<hint>"
    if isinstance(node, ast.IfExp):
        texts = [each.value for each in (node.body, node.orelse) if isinstance(each, ast.Constant)]
        if len(texts) == 2:
            words = [str(each).strip() for each in texts if str(each).strip()]
            return f"<{' or '.join(words)}>"
    if (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in OF_VALUES
    ):
        return _gap(node.func.value)
    names = [
        each for each in _NAMES.findall(ast.unparse(node))
        if each not in NO_NAMES | OF_VALUES
    ]  # fmt: skip
    if isinstance(node, ast.Name | ast.Attribute):
        names = names[-1:]
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.args:
        return _gap(node.args[0]) if node.func.id in SHOWING else f"<{_plain(node.func.id)}>"
    elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith(".join"):
        return _gap(node.args[0])
    elif isinstance(node, ast.ListComp | ast.GeneratorExp):
        return _gap(node.generators[0].iter)
    elif isinstance(node, ast.Subscript | ast.Call):
        names = names[:1] if isinstance(node, ast.Subscript) else names[-1:]
    return f"<{_plain(names[-1]) if names else 'value'}>"


NO_NAMES = {
    "self", "cls", "str", "repr", "len", "join", "map", "list", "if", "else", "for", "in", "and",
    "or", "not",
}  # fmt: skip
# Methods that give their object in another form: the message shows the object.
OF_VALUES = {
    "astype", "decode", "item", "lower", "removeprefix", "removesuffix", "resolve", "rstrip",
    "splitlines", "strip", "sum", "title", "tolist", "upper",
}  # fmt: skip
# Other words for names that say nothing outside of the code.
PLAIN = {
    "array": "n", "by lower": "column", "float": "value", "g": "value", "id": "n", "int": "n",
    "int64": "type", "is": "its range", "it": "its range", "k": "pixel", "leaf": "entry",
    "msg": "fault", "names are": "names", "ndim": "n", "next": "step", "node": "key",
    "null count": "n", "num rows": "n", "of": "names", "own": "n", "plain": "name", "st size": "n",
    "strerror": "reason", "sum": "n", "tree": "name",
}  # fmt: skip
SHOWING = {
    "str", "repr", "len", "list", "sorted", "min", "max", "next", "iter", "shown", "quoted",
    "in_brief", "beginning", "held", "described", "map", "set", "tuple", "type",
}  # fmt: skip


def _plain(name: str) -> str:
    spaced = _spaced(name)
    return PLAIN.get(spaced, spaced)


def _spaced(name: str) -> str:
    name = name.strip("_").replace("_", " ")
    return name.lower() if name.isupper() else name
