"""Keys of files that users write, such as rule files and settings, told by their models."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic_core import PydanticUndefined

from targetsel.documents.json_schema import draft_7
from targetsel.documents.models import DocumentModel, expected_of
from targetsel.manual.entries import code, definitions, sentence

LONGEST = 15  # digits of a bound that is shown
_TYPES = {
    "string": "text",
    "number": "a number",
    "integer": "a whole number",
    "boolean": "true or false",
    "array": "a list",
    "object": "a map",
    "null": "nothing",
}


@dataclass(frozen=True)
class Key:
    """One key of a map in a file.

    Attributes
    ----------
    name : str
        As it is written in the file.
    values : str
        What may stand behind it, in words.
    meaning : str
    required : bool
    default : str
        As it would be written; empty where there is none.
    """

    name: str
    values: str
    meaning: str
    required: bool
    default: str = ""

    @property
    def text(self) -> str:
        """All about it in two or three sentences."""
        needed = " Required." if self.required else ""
        default = f" Default: {code(self.default)}." if self.default else ""
        meaning = f"{sentence(self.meaning)} " if self.meaning else ""
        return f"{meaning}{sentence(self.values)}{needed}{default}"


def keys_of(model: type[DocumentModel], words: Mapping[str, str] | None = None) -> Iterator[Key]:
    """The keys of a model, in their order.

    Parameters
    ----------
    model : type of DocumentModel
    words : mapping of str
        Words for the values that are models themselves, by the name of the model.
    """
    schema = draft_7(model, "keys")
    for name, field in model.model_fields.items():
        written = field.alias or name
        found = schema["properties"][written]
        about = field.description or found.get("description") or ""
        yield Key(
            written,
            expected_of(field) or values_of(found, schema["definitions"], words or {}),
            " ".join(about.split()),
            field.is_required(),
            _default(field.default),
        )


def listed(keys: Iterator[Key]) -> str:
    """Keys as a definition list."""
    return definitions((code(each.name), each.text) for each in keys)


def values_of(
    schema: Mapping[str, Any], definitions: Mapping[str, Any], words: Mapping[str, str]
) -> str:
    """The values that a JSON schema allows, in words."""

    def known(part: Mapping[str, Any]) -> str:
        return values_of(part, definitions, words)

    if "$ref" in schema:
        name = schema["$ref"].rsplit("/", 1)[-1]
        return words.get(name) or known(definitions[name])
    if "const" in schema:
        return code(str(schema["const"]))
    if "enum" in schema:
        return " or ".join(code(str(each)) for each in schema["enum"])
    if "anyOf" in schema:
        options = list(dict.fromkeys(map(known, schema["anyOf"])))
        if len(options) == 2 and options[1] == f"a list: {options[0]}":
            return f"{options[0]}; or a list of such"
        if len(options) == 2 and options[1] == f"a map of names to values: {options[0]}":
            return f"{options[0]}; or a map of target classes to such"
        return ", or ".join(options)
    kinds = schema.get("type", "string")
    if kinds == "array":
        return f"a list: {known(schema['items'])}" if "items" in schema else "a list"
    if kinds == "object":
        inner = schema.get("additionalProperties") or next(
            iter(schema.get("patternProperties", {}).values()), None
        )
        return f"a map of names to values: {known(inner)}" if inner else "a map"
    kinds = [kinds] if isinstance(kinds, str) else kinds
    text = " or ".join(_TYPES[each] for each in kinds) + _bounds(schema)
    examples = ", ".join(code(str(each)) for each in schema.get("examples", ()))
    return f"{text}, such as {examples}" if examples else text


def _bounds(schema: Mapping[str, Any]) -> str:
    """The range of a number, as the end of a phrase."""
    forms = {
        "minimum": "{} or more",
        "exclusiveMinimum": "more than {}",
        "maximum": "{} or less",
        "exclusiveMaximum": "less than {}",
    }
    told = [
        form.format(f"{schema[key]:g}" if isinstance(schema[key], float) else schema[key])
        for key, form in forms.items()
        if key in schema and len(str(schema[key])) < LONGEST
    ]
    return f", {' and '.join(told)}" if told else ""


def _default(value: object) -> str:
    if value is PydanticUndefined or value in (None, "", ()):
        return ""
    return str(value).lower() if isinstance(value, bool) else str(value)
