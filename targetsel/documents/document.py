"""YAML as a tree of texts that remember their place.

Only what files of rules and settings need: maps, lists and scalars. Every scalar is kept as the
text that was written (`no`, `1:30` and `010` are not turned into something else), and what makes
YAML files surprising or dangerous is refused: anchors, aliases, tags, duplicate keys, deep nesting.
Events are read one by one, so a hostile file costs milliseconds and no recursion.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import yaml

from targetsel.documents.source_location import Place

MAX_CHARACTERS = 1 << 20
MAX_NODES = 50_000
MAX_DEPTH = 16
QUOTE = "quote expressions that start with > & * ! or %"

_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(frozen=True)
class Scalar:
    """A piece of text."""

    place: Place  # of its first character
    value: str
    folded: bool = False  # written after > or |


@dataclass(frozen=True)
class Sequence:
    """A list."""

    place: Place
    items: list[Node] = field(default_factory=list)


@dataclass(frozen=True)
class Map:
    """A map; `keys` holds the keys as they are written."""

    place: Place
    keys: dict[str, Scalar] = field(default_factory=dict)
    values: dict[str, Node] = field(default_factory=dict)


Node = Scalar | Sequence | Map


def read_document(text: str, file: str) -> Node:
    """The tree of one YAML document; `file` is its name in errors.

    Raises
    ------
    RuleErrorAt
        If the text is not YAML, or uses a part of YAML that our files do without.
    """
    if len(text) > MAX_CHARACTERS:
        raise Place(file).error("the file may hold 1 MiB at most")
    lines = text.split("\n")
    builder = _Builder(file, [line.rstrip("\r") for line in lines])
    loader = _Loader(text)
    try:
        while not isinstance(event := loader.get_event(), yaml.StreamEndEvent):
            builder.take(event)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        problem = error.problem or error.context or "it cannot be read"
        raise builder.place(mark).error(f"not valid YAML: {problem}; {QUOTE}") from None
    except yaml.YAMLError as error:
        reason = str(error).splitlines()[0]
        raise Place(file).error(f"not valid YAML: {reason}") from None
    finally:
        loader.dispose()
    if builder.root is None:
        raise Place(file).error("the file is empty; expected keys and values, such as `name: mine`")
    return builder.root


class _Builder:
    """Turns YAML events into the tree, keeping the open lists and maps on a stack."""

    def __init__(self, file: str, lines: list[str]) -> None:
        self.file = file
        self.lines = lines
        self.root: Node | None = None
        self.stack: list[Sequence | Map] = []
        self.key: list[Scalar | None] = []  # the key awaiting its value, one per open node
        self.nodes = 0
        self.documents = 0

    def place(self, mark: Any) -> Place:
        if mark is None:
            return Place(self.file)
        line = self.lines[mark.line] if mark.line < len(self.lines) else ""
        return Place(self.file, mark.line + 1, mark.column + 1, line, mark.column)

    def take(self, event: yaml.Event) -> None:
        if isinstance(event, yaml.DocumentStartEvent):
            self.documents += 1
            if self.documents > 1:
                raise self.place(event.start_mark).error(
                    "a second YAML document begins here; expected one in a file"
                )
        elif isinstance(event, yaml.CollectionEndEvent):
            self.stack.pop()
            self.key.pop()
        elif isinstance(event, yaml.NodeEvent):
            self._check(event)
            self._node(event)

    def _check(self, event: yaml.NodeEvent) -> None:
        place = self.place(event.start_mark)
        self.nodes += 1
        if self.nodes > MAX_NODES:
            raise place.error(f"the file may hold {MAX_NODES:,} entries at most")
        if len(self.stack) >= MAX_DEPTH:
            raise place.error(f"nested deeper than {MAX_DEPTH} levels")
        if event.anchor is not None:
            raise place.error(
                "YAML anchors and aliases (& and *) are not allowed; use `define:` in a rule file, "
                f"or {QUOTE}"
            )
        if getattr(event, "tag", None) is not None:
            raise place.error(f"YAML tags (!) are not allowed; {QUOTE}")

    def _node(self, event: yaml.NodeEvent) -> None:
        place = self.place(event.start_mark)
        if isinstance(event, yaml.ScalarEvent):
            self._add(self._scalar(event, place))
            return
        node = Map(place) if isinstance(event, yaml.MappingStartEvent) else Sequence(place)
        self._add(node)
        self.stack.append(node)
        self.key.append(None)

    def _scalar(self, event: yaml.ScalarEvent, place: Place) -> Scalar:
        start = place.moved(1) if event.style in ("'", '"') else place
        folded = event.style in ("|", ">")
        if not folded and place.source.startswith(event.value, start.caret):
            return Scalar(start, event.value)
        text = event.value.replace("\n", " ")
        inexact = Place(self.file, place.line, place.column, text, 0, exact=False)
        return Scalar(inexact, text, folded)

    def _add(self, node: Node) -> None:
        if not self.stack:
            self.root = node
            return
        parent = self.stack[-1]
        if isinstance(parent, Sequence):
            parent.items.append(node)
        elif (key := self.key[-1]) is not None:
            parent.keys[key.value] = key
            parent.values[key.value] = node
            self.key[-1] = None
        else:
            self.key[-1] = self._new_key(parent, node)

    def _new_key(self, parent: Map, node: Node) -> Scalar:
        if not isinstance(node, Scalar):
            raise node.place.error("a key must be a plain word")
        if node.value in parent.keys:
            first = parent.keys[node.value].place.line
            raise node.place.error(f"duplicate key '{node.value}' (first at line {first})")
        return node
