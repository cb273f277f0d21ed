"""The contents of a rule file: pydantic models of the file, of target classes and their parts.

The JSON schema of rule files, for completion and checks in editors, is made from them.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, Literal

import pyarrow as pa
from pydantic import (
    ConfigDict,
    Field,
    PrivateAttr,
    StringConstraints,
    field_validator,
    model_validator,
)
from typing_extensions import TypeAliasType

from targetsel.documents.document import QUOTE, Map
from targetsel.documents.json_schema import draft_7
from targetsel.documents.models import (
    Angle,
    DocumentModel,
    Expected,
    FieldError,
    Integer,
    NonEmptyText,
    Number,
    OneOrMany,
    Parsed,
    PlacedText,
    Share,
    map_of,
)
from targetsel.documents.source_location import SourceLocation
from targetsel.errors import did_you_mean
from targetsel.expressions.grammar import Branch, NameNode, Node
from targetsel.expressions.tokens import KEYWORDS, VALUES
from targetsel.rules.columns import CatalogColumns
from targetsel.rules.formula import TypedExpression
from targetsel.rules.functions import FUNCTIONS, parse
from targetsel.sky.footprint import Footprint, Nside

SCHEMA = "targetsel/rules/v1"
MAX_CONDITIONS = 1000  # of one class
HIGHEST = 62  # bit 63 is the sign bit of int64
_INTEGER = re.compile(r"-?[0-9]{1,18}")
_WORD = re.compile(r"[A-Za-z_][A-Za-z_0-9]*")
_Word = Annotated[str, StringConstraints(pattern=f"^{_WORD.pattern}$")]
ABOUT_EXPRESSIONS = (
    "An expression, such as P(ew_halpha > 50 Angstrom and ew_oiii > 10) >= 0.8. Words: and, "
    "or, not, between, in, is missing; text in quotes: type in ['SER', 'DEV']; true, false; "
    f"functions: {', '.join(FUNCTIONS)}."
)


def _expression(value: Any) -> Node:
    if isinstance(value, Node):
        return value
    if isinstance(value, int | float) and not isinstance(value, bool):
        value = repr(value)
    place = getattr(value, "place", SourceLocation())
    if not isinstance(value, str):
        raise place.error(f"expected an expression, such as rmag < 22.5; {QUOTE}")
    if getattr(value, "folded", False) and not value.strip():
        raise place.error(f"the expression is empty; {QUOTE}")
    return parse(value, place if hasattr(value, "place") else None)


def _priority(value: Any) -> int | Node:
    """A whole number, or the expression that gives every source its own."""
    if isinstance(value, str) and value.strip() and not _INTEGER.fullmatch(value):
        return _expression(value)
    number = int(value) if isinstance(value, int | str) and str(value).strip() else None
    if number is None or isinstance(value, bool) or not -(2**31) <= number < 2**31:
        raise ValueError(f"priority must be a whole number, {-(2**31)} to {2**31 - 1}")
    return number


Expression = TypeAliasType(
    "Expression",
    Annotated[
        Node,
        Parsed(_expression, {"type": ["string", "number"], "description": ABOUT_EXPRESSIONS}),
    ],
)


class Exclusion(DocumentModel):
    """Sources to leave out: those whose id a table lists, or those near a position it lists."""

    model_config = ConfigDict(json_schema_extra={"type": ["object", "string"]})

    file: PlacedText = Field(description="A table of sources to leave out.")
    column: str = Field(default="", alias="id", description="Its column of ids.")
    within: Angle | None = Field(default=None, description="Leave out sources this near.")

    @model_validator(mode="before")
    @classmethod
    def _name_of_file(cls, data: Any) -> Any:
        if not isinstance(data, dict | str):
            raise ValueError(
                "exclude must name a file of sources, e.g. observed.parquet or "
                "{file: observed.parquet, within: 1 arcsec}"
            )
        return map_of("file", data)

    @model_validator(mode="after")
    def _by_id_or_position(self) -> Exclusion:
        if self.column and self.within is not None:
            raise FieldError("id", "give id or within: exclude goes by ids or by positions")
        return self

    @property
    def place(self) -> SourceLocation:
        """Location of the file's name."""
        return getattr(self.file, "place", SourceLocation())


class Limit(DocumentModel):
    """The most targets of a class, by area, by cell and in all; `by` says which to keep."""

    per_deg2: Annotated[Number, Field(gt=0)] | None = Field(
        default=None, description="The most per square degree, counted in HEALPix pixels of nside."
    )
    nside: Nside = 64
    per_cell: Annotated[Integer, Field(ge=1, le=2**62)] | None = Field(
        default=None,
        description="The most in each cell of the space of features (column `cell`); sources "
        "without a cell count as one more.",
    )
    total: Annotated[Integer, Field(ge=1, le=2**62)] | None = Field(
        default=None, description="The most in all."
    )
    random: Share | None = Field(
        default=None,
        description="The share of the places of total that chance gives, to members that are not "
        "chosen by rank; the list states the inclusion probability of every target.",
    )
    by: Literal["rank", "hash"] = Field(
        default="rank", description="Keep the best, or any, so that all have the same chance."
    )

    @model_validator(mode="after")
    def _nside_belongs_to_density(self) -> Limit:
        if "nside" in self.model_fields_set and self.per_deg2 is None:
            raise FieldError(
                "nside",
                "nside needs per_deg2: it is the pixels in which targets are counted; add per_deg2 "
                "or remove nside",
            )
        return self

    @model_validator(mode="after")
    def _random_share_of_a_total(self) -> Limit:
        if self.random is None:
            return self
        if self.total is None:
            raise FieldError("random", "random is a share of total; add total, e.g. {total: 500}")
        if self.per_deg2 is not None:
            raise FieldError(
                "random",
                "random cannot stand beside per_deg2, as members that are left out in full pixels "
                "would have no chance; remove one of the two",
            )
        if self.by == "hash":
            raise FieldError(
                "random", "with by: hash, chance gives all places; remove random or by: hash"
            )
        return self

    def __bool__(self) -> bool:
        return any(each is not None for each in (self.per_deg2, self.per_cell, self.total))

    @property
    def canonical(self) -> list[Any]:
        """The meaning of the limit, in a form JSON can hold."""
        found: list[Any] = [self.per_deg2, self.nside, self.total, self.by]
        more = {"per_cell": self.per_cell, "random": self.random}
        more = {key: value for key, value in more.items() if value is not None}
        return [*found, more] if more else found


class Guaranteed(DocumentModel):
    """The purity that the list is to have, or that lists have on average."""

    purity: Share
    kind: Literal["list", "average"] = Field(
        default="list",
        description="list: with the confidence, for the sources beyond the threshold that is "
        "taken. average: over calibration samples and refusals, not for the list that is made.",
    )
    confidence: Annotated[
        Number, Field(ge=0.5, lt=1), Expected("a number, 0.5 up to less than 1, e.g. 0.9")
    ] = Field(default=0.9, description="The chance that a list's guarantee holds.")

    @model_validator(mode="after")
    def _confidence_belongs_to_lists(self) -> Guaranteed:
        if self.kind == "average" and "confidence" in self.model_fields_set:
            raise FieldError(
                "confidence", "confidence is of kind: list, and an average has none; remove it"
            )
        return self


class Deduplication(DocumentModel):
    """The distance within which only the best source is kept."""

    within: Angle


@dataclass(frozen=True)
class Preamble:
    """The part of a rule file that all its classes share.

    Attributes
    ----------
    define : mapping of name to Node
        Named conditions and numbers.
    footprint : Footprint
    exclude : tuple of Exclusion
    seed : int
        With the source's id, all that ties, samples and random order depend on.
    """

    define: Mapping[str, Node] = field(default_factory=dict)
    footprint: Footprint = field(default_factory=lambda: Footprint())
    exclude: tuple[Exclusion, ...] = ()
    seed: int = 0


class TargetClass(DocumentModel):
    """A target class: the conditions of membership and how its members are ordered.

    See `plan` for the order in which all this is applied.

    Attributes
    ----------
    name : str
    bit : int
        Position in ``target_bits``: the one that is written, or that `bits.with_bits` gave.
    preamble : Preamble
    """

    description: str = Field(default="", description="What the members are.")
    written_bit: Annotated[Integer, Field(ge=0, le=HIGHEST)] | None = Field(
        default=None,
        alias="bit",
        description="position in target_bits; without it, that of rules.bits or the lowest free",
    )
    priority: Annotated[int | Node, Parsed(_priority, {"type": ["integer", "string"]})] = Field(
        description="Higher is more wanted; a number, or an expression."
    )
    where: Annotated[
        tuple[Expression, ...],
        Field(min_length=1, max_length=MAX_CONDITIONS),
        OneOrMany(),
        Expected(f"1 to {MAX_CONDITIONS} conditions"),
    ] = Field(description="Conditions that must all be true.")
    unless: Annotated[tuple[PlacedText, ...], OneOrMany()] = Field(
        default=(), description="Classes above this one whose members are none of this class."
    )
    exclude: Annotated[tuple[Exclusion, ...], OneOrMany()] = Field(
        default=(), description="Sources to leave out, beside those of the file."
    )
    guarantee: Guaranteed | None = Field(
        default=None, description="Choose the threshold on the probability for this purity."
    )
    sample: Share | None = Field(
        default=None, description="Keep this share of the members, by a hash of the id."
    )
    dedup: Deduplication | None = Field(
        default=None, description="Of sources this close together keep the best."
    )
    rank: Expression | None = Field(
        default=None,
        description="A number, largest first; without it, random order.",
    )
    limit: Limit = Field(
        default_factory=lambda: Limit(),
        description="The most targets, per deg2, per cell and in all.",
    )

    _name: str = PrivateAttr("")
    _bit: int | None = PrivateAttr(None)
    _preamble: Preamble = PrivateAttr(default_factory=lambda: Preamble())

    @model_validator(mode="after")
    def _limit_is_not_empty(self) -> TargetClass:
        if "limit" in self.model_fields_set and not self.limit:
            raise FieldError(
                "limit", "limit needs per_deg2, per_cell or total, e.g. {per_deg2: 240, nside: 64}"
            )
        return self

    @property
    def name(self) -> str:
        return self._name

    @property
    def bit(self) -> int:
        bit = self.written_bit if self._bit is None else self._bit
        assert bit is not None  # rules are read with the bits of all their classes
        return bit

    @property
    def preamble(self) -> Preamble:
        return self._preamble

    def named(self, name: str, place: SourceLocation | None = None) -> TargetClass:
        """The class with a name, which stands at `place` in the file."""
        copy = self.model_copy()
        copy._name = name
        if place is not None:
            copy._places[""] = place
        return copy

    def with_bit(self, bit: int) -> TargetClass:
        """The class with this bit."""
        copy = self.model_copy()
        copy._bit = bit
        return copy

    def under(self, preamble: Preamble) -> TargetClass:
        """The class in a file with this preamble."""
        copy = self.model_copy()
        copy._preamble = preamble
        return copy

    @property
    def canonical(self) -> dict[str, Any]:
        """The meaning of the class, without names that could be others, in a form JSON can hold."""
        digests: dict[str, str] = {}

        def write(node: Node) -> str:
            return _canonical(node, self.preamble.define, digests)

        excluded = (*self.preamble.exclude, *self.exclude)
        return {
            "bit": self.bit,
            "priority": self.priority if isinstance(self.priority, int) else write(self.priority),
            "where": [write(node) for node in self.where],
            "rank": write(self.rank) if self.rank else None,
            "limit": self.limit.canonical,
            "unless": self.unless,
            "exclude": [[each.file, each.column, each.within] for each in excluded],
            "guarantee": self.guarantee.model_dump() if self.guarantee else None,
            "sample": self.sample,
            "dedup": self.dedup.within if self.dedup else None,
            "footprint": self.preamble.footprint.canonical,
            "seed": self.preamble.seed,
        }


def _canonical(node: Node, define: Mapping[str, Node], digests: dict[str, str]) -> str:
    """The expression as text, every defined name replaced by a digest of its definition."""

    def written_out(node: Node) -> Node:
        if isinstance(node, NameNode) and node.name in define:
            if node.name not in digests:
                text = str(written_out(define[node.name]))
                digests[node.name] = hashlib.sha256(text.encode()).hexdigest()
            return NameNode(node.place, digests[node.name])
        if isinstance(node, Branch):
            return replace(node, parts=tuple(written_out(part) for part in node.parts))
        return node

    return str(written_out(node))


# --- the file ----------------------------------------------------------------------------------


class ExtendedFile(DocumentModel):
    """A rule file that others extend: of the keys of a rule file only the schema is required."""

    model_config = ConfigDict(title="the rule file")

    format: Literal["targetsel/rules/v1"] = Field(alias="schema")
    name: NonEmptyText | None = Field(default=None, description="written into target lists")
    description: str = Field(default="", description="What the targets are for.")
    source: str = Field(default="", description="The paper or proposal behind the rules.")
    seed: Annotated[Integer, Field(ge=0, le=2**63 - 1)] = Field(
        default=0, description="with the source's id, all that ties and samples depend on"
    )
    extends: PlacedText | None = Field(
        default=None, description="A rule file of this folder, for its define and footprint."
    )
    define: dict[_Word, Expression] = Field(
        default_factory=dict, description="Named conditions and numbers."
    )
    footprint: Footprint = Field(
        default_factory=lambda: Footprint(),
        description="Where on the sky; files, cones, boxes, polygons, HEALPix pixels.",
    )
    exclude: Annotated[tuple[Exclusion, ...], OneOrMany()] = Field(
        default=(), description="Sources that no class takes."
    )
    classes: dict[_Word, TargetClass] = Field(
        default_factory=dict, description="The target classes, by name."
    )

    @field_validator("define", mode="before")
    @classmethod
    def _check_definitions(cls, value: Any) -> Any:
        for name, place in _keys(value).items():
            if not _WORD.fullmatch(name) or name in KEYWORDS or name.lower() in VALUES:
                raise place.error(
                    f"'{name}' cannot be a name; use letters, digits and _, and no word of the "
                    "language"
                )
            if name in FUNCTIONS:
                raise place.error(f"'{name}' is already a function; choose another name")
        return value

    @field_validator("classes", mode="wrap")
    @classmethod
    def _name_classes(cls, value: Any, handler: Any) -> dict[str, TargetClass]:
        keys = _keys(value)
        for name, place in keys.items():
            if not _WORD.fullmatch(name):
                raise place.error(
                    f"'{name}' cannot be the name of a class; use letters, digits and _"
                )
        found: dict[str, TargetClass] = {}
        for name, target_class in handler(value).items():
            each = target_class.named(name, keys.get(name))
            _check_class(each, found)
            found[name] = each
        if not found:
            raise ValueError("there are no classes; add at least one")
        return found


class RuleFile(ExtendedFile):
    """A rule file."""

    name: NonEmptyText = Field(description="written into target lists")
    classes: dict[_Word, TargetClass] = Field(description="The target classes, by name.")


def _keys(value: Any) -> Mapping[str, SourceLocation]:
    if isinstance(value, Map):
        return value.keys_at
    return {name: SourceLocation() for name in value} if isinstance(value, dict) else {}


def _check_class(target_class: TargetClass, above: Mapping[str, TargetClass]) -> None:
    """Raise if a class names one that is not above it."""
    for name in target_class.unless:
        if name not in above:
            known = f" Above {target_class.name} are {', '.join(above)}."
            first = f" {target_class.name} is the first."
            hint = did_you_mean(name, above) or (known if above else first)
            raise getattr(name, "place", SourceLocation()).error(
                f"unless names a class above this one, not '{name}'.{hint}"
            )


# --- JSON schema (draft 7) ----------------------------------------------------------------------


def json_schema(catalog: pa.Schema | None = None) -> dict[str, Any]:
    """The JSON schema of a rule file; with the columns of a catalog, if one is given."""
    schema = draft_7(RuleFile, "targetsel rule file")
    schema["properties"]["classes"]["minProperties"] = 1
    if catalog is not None:
        columns = CatalogColumns(catalog)
        named = (name + _note(columns[name]) for name in columns.names)
        schema["definitions"]["Expression"]["description"] += f" Columns: {', '.join(named)}."
    return schema


def _note(column: TypedExpression) -> str:
    """The unit of a column, or that it holds no numbers."""
    kinds = {"text": " (text)", "condition": " (true or false)"}
    return f" [{column.unit}]" if column.unit else kinds.get(column.kind, "")
