"""Rule files: classes of targets and the conditions of membership.

A rule file is checked as it is read, without a catalog; every fault is reported with its line and
column. Its names and units are bound to a catalog in `plan`.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from graphlib import CycleError, TopologicalSorter
from html import escape
from pathlib import Path
from typing import Any, TypeAlias, Union

import yaml

from targetsel.documents.document import Node as Tree
from targetsel.documents.document import read_document, read_text
from targetsel.documents.models import validate
from targetsel.documents.source_location import SourceLocation
from targetsel.errors import RuleError, close_or_known, unknown
from targetsel.expressions.grammar import Node, names
from targetsel.rules.bits import BitLock, with_bits
from targetsel.rules.rule_file import SCHEMA, ExtendedFile, Preamble, RuleFile, TargetClass
from targetsel.sky.footprint import Footprint

# Rules, the name of a file or shipped one, the text of a file, its content, or several of these.
AnyRules: TypeAlias = Union[
    "Rules", str, "os.PathLike[str]", Mapping[str, Any], Sequence["AnyRules"]
]
MAX_DEFINITIONS = 256
MAX_LEVELS = 8  # levels of definitions that build on definitions
MAX_EXTENDS = 4


@dataclass(frozen=True, repr=False)
class Rules:
    """One rule file, or several that are used together.

    Attributes
    ----------
    name, description, source : str
        `source` is the paper or proposal behind the rules.
    classes : tuple of TargetClass
        In the order of the file.
    seed : int
        The seed of the (first) file.
    files : tuple of (str, str)
        Name and text of every file that was read, those it extends behind it.
    locks : mapping of str to BitLock
        For every class, the bits that are locked beside its file.
    """

    name: str
    classes: tuple[TargetClass, ...]
    seed: int = 0
    description: str = ""
    source: str = ""
    files: tuple[tuple[str, str], ...] = ()
    locks: Mapping[str, BitLock] = field(default_factory=dict, compare=False, repr=False)

    @classmethod
    def read(cls, path_or_name: str | Path) -> Rules:
        """The rules of a file, or of a shipped one by its name (see `find_rules`).

        Raises
        ------
        RuleError
            If there is no such file, or if it is not a rule file, or claims a bit that another
            class has in the `rules.bits` beside it; the message gives the place.
        """
        path = find_rules(path_or_name)
        text, file = read_text(path), str(path)
        return rules_of(read_document(text, file), text, file, BitLock.read(path.parent))

    @classmethod
    def parse(cls, text: str, file: str = "rules") -> Rules:
        """The rules that a text holds; `file` is its name, which others are relative to."""
        return rules_of(read_document(text, file), text, file, BitLock({}))

    @classmethod
    def of(cls, rules: AnyRules) -> Rules:
        """Rules in any form in which they can be given.

        Parameters
        ----------
        rules : Rules, str, Path, dict, or a list of these
            A file or the name of a shipped one; the text of a file, which has several lines; its
            content as a dict; or several, whose classes go into one list.

        Raises
        ------
        RuleError
            If they are none of these, or not valid; the message gives the place.
        """
        if isinstance(rules, Rules):
            return rules
        if isinstance(rules, str) and "\n" in rules:
            return cls.parse(rules)
        if isinstance(rules, str | os.PathLike):
            return cls.read(Path(rules))
        if isinstance(rules, Mapping):
            return cls.parse(yaml.safe_dump(dict(rules), sort_keys=False, allow_unicode=True))
        if isinstance(rules, list | tuple) and rules:
            return cls.together(map(cls.of, rules))
        raise RuleError(
            f"rules: of type {type(rules).__name__}; expected a file, the name of a shipped one, "
            "the text or content of one, or Rules."
        )

    @classmethod
    def together(cls, each: Iterable[Rules]) -> Rules:
        """Several rule files as one; every class keeps the preamble of its own file.

        Raises
        ------
        RuleError
            If two classes have one name or one bit.
        """
        parts = list(each)
        if len(parts) == 1:
            return parts[0]
        locks = {name: lock for part in parts for name, lock in part.locks.items()}
        classes = [each for part in parts for each in part.classes]
        for i, target_class in enumerate(classes):
            for other in classes[:i]:
                if other.name == target_class.name:
                    there, here = other.place_of(), target_class.place_of()
                    raise here.error(
                        f"there is already a class {other.name} ({there.file}, line {there.line}); "
                        "rename one of them"
                    )
        return cls(
            "+".join(part.name for part in parts),
            with_bits((each, locks[each.name]) for each in classes),
            seed=parts[0].seed,
            description=" ".join(part.description for part in parts).strip(),
            source=" ".join(part.source for part in parts).strip(),
            files=tuple(file for part in parts for file in part.files),
            locks=locks,
        )

    def __repr__(self) -> str:
        classes = ", ".join(f"{each.name} (bit {each.bit})" for each in self.classes)
        return f"Rules '{self.name}': {self.description}\nclasses: {classes}"

    def _repr_html_(self) -> str:
        return f"<p><b>{escape(self.name)}</b></p><pre>{escape(self.text)}</pre>"

    @property
    def text(self) -> str:
        """The text of the file, or of all of them."""
        return "---\n".join(text for _, text in self.files)

    def __getitem__(self, name: str) -> TargetClass:
        """The target class of that name."""
        for target_class in self.classes:
            if target_class.name == name:
                return target_class
        names = [target_class.name for target_class in self.classes]
        raise RuleError(f"{self.name}: {unknown('target class', name, names)}")

    @cached_property
    def sha256(self) -> str:
        """SHA-256 of the meaning of the rules: comments, descriptions, spacing, the order of keys
        and the names of definitions do not change it."""
        classes = {each.name: each.canonical for each in self.classes}
        meaning = {"schema": SCHEMA, "name": self.name, "classes": classes}
        return hashlib.sha256(json.dumps(meaning, sort_keys=True).encode()).hexdigest()


def find_rules(path_or_name: str | Path) -> Path:
    """The path of a rule file: the path as given, with or without .yaml, or else a shipped one.

    Raises
    ------
    RuleError
        If there is neither; it lists the shipped ones.
    """
    path = Path(path_or_name)
    for each in (path, Path(f"{path_or_name}.yaml")):
        if each.exists() and not each.is_dir():
            return each
    shipped = {file.stem: file for file in shipped_rules()}
    name = path.stem if path.suffix in (".yaml", ".yml") else path.name
    if path.parent == Path() and name in shipped:
        return shipped[name]
    hint = close_or_known(name, sorted(shipped))
    raise RuleError(f"{path_or_name}: no such file or shipped rule file.{hint}")


def shipped_rules() -> list[Path]:
    """Our own rule files, by name: beside the package in a checkout, inside it in a wheel."""
    room = Path(__file__).parent
    inside, beside = room / "shipped", room.parents[1] / "rules"
    return sorted((inside if inside.is_dir() else beside).glob("*.yaml"))


def rules_of(tree: Tree, text: str, file: str, lock: BitLock) -> Rules:
    """The rules that the tree of a file holds; `text` is that of the file, `file` its name.

    Raises
    ------
    RuleError
        At the first fault.
    """
    root = validate(tree, RuleFile)
    read = [_Read(file, text, tree, root), *_extended(root, file)]
    define = _definitions(read)
    preamble = Preamble(define, _footprint(read), root.exclude, root.seed)
    return Rules(
        name=root.name,
        classes=with_bits((each.under(preamble), lock) for each in root.classes.values()),
        seed=root.seed,
        description=root.description,
        source=root.source,
        files=tuple((each.name, each.text) for each in read),
        locks=dict.fromkeys(root.classes, lock),
    )


@dataclass(frozen=True)
class _Read:
    """A rule file as it was read."""

    name: str
    text: str
    tree: Any
    content: ExtendedFile


def _extended(root: ExtendedFile, file: str) -> list[_Read]:
    """The files that a rule file extends, the nearest first."""
    folder = Path(file).resolve().parent
    seen = [Path(file).resolve()]
    found: list[_Read] = []
    while (name := root.extends) is not None:
        place = root.place_of("extends")
        path = Path(file).parent / name
        if "://" in name or "\0" in name or not path.resolve().is_relative_to(folder):
            raise place.error(f"extends must be a file inside the rules folder, not '{name}'")
        if not path.is_file():
            raise place.error(
                f"no rule file '{name}' in the folder {Path(file).parent}; name it as seen from "
                "there"
            )
        if path.resolve() in seen:
            raise place.error(
                f"'{name}' extends itself, directly or through other files; remove one 'extends'"
            )
        if len(found) == MAX_EXTENDS:
            raise place.error(
                f"files extend one another in more than {MAX_EXTENDS} steps; merge some of them"
            )
        seen.append(path.resolve())
        file = str(path)
        text = read_text(path)
        tree = read_document(text, file)
        root = validate(tree, ExtendedFile)
        found.append(_Read(file, text, tree, root))
    return found


def _footprint(read: list[_Read]) -> Footprint:
    """The footprint of a file and those it extends; a list replaces that of a file further up."""
    sides: dict[str, Any] = {}
    for each in read:
        footprint = each.content.footprint
        for side in footprint.model_fields_set:
            sides.setdefault(side, getattr(footprint, side))
    return Footprint(**sides)


def _definitions(read: list[_Read]) -> dict[str, Node]:
    """The definitions of a file and those it extends; its own come before theirs."""
    define: dict[str, Node] = {}
    places: dict[str, SourceLocation] = {}
    for each in read:
        for name, node in each.content.define.items():
            if name not in define:
                define[name], places[name] = node, each.tree["define"].keys_at[name]
        if len(define) > MAX_DEFINITIONS:
            raise each.content.place_of("define").error(
                f"define may hold {MAX_DEFINITIONS} names at most"
            )
    _check_order(define, places)
    return define


def _check_order(define: dict[str, Node], places: dict[str, SourceLocation]) -> None:
    """Raise if definitions build on themselves, or on one another in too many levels."""
    below = {
        name: [each for each in names(node) if each in define] for name, node in define.items()
    }
    try:
        order = list(TopologicalSorter(below).static_order())
    except CycleError as error:
        cycle = error.args[1][::-1]
        raise places[cycle[0]].error(
            f"definitions form a cycle: {' -> '.join(cycle)}; write one of them without the others"
        ) from None
    level: dict[str, int] = {}
    for name in order:
        level[name] = max((level[each] + 1 for each in below[name]), default=0)
    for name in define:
        if level[name] >= MAX_LEVELS:
            raise places[name].error(
                f"'{name}' builds on definitions more than {MAX_LEVELS} levels deep; write some out"
            )
