"""All faults of a rule file at once.

Reading stops at the first fault. Here what that fault lies in is taken out of the file (a
condition, a key, a definition and all that names it) or put in where it lacks, and the rest is read
again, until nothing is wrong; so no fault is told that only follows from another.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import pyarrow as pa

from targetsel.documents.document import Map, Node, Scalar, Sequence, read_document, read_text
from targetsel.documents.models import DocumentModel
from targetsel.documents.source_location import SourceLocation
from targetsel.errors import RuleError
from targetsel.rules.bits import BitLock
from targetsel.rules.lint import Remark, lint
from targetsel.rules.rule_file import SCHEMA, ExtendedFile, TargetClass
from targetsel.rules.rules import find_rules, rules_of

MOST_FAULTS = 100  # that are told of one file
NEUTRAL = "_healpix_29 is missing"  # a condition in place of the last one of a class
_FILLED = {
    "schema": SCHEMA,
    "name": "unnamed",
    "priority": "0",
    "where": NEUTRAL,
}  # what is put in where a required key is missing
_EXPRESSIONS = ("where", "rank", "priority")
Path_ = tuple[str | int, ...]


@dataclass(frozen=True)
class Findings:
    """Errors and warnings of a rule file, in the order of lines.

    Attributes
    ----------
    path : Path
    errors : tuple of RuleError
        Without any of them, the rules can be used.
    remarks : tuple of Remark
    """

    path: Path
    errors: tuple[RuleError, ...] = ()
    remarks: tuple[Remark, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.errors or self.remarks)

    @property
    def in_order(self) -> list[RuleError | Remark]:
        """Errors and remarks together, in the order of lines."""
        return sorted((*self.errors, *self.remarks), key=_line)


def check(
    path_or_name: str | Path,
    schema: pa.Schema | None = None,
    strange: float | None = None,
    texts: Callable[[str], Collection[str] | None] | None = None,
) -> Findings:
    """All faults of a rule file, and remarks on the rest of it; parameters as those of `lint`.

    Raises
    ------
    RuleError
        If there is no such file, or it cannot be read.
    """
    path = find_rules(path_or_name)
    text, lock = read_text(path), BitLock.read(path.parent)
    errors: list[RuleError] = []
    try:
        faulty = _Faulty(str(path), read_document(text, str(path)))
    except RuleError as error:
        return Findings(path, (error,))
    while True:
        try:
            rules = rules_of(faulty.tree, text, str(path), lock)
            remarks = lint(rules, schema, strange, texts, faulty.classes)
            return Findings(path, _sorted(errors), tuple(remarks))
        except RuleError as error:
            if str(error) in map(str, errors):
                return Findings(path, _sorted(errors))
            errors.append(error)
            if len(errors) == MOST_FAULTS or not faulty.mend(error.place):
                return Findings(path, _sorted(errors))


def _sorted(errors: list[RuleError]) -> tuple[RuleError, ...]:
    return tuple(sorted(errors, key=_line))


def _line(finding: RuleError | Remark) -> tuple[int, int]:
    place = finding.place or SourceLocation()
    return place.line, place.column


class _Faulty:
    """The tree of a rule file, from which faults are taken one by one.

    Attributes
    ----------
    tree : Node
    classes : set of str
        The classes that lost a part.
    """

    def __init__(self, file: str, tree: Node) -> None:
        self.file, self.tree = file, tree
        self.classes: set[str] = set()
        self._gone: list[str] = []  # definitions that were taken out

    def mend(self, place: SourceLocation | None) -> bool:
        """Take out what holds the fault at a place, or fill what it lacks; whether that went."""
        if place is None or place.file != self.file:
            return False
        path = self._path(place)
        if path is None or path[:1] in (("extends",), ("schema",)):
            return False  # what follows would only follow from it
        node = self._node(path)
        if self._is_unknown(path):
            self._rename(path)
            return True
        if isinstance(node, Map) and self._fill(path, node):
            return True
        return bool(path) and self._remove(path)

    def _path(self, place: SourceLocation) -> Path_ | None:
        """The way to the innermost key or value at a place; unknown keys go first."""
        here = (place.line, place.column)
        found: Path_ | None = None
        for path, node, key in _walk(self.tree):
            if key is not None and (key.line, key.column) == here:
                if self._is_unknown(path):
                    return path
                found = path
            start = (node.place.line, node.place.column)
            if isinstance(node, Scalar):
                inside = start[0] == here[0] and start[1] <= here[1] <= start[1] + len(node)
                found = path if inside else found
            elif start == here and (found is None or not path):
                found = path
        return found

    def _node(self, path: Path_) -> Any:
        node: Any = self.tree
        for part in path:
            node = node[part]
        return node

    @staticmethod
    def _known_keys(path: Path_) -> list[str] | None:
        """The keys that the map which holds a key may have; None where it may have any."""
        models: dict[int, type[DocumentModel]] = {1: ExtendedFile, 3: TargetClass}
        model = models.get(len(path))
        if model is None or (len(path) == 3 and path[0] != "classes"):
            return None
        return [each.alias or name for name, each in model.model_fields.items()]

    def _is_unknown(self, path: Path_) -> bool:
        known = self._known_keys(path)
        return known is not None and path[-1] not in known

    def _rename(self, path: Path_) -> None:
        """Give an unknown key the name that it resembles, or take it out."""
        holder, known = self._node(path[:-1]), self._known_keys(path) or []
        self._note(path)
        meant = get_close_matches(str(path[-1]), [each for each in known if each not in holder], 1)
        value, place = holder.pop(path[-1]), holder.keys_at.pop(path[-1])
        if meant:
            holder[meant[0]], holder.keys_at[meant[0]] = value, place
            for name in self._gone:
                self._remove_users(name)

    def _fill(self, path: Path_, node: Map) -> bool:
        """Put in the required keys that the file or a class lacks; whether there were such."""
        if len(path) == 2 and path[0] != "classes":
            return False
        wanted = {0: ("schema", "name"), 2: ("priority", "where")}.get(len(path), ())
        missing = [key for key in wanted if key not in node]
        for key in missing:
            self._put_in(node, key)
            self._note(path)
        return bool(missing)

    def _put_in(self, node: Map, key: str) -> None:
        nowhere = SourceLocation(self.file, line=0)
        node[key], node.keys_at[key] = Scalar(_FILLED[key], nowhere), nowhere

    def _remove(self, path: Path_) -> bool:
        """Take out an entry and what only stands with it; false where no rules would be left."""
        self._note(path)
        holder, last = self._node(path[:-1]), path[-1]
        if len(holder) == 1 and len(path) > 3:
            return self._remove(path[:-1])
        if path == ("classes",) or (len(path) == 2 and path[0] == "classes" and len(holder) == 1):
            return False
        holder.pop(last)
        if len(path) == 2 and path[0] == "define":
            self._gone.append(str(last))
            self._remove_users(str(last))
        if len(path) == 2 and path[0] == "classes":
            self._forget_class(str(last))
        if len(path) == 3 and path[0] == "classes" and last in _FILLED:
            self._put_in(holder, str(last))
        return True

    def _remove_users(self, name: str) -> None:
        """Take out the expressions that name a definition, and those that name them."""
        word = re.compile(rf"\b{re.escape(name)}\b")
        while (path := self._user(word)) is not None:
            self._remove(path)

    def _user(self, word: re.Pattern[str]) -> Path_ | None:
        for path, node, _ in _walk(self.tree):
            is_expression = path[:1] == ("define",) or (
                len(path) > 2 and path[0] == "classes" and path[2] in _EXPRESSIONS
            )
            if is_expression and isinstance(node, Scalar) and word.search(node):
                return path
        return None

    def _forget_class(self, name: str) -> None:
        """Take a class out of what other classes leave out."""
        for other in self._node(("classes",)).values():
            unless = other.get("unless") if isinstance(other, Map) else None
            if unless == name:
                del other["unless"]
            elif isinstance(unless, Sequence) and name in unless:
                unless[:] = [each for each in unless if each != name]

    def _note(self, path: Path_) -> None:
        if len(path) > 1 and path[0] == "classes":
            self.classes.add(str(path[1]))


def _walk(
    node: Node, path: Path_ = (), key: SourceLocation | None = None
) -> Iterator[tuple[Path_, Node, SourceLocation | None]]:
    """Every node of a tree with the way to it, and the place of its key where it has one."""
    yield path, node, key
    if isinstance(node, Map):
        for name, value in node.items():
            yield from _walk(value, (*path, str(name)), node.keys_at[name])
    elif isinstance(node, Sequence):
        for k, each in enumerate(node):
            yield from _walk(each, (*path, k), None)
