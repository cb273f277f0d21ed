"""The JSON schema of rule files, for completion and checks in editors (draft 7)."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from targetsel.rules.columns import CatalogColumns
from targetsel.rules.rules import RuleFile

_BOUNDS = {"ge": "minimum", "le": "maximum", "gt": "exclusiveMinimum", "lt": "exclusiveMaximum"}


def json_schema(catalog: pa.Schema | None = None) -> dict[str, Any]:
    """The schema of a rule file; with the columns of a catalog, if one is given.

    It is made from the models that read rule files (`rules.RuleFile`).
    """
    schema = _plain(RuleFile.model_json_schema(ref_template="#/definitions/{model}"))
    schema = {
        "$schema": "http://json-schema.org/draft-07/schema#",
        **schema,
        "title": "targetsel rule file",
    }
    schema["definitions"] = schema.pop("$defs")
    schema["properties"]["classes"]["minProperties"] = 1
    if catalog is not None:
        columns = CatalogColumns(catalog)
        named = (
            f"{name} [{unit}]" if (unit := columns[name].unit) else name for name in columns.names
        )
        schema["definitions"]["Expression"]["description"] += f" Columns: {', '.join(named)}."
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
