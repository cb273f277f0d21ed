"""Advice on rules that are valid."""

import pyarrow as pa
import pytest

from targetsel.errors import RuleError
from targetsel.rules.columns import footer
from targetsel.rules.facts import facts_of
from targetsel.rules.lint import lint
from targetsel.rules.plan import plan
from targetsel.rules.rules import Rules, shipped_rules
from targetsel.scored.columns import CATALOG, scored_columns
from targetsel.tables.columns import schema_of
from targetsel.tables.parquet import write_table
from tests.selection.scored_by_hand import rule_text, scored_table


def remarks(*where: str, scored=None, rest="", define="") -> list[str]:
    rules = Rules.parse(rule_text(*where, rest=rest, define=define), "rules.yaml")
    schema, strange = (None, None) if scored is None else facts_of(scored)
    return [str(each) for each in lint(rules, schema, strange)]


@pytest.fixture
def scored(tmp_path):
    typicality = pa.array([0.5, 0.005, None, 0.7], pa.float32())
    table = scored_table([[1, 1, 1]] * 4, [[1, 1, 1]] * 4, columns={"typicality": (typicality, "")})
    write_table(table, tmp_path / "a.scored.parquet", footer(table.schema))
    return tmp_path / "a.scored.parquet"


@pytest.mark.parametrize(
    "where",
    [
        ("typicality > 0.01", "P(ew_halpha > 50 AA and ew_oiii > 10 AA) >= 0.5"),
        ("rmag < 20 mag", "rmag > 18"),
        ("0.2 < P(ew_halpha > 20 AA) < 0.8", "typicality > 0.01"),
        ("rmag <= 20 and rmag >= 20",),
        ("std(d4000) > 0.2", "ew_halpha is missing"),
        ("0.1 < P(d4000 < 1) < 0.9", "typicality > 0.01"),
        ("typicality > 0", "rmag > 17 or rmag < 15", "rmag between 10 and 20"),
        ("field in [1, 2, 3]", "field != 2", "field > 1", "gmag - rmag > 0.5"),
        ("typicality > 0.01", "P(ew_halpha > 0 and ew_halpha / ew_hbeta > 3) >= 0.5"),
    ],
)
def test_sound_rules_draw_no_remark(where):
    assert remarks(*where) == []


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        (
            ["rmag < 18 and rmag > 20"],
            "9:10: warning: can never be true (rmag has no value both < 18 and > 20)",
        ),
        (
            ["rmag < 18 mag", "17 < gmag", "rmag >= 18 mag"],
            "11:10: warning: can never be true (rmag has no value both < 18 and >= 18)",
        ),
        (
            ["typicality > 0.1", "P(d4000 > 2 and d4000 < 1) > 0.5"],
            "10:10: warning: can never be true",
        ),
        (
            ["ew_halpha > 50 AA"],
            "9:10: warning: ignores the uncertainty of ew_halpha; P(ew_halpha > 50 AA) >= 0.5 is "
            "its probabilistic form",
        ),
        (["d4000 between 1 and 2"], "9:10: warning: ignores the uncertainty of d4000"),
        (
            ["rmag < 20 and ew_halpha / ew_hbeta > 3"],
            "9:24: warning: ignores the uncertainty of ew_halpha and ew_hbeta; "
            "P((ew_halpha / ew_hbeta) > 3) >= 0.5 is its probabilistic form",
        ),
        (
            ["typicality > 0.01", "P(ew_halpha > 50 AA and ew_oiii > 10) >= 0.5"],
            "10:44: warning: 10 has no unit, and ew_oiii is in Angstrom; write 10 Angstrom",
        ),
        (["typicality > 1"], "9:10: warning: can never be true: typicality is 0 to 1"),
        (["rmag < 20 or bpt_agn < 0"], "9:23: warning: can never be true: bpt_agn is 0 to 1"),
        (
            ["1 - typicality > 1"],
            "9:10: warning: can never be true: what it compares is 0 to 1",
        ),
        (
            ["masked_fraction <= 1"],
            "9:10: warning: is true wherever masked_fraction is known: it is 0 to 1",
        ),
        (
            ["typicality > 0.1", "P(d4000 > 1.5) >= 0"],
            "10:10: warning: is true wherever a probability is known: it is 0 to 1",
        ),
        (["field == 3", "field in [1, 2]"], "10:10: warning: can never be true (field has no"),
        (["field in [1, 2] and field > 2"], "9:10: warning: can never be true (field has no"),
        (["field in [1] and field != 1"], "9:10: warning: can never be true (field has no"),
        (["flag", "not flag"], "10:10: warning: can never be true (flag has no value that all"),
        (
            ["rmag < 18", "rmag is missing"],
            "10:10: warning: can never be true (rmag is missing, or has a value)",
        ),
        (["rmag < 18", "rmag < 19"], "10:10: warning: has no effect beside < 18 in line 9"),
        (["rmag < 19", "rmag < 18"], "9:10: warning: has no effect beside < 18 in line 10"),
        (["rmag < 18", "rmag < 18"], "10:10: warning: says the same as line 9"),
        (
            ["P(ew_halpha > 50 AA) >= 0.5"],
            "9:10: warning: probabilities are extrapolation for typicality < 0.01; add a condition",
        ),
        (
            ["typicality > 0.01", "P(ew_halpha > 50 AA) > 0.8", "P(ew_oiii > 10 AA) > 0.8"],
            "11:10: warning: P(a) >= p and P(b) >= p is weaker than P(a and b) >= p",
        ),
        (
            ["rmga > 5", "ew_halfa is missing"],
            "10:10: warning: not every scored file has 'ew_halfa'. Did you mean 'ew_halpha'",
        ),
    ],
)
def test_doubtful_rules_draw_one_remark(where, expected):
    (found,) = remarks(*where)
    assert found.startswith(f"rules.yaml:{expected}")


def test_comparison_in_a_definition_is_told_of_where_it_is_written():
    (found,) = remarks("bright", define="bright: d4000 > 1")
    assert found.startswith("rules.yaml:3:18: warning: ignores the uncertainty of d4000")


def test_definition_used_inside_p_only_draws_no_remark():
    assert remarks("typicality > 0.01", "P(old) > 0.5", define="old: d4000 > 1.6") == []


def test_condition_in_a_comment_is_told_of():
    rules = Rules.parse(
        rule_text("x", define="x: rmag < 3").replace("'x'", "rmag < 20 #faint & x > 3"), "r.yaml"
    )
    (found,) = lint(rules)
    assert str(found) == (
        "r.yaml:9:19: warning: text after # is a YAML comment and looks like a condition"
    )
    assert found.detail.splitlines()[1] == " " * 18 + "^"
    assert lint(Rules.parse(rule_text("rmag < 1") + "# rmag < 3 is what we had\n")) == []


def test_catalog_gives_the_share_that_is_strange_and_names_what_is_missing(scored):
    (found,) = remarks("P(ew_halpha > 50 AA) >= 0.5", scored=scored)
    assert "extrapolation for typicality < 0.01 (33.33% of this catalog)" in found
    with pytest.raises(RuleError, match="unknown column 'rmag'"):
        remarks("rmag < 3", scored=scored)


def test_units_agree_without_a_catalog_where_they_are_known():
    assert remarks("rmag < 22.5 mag", "mag(flux_r) < 20 mag", "flux_r / flux_g > 2") == []
    with pytest.raises(RuleError, match="ew_halpha is in Angstrom, the limit is in mag"):
        remarks("P(ew_halpha > 3 mag) > 0.5")


def test_bit_that_is_not_locked_is_told_of(tmp_path):
    (tmp_path / "a.yaml").write_text(rule_text("rmag < 20"))
    (tmp_path / "rules.bits").write_text("5 OTHER\n")
    (found,) = lint(Rules.read(tmp_path / "a.yaml"))
    assert "bit 3 of ELG is not in rules.bits yet; run 'targetsel rules lock'" in str(found)


@pytest.mark.parametrize("path", shipped_rules(), ids=lambda path: path.stem)
def test_shipped_rules_draw_no_remark_and_cite_their_paper(path):
    rules = Rules.read(path)
    assert lint(rules) == []
    assert rules.description
    assert any(word in rules.source for word in ("arXiv", "MNRAS", "ApJ", "PASP"))


def test_shipped_rules_can_all_be_used_together():
    together = Rules.together(Rules.read(path) for path in shipped_rules())
    assert {"EXCITED", "STAR_FORMING", "QUIESCENT", "OFF_MANIFOLD", "MEMBERS_DISAGREE"} <= {
        each.name for each in together.classes
    }


SCORED = schema_of([*CATALOG, *scored_columns(1, 1)])


@pytest.mark.parametrize("name", SCORED.names)
def test_lint_and_select_accept_the_same_of_every_column(name):
    def verdict(ask) -> str:
        try:
            ask()
        except RuleError as error:
            return str(error)
        return "accepted"

    accepted = 0
    for where in (f"{name} > 0", f"{name} is missing", name, f"P({name} > 0) > 0.5"):
        rules = Rules.parse(rule_text(where))
        found = verdict(lambda: lint(rules))  # noqa: B023
        assert found == verdict(lambda: plan(rules, SCORED))  # noqa: B023
        accepted += found == "accepted"
    assert accepted


@pytest.mark.parametrize(
    ("where", "remark"),
    [
        ("status == 'OK'", "no source's status is 'OK'. Did you mean 'ok'?"),
        ("not (status in ['ok', 'lsot'])", "no source's status is 'lsot'. Did you mean 'lost'?"),
        ("ra > 0 or 'nix' == status", "no source's status is 'nix'. It has 'lost', 'ok'."),
        ("status in ['ok', 'lost']", ""),
        ("unmeasured != 'anything'", ""),
    ],
)
def test_text_that_no_source_of_the_catalog_has_is_reported(where, remark):
    texts = {"status": ["lost", "ok"], "unmeasured": None}
    found = lint(Rules.parse(rule_text(where)), SCORED, texts=texts.get)
    assert [each.message.startswith(remark) for each in found] == [True] * bool(remark)


@pytest.mark.parametrize(
    ("conditions", "fault"),
    [
        (("kind == 'a'", "kind == 'b'"), "kind has no value that all these conditions allow"),
        (("kind in ['a', 'b']", "not (kind in ['b', 'a', 'c'])"), "kind has no value that all"),
        (("unmeasured == 'a'", "unmeasured is missing"), "unmeasured is missing, or has a"),
        (("flag == true", "not flag"), "flag has no value that all these conditions allow"),
    ],
)
def test_text_and_flags_that_no_source_can_have_are_reported(conditions, fault):
    (remark,) = lint(Rules.parse(rule_text(*conditions)))
    assert f"can never be true ({fault}" in str(remark)


@pytest.mark.parametrize(
    "where",
    [
        *("flag", "not flag", "flag and rmag < 20", "flag is missing", "flag == true"),
        *("flag in [true]", "flag == support", "status == 'ok'", "not (kind in ['a', 'b'])"),
        *("kind is missing", "kind == status", "kind != survey", "kind != survey and kind == 'a'"),
        *("kind == 'a' and kind == survey and survey != 'b'",),
    ],
)
def test_lint_and_select_accept_columns_of_text_and_of_true_and_false(where):
    rules = Rules.parse(rule_text(where))
    other = {"flag": pa.bool_(), "rmag": pa.float64(), "kind": pa.string(), "survey": pa.string()}
    known = pa.schema([*SCORED, *(pa.field(name, kind) for name, kind in other.items())])
    assert lint(rules) == []
    assert plan(rules, known)


@pytest.mark.parametrize(
    ("first", "second", "kinds"),
    [
        ("flag", "flag > 3", ("a number", "a condition")),
        ("flag > 3", "not flag", ("a condition", "a number")),
        ("flag > 3", "flag == 'a'", ("text", "a number")),
        ("flag == 'a'", "flag == true", ("a condition", "text")),
        ("flag in ['a']", "flag + 1 > 2", ("a number", "text")),
        ("flag", "flag == status", ("text", "a condition")),
    ],
)
def test_no_column_is_of_two_kinds(first, second, kinds):
    message = f"'flag' is used as {kinds[0]} here and as {kinds[1]} in line 9; use it as one"
    with pytest.raises(RuleError, match=message):
        lint(Rules.parse(rule_text(first, second)))


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("rmag == nan", "write x is missing"),
        ("rmag != NULL", "write x is missing"),
        ("support == True", "write true, as in flag == true"),
        ("rmag < inf", "write finite(x), which is false for it"),
    ],
)
def test_values_of_other_languages_are_no_columns(text, hint):
    with pytest.raises(RuleError, match=f"is not a column: .*{hint}".replace("(x)", ".x.")):
        Rules.parse(rule_text(text))


def test_many_classes_that_leave_out_all_above_them_are_accepted():
    text = "schema: targetsel/rules/v1\nname: many\nclasses:\n"
    for k in range(62):
        above = ", ".join(f"A{i}" for i in range(k))
        where = f"[support, masked_fraction > 0.{k:02d}]"
        text += f"  A{k}: {{bit: {k}, priority: 1, where: {where}, unless: [{above}]}}\n"
    rules = Rules.parse(text)
    assert lint(rules) == []
    assert len(plan(rules, SCORED).classes) == 62


def test_class_of_too_many_conditions_is_refused():
    with pytest.raises(RuleError, match="where is a list; expected 1 to 1000 conditions"):
        Rules.parse(rule_text(*["rmag < 20"] * 1001))
