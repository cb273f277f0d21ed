"""The JSON schema of rule files."""

import json

import pyarrow as pa
import pytest
import yaml

from targetsel.errors import RuleError
from targetsel.rules.rule_file import json_schema
from targetsel.rules.rules import Rules, shipped_rules
from tests.selection.scored_by_hand import scored_table

jsonschema = pytest.importorskip("jsonschema")
VALIDATOR = jsonschema.Draft7Validator(json_schema())
GOOD = """
schema: targetsel/rules/v1
name: a
seed: 3
extends: common.yaml
define: {clean: ebv < 0.15 mag, bit: 1}
footprint:
  include: [a.fits, {cone: {ra: 1, dec: 2, radius: 3 deg}}]
  exclude: [{polygon: [[1, 2], [3, 4], [5, 6]]}, {healpix: {nside: 4, pixels: [1, 2]}}]
exclude: [seen.parquet, {file: b.parquet, within: 1 arcsec}]
classes:
  A:
    bit: 0
    priority: 3000 + rmag
    where: [clean, rmag < 20]
    sample: 10 percent
    dedup: {within: 2 arcsec}
    rank: rmag
    limit: {per_deg2: 240, nside: 64, total: 9, by: hash}
    guarantee: {purity: 0.9, kind: average}
  B: {bit: 1, priority: 5, where: clean, unless: [A]}
"""


def test_schema_is_a_draft_7_schema_and_takes_good_rules():
    jsonschema.Draft7Validator.check_schema(json_schema())
    VALIDATOR.validate(yaml.safe_load(GOOD))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("bit: 0", "bit: 63"),
        ("bit: 0", "bits: 0"),
        ("name: a", "names: a"),
        ("by: hash", "by: luck"),
        ("{cone:", "{con:"),
        ("rules/v1", "rules/v2"),
        ("purity: 0.9, ", ""),
    ],
)
def test_schema_refuses_what_the_reader_refuses(old, new):
    text = GOOD.replace(old, new, 1)
    assert not VALIDATOR.is_valid(yaml.safe_load(text))
    with pytest.raises(RuleError):
        Rules.parse(text)


@pytest.mark.parametrize("path", shipped_rules(), ids=lambda path: path.stem)
def test_shipped_rules_obey_the_shipped_schema_and_name_it(path):
    shipped = path.parent / "schema-v1.json"
    again = "write it with: targetsel rules schema > rules/schema-v1.json"
    assert json.loads(shipped.read_text()) == json_schema(), again
    assert path.read_text().startswith(f"# yaml-language-server: $schema={shipped.name}\n")
    VALIDATOR.validate(yaml.safe_load(path.read_text()))


def test_columns_of_a_catalog_are_offered():
    others = {"type": (pa.array(["PSF"]), ""), "flag": (pa.array([True]), "")}
    schema = json_schema(scored_table([[1, 1, 1]], [[1, 1, 1]], columns=others).schema)
    about = schema["definitions"]["Expression"]["description"]
    assert "ew_halpha [Angstrom]" in about
    assert "d4000_std" in about
    assert "type (text), flag (true or false)" in about
