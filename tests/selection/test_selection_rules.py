"""What a rule file may say, and what is answered to what it may not."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from targetsel.errors import RuleError
from targetsel.selection.place import RuleErrorAt
from targetsel.selection.rules import Rules, find_rules
from tests.selection.scored_by_hand import rule_text

GOOD = """\
schema: targetsel/rules/v1
name: emission
seed: 7
define:
  bright: rmag < 20
classes:
  ELG:
    bit: 0
    priority: 3200
    where:
      - bright
      - P(ew_halpha > 50 Angstrom) >= 0.8
    rank: P(ew_halpha > 50 Angstrom)
    limit: {total: 100}
  FILLER:
    bit: 62
    priority: -5
    where: rmag < 21
"""


def fault(text: str) -> str:
    with pytest.raises(RuleErrorAt) as caught:
        Rules.parse(text, "rules.yaml")
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_rules_hold_what_the_file_says():
    rules = Rules.parse(GOOD)
    assert (rules.name, rules.seed, [each.name for each in rules.classes]) == (
        "emission",
        7,
        ["ELG", "FILLER"],
    )
    assert (rules["ELG"].bit, rules["ELG"].priority, rules["ELG"].total) == (0, 3200, 100)
    assert str(rules["ELG"].where[1]) == "(P(ew_halpha > 50 Angstrom) >= 0.8)"
    assert rules["FILLER"].rank is None
    assert len(rules["FILLER"].where) == 1


def test_unknown_class_is_asked_about():
    with pytest.raises(RuleError, match=r"no target class 'ELGS' in emission\. Did you mean 'ELG'"):
        Rules.parse(GOOD)["ELGS"]


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (
            "priority: 3200",
            "priorty: 3200",
            "9:5: error: unknown key 'priorty' in classes.ELG. Did you mean 'priority'?",
        ),
        ("    priority: 3200\n", "", "7:3: error: missing key 'priority' in classes.ELG"),
        ("name: emission\n", "", "1:1: error: missing key 'name' in the rule file"),
        ("FILLER:", "ELG:", "15:3: error: duplicate key 'ELG' (first at line 7)"),
        (
            "- bright",
            "- > 5",
            "11:11: error: not valid YAML: did not find expected comment or line break; "
            "quote expressions that start with > & * ! or %",
        ),
        ("- bright", "- &P(x) > 5", "; quote expressions that start with > & * ! or %"),
        ("- bright", "- >", "11:9: error: the expression is empty; quote expressions that"),
        ("- bright", "- &x rmag > 5", "YAML anchors and aliases (& and *) are not allowed"),
        ("- bright", "- !in_moc(x)", "YAML tags (!) are not allowed; quote expressions"),
        (
            "- bright",
            "- *bright",
            "11:9: error: YAML anchors and aliases (& and *) are not allowed; use `define:`",
        ),
        ("- bright", "- @bright", "11:9: error: not valid YAML: "),
        ("- bright", "- {a: 1}", "11:9: error: expected an expression"),
        ("- bright", "- rmag < 22.5 magg", "11:21: error: unknown unit 'magg'. Did you mean 'mag'"),
        ("- bright", "- 'rmag = 2'", "11:15: error: '=' is not a comparison; write == to compare"),
        ("- bright", "- >\n        rmag\n        = 2", "11:9: error: '=' is not a comparison"),
        (
            "bit: 0",
            "bit: 64",
            "8:10: error: bit must be a whole number, 0 to 62 (bit 63 is the sign bit of int64), "
            "not '64'",
        ),
        ("bit: 0", "bit: no", "bit must be a whole number, 0 to 62"),
        ("bit: 62", "bit: 0", "16:10: error: bit 0 is already used by ELG (line 7)"),
        ("{total: 100}", "{total: 0}", "14:20: error: total must be a whole number, 1 to "),
        (
            "{total: 100}",
            "{per_deg2: 5}",
            "14:13: error: unknown key 'per_deg2' in limit. Known here: total.",
        ),
        ("{total: 100}", "100", "14:12: error: limit is a map of keys and values"),
        ("seed: 7", "seed: 1:30", "3:7: error: seed must be a whole number"),
        (
            "bright: rmag < 20",
            "a: b > 1\n  b: a + 1",
            "5:3: error: definitions form a cycle: a -> b -> a",
        ),
        (
            "bright: rmag < 20",
            "bright: bright",
            "5:3: error: definitions form a cycle: bright -> bright",
        ),
        ("bright:", "P:", "5:3: error: 'P' is already a function"),
        ("bright:", "my cut:", "5:3: error: 'my cut' cannot be a name"),
        (
            "rules/v1",
            "rules/v9",
            "unknown schema 'targetsel/rules/v9'; this version reads targetsel/rules/v1",
        ),
        ("name: emission", "name: [a]", "2:7: error: name is a piece of text"),
        ("name: emission", "name: emission\n---\na: 1", "a rule file holds one YAML document"),
    ],
)
def test_fault_in_the_file_is_named_with_its_place(old, new, expected):
    message = fault(GOOD.replace(old, new, 1))
    assert message.startswith("rules.yaml:")
    assert expected in message


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "the file is empty"),
        ("- a\n", "a rule file is a map of keys"),
        ("a: &a [x, x]\nb: *a", "YAML anchors and aliases (& and *) are not allowed"),
        ("a: " + "[" * 3000, "nested deeper than 16 levels"),
        ("a: [" + "x," * 60_000 + "]", "50000 entries at most"),
        ("#" * (1 << 20) + "#", "1 MiB at most"),
        ("? [a]\n: b", "a key must be a plain word"),
        ("a: \x07", "not valid YAML"),
        (GOOD.split("classes")[0] + "classes: {}", "there are no classes; add at least one"),
        (GOOD.replace("where: rmag < 21", "where: []"), "where is empty; write at least one"),
    ],
)
def test_file_that_is_no_rule_file_is_refused(text, expected):
    assert expected in fault(text)


def test_detail_shows_the_line_of_the_file_and_a_caret():
    with pytest.raises(RuleErrorAt) as caught:
        Rules.parse(GOOD.replace("priority: 3200", "priorty: 3200"))
    assert caught.value.detail == "    priorty: 3200\n    ^"


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_damaged_file_is_a_rule_error_and_nothing_else(data):
    start = data.draw(st.integers(0, len(GOOD)))
    end = data.draw(st.integers(start, min(start + 8, len(GOOD))))
    inserted = data.draw(st.text(alphabet="a0 \n:-[]{}&*!'\"#>|P(.é", max_size=6))
    try:
        Rules.parse(GOOD[:start] + inserted + GOOD[end:])
    except RuleError as error:
        message = str(error)
    else:
        return
    assert "\n" not in message


def test_hash_depends_on_meaning_only():
    known = Rules.parse(GOOD).sha256
    same = (
        GOOD.replace("seed: 7", "description: Anything.\nsource: A paper.\nseed: 7  # for ties")
        .replace("    bit: 0\n    priority: 3200", "    priority: 3200\n    bit: 0")
        .replace("P(ew_halpha > 50 Angstrom) >= 0.8", "P( ew_halpha>50 Angstrom )  >=  .8")
        .replace("bright", "luminous")
    )
    assert same != GOOD
    assert Rules.parse(same).sha256 == known


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("rmag < 20", "rmag < 20.5"),
        ("seed: 7", "seed: 8"),
        ("bit: 0", "bit: 1"),
        ("0.8", "0.9"),
        ("total: 100", "total: 101"),
        ("3200", "3201"),
        ("- bright\n      ", ""),
    ],
)
def test_hash_changes_with_the_meaning(old, new):
    assert Rules.parse(GOOD).sha256 != Rules.parse(GOOD.replace(old, new)).sha256


@pytest.mark.parametrize("levels", [8, 9, 200])
def test_definitions_build_on_one_another_in_eight_levels_at_most(levels):
    chain = (f"a{i}: a{i - 1} and a{i - 1}" for i in range(1, levels))
    text = rule_text(f"a{levels - 1}", define=", ".join(["a0: x > 1", *chain]))
    if levels <= 8:
        assert len(Rules.parse(text).sha256) == 64
    else:
        assert "3:" in fault(text)
        assert "'a8' builds on definitions more than 8 levels deep" in fault(text)


def test_file_is_read_where_it_lies_before_the_shipped_ones(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("emission").write_text(GOOD)
    assert find_rules("emission") == Path("emission")
    Path("aberrant.yaml").write_text(GOOD)
    assert find_rules("aberrant") == find_rules("aberrant.yaml") == Path("aberrant.yaml")
    assert find_rules("quiescent.yaml").parent.name == "rules"


def test_missing_file_lists_the_shipped_ones(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(RuleError) as caught:
        find_rules("emision.yaml")
    assert str(caught.value) == (
        "emision.yaml: no such rule file. Shipped with targetsel: aberrant, emission, quiescent. "
        "Did you mean 'emission'?"
    )


def test_path_of_a_missing_file_is_never_taken_for_a_shipped_one(tmp_path):
    with pytest.raises(RuleError, match="no such rule file"):
        find_rules(tmp_path / "emission.yaml")


def test_file_that_is_not_text_is_refused(tmp_path):
    (tmp_path / "rules.yaml").write_bytes(b"\xff\xfe")
    with pytest.raises(RuleError, match="not UTF-8 text"):
        Rules.read(tmp_path / "rules.yaml")


@pytest.mark.parametrize("name", ["emission", "quiescent", "aberrant"])
def test_shipped_rules_are_readable_and_name_their_source(name):
    rules = Rules.read(name)
    assert rules.name == name
    assert "20" in rules.source
