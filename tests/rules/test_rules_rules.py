"""What a rule file may say, and what is answered to what it may not."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from targetsel.errors import RuleError
from targetsel.rules.rules import Rules, find_rules, shipped_rules
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
    with pytest.raises(RuleError) as caught:
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
    assert (rules["ELG"].bit, rules["ELG"].priority, rules["ELG"].limit.total) == (0, 3200, 100)
    assert str(rules["ELG"].where[1]) == "(P(ew_halpha > 50 Angstrom) >= 0.8)"
    assert rules["FILLER"].rank is None
    assert len(rules["FILLER"].where) == 1


def test_unknown_class_is_asked_about():
    with pytest.raises(
        RuleError, match=r"emission: unknown target class 'ELGS'\. Did you mean 'ELG'"
    ):
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
        ("FILLER:", "ELG:", "15:3: error: duplicate key 'ELG' (first at line 7); remove one"),
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
            "8:10: error: bit is '64'; expected a whole number, 0 to 62: position in target_bits; "
            "without it, that of rules.bits or the lowest free",
        ),
        ("bit: 0", "bit: no", "bit is 'no'; expected a whole number, 0 to 62"),
        ("bit: 62", "bit: 0", "16:10: error: bit 0 is already used by ELG (line 7); take bit 1"),
        (
            "{total: 100}",
            "{total: 0}",
            "14:20: error: total is '0'; expected a whole number, 1 to ",
        ),
        (
            "{total: 100}",
            "{per_deg: 5}",
            "14:13: error: unknown key 'per_deg' in classes.ELG.limit. Did you mean 'per_deg2' or ",
        ),
        (
            "{total: 100}",
            "100",
            "14:12: error: limit is '100'; expected a map of keys and values, such as per_deg2, ",
        ),
        (
            "limit: {total: 100}",
            "limit: {total: min(1, 2)}",
            "unknown key '2)' in classes.ELG.limit. Inside { }, quote what has a comma in it.",
        ),
        ("{total: 100}", "{by: hash}", "14:12: error: limit needs per_deg2, per_cell or total"),
        ("{total: 100}", "{total: 1, nside: 8}", "nside needs per_deg2: it is the pixels"),
        ("{total: 100}", "{total: 1, by: luck}", "by is 'luck'; expected 'rank' or 'hash'"),
        ("{total: 100}", "{per_deg2: 0}", "per_deg2 is '0'; expected a number above 0"),
        ("{total: 100}", "{per_deg2: 9, nside: 7}", "nside must be a power of two"),
        (
            "bit: 62",
            "sample: 80\n    bit: 62",
            "16:13: error: sample is '80'; expected a share, above 0 and up to 1, e.g. 0.1 or 10",
        ),
        (
            "bit: 62",
            "dedup: 2\n    bit: 62",
            "dedup is '2'; expected a map of keys and values, such as within",
        ),
        (
            "bit: 62",
            "dedup: {within: 2}\n    bit: 62",
            "within is '2'; expected an angle with its unit, above 0 and up to 180 deg, e.g. 1.5",
        ),
        (
            "bit: 62",
            "unless: EGL\n    bit: 62",
            "unless names a class above this one, not 'EGL'. Did you mean 'ELG'?",
        ),
        ("bit: 0", "unless: FILLER\n    bit: 0", "not 'FILLER'. ELG is the first."),
        ("bit: 62", "exclude: [[a]]\n    bit: 62", "exclude must name a file of sources, e.g."),
        (
            "bit: 62",
            "exclude: {id: a}\n    bit: 62",
            "missing key 'file' in classes.FILLER.exclude",
        ),
        (
            "bit: 62",
            "exclude: {file: a, id: b, within: 1 deg}\n    bit: 62",
            "give id or within: exclude goes by ids or by positions",
        ),
        (
            "bit: 62",
            "guarantee: {purity: 2}\n    bit: 62",
            "purity is '2'; expected a share, above 0",
        ),
        (
            "bit: 62",
            "guarantee: {purity: 0.9, kind: x}\n    bit: 62",
            "kind is 'x'; expected 'list' or 'average'",
        ),
        (
            "bit: 62",
            "guarantee: {purity: 0.9, confidence: 1}\n    bit: 62",
            "confidence is '1'; expected a number, 0.5 up to less than 1",
        ),
        (
            "bit: 62",
            "guarantee: {purity: 0.9, kind: average, confidence: 0.8}\n    bit: 62",
            "confidence is of kind: list, and an average has none; remove it",
        ),
        ("seed: 7", "seed: 1:30", "3:7: error: seed is '1:30'; expected a whole number, 0 to "),
        (
            "seed: 7",
            "extends: ../../x.yaml",
            "3:10: error: extends must be a file inside the rules",
        ),
        ("seed: 7", "extends: https://a.b/c", "extends must be a file inside the rules folder"),
        ("seed: 7", "extends: x.yaml", "3:10: error: no rule file 'x.yaml' in the folder"),
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
        ("name: emission", "name: [a]", "2:7: error: name is a list; expected a piece of text"),
        ("name: emission", "name: emission\n---\na: 1", "a second YAML document begins here"),
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
        (
            "- a\n",
            "the rule file is a list; expected a map of keys and values, such as schema, name",
        ),
        ("a: &a [x, x]\nb: *a", "YAML anchors and aliases (& and *) are not allowed"),
        ("a: " + "[" * 3000, "nested deeper than 16 levels"),
        ("a: [" + "x," * 60_000 + "]", "50,000 entries at most"),
        ("#" * (1 << 18) + "#", "256 KiB at most"),
        ("? [a]\n: b", "a key must be a plain word"),
        ("a: \x07", "not valid YAML"),
        (GOOD.split("classes")[0] + "classes: {}", "there are no classes; add at least one"),
        (
            GOOD.replace("where: rmag < 21", "where: []"),
            "where is empty; expected 1 to 1000 conditions",
        ),
    ],
)
def test_file_that_is_no_rule_file_is_refused(text, expected):
    assert expected in fault(text)


def test_detail_shows_the_line_of_the_file_and_a_caret():
    with pytest.raises(RuleError) as caught:
        Rules.parse(GOOD.replace("priority: 3200", "priorty: 3200"))
    assert caught.value.detail == "    priorty: 3200\n    ^"


@settings(max_examples=300)
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
        ("3200", "3200 + rmag"),
        ("- bright\n      ", ""),
        ("{total: 100}", "{total: 100, by: hash}"),
        ("{total: 100}", "{per_deg2: 100}"),
        ("rank:", "sample: 0.5\n    rank:"),
        ("rank:", "dedup: {within: 1 arcsec}\n    rank:"),
        ("rank:", "exclude: a.parquet\n    rank:"),
        ("rank:", "guarantee: {purity: 0.9}\n    rank:"),
        ("bit: 62", "unless: ELG\n    bit: 62"),
        ("seed: 7", "seed: 7\nfootprint: {include: a.fits}"),
        ("seed: 7", "seed: 7\nexclude: a.parquet"),
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
    assert find_rules("quiescent.yaml") in shipped_rules()


def test_missing_file_lists_the_shipped_ones(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(RuleError) as caught:
        find_rules("emision.yaml")
    assert str(caught.value) == (
        "emision.yaml: no such file or shipped rule file. Did you mean 'emission'?"
    )


def test_path_of_a_missing_file_is_never_taken_for_a_shipped_one(tmp_path):
    with pytest.raises(RuleError, match="no such file or shipped rule file"):
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


# --- several files -------------------------------------------------------------------------------


def test_extended_file_lends_its_definitions_and_footprint(tmp_path):
    (tmp_path / "common").mkdir()
    (tmp_path / "common/clean.yaml").write_text(
        "schema: targetsel/rules/v1\nextends: base.yaml\nseed: 99\n"
        "define: {bright: rmag < 1, clean: ebv < 0.15 mag}\n"
        "footprint: {include: survey.fits}\n"
    )
    (tmp_path / "common/base.yaml").write_text(
        "schema: targetsel/rules/v1\nname: base\ndefine: {clean: ebv < 9, old: d4000 > 1.6}\n"
        "footprint: {include: all.fits, exclude: stars.reg}\n"
    )
    text = GOOD.replace("seed: 7", "seed: 7\nextends: common/clean.yaml")
    (tmp_path / "a.yaml").write_text(text)
    rules = Rules.read(tmp_path / "a.yaml")
    assert {name: str(node) for name, node in rules["ELG"].preamble.define.items()} == {
        "bright": "(rmag < 20)",  # its own comes before that of a file it extends
        "clean": "(ebv < 0.15 mag)",
        "old": "(d4000 > 1.6)",
    }
    footprint = rules["ELG"].preamble.footprint
    assert [each.file for each in footprint.include] == ["survey.fits"]
    assert [each.file for each in footprint.exclude] == ["stars.reg"]
    assert footprint.include[0].place_of().file == str(tmp_path / "common/clean.yaml")
    assert (rules.seed, [Path(name).name for name, _ in rules.files]) == (
        7,
        ["a.yaml", "clean.yaml", "base.yaml"],
    )


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        (["extends: 0.yaml"], "0.yaml:2:10: error: '0.yaml' extends itself"),
        (["extends: 1.yaml", "extends: 0.yaml"], "1.yaml:2:10: error: '0.yaml' extends itself"),
        (
            [f"extends: {i}.yaml" for i in range(1, 6)] + [""],
            "4.yaml:2:10: error: files extend one another in more than 4 steps",
        ),
        (["extends: 1.yaml", "classes: {}\nx: 1"], "1.yaml:3:1: error: unknown key 'x'"),
    ],
)
def test_extending_in_a_circle_or_too_far_is_refused(tmp_path, texts, expected):
    for i, text in enumerate(texts):
        (tmp_path / f"{i}.yaml").write_text(f"schema: targetsel/rules/v1\n{text}\n")
    first = tmp_path / "0.yaml"
    first.write_text(
        first.read_text() + "name: a\nclasses: {A: {bit: 0, priority: 0, where: x > 1}}"
    )
    with pytest.raises(RuleError) as caught:
        Rules.read(first)
    assert expected in str(caught.value)


def test_files_used_together_keep_their_own_definitions_and_seeds():
    other = GOOD.replace("emission", "other").replace("seed: 7", "seed: 8")
    other = other.replace("rmag < 20", "rmag < 15").replace("bit: 0", "bit: 5")
    other = other.replace("bit: 62", "bit: 6").replace("ELG:", "LRG:").replace("FILLER:", "MORE:")
    parts = [Rules.parse(GOOD, "a.yaml"), Rules.parse(other, "b.yaml")]
    both = Rules.together(parts)
    assert (both.name, both.seed) == ("emission+other", 7)
    assert [each.preamble.seed for each in both.classes] == [7, 7, 8, 8]
    assert str(both["LRG"].preamble.define["bright"]) == "(rmag < 15)"
    assert both["LRG"].canonical == parts[1]["LRG"].canonical
    assert Rules.together(parts[:1]) is parts[0]


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (
            "x: 1",
            "x: 1",
            "b.yaml:7:3: error: there is already a class ELG (a.yaml, line 7); rename",
        ),
        ("ELG:", "LRG:", "b.yaml:8:10: error: bit 0 is already used by ELG (a.yaml, line 7)"),
    ],
)
def test_files_with_one_bit_or_name_cannot_be_used_together(old, new, expected):
    other = GOOD.replace("FILLER", "REST").replace(old, new)
    parts = [Rules.parse(GOOD, "a.yaml"), Rules.parse(other, "b.yaml")]
    with pytest.raises(RuleError) as caught:
        Rules.together(parts)
    assert expected in str(caught.value)
