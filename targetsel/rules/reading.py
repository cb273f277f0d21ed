"""From the YAML of a rule file to target classes, every fault with its line and column."""

from __future__ import annotations

import re
from pathlib import Path

from targetsel.documents.document import QUOTE, Map, Scalar, Sequence, read_document, read_text
from targetsel.documents.document import Node as Yaml
from targetsel.documents.source_location import SourceLocation
from targetsel.errors import did_you_mean
from targetsel.expressions import grammar as expression
from targetsel.expressions.grammar import Name, Node
from targetsel.rules.bits import HIGHEST
from targetsel.rules.classes import Exclusion, Limit, TargetClass
from targetsel.sky.footprint import Footprint, angle, footprint_of, nside_of

SCHEMA = "targetsel/rules/v1"
KEYS = (
    *("schema", "name", "description", "source", "seed", "extends", "define", "footprint"),
    *("exclude", "classes"),
)
CLASS_KEYS = (
    *("description", "bit", "priority", "where", "unless", "exclude", "guarantee", "sample"),
    *("dedup", "rank", "limit"),
)
LIMIT_KEYS = ("per_deg2", "nside", "total", "by")
EXCLUDE_KEYS = ("file", "id", "within")
MAX_DEFINITIONS = 256
MAX_LEVELS = 8  # of definitions that build on definitions
MAX_EXTENDS = 4
_WORD = re.compile(r"[A-Za-z_][A-Za-z_0-9]*")
_INTEGER = re.compile(r"-?[0-9]{1,18}")


def check_root(root: Yaml, needed: tuple[str, ...]) -> None:
    if not isinstance(root, Map):
        raise root.place.error("a rule file is a map of keys, starting with `schema:`")
    _check_keys(root, KEYS, needed, "the rule file")
    schema = text_in(root, "schema")
    if schema != SCHEMA:
        raise root["schema"].place.error(f"unknown schema '{schema}'; this version reads {SCHEMA}")


def bases_of(root: Map, file: str) -> list[tuple[Map, str, str]]:
    """The files that a rule file extends, the nearest first: their trees, names and texts."""
    folder = Path(file).resolve().parent
    seen = [Path(file).resolve()]
    bases: list[tuple[Map, str, str]] = []
    while "extends" in root:
        name, place = text_in(root, "extends"), root["extends"].place
        path = Path(file).parent / name
        if "://" in name or "\0" in name or not path.resolve().is_relative_to(folder):
            raise place.error(f"extends must be a file inside the rules folder, not '{name}'")
        if not path.is_file():
            raise place.error(f"no rule file '{name}' in the folder {Path(file).parent}")
        if path.resolve() in seen:
            raise place.error(f"'{name}' extends itself, by way of other files or directly")
        if len(bases) == MAX_EXTENDS:
            raise place.error(f"files extend one another in more than {MAX_EXTENDS} steps")
        seen.append(path.resolve())
        file = str(path)
        text = read_text(path)
        tree = read_document(text, file)
        check_root(tree, ("schema",))
        assert isinstance(tree, Map)
        bases.append((tree, file, text))
        root = tree
    return bases


def footprint_in(roots: list[Map]) -> Footprint:
    """The footprint of a file and those it extends; a list replaces that of a file further up."""
    include, exclude = None, None
    for root in roots:
        node = _map(root, "footprint")
        footprint = footprint_of(node)
        if include is None and "include" in node:
            include = footprint.include
        if exclude is None and "exclude" in node:
            exclude = footprint.exclude
    return Footprint(include or (), exclude or ())


def definitions_in(roots: list[Map]) -> dict[str, Node]:
    """The definitions of a file and those it extends; its own come before theirs."""
    define: dict[str, Node] = {}
    places: dict[str, SourceLocation] = {}
    for root in roots:
        nodes = _map(root, "define")
        for name, node in nodes.items():
            _check_name(name, nodes.keys_at[name])
            if name not in define:
                define[name], places[name] = _expression(node), nodes.keys_at[name]
        if len(define) > MAX_DEFINITIONS:
            raise nodes.place.error(f"define may hold {MAX_DEFINITIONS} names at most")
    for name in define:
        _check_cycle(name, define, places)
    _check_levels(define, places)
    return define


def _check_name(name: str, key: SourceLocation) -> None:
    if not _WORD.fullmatch(name) or name in expression.KEYWORDS:
        raise key.error(
            f"'{name}' cannot be a name; use letters, digits and _, and no word of the language"
        )
    if name in expression.FUNCTIONS:
        raise key.error(f"'{name}' is already a function")


def _check_cycle(start: str, define: dict[str, Node], places: dict[str, SourceLocation]) -> None:
    """Raise if the definition `start` leads back to itself."""
    paths = [[start]]
    seen = set()
    while paths:
        path = paths.pop()
        for name in _names(define[path[-1]]):
            if name == start:
                cycle = " -> ".join([*path, start])
                raise places[start].error(f"definitions form a cycle: {cycle}")
            if name in define and name not in seen:
                seen.add(name)
                paths.append([*path, name])


def _check_levels(define: dict[str, Node], places: dict[str, SourceLocation]) -> None:
    """Raise if definitions build on one another in more levels than anyone can follow."""
    below = {
        name: [each for each in _names(node) if each in define] for name, node in define.items()
    }
    high = set(define)
    for _ in range(MAX_LEVELS):
        high = {name for name in high if any(each in high for each in below[name])}
    if high:
        name = min(high, key=list(define).index)
        raise places[name].error(
            f"'{name}' builds on definitions more than {MAX_LEVELS} levels deep; write some out"
        )


def _names(node: Node) -> list[str]:
    return [part.name for part in expression.walk(node) if isinstance(part, Name)]


def classes_in(root: Map) -> tuple[TargetClass, ...]:
    nodes = _map(root, "classes")
    if not nodes:
        raise root["classes"].place.error("there are no classes; add at least one")
    classes: list[TargetClass] = []
    for name, node in nodes.items():
        if not _WORD.fullmatch(name):
            raise nodes.keys_at[name].error(
                f"'{name}' cannot be the name of a class; use letters, digits and _"
            )
        if not isinstance(node, Map):
            raise node.place.error(f"classes.{name} is a map of keys, such as bit, priority, where")
        above = [each.name for each in classes]
        target_class = _class(name, node, nodes.keys_at[name], above)
        for other in classes:
            if other.bit == target_class.bit:
                line = nodes.keys_at[other.name].line
                raise node["bit"].place.error(
                    f"bit {other.bit} is already used by {other.name} (line {line})"
                )
        classes.append(target_class)
    return tuple(classes)


def _class(name: str, node: Map, key: SourceLocation, above: list[str]) -> TargetClass:
    _check_keys(node, CLASS_KEYS, ("bit", "priority", "where"), f"classes.{name}", key)
    dedup = _map(node, "dedup")
    _check_keys(dedup, ("within",), ("within",) if "dedup" in node else (), "dedup")
    return TargetClass(
        name=name,
        bit=integer_in(node, "bit", None, 0, HIGHEST, " (bit 63 is the sign bit of int64)"),
        priority=_priority(node),
        where=_where(node["where"]),
        rank=_expression(node["rank"]) if "rank" in node else None,
        limit=_limit(node),
        unless=_unless(node, name, above),
        exclude=exclusions_in(node),
        guarantee=_guarantee(node),
        sample=_share(node["sample"], "sample") if "sample" in node else None,
        dedup=angle(dedup["within"]) if dedup else None,
        description=text_in(node, "description"),
        places={"": key, **{name: value.place for name, value in node.items()}},
    )


def _priority(node: Map) -> int | Node:
    inner = node["priority"]
    if isinstance(inner, Scalar) and not _INTEGER.fullmatch(inner) and inner.strip():
        return _expression(inner)
    return integer_in(node, "priority", None, -(2**31), 2**31 - 1)


def _limit(node: Map) -> Limit:
    limit = _map(node, "limit")
    _check_keys(limit, LIMIT_KEYS, (), "limit")
    if "limit" not in node:
        return Limit()
    if not {"per_deg2", "total"} & set(limit):
        raise limit.place.error("limit needs per_deg2 or total, e.g. {per_deg2: 240, nside: 64}")
    if "nside" in limit and "per_deg2" not in limit:
        raise limit["nside"].place.error("nside belongs to per_deg2, which is not there")
    by = text_in(limit, "by") or "rank"
    if by not in ("rank", "hash"):
        raise limit["by"].place.error(f"by is rank or hash, not '{by}'")
    return Limit(
        per_deg2=_positive(limit["per_deg2"]) if "per_deg2" in limit else None,
        nside=nside_of(limit["nside"]) if "nside" in limit else 64,
        total=integer_in(limit, "total", None, 1, 2**62) if "total" in limit else None,
        by=by,
    )


def _unless(node: Map, name: str, above: list[str]) -> tuple[str, ...]:
    inner = node.get("unless", Sequence(node.place))
    names = []
    for each in inner if isinstance(inner, Sequence) else [inner]:
        written = each if isinstance(each, Scalar) else ""
        if written not in above:
            hint = did_you_mean(written, above) or (
                f" Above {name} are {', '.join(above)}." if above else f" {name} is the first."
            )
            raise each.place.error(f"unless names a class above this one, not '{written}'.{hint}")
        names.append(written)
    return tuple(names)


def exclusions_in(node: Map) -> tuple[Exclusion, ...]:
    inner = node.get("exclude", Sequence(node.place))
    return tuple(_exclusion(e) for e in (inner if isinstance(inner, Sequence) else [inner]))


def _exclusion(node: Yaml) -> Exclusion:
    if isinstance(node, Scalar) and node:
        return Exclusion(node, place=node.place)
    if not isinstance(node, Map):
        raise node.place.error(
            "exclude names a file of sources, e.g. observed.parquet or "
            "{file: observed.parquet, within: 1 arcsec}"
        )
    _check_keys(node, EXCLUDE_KEYS, ("file",), "exclude")
    if "id" in node and "within" in node:
        raise node["id"].place.error("exclude goes by id or by position, not by both")
    within = angle(node["within"]) if "within" in node else None
    return Exclusion(text_in(node, "file"), text_in(node, "id"), within, place=node["file"].place)


def _guarantee(node: Map) -> float | None:
    inner = _map(node, "guarantee")
    if "guarantee" not in node:
        return None
    _check_keys(inner, ("purity", "method"), ("purity",), "guarantee")
    if (text_in(inner, "method") or "conformal") != "conformal":
        raise inner["method"].place.error("the only method there is, is conformal")
    return _share(inner["purity"], "purity")


def _share(node: Yaml, key: str) -> float:
    """A number above 0 and up to 1, which may be written in percent."""
    tree = _expression(node)
    known = isinstance(tree, expression.Number) and tree.unit in ("", "percent")
    value = tree.value / (100 if tree.unit else 1) if known else -1  # type: ignore[attr-defined]
    if not 0 < value <= 1:
        raise node.place.error(f"{key} is a share, above 0 and up to 1, e.g. 0.1 or 10 percent")
    return value


def _positive(node: Yaml) -> float:
    tree = _expression(node)
    if not isinstance(tree, expression.Number) or tree.unit or not tree.value > 0:
        raise node.place.error("per_deg2 is a number above 0, e.g. 240")
    return float(tree.value)


def _where(node: Yaml) -> tuple[Node, ...]:
    items = node if isinstance(node, Sequence) else [node]
    if not items:
        raise node.place.error("where is empty; write at least one condition")
    return tuple(_expression(item) for item in items)


def _expression(node: Yaml) -> Node:
    if not isinstance(node, Scalar):
        raise node.place.error(f"expected an expression, such as rmag < 22.5; {QUOTE}")
    if node.folded and not node.strip():
        raise node.place.error(f"the expression is empty; {QUOTE}")
    return expression.parse(node, node.place)


def _check_keys(
    node: Map,
    known: tuple[str, ...],
    needed: tuple[str, ...],
    owner: str,
    key: SourceLocation | None = None,
) -> None:
    for name, written in node.keys_at.items():
        if name not in known:
            hint = did_you_mean(name, known) or f" Known here: {', '.join(known)}."
            if not _WORD.fullmatch(name):
                hint = " Inside { }, quote what has a comma in it."
            raise written.error(f"unknown key '{name}' in {owner}.{hint}")
    for name in needed:
        if name not in node:
            raise (key or node.place).error(f"missing key '{name}' in {owner}")


def _map(node: Map, key: str) -> Map:
    """The map under a key; an empty one where the key is absent."""
    inner = node.get(key, Map(node.place))
    if not isinstance(inner, Map):
        raise inner.place.error(f"{key} is a map of keys and values")
    return inner


def text_in(node: Map, key: str) -> str:
    inner = node.get(key, Scalar("", node.place))
    if not isinstance(inner, Scalar):
        raise inner.place.error(f"{key} is a piece of text; {QUOTE}")
    if not inner and key in ("schema", "name"):
        raise inner.place.error(f"{key} is empty")
    return inner


def integer_in(node: Map, key: str, default: int | None, low: int, high: int, why: str = "") -> int:
    if key not in node and default is not None:
        return default
    inner = node[key]
    written = inner if isinstance(inner, Scalar) else ""
    number = int(written) if _INTEGER.fullmatch(written) else None
    if number is None or not low <= number <= high:
        instead = f", not '{written}'" if written else ""
        raise inner.place.error(f"{key} must be a whole number, {low} to {high}{why}{instead}")
    return number
