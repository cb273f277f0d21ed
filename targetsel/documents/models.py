"""Files that users write, checked by pydantic models; errors give line, column and caret.

    class Arm(DocumentModel):
        name: NonEmptyText
        pixel: Annotated[float, Quantity("Angstrom", 1e-3, 100)] = Field(description="pixel width")

    read_model(Path("mine.yaml"), Arm, SpectrographError)

A model says what a file may hold. Scalars of YAML arrive as texts that remember their location
(`document.Scalar`); a validator that needs the location raises `value.place.error(message)`, any
other raises a `ValueError` with the message, or `FieldError` to point at one field of a model.
"""

from __future__ import annotations

import json
import re
import types
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    PrivateAttr,
    StringConstraints,
    ValidationError,
    WithJsonSchema,
    model_validator,
)
from pydantic.fields import FieldInfo
from pydantic_core import PydanticCustomError, core_schema
from typing_extensions import TypeAliasType

from targetsel.documents.document import Map, Node, Scalar, Sequence, read_document, read_text
from targetsel.documents.source_location import SourceLocation, shortened
from targetsel.documents.units import exact_factor, times
from targetsel.errors import RuleError, TargetselError, close_or_known, did_you_mean

M = TypeVar("M", bound=BaseModel)

_NUMBER = re.compile(r"\s*[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?\s*", re.ASCII)
_INTEGER = re.compile(r"\s*[-+]?\d{1,30}\s*", re.ASCII)
_SIGNS = (
    "\u00c5\u212b\u030a\u00b5\u03bc"  # of Å, also as A and a ring, and of µ, also as the letter
)
_QUANTITY = re.compile(
    rf"\s*([-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)\s*([A-Za-z{_SIGNS}/]*[0-9]?)\s*", re.ASCII
)
_NUMERIC = ("int_", "float_", "finite_", "greater_", "less_")  # pydantic's names of faults
_NO_MAP = ("model_type", "model_attributes_type", "dict_type", "mapping_type")
MOST_FAULTS = 200  # of those in a file, to choose the first from
_NO_LIST = ("list_type", "tuple_type", "set_type")


class DocumentModel(BaseModel):
    """Base of what a file may hold: no unknown keys, no NaN or infinity, and not to be changed."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        allow_inf_nan=False,
        arbitrary_types_allowed=True,
        populate_by_name=True,
        defer_build=True,  # a model that is only part of another is not built by itself
    )

    _places: _Places = PrivateAttr(default_factory=lambda: _Places())

    @model_validator(mode="wrap")
    @classmethod
    def _remember_places(cls, data: Any, handler: Any) -> Any:
        model = handler(data)
        if isinstance(data, Map):
            model._places.update({key: node.place for key, node in data.items()})
        if isinstance(data, Map | Sequence | Scalar):
            model._places.setdefault("", data.place)
        return model

    def place_of(self, key: str = "") -> SourceLocation:
        """The location of a key's value, or of the whole map, where it was read from YAML."""
        return self._places.get(key) or self._places.get("") or SourceLocation()


class _Places(dict[str, SourceLocation]):
    """Locations of the values of a map, which do not count when models are compared."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Places)

    __hash__ = None


# --- types of fields ----------------------------------------------------------------------------


class FieldError(ValueError):
    """A fault in one field, raised by a validator of the whole model."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


@dataclass(frozen=True)
class Expected:
    """Annotation of a field: the words for all that it may be, as in "expected WORDS"."""

    words: str


@dataclass(frozen=True, eq=False)
class Parsed:
    """Annotation of a field that `parse` makes from what is written; `schema` is for JSON."""

    parse: Callable[[Any], Any]
    schema: Mapping[str, Any]

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> core_schema.CoreSchema:
        return core_schema.no_info_plain_validator_function(self.parse)

    def __get_pydantic_json_schema__(self, schema: Any, handler: Any) -> dict[str, Any]:
        return dict(self.schema)


@dataclass(frozen=True)
class Quantity:
    """Annotation of a float: a number from `least` to `most` in `unit`, which may stand behind it.

    "15 min" is 900 where the unit is "s"; a bare number is in `unit`, if `bare` allows it.
    """

    unit: str = ""
    least: float = float("-inf")
    most: float = float("inf")
    bare: bool = True

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> core_schema.CoreSchema:
        return core_schema.no_info_before_validator_function(self._validated, handler(source))

    def __get_pydantic_json_schema__(self, schema: Any, handler: Any) -> dict[str, Any]:
        if self.bare:
            return {"type": ["number", "string"]}
        return {"type": "string", "examples": [f"1.5 {self.unit}"]}

    @property
    def words(self) -> str:
        unit = f" {self.unit}" if self.unit else ""
        if self.least == -float("inf") and self.most == float("inf"):
            return f"a number{f' of {self.unit}' if unit else ''}"
        if self.most == float("inf"):
            return f"{self.least:g}{unit} or more"
        return f"{self.least:g} to {self.most:g}{unit}"

    def _validated(self, value: Any) -> Any:
        if isinstance(value, str):
            try:
                value = parse_quantity(value, self.unit, self.bare)
            except ValueError:
                raise PydanticCustomError("quantity", "{words}", {"words": self.words}) from None
        if isinstance(value, int | float) and not self.least <= value <= self.most:
            raise PydanticCustomError("quantity", "{words}", {"words": self.words})
        return _number(value)


def parse_quantity(text: str, unit: str, bare: bool = True) -> float:
    """The number that "900 s" or "15 min" is in `unit`; also "900", unless `bare` is false.

    Raises
    ------
    ValueError
        With what was expected, if it is no such number.
    """
    found = _QUANTITY.fullmatch(text)
    if found and found[2] in ("", unit) and (found[2] or bare):
        return float(found[1])
    if found and found[2]:
        from astropy import units

        given = units.Unit(found[2], parse_strict="silent")
        if given.is_equivalent(units.Unit(unit)):
            return times(float(found[1]), exact_factor(given, units.Unit(unit)))
    if not bare:
        raise ValueError(f"'{text[:40]}', expected a number and its unit")
    raise ValueError(f"'{text[:40]}', expected a number{f' of {unit}' if unit else ''}")


def _number(value: Any) -> Any:
    if isinstance(value, bool) or (isinstance(value, str) and not _NUMBER.fullmatch(value)):
        raise PydanticCustomError("float_parsing", "a number")
    return value


def _integer(value: Any) -> Any:
    if isinstance(value, bool) or (isinstance(value, str) and not _INTEGER.fullmatch(value)):
        raise PydanticCustomError("int_parsing", "a whole number")
    return value


def _switch(value: Any) -> Any:
    if isinstance(value, str) and value not in ("true", "false"):
        raise PydanticCustomError("switch", "true or false")
    return value


Number = Annotated[float, BeforeValidator(_number)]
Integer = Annotated[int, BeforeValidator(_integer)]
Switch = Annotated[bool, BeforeValidator(_switch)]
NonEmptyText = Annotated[
    str, StringConstraints(strip_whitespace=True, min_length=1), Expected("a piece of text")
]
Identifier = Annotated[
    str,
    StringConstraints(pattern=r"^[A-Za-z_][A-Za-z_0-9]*$"),
    Expected("a name of letters, digits and _"),
]


Share = Annotated[
    float,
    BeforeValidator(lambda value: _share(value)),
    Expected("a share, above 0 and up to 1, e.g. 0.1 or 10 percent"),
    WithJsonSchema({"type": ["number", "string"], "examples": ["10 percent", 0.1]}),
]
Angle = Annotated[
    float,
    Quantity("deg", 1e-12, 180, bare=False),
    Expected("an angle with its unit, above 0 and up to 180 deg, e.g. 1.5 arcsec"),
]


def _share(value: Any) -> Any:
    percent = isinstance(value, str) and value.strip().endswith("percent")
    number = _number(value.strip().removesuffix("percent") if percent else value)
    share = float(number) / (100 if percent else 1) if isinstance(number, int | float | str) else 0
    if not 0 < share <= 1:
        raise PydanticCustomError("share", "a share")
    return share


def _placed(value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise PydanticCustomError("string_type", "a piece of text")
    return value


# A text that keeps its location as `place`, where it was read from YAML.
PlacedText = Annotated[str, Parsed(_placed, {"type": "string"})]


def map_of(key: str, data: Any) -> Any:
    """A text as the map that has it under `key`; a map as it is."""
    if not isinstance(data, str):
        return data
    if not isinstance(data, Scalar):
        return {key: data}
    found = Map(data.place)
    found[key], found.keys_at[key] = data, data.place
    return found


# Annotation of a tuple, which JSON writes as a list.
FromList = BeforeValidator(lambda value: tuple(value) if isinstance(value, list) else value)


class OneOrMany:
    """Annotation of a tuple or list: a single item may be written without the brackets."""

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> core_schema.CoreSchema:
        kind = tuple if get_origin(source) is tuple else list
        return core_schema.no_info_before_validator_function(
            lambda value: kind(value if isinstance(value, list | tuple) else [value]),
            handler(source),
        )

    def __get_pydantic_json_schema__(self, schema: Any, handler: Any) -> dict[str, Any]:
        many = handler(schema["schema"])
        lists = [each for each in many.get("anyOf", [many]) if "items" in each]
        return {"anyOf": [*(each["items"] for each in lists), *many.get("anyOf", [many])]}


# --- reading ------------------------------------------------------------------------------------


def read_model(path: Path, model: type[M], error: type[TargetselError] = RuleError) -> M:
    """The model of a YAML file, or of a JSON file (.json).

    Raises
    ------
    TargetselError
        Of class `error`: the file, the line and column of the first fault, what was expected
        there, and in `detail` the line with a caret.
    """
    return parse_model(read_text(path, error), str(path), model, error)


def parse_model(text: str, file: str, model: type[M], error: type[TargetselError] = RuleError) -> M:
    """The model of a text; `file` is its name in errors. Errors as `read_model`."""
    if file.endswith(".json"):
        return _parse_json(text, file, model, error)
    return validate(read_document(text, file, error), model)


def validate(tree: Node, model: type[M]) -> M:
    """The model of a YAML tree, or of a part of one; errors as those of `read_model`."""
    if isinstance(tree, Map) and "schema" in tree:  # no other key is checked against another format
        field = _fields(model).get("schema")
        known = get_args(field.annotation) if field else ()
        if known and tree["schema"] not in known:
            raise tree["schema"].place.error(
                f"unknown schema '{tree['schema']}'; this version reads {', '.join(known)}"
            )
    try:
        return model.model_validate(tree)
    except ValidationError as faults:
        place, message = min(
            (
                _located_message(model, tree, fault)
                for fault in faults.errors(include_url=False)[:MOST_FAULTS]
            ),
            key=lambda each: (not each[1].startswith("unknown key"), each[0].line, each[0].column),
        )
        raise place.error(message) from None


def _parse_json(text: str, file: str, model: type[M], error: type[TargetselError]) -> M:
    try:
        json.loads(text, object_pairs_hook=_without_duplicates, parse_constant=_refuse)
        return model.model_validate_json(text, strict=True)
    except json.JSONDecodeError as fault:
        line = text.split("\n")[fault.lineno - 1]
        place = SourceLocation(
            file, fault.lineno, fault.colno, line, fault.colno - 1, error_type=error
        )
        raise place.error(
            f"not valid JSON: {fault.msg}; mend it here or copy the file again"
        ) from None
    except ValidationError as faults:
        raise error(f"{file}: {_first(model, faults)}.") from None
    except (ValueError, RecursionError) as fault:
        raise error(f"{file}: not valid JSON: {fault}. Copy it or make it again.") from None


def validate_values(
    values: Mapping[str, Any], model: type[M], place: str, error: type[TargetselError]
) -> M:
    """The model of plain values, such as those of options; `place` begins the errors.

    Raises
    ------
    TargetselError
        Of class `error`: the first value that does not fit, and what was expected.
    """
    try:
        return model.model_validate(dict(values))
    except ValidationError as faults:
        raise error(f"{place}: {_first(model, faults)}.") from None


def _first(model: type[BaseModel], faults: ValidationError) -> str:
    """The message of the first fault in values without locations; unknown keys come first."""
    told = [
        _located_message(model, None, fault)[1]
        for fault in faults.errors(include_url=False)[:MOST_FAULTS]
    ]
    return shortened(min(told, key=lambda each: not each.startswith("unknown key")))


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"duplicate key '{next(n for n in names if names.count(n) > 1)}'")
    return found


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no number that JSON knows")


# --- wording ------------------------------------------------------------------------------------


@dataclass
class _Fault:
    """A fault that pydantic found, followed from the top of the file down to where it lies.

    Attributes
    ----------
    names : list of str
        Keys on the way.
    owner : type
        The innermost model on the way.
    field : FieldInfo or None
        The innermost field.
    annotation : object
        The type that is expected there.
    metadata : list
        Annotations of the field and of what lies between it and the fault.
    value : object
        The value in the file.
    place : SourceLocation
    """

    names: list[str]
    owner: type[BaseModel]
    field: FieldInfo | None
    annotation: Any
    metadata: list[Any]
    value: Any
    place: SourceLocation

    @classmethod
    def follow(cls, model: type[BaseModel], tree: Node | None, fault: Any) -> _Fault:
        place = tree.place if tree is not None else SourceLocation()
        value = tree if tree is not None else fault["input"]
        found = cls([], model, None, model, [], value, place)
        cause = fault.get("ctx", {}).get("error")
        node: Any = tree
        for part in (*fault["loc"], *([cause.field] if isinstance(cause, FieldError) else [])):
            found.annotation, owner, is_tag = _below(found.annotation, part)
            if is_tag:
                continue
            if owner is not None:
                found.owner, found.field = owner, _fields(owner).get(str(part))
                found.metadata = list(found.field.metadata) if found.field else []
            found.metadata += _metadata(found.annotation)
            if isinstance(part, str):
                found.names.append(part)
            if isinstance(node, Map) and part in node:
                place = node.keys_at[str(part)]
                node = found.value = node[str(part)]
                found.place = place if fault["type"] == "extra_forbidden" else node.place
            elif isinstance(node, Sequence) and isinstance(part, int) and part < len(node):
                node = found.value = node[part]
                found.place = place = node.place
            elif fault["type"] == "missing" and isinstance(part, str):
                found.place = place
        return found

    @property
    def within(self) -> str:
        """Name of the map that holds the fault."""
        return ".".join(self.names[:-1]) or self.owner.model_config.get("title") or "the file"


def _located_message(
    model: type[BaseModel], tree: Node | None, fault: Any
) -> tuple[SourceLocation, str]:
    """Location and message of one of pydantic's errors."""
    found, kind = _Fault.follow(model, tree, fault), fault["type"]
    key = found.names[-1] if found.names else ""
    keys = list(_fields(found.owner))
    about = (found.field.description or "").rstrip(".") if found.field else ""
    about = f": {about[0].lower()}{about[1:]}" if about else ""
    if kind == "extra_forbidden":
        hint = close_or_known(key, keys)
        if not re.fullmatch(r"[A-Za-z_][A-Za-z_0-9]*", key):
            hint = " Inside { }, quote what has a comma in it."
        return found.place, f"unknown key '{key}' in {found.within}.{hint}"
    if kind == "missing" and fault["loc"][-1] == key:
        return found.place, f"missing key '{key}' in {found.within}{about}; add it"
    if cause := fault.get("ctx", {}).get("error"):
        return found.place, str(cause)
    name = (".".join(found.names) if tree is None else key) or found.within
    return (
        found.place,
        f"{name} is {_shown(found.value if tree is not None else fault['input'])}; "
        f"expected {_expected(fault, found)}{about}",
    )


def _expected(fault: Any, found: _Fault) -> str:
    """The words for what a field may be."""
    kind = fault["type"]
    for each in found.metadata:
        if isinstance(each, Expected):
            return each.words
    if kind.startswith(_NUMERIC):
        whole = "int" in kind or _bare(found.annotation) is int
        return _numbers("a whole number" if whole else "a number", found.metadata)
    if kind in _NO_MAP:
        model = _bare(found.annotation)
        keys = list(_fields(model)) if hasattr(model, "model_fields") else []
        return "a map of keys and values" + (f", such as {', '.join(keys[:6])}" if keys else "")
    if kind in _NO_LIST:
        return "a list"
    if kind == "literal_error":
        words: str = fault["ctx"]["expected"]
        return words + did_you_mean(str(fault["input"]), re.findall(r"'([^']*)'", words))
    message: str = fault["msg"].removeprefix("Input should be ").removeprefix("String should ")
    return message[:1].lower() + message[1:]


def _numbers(kind: str, metadata: list[Any]) -> str:
    """The numbers that bounds leave, as "a whole number, 0 to 62"."""
    bounds = {
        name: getattr(each, name)
        for each in metadata
        for name in ("ge", "gt", "le", "lt")
        if hasattr(each, name)
    }
    low, high = bounds.get("ge", bounds.get("gt")), bounds.get("le", bounds.get("lt"))
    if low is None and high is None:
        return kind
    above, below = "above " * ("gt" in bounds), "below " * ("lt" in bounds)
    if high is None:
        return f"{kind} {above}{low}" if above else f"{kind}, {low} or more"
    if low is None:
        return f"{kind}, up to {below}{high}"
    return f"{kind}, {above}{low} to {below}{high}"


def _bare(annotation: Any) -> Any:
    """A type without its annotations, and without None beside it."""
    while True:
        if isinstance(annotation, TypeAliasType):
            annotation = annotation.__value__
        elif get_origin(annotation) is Annotated:
            annotation = get_args(annotation)[0]
        elif get_origin(annotation) in (Union, types.UnionType):
            members = [each for each in get_args(annotation) if each is not type(None)]
            if len(members) != 1:
                return annotation
            annotation = members[0]
        else:
            return annotation


def _metadata(annotation: Any) -> list[Any]:
    """The annotations of a type, also of one that may be None."""
    if isinstance(annotation, TypeAliasType):
        return _metadata(annotation.__value__)
    if get_origin(annotation) is Annotated:
        inner, *own = get_args(annotation)
        spread = [m for each in own for m in (getattr(each, "metadata", None) or [each])]
        return _metadata(inner) + spread
    if get_origin(annotation) in (Union, types.UnionType):
        members = [each for each in get_args(annotation) if each is not type(None)]
        return _metadata(members[0]) if len(members) == 1 else []
    return []


def expected_of(field: FieldInfo) -> str:
    """The words for what a field may be, where its annotations say it; else nothing."""
    said = (*field.metadata, *_metadata(field.annotation))
    return next((each.words for kind in (Expected, Quantity) for each in said
                 if isinstance(each, kind)), "")  # fmt: skip


def _shown(value: Any) -> str:
    if not value and value != 0:
        return "empty"
    if isinstance(value, Mapping):
        return "a map"
    if isinstance(value, list | tuple):
        return "a list"
    text = str(value)
    return f"'{text[:40]}{'...' if len(text) > 40 else ''}'"


def _fields(model: type[BaseModel]) -> dict[str, FieldInfo]:
    """The fields of a model by the keys that files use."""
    return {each.alias or name: each for name, each in model.model_fields.items()}


def _below(annotation: Any, part: int | str) -> tuple[Any, type[BaseModel] | None, bool]:
    """The annotation one step of a fault's path further down; the model that the step is taken
    in, if it is one; and whether the step only names a member of a union."""
    annotation = _bare(annotation)
    origin, parameters = get_origin(annotation), get_args(annotation)
    if origin in (Union, types.UnionType):
        members = [each for each in parameters if each is not type(None)]
        return next((each for each in members if part in _tags(each)), None), None, True
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        field = _fields(annotation).get(str(part))
        return (field.annotation if field else None), annotation, False
    if not parameters:
        return None, None, False
    if isinstance(part, str):  # the key of a map
        return parameters[-1], None, False
    one_each = origin is tuple and parameters[-1] is not Ellipsis and part < len(parameters)
    return parameters[part if one_each else 0], None, False


def _tags(member: Any) -> set[Any]:
    """The values of the discriminator of a union by which pydantic names this member."""
    fields = getattr(_bare(member), "model_fields", {})
    literals = (each.annotation for each in fields.values())
    return {tag for each in literals if get_origin(each) is Literal for tag in get_args(each)}
