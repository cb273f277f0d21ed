"""YAML as a tree of texts that remember where they are written.

Files of rules and settings need maps, lists and scalars only. Every scalar is kept as the text
that was written (`no`, `1:30` and `010` are not turned into something else), and what makes YAML
files surprising or dangerous is refused: anchors, aliases, tags, duplicate keys, deep nesting.
Events are read one by one, so a hostile file costs milliseconds and no recursion.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from targetsel.documents.source_location import SourceLocation
from targetsel.errors import RuleError, TargetselError, absent

MAX_CHARACTERS = 1 << 18  # bounds the time that reading and checking take
MAX_NODES = 50_000
MAX_DEPTH = 16
QUOTE = "quote expressions that start with > & * ! or %"
_QUOTE_TEXT = "put an expression with text into quotes of the other kind: \"type == 'PSF'\""

_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class Scalar(str):
    """A piece of text; `place` is the location of its first character.

    `folded` is true of text that is written after > or |.
    """

    place: SourceLocation
    folded: bool

    def __new__(
        cls, text: str, place: SourceLocation = SourceLocation(), folded: bool = False
    ) -> Scalar:
        scalar = super().__new__(cls, text)
        scalar.place, scalar.folded = place, folded
        return scalar


class Sequence(list["Node"]):
    """A list; `place` is the location of its first character, `flow` whether it is in brackets."""

    def __init__(self, place: SourceLocation, flow: bool = False) -> None:
        super().__init__()
        self.place, self.flow = place, flow


class Map(dict[str, "Node"]):
    """A map; `place` and `flow` as of a list, `keys_at` are the locations of its keys."""

    def __init__(self, place: SourceLocation, flow: bool = False) -> None:
        super().__init__()
        self.place, self.flow = place, flow
        self.keys_at: dict[str, SourceLocation] = {}


Node = Scalar | Sequence | Map


def read_text(path: Path, error: type[TargetselError] = RuleError) -> str:
    """The text of a UTF-8 file; an `error` that names the file where there is none."""
    path = Path(path)
    if path.exists() and not path.is_file() and not path.is_dir():
        raise error(f"{path}: is a pipe or device; expected a file. Write it to a file first.")
    try:
        return path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as fault:
        raise error(f"{path}: not UTF-8 text (byte {fault.start}). Save it as UTF-8.") from None
    except FileNotFoundError:
        raise error(absent(path)) from None
    except OSError as fault:
        raise error(
            f"{path}: could not be read: {fault.strerror}. Name a file that you may read."
        ) from None


def read_document(text: str, file: str, error: type[TargetselError] = RuleError) -> Node:
    """The tree of one YAML document; `file` is its name in errors, `error` their class.

    Raises
    ------
    TargetselError
        If the text is not YAML or uses a part of YAML that is refused; of class `error`.
    """
    top = SourceLocation(file, error_type=error)
    if len(text) > MAX_CHARACTERS:
        raise top.error(f"the file may hold {MAX_CHARACTERS >> 10} KiB at most")
    builder = _Builder(top, [line.rstrip("\r") for line in text.split("\n")])
    loader = _Loader(text)
    try:
        while not isinstance(event := loader.get_event(), yaml.StreamEndEvent):
            builder.take(event)
    except yaml.MarkedYAMLError as fault:
        mark = fault.problem_mark or fault.context_mark
        problem = fault.problem or fault.context or "it cannot be read"
        place = builder.place(mark)
        step = _QUOTE_TEXT if "'" in place.source or '"' in place.source else QUOTE
        raise place.error(f"not valid YAML: {problem}; {step}") from None
    except yaml.YAMLError as fault:
        raise top.error(
            f"not valid YAML: {str(fault).splitlines()[0]}; save the file as plain text"
        ) from None
    finally:
        loader.dispose()
    if builder.root is None:
        raise top.error("the file is empty; expected keys and values, such as `name: mine`")
    return builder.root


class _Builder:
    """Turns YAML events into the tree, keeping the open lists and maps on a stack."""

    def __init__(self, top: SourceLocation, lines: list[str]) -> None:
        self.top = top
        self.lines = lines
        self.root: Node | None = None
        self.stack: list[Sequence | Map] = []
        self.key: list[Scalar | None] = []  # the key awaiting its value, one per open node
        self.nodes = 0
        self.documents = 0

    def place(self, mark: Any) -> SourceLocation:
        if mark is None:
            return self.top
        row, column = mark.line, mark.column
        line = self.lines[row] if row < len(self.lines) else ""
        file, error_type = self.top.file, self.top.error_type
        return SourceLocation(file, row + 1, column + 1, line, column, error_type=error_type)

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
            place = self.place(event.start_mark)
            self._check(event, place)
            if isinstance(event, yaml.ScalarEvent):
                self._add(self._scalar(event, place))
                return
            kind = Map if isinstance(event, yaml.MappingStartEvent) else Sequence
            node = kind(place, bool(getattr(event, "flow_style", False)))
            self._add(node)
            self.stack.append(node)
            self.key.append(None)

    def _check(self, event: yaml.NodeEvent, place: SourceLocation) -> None:
        self.nodes += 1
        if self.nodes > MAX_NODES:
            raise place.error(f"the file may hold {MAX_NODES:,} entries at most")
        if len(self.stack) >= MAX_DEPTH:
            raise place.error(f"nested deeper than {MAX_DEPTH} levels; expected fewer")
        if event.anchor is not None:
            raise place.error(
                "YAML anchors and aliases (& and *) are not allowed; use `define:` in a rule file, "
                f"or {QUOTE}"
            )
        if getattr(event, "tag", None) is not None:
            raise place.error(f"YAML tags (!) are not allowed; {QUOTE}")

    def _scalar(self, event: yaml.ScalarEvent, place: SourceLocation) -> Scalar:
        start = place.moved(1) if event.style in ("'", '"') else place
        folded = event.style in ("|", ">")
        if not folded and place.source.startswith(event.value, start.caret):
            return Scalar(event.value, start)
        text = event.value.replace("\n", " ")
        return Scalar(text, replace(place, source=text, caret=0, exact=False), folded)

    def _add(self, node: Node) -> None:
        if not self.stack:
            self.root = node
            return
        parent = self.stack[-1]
        if isinstance(parent, Sequence):
            parent.append(node)
        elif (key := self.key[-1]) is not None:
            parent.keys_at[key] = key.place
            parent[key] = node
            self.key[-1] = None
        else:
            self.key[-1] = self._new_key(parent, node)

    def _new_key(self, parent: Map, node: Node) -> Scalar:
        if not isinstance(node, Scalar):
            raise node.place.error("a key must be a plain word")
        if node in parent:
            first = parent.keys_at[node].line
            raise node.place.error(f"duplicate key '{node}' (first at line {first}); remove one")
        return node
