"""JSON schemas, draft 7, of the files that users write: editors complete and check by them."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

_BOUNDS = {"ge": "minimum", "le": "maximum", "gt": "exclusiveMinimum", "lt": "exclusiveMaximum"}


def draft_7(model: type[BaseModel], title: str) -> dict[str, Any]:
    """The JSON schema of a model's files."""
    schema = _plain(model.model_json_schema(ref_template="#/definitions/{model}"))
    schema = {"$schema": "http://json-schema.org/draft-07/schema#", **schema, "title": title}
    schema["definitions"] = schema.pop("$defs", {})
    return schema


def _plain(schema: Any) -> Any:
    """The schema in the words of draft 7, without defaults, which an editor would insert."""
    if isinstance(schema, list):
        return [_plain(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    found = {
        _BOUNDS.get(key, key): _plain(value)
        for key, value in schema.items()
        if key != "default" and not (key == "title" and isinstance(value, str))
    }
    if isinstance(found.get("description"), str):
        found["description"] = found["description"].split("\n\n")[0]
    if "patternProperties" in found:
        found["additionalProperties"] = False
    options = found.get("anyOf")
    if isinstance(options, list):
        kept = [each for each in options if each != {"type": "null"}]
        if len(kept) == 1:
            del found["anyOf"]
            return {**kept[0], **found}
        found["anyOf"] = kept
    return found
