"""Rule files: which classes of targets there are, and who belongs to them.

A rule file is checked as it is read, without a catalog; every fault is reported with its line and
column. What its names and units mean is settled against a catalog, in `plan`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

from targetsel.documents.document import Map, read_document, read_text
from targetsel.documents.document import Node as Yaml
from targetsel.errors import RuleError, did_you_mean
from targetsel.expressions.grammar import Node
from targetsel.rules import reading
from targetsel.rules.bits import BitLock
from targetsel.rules.classes import Preamble, TargetClass
from targetsel.rules.reading import SCHEMA


@dataclass(frozen=True)
class Rules:
    """One rule file, or several that are used together.

    Attributes
    ----------
    name, description, source : str
        `source` is the paper or proposal behind the rules.
    classes : tuple of TargetClass
        In the order of the file.
    define : mapping of name to Node
        Of a single file; each class knows its own.
    seed : int
        Of the (first) file.
    files : tuple of (str, str)
        Name and text of every file that was read, those it extends behind it.
    """

    name: str
    classes: tuple[TargetClass, ...]
    define: Mapping[str, Node] = field(default_factory=dict)
    seed: int = 0
    description: str = ""
    source: str = ""
    files: tuple[tuple[str, str], ...] = ()

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
        rules = cls.parse(read_text(path), str(path))
        lock = BitLock.read(path.parent)
        for each in rules.classes:
            lock.check(each)
        return rules

    @classmethod
    def parse(cls, text: str, file: str = "rules") -> Rules:
        """The rules that a text holds; `file` is its name, which others are relative to."""
        return _rules(read_document(text, file), text, file)

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
        classes = tuple(target_class for part in parts for target_class in part.classes)
        for i, target_class in enumerate(classes):
            for other in classes[:i]:
                where = f"{other.name} ({other.places[''].file}, line {other.places[''].line})"
                if other.name == target_class.name:
                    place = target_class.places[""]
                    raise place.error(f"there is already a class {where}; rename one of them")
                if other.bit == target_class.bit:
                    place = target_class.places["bit"]
                    raise place.error(f"bit {other.bit} is already used by {where}")
        return cls(
            "+".join(part.name for part in parts),
            classes,
            seed=parts[0].seed,
            description=" ".join(part.description for part in parts).strip(),
            source=" ".join(part.source for part in parts).strip(),
            files=tuple(file for part in parts for file in part.files),
        )

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
        raise RuleError(f"no target class '{name}' in {self.name}.{did_you_mean(name, names)}")

    @cached_property
    def sha256(self) -> str:
        """What the rules mean, as a SHA-256: comments, descriptions, spacing, the order of keys
        and the names of definitions do not change it."""
        classes = {each.name: each.canonical for each in self.classes}
        meaning = {"schema": SCHEMA, "name": self.name, "classes": classes}
        return hashlib.sha256(json.dumps(meaning, sort_keys=True).encode()).hexdigest()


def find_rules(path_or_name: str | Path) -> Path:
    """Where a rule file is: the path as given, with or without .yaml, or else a shipped one.

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
    room = Path(__file__).parent
    inside, beside = room / "shipped", room.parents[1] / "rules"
    return sorted((inside if inside.is_dir() else beside).glob("*.yaml"))


def _rules(root: Yaml, text: str, file: str) -> Rules:
    reading.check_root(root, ("schema", "name", "classes"))
    assert isinstance(root, Map)
    bases = reading.bases_of(root, file)
    define = reading.definitions_in([root, *(base for base, _, _ in bases)])
    preamble = Preamble(
        define,
        reading.footprint_in([root, *(base for base, _, _ in bases)]),
        reading.exclusions_in(root),
        reading.integer_in(root, "seed", 0, 0, 2**63 - 1),
    )
    return Rules(
        name=reading.text_in(root, "name"),
        classes=tuple(replace(each, preamble=preamble) for each in reading.classes_in(root)),
        define=define,
        seed=preamble.seed,
        description=reading.text_in(root, "description"),
        source=reading.text_in(root, "source"),
        files=((file, text), *((name, text) for _, name, text in bases)),
    )
