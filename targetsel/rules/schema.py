"""The JSON schema of rule files, for completion and checks in editors (draft 7)."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from targetsel.rules.binding import Columns
from targetsel.rules.bits import HIGHEST
from targetsel.rules.reading import SCHEMA

_WORD = "^[A-Za-z_][A-Za-z_0-9]*$"


def json_schema(catalog: pa.Schema | None = None) -> dict[str, Any]:
    """The schema of a rule file; with the columns of a catalog, if one is given."""
    expression = {"type": ["string", "number"], "description": _about_expressions(catalog)}
    shared = {
        "expression": expression,
        "angle": {"type": "string", "examples": ["1.5 arcsec", "2 arcmin", "0.5 deg"]},
        "share": {"type": ["string", "number"], "examples": ["10 percent", 0.1]},
        "exclude": _one_or_many(_exclusion()),
        "shape": _shape(),
        "class": _class(),
    }
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "targetsel rule file",
        "type": "object",
        "required": ["schema", "name", "classes"],
        "additionalProperties": False,
        "properties": {
            "schema": {"const": SCHEMA},
            "name": _text("Of the rules, written into target lists."),
            "description": _text("What the targets are for."),
            "source": _text("The paper or proposal behind the rules."),
            "seed": _integer(
                0, 2**63 - 1, "With the source's id, all that ties and samples depend on."
            ),
            "extends": _text("A rule file of this folder, for its define and footprint."),
            "define": {
                "description": "Named conditions and numbers.",
                "type": "object",
                "propertyNames": {"pattern": _WORD},
                "additionalProperties": _ref("expression"),
            },
            "footprint": {
                "description": "Where on the sky; files, cones, polygons, HEALPix pixels.",
                "type": "object",
                "additionalProperties": False,
                "properties": {
                    "include": _one_or_many(_ref("shape")),
                    "exclude": _one_or_many(_ref("shape")),
                },
            },
            "exclude": _ref("exclude"),
            "classes": {
                "description": "The target classes, by name.",
                "type": "object",
                "minProperties": 1,
                "propertyNames": {"pattern": _WORD},
                "additionalProperties": _ref("class"),
            },
        },
        "definitions": shared,
    }


def _class() -> dict[str, Any]:
    return {
        "type": "object",
        "required": ["bit", "priority", "where"],
        "additionalProperties": False,
        "properties": {
            "description": _text("What the members are."),
            "bit": _integer(0, HIGHEST, "In target_bits; never reused, see rules.bits."),
            "priority": {
                "description": "Higher is more wanted; a number, or an expression.",
                "type": ["integer", "string"],
            },
            "where": {
                **_one_or_many(_ref("expression")),
                "description": "Conditions that must all be true.",
            },
            "unless": {
                **_one_or_many({"type": "string"}),
                "description": "Classes above this one whose members are none of this class.",
            },
            "exclude": _ref("exclude"),
            "guarantee": {
                "description": "Choose the threshold on the probability for this purity.",
                "type": "object",
                "required": ["purity"],
                "additionalProperties": False,
                "properties": {"purity": _ref("share"), "method": {"const": "conformal"}},
            },
            "sample": {
                **_ref("share"),
                "description": "Keep this share of the members, by a hash of the id.",
            },
            "dedup": {
                "description": "Of sources this close together keep the best.",
                "type": "object",
                "required": ["within"],
                "additionalProperties": False,
                "properties": {"within": _ref("angle")},
            },
            "rank": _ref("expression"),
            "limit": {
                "description": "The most targets, per square degree and in all.",
                "type": "object",
                "additionalProperties": False,
                "properties": {
                    "per_deg2": {"type": "number", "exclusiveMinimum": 0},
                    "nside": _integer(1, 2**24, "HEALPix resolution, a power of two."),
                    "total": _integer(1, 2**62, "The most in all."),
                    "by": {"enum": ["rank", "hash"]},
                },
            },
        },
    }


def _exclusion() -> dict[str, Any]:
    by_file = {
        "type": "object",
        "required": ["file"],
        "additionalProperties": False,
        "properties": {
            "file": _text("A table of sources to leave out."),
            "id": _text("Its column of ids."),
            "within": _ref("angle"),
        },
    }
    return {"anyOf": [{"type": "string"}, by_file]}


def _shape() -> dict[str, Any]:
    number = {"type": ["number", "string"]}

    def only(key: str, inner: dict[str, Any]) -> dict[str, Any]:
        return {
            "type": "object",
            "required": [key],
            "additionalProperties": False,
            "properties": {key: inner},
        }

    def of(**properties: dict[str, Any]) -> dict[str, Any]:
        return {
            "type": "object",
            "required": list(properties),
            "additionalProperties": False,
            "properties": properties,
        }

    corner = {"type": "array", "items": number, "minItems": 2, "maxItems": 2}
    pixels = {"anyOf": [{"type": "string"}, _one_or_many({"type": "integer", "minimum": 0})]}
    return {
        "anyOf": [
            {"type": "string", "description": "A MOC or a DS9 region file."},
            only("cone", of(ra=number, dec=number, radius=_ref("angle"))),
            only("polygon", {"type": "array", "items": corner, "minItems": 3}),
            only("healpix", of(nside=_integer(1, 2**24, "A power of two."), pixels=pixels)),
        ]
    }


def _about_expressions(catalog: pa.Schema | None) -> str:
    about = (
        "An expression, such as P(ew_halpha > 50 Angstrom and ew_oiii > 10) >= 0.8. Words: and, "
        "or, not, between, in, is missing; functions: P, std, q, abs, sqrt, log10, min, max, mag, "
        "finite, has_bit, in_moc, within, catalog_quantile."
    )
    if catalog is None:
        return about
    columns = Columns(catalog)
    named = (f"{name} [{unit}]" if (unit := columns[name].unit) else name for name in columns.names)
    return f"{about} Columns: {', '.join(named)}."


def _text(description: str) -> dict[str, Any]:
    return {"type": "string", "description": description}


def _integer(low: int, high: int, description: str) -> dict[str, Any]:
    return {"type": "integer", "minimum": low, "maximum": high, "description": description}


def _ref(name: str) -> dict[str, Any]:
    return {"$ref": f"#/definitions/{name}"}


def _one_or_many(item: dict[str, Any]) -> dict[str, Any]:
    return {"anyOf": [item, {"type": "array", "items": item}]}
