"""All faults of a rule file at once, and none that only follows from another."""

import re

import pytest

from targetsel.errors import RuleError
from targetsel.rules.checking import MOST_FAULTS, check
from targetsel.rules.rules import Rules
from targetsel.scored.columns import CATALOG, scored_columns
from targetsel.tables.columns import schema_of

SCORED = schema_of([*CATALOG, *scored_columns(1, 1)])
HEAD = "schema: targetsel/rules/v1\nname: test\n"  # two lines
SOUND = "classes:\n  A: {priority: 1, where: support}\n"


@pytest.fixture
def found(tmp_path):
    def findings(text, schema=None):
        (tmp_path / "a.yaml").write_text(text)
        said = check(tmp_path / "a.yaml", schema)
        return [re.sub(r"^.*?a\.yaml:", "", str(each)) for each in said.in_order]

    return findings


BROKEN = """schema: targetsel/rules/v1
nam: broken
define:
  bright: rmag < 20 magg
  faint: not bright
  old: d4000 > 1.6
classes:
  A:
    bit: 70
    priority: 1
    where:
      - bright
      - typicality > 1
      - P(ew_halpa > 20 Angstrom) >= 0.8
    rank: P(old
  B:
    bit: 3
    wherre:
      - faint
      - rmga < 20 mag
    unless: [AA]
  C:
    bit: 3
    priority: 2
    where: old and
    limit: {totl: 3}
"""


def test_every_fault_is_told_in_the_order_of_lines_and_nothing_that_follows_from_it(found):
    expected = [
        "2:1: error: unknown key 'nam' in the rule file. Did you mean 'name'?",
        "4:21: error: unknown unit 'magg'",
        "9:10: error: bit is '70'",
        "13:9: warning: can never be true: typicality is 0 to 1",
        "14:11: error: unknown column 'ew_halpa'. Did you mean 'ew_halpha'",
        "15:16: error: expected ')'; the '(' opened at column 12",
        "16:3: error: missing key 'priority' in classes.B",
        "18:5: error: unknown key 'wherre' in classes.B. Did you mean 'where'?",
        "20:9: error: unknown column 'rmga'",
        "21:14: error: unless names a class above this one, not 'AA'",
        "23:10: error: bit 3 is already used by B (line 16); take bit 0",
        "25:19: error: the expression ends too early",
        "26:13: error: unknown key 'totl' in classes.C.limit. Did you mean 'total'?",
    ]
    said = found(BROKEN, SCORED)
    said = [each[: len(begin)] for each, begin in zip(said, expected, strict=False)]
    assert said == expected


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        (
            HEAD + "define: {a: b > 1, b: a > 1, c: a}\nclasses:\n  A: {priority: 1, where: c}\n",
            [3],
        ),
        (HEAD + "classes:\n  A: {priority: 1, where: x >}\n", [4]),
        (HEAD + "classes: {}\n", [3]),
        (HEAD + "classes:\n  A: 3\n  B: {priority: 1, where: support, unless: A}\n", [4]),
        (HEAD + "extends: nothing.yaml\nclasses:\n  A: {priority: 1, where: x}\n", [3]),
        ("schema: other/v1\n" + SOUND, [1]),
        ("name: x\nclasses:\n  A: {priority: 1, where: support}\n", [1]),
        ("{", [2]),
        (HEAD + SOUND + "footprint: {cones: 3}\nseed: x\n", [5, 6]),
        (HEAD + "classes:\n  A: {priority: 1, where: [x > 3, x], rank: y, sample: 3}\n", [4, 4]),
        (HEAD + "classes:\n  A: {priority: 1, where: support, where: x}\n  B: 3\n", [4]),
    ],
)
def test_file_that_is_beyond_reading_ends_with_what_is_known(found, text, lines):
    said = found(text)
    assert [int(each.split(":")[0]) for each in said] == lines, said


def test_conditions_that_were_taken_out_are_not_asked_for(found):
    where = "[typicality > 0.01 mag, P(d4000 > 1.5) > 0.5]"
    (said,) = found(f"{HEAD}classes:\n  A: {{priority: 1, where: {where}}}\n")
    assert "typicality" in said


@pytest.mark.parametrize("length", [3, 40])
def test_first_error_of_reading_is_among_those_of_the_check_wherever_text_is_lost(tmp_path, length):
    path = tmp_path / "a.yaml"
    for start in range(0, len(BROKEN), 7):
        path.write_text(BROKEN[:start] + BROKEN[start + length :])
        with pytest.raises(RuleError) as caught:
            Rules.read(path)
        errors = check(path).errors
        assert str(caught.value) in map(str, errors)
        assert all("^" in each.detail for each in errors)


def test_faults_without_number_are_told_up_to_a_number(found):
    where = ", ".join(f"x{k} >" for k in range(150))
    said = found(f"{HEAD}classes:\n  A: {{priority: 1, where: [{where}]}}\n")
    assert len(said) == MOST_FAULTS


def test_sound_file_has_no_findings(tmp_path):
    (tmp_path / "a.yaml").write_text(HEAD + SOUND)
    assert not check(tmp_path / "a.yaml")
