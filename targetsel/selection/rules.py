"""Rule files: which classes of targets there are, and who belongs to them.

A rule file is checked as it is read, without a catalog; every fault is reported with its line and
column. What its names and units mean is settled against a catalog, in `meaning`.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from targetsel.errors import RuleError, did_you_mean
from targetsel.selection import expression
from targetsel.selection.document import QUOTE, Map, Scalar, Sequence, read_document
from targetsel.selection.document import Node as Yaml
from targetsel.selection.expression import Branch, Name, Node

SCHEMA = "targetsel/rules/v1"
KEYS = ("schema", "name", "description", "source", "seed", "define", "classes")
CLASS_KEYS = ("description", "bit", "priority", "where", "rank", "limit")
LIMIT_KEYS = ("total",)
MAX_DEFINITIONS = 256
MAX_LEVELS = 8  # of definitions that build on definitions
_WORD = re.compile(r"[A-Za-z_][A-Za-z_0-9]*")
_INTEGER = re.compile(r"-?[0-9]{1,18}")


@dataclass(frozen=True)
class TargetClass:
    """A target class: the conditions of membership and how its members are ordered.

    Attributes
    ----------
    name : str
    bit : int
        0 to 62, in the target list's `target_bits`.
    priority : int
        Higher is more wanted.
    where : tuple of Node
        Conditions that must all be true.
    rank : Node or None
        A number; the largest comes first. Without it, members are in random order.
    total : int or None
        The most targets there may be.
    """

    name: str
    bit: int
    priority: int
    where: tuple[Node, ...]
    rank: Node | None = None
    total: int | None = None
    description: str = ""


@dataclass(frozen=True)
class Rules:
    """A rule file.

    Attributes
    ----------
    name, description, source : str
        `source` is the paper or proposal behind the rules.
    seed : int
        With the source's id, all that ties and random order depend on.
    define : mapping of name to Node
        Named conditions and numbers.
    classes : tuple of TargetClass
        In the order of the file.
    text : str
        The file as it was read.
    """

    name: str
    classes: tuple[TargetClass, ...]
    define: Mapping[str, Node] = field(default_factory=dict)
    seed: int = 0
    description: str = ""
    source: str = ""
    text: str = ""

    @classmethod
    def read(cls, path_or_name: str | Path) -> Rules:
        """The rules of a file, or of a shipped one by its name (see `find_rules`).

        Raises
        ------
        RuleError
            If there is no such file, or if it is not a rule file; the message gives the place.
        """
        path = find_rules(path_or_name)
        try:
            text = path.read_bytes().decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise RuleError(
                f"{path}: not UTF-8 text (byte {error.start}); save it as UTF-8"
            ) from None
        except OSError as error:
            raise RuleError(f"{path}: cannot be read: {error.strerror}") from None
        return cls.parse(text, str(path))

    @classmethod
    def parse(cls, text: str, file: str = "rules") -> Rules:
        """The rules that a text holds; `file` is its name in errors."""
        return _rules(read_document(text, file), text)

    def __getitem__(self, name: str) -> TargetClass:
        """The target class of that name."""
        for target_class in self.classes:
            if target_class.name == name:
                return target_class
        names = [target_class.name for target_class in self.classes]
        raise RuleError(f"no target class '{name}' in {self.name}.{did_you_mean(name, names)}")

    @cached_property
    def sha256(self) -> str:
        """What the rules mean, as a SHA-256: comments, descriptions, spacing, the order of keys
        and the names of definitions do not change it."""
        classes = {
            each.name: {
                "bit": each.bit,
                "priority": each.priority,
                "where": [self._canonical(node) for node in each.where],
                "rank": self._canonical(each.rank) if each.rank else None,
                "total": each.total,
            }
            for each in self.classes
        }
        meaning = {"schema": SCHEMA, "name": self.name, "seed": self.seed, "classes": classes}
        return hashlib.sha256(json.dumps(meaning, sort_keys=True).encode()).hexdigest()

    def _canonical(self, node: Node) -> str:
        return str(self._written_out(node))

    def _written_out(self, node: Node) -> Node:
        """The expression with every defined name replaced by a digest of its definition."""
        if isinstance(node, Name) and node.name in self.define:
            return Name(node.place, self._digest(node.name))
        if isinstance(node, Branch):
            parts = tuple(self._written_out(part) for part in node.parts)
            return Branch(node.place, node.word, parts, node.operators)
        return node

    def _digest(self, name: str) -> str:
        if name not in self._digests:
            canonical = self._canonical(self.define[name])
            self._digests[name] = hashlib.sha256(canonical.encode()).hexdigest()
        return self._digests[name]

    @cached_property
    def _digests(self) -> dict[str, str]:
        return {}


def find_rules(path_or_name: str | Path) -> Path:
    """Where a rule file is: the path as given, or else a shipped file of that name.

    Raises
    ------
    RuleError
        If there is neither; it lists the shipped ones.
    """
    path = Path(path_or_name)
    for each in (path, Path(f"{path_or_name}.yaml")):
        if each.is_file():
            return each
    shipped = {file.stem: file for file in shipped_rules()}
    name = path.stem if path.suffix in (".yaml", ".yml") else path.name
    if path.parent == Path() and name in shipped:
        return shipped[name]
    hint = did_you_mean(name, sorted(shipped))
    raise RuleError(
        f"{path_or_name}: no such rule file. Shipped with targetsel: "
        f"{', '.join(sorted(shipped)) or 'none'}.{hint}"
    )


def shipped_rules() -> list[Path]:
    """Our own rule files, by name: beside the package in a checkout, inside it in a wheel."""
    package = Path(__file__).parent.parent
    inside, beside = package / "rules", package.parent / "rules"
    folder = beside if (package.parent / "pyproject.toml").is_file() else inside
    return sorted(folder.glob("*.yaml"))


# --- from YAML to rules --------------------------------------------------------------------------


def _rules(root: Yaml, text: str) -> Rules:
    if not isinstance(root, Map):
        raise root.place.error("a rule file is a map of keys, starting with `schema:`")
    _check_keys(root, KEYS, ("schema", "name", "classes"), "the rule file")
    schema = _text(root, "schema")
    if schema != SCHEMA:
        raise root.values["schema"].place.error(
            f"unknown schema '{schema}'; this version reads {SCHEMA}"
        )
    define = _definitions(root)
    return Rules(
        name=_text(root, "name"),
        classes=_classes(root),
        define=define,
        seed=_integer(root, "seed", 0, 0, 2**63 - 1),
        description=_text(root, "description"),
        source=_text(root, "source"),
        text=text,
    )


def _definitions(root: Map) -> dict[str, Node]:
    nodes = _map(root, "define")
    if len(nodes.values) > MAX_DEFINITIONS:
        raise nodes.place.error(f"define may hold {MAX_DEFINITIONS} names at most")
    define = {}
    for name, node in nodes.values.items():
        if not _WORD.fullmatch(name) or name in expression.KEYWORDS:
            raise nodes.keys[name].place.error(
                f"'{name}' cannot be a name; use letters, digits and _, and no word of the language"
            )
        if name in expression.FUNCTIONS:
            raise nodes.keys[name].place.error(f"'{name}' is already a function")
        define[name] = _expression(node)
    for name in define:
        _check_cycle(name, define, nodes)
    _check_levels(define, nodes)
    return define


def _check_cycle(start: str, define: dict[str, Node], nodes: Map) -> None:
    """Raise if the definition `start` leads back to itself."""
    paths = [[start]]
    seen = set()
    while paths:
        path = paths.pop()
        for name in _names(define[path[-1]]):
            if name == start:
                cycle = " -> ".join([*path, start])
                raise nodes.keys[start].place.error(f"definitions form a cycle: {cycle}")
            if name in define and name not in seen:
                seen.add(name)
                paths.append([*path, name])


def _check_levels(define: dict[str, Node], nodes: Map) -> None:
    """Raise if definitions build on one another in more levels than anyone can follow."""
    below = {
        name: [each for each in _names(node) if each in define] for name, node in define.items()
    }
    high = set(define)
    for _ in range(MAX_LEVELS):
        high = {name for name in high if any(each in high for each in below[name])}
    if high:
        name = min(high, key=list(define).index)
        raise nodes.keys[name].place.error(
            f"'{name}' builds on definitions more than {MAX_LEVELS} levels deep; write some out"
        )


def _names(node: Node) -> list[str]:
    return [part.name for part in expression.walk(node) if isinstance(part, Name)]


def _classes(root: Map) -> tuple[TargetClass, ...]:
    nodes = _map(root, "classes")
    if not nodes.values:
        raise root.values["classes"].place.error("there are no classes; add at least one")
    classes: list[TargetClass] = []
    for name, node in nodes.values.items():
        if not _WORD.fullmatch(name):
            raise nodes.keys[name].place.error(
                f"'{name}' cannot be the name of a class; use letters, digits and _"
            )
        if not isinstance(node, Map):
            raise node.place.error(f"classes.{name} is a map of keys, such as bit, priority, where")
        target_class = _class(name, node, nodes.keys[name])
        for other in classes:
            if other.bit == target_class.bit:
                line = nodes.keys[other.name].place.line
                raise node.values["bit"].place.error(
                    f"bit {other.bit} is already used by {other.name} (line {line})"
                )
        classes.append(target_class)
    return tuple(classes)


def _class(name: str, node: Map, key: Scalar) -> TargetClass:
    _check_keys(node, CLASS_KEYS, ("bit", "priority", "where"), f"classes.{name}", key)
    limit = _map(node, "limit")
    _check_keys(limit, LIMIT_KEYS, LIMIT_KEYS if "limit" in node.values else (), "limit")
    return TargetClass(
        name=name,
        bit=_integer(node, "bit", None, 0, 62, " (bit 63 is the sign bit of int64)"),
        priority=_integer(node, "priority", None, -(2**31), 2**31 - 1),
        where=_where(node.values["where"]),
        rank=_expression(node.values["rank"]) if "rank" in node.values else None,
        total=_integer(limit, "total", None, 1, 2**62) if limit.values else None,
        description=_text(node, "description"),
    )


def _where(node: Yaml) -> tuple[Node, ...]:
    items = node.items if isinstance(node, Sequence) else [node]
    if not items:
        raise node.place.error("where is empty; write at least one condition")
    return tuple(_expression(item) for item in items)


def _expression(node: Yaml) -> Node:
    if not isinstance(node, Scalar):
        raise node.place.error(f"expected an expression, such as rmag < 22.5; {QUOTE}")
    if node.folded and not node.value.strip():
        raise node.place.error(f"the expression is empty; {QUOTE}")
    return expression.parse(node.value, node.place)


def _check_keys(
    node: Map,
    known: tuple[str, ...],
    needed: tuple[str, ...],
    owner: str,
    key: Scalar | None = None,
) -> None:
    for name, written in node.keys.items():
        if name not in known:
            hint = did_you_mean(name, known) or f" Known here: {', '.join(known)}."
            raise written.place.error(f"unknown key '{name}' in {owner}.{hint}")
    for name in needed:
        if name not in node.keys:
            raise (key or node).place.error(f"missing key '{name}' in {owner}")


def _map(node: Map, key: str) -> Map:
    """The map under a key; an empty one where the key is absent."""
    inner = node.values.get(key, Map(node.place))
    if not isinstance(inner, Map):
        raise inner.place.error(f"{key} is a map of keys and values")
    return inner


def _text(node: Map, key: str) -> str:
    inner = node.values.get(key, Scalar(node.place, ""))
    if not isinstance(inner, Scalar):
        raise inner.place.error(f"{key} is a piece of text; {QUOTE}")
    if not inner.value and key in ("schema", "name"):
        raise inner.place.error(f"{key} is empty")
    return inner.value


def _integer(node: Map, key: str, default: int | None, low: int, high: int, why: str = "") -> int:
    if key not in node.values and default is not None:
        return default
    inner = node.values[key]
    written = inner.value if isinstance(inner, Scalar) else ""
    number = int(written) if _INTEGER.fullmatch(written) else None
    if number is None or not low <= number <= high:
        instead = f", not '{written}'" if written else ""
        raise inner.place.error(f"{key} must be a whole number, {low} to {high}{why}{instead}")
    return number
