"""What comparisons of text and of true and false mean, and what is answered to those without."""

import pyarrow as pa
import pytest

from targetsel.errors import RuleError
from targetsel.rules import formula as f
from targetsel.rules.binding import Binder
from targetsel.rules.columns import CatalogColumns
from targetsel.rules.functions import parse

SCHEMA = pa.schema(
    [
        ("type", pa.string()),
        ("survey", pa.dictionary(pa.int8(), pa.large_string())),
        ("view", pa.string_view()),
        ("bytes", pa.binary(4)),
        ("flag", pa.bool_()),
        ("star", pa.bool_()),
        ("rmag", pa.float64()),
    ]
)
TYPE = f.ColumnValue("type", type="text")
FLAG = f.Flag(f.ColumnValue("flag", type="condition"))


def condition(text: str, **define: str) -> f.Formula:
    definitions = {name: parse(written) for name, written in define.items()}
    return Binder(CatalogColumns(SCHEMA), definitions).condition(parse(text))


@pytest.mark.parametrize("name", ["type", "survey", "view", "bytes"])
def test_text_of_every_arrow_type_is_text(name):
    column = f.ColumnValue(name, type="text")
    assert condition(f"{name} == 'PSF'") == f.TextIn(column, ("PSF",))
    assert condition(f"{name} is missing") == f.Missing(column)


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("'PSF' == type", "type == 'PSF'"),
        ("type in ['PSF']", "type == 'PSF'"),
        ("type in ['A', 'B', 'A']", "type in ['A', 'B']"),
        ("not (type == 'PSF')", "type != 'PSF'"),
        ("not (type == survey)", "type != survey"),
        ("flag == true", "flag"),
        ("true == flag", "flag"),
        ("flag != false", "flag"),
        ("flag in [true]", "flag"),
        ("flag == false", "not flag"),
        ("flag != true", "not flag"),
        ("flag == star", "(flag and star) or (not flag and not star)"),
        ("not (flag == star)", "flag != star"),
        ("point", "type == 'PSF'"),
        ("kind == 'PSF'", "type == 'PSF'"),
    ],
)
def test_two_ways_to_say_one_thing(text, same):
    assert condition(text, point="type == 'PSF'", kind="type") == condition(same)


def test_text_is_compared_letter_by_letter():
    assert condition("type != ' psf '") == f.TextIn(TYPE, (" psf ",), negated=True)


@pytest.mark.parametrize(
    ("text", "column", "message"),
    [
        ("type == PSF", 9, "unknown column 'PSF'. A text stands in quotes: 'PSF'"),
        ("PSF != type", 1, "unknown column 'PSF'. A text stands in quotes: 'PSF'"),
        (
            "type == Type",
            9,
            "unknown column 'Type'. Did you mean 'type'? (names are case-sensitive",
        ),
        ("type == 5", 9, "type holds text, 5 is a number; text stands in quotes: '5'"),
        ("type in [1, 2]", 10, "type holds text, 1 is a number; text stands in quotes: '1'"),
        ("type == rmag", 9, "type holds text, rmag is a number; compare text with text"),
        ("type == flag", 9, "type holds text, flag is true or false; compare text with text"),
        ("type > survey", 1, "type holds text, which has no order; use ==, != or in"),
        ("5 < type", 5, "type holds text, which has no order; use ==, != or in"),
        ("type between 1 and 2", 1, "type holds text, which has no order"),
        ("type + 1 > 2", 1, "type holds text; a number is expected here"),
        ("min(type, 2) > 1", 5, "type holds text; a number is expected here"),
        ("catalog_quantile(type, 0.5) > 1", 18, "type holds text; a number is expected here"),
        ("finite(type)", 8, "type holds text; a number is expected here"),
        ("type", 1, "type holds text; compare it, e.g. type == 'some text'"),
        ("not type", 5, "type holds text; compare it, e.g. type == 'some text'"),
        ("rmag == '20'", 9, "rmag is a number, not text; remove the quotes: 20"),
        ("rmag == 'PSF'", 9, "rmag is a number, not text; compare a column of text with 'PSF'"),
        ("rmag + 1 in ['a']", 14, "rmag + 1 is a number, not text"),
        ("flag == 'True'", 9, "flag is true or false, not text; write flag == true"),
        (
            "flag == 1",
            9,
            "flag is true or false, 1 is a number; write flag == true or flag == false",
        ),
        ("flag == rmag", 9, "flag is true or false, rmag is a number"),
        ("flag > star", 8, "true and false have no order; compare them by == or !="),
        ("rmag == true", 9, "rmag is a number, not true or false; compare it with a number"),
        ("type == true", 9, "type is text, not true or false; compare it with 'true'"),
        ("(rmag > 2) == false", 15, "rmag > 2 is a condition already; write not (rmag > 2)"),
        ("(rmag > 2) == flag", 2, "rmag > 2 is a condition, which cannot be compared"),
        ("'a' == 'b'", 8, "both sides are constants; name a column on one side"),
        ("true == true", 9, "both sides are constants; name a column on one side"),
    ],
)
def test_comparison_without_meaning_is_answered(text, column, message):
    with pytest.raises(RuleError) as caught:
        condition(text)
    assert message in str(caught.value)
    assert str(caught.value).startswith(f"expression:1:{column}: error: ")


def test_rank_is_no_text():
    with pytest.raises(RuleError, match="type holds text; a number is expected here"):
        Binder(CatalogColumns(SCHEMA)).number(parse("type"))


def test_text_claims_nothing_about_spectra():
    claim = f.Compare(">", f.ColumnValue("ew_halpha", "predicted"), f.Constant(5))
    likely = f.Compare(">=", f.Probability(claim), f.Constant(0.5))
    assert f.truth((condition("type != 'PSF'"), condition("flag == true"))) is None
    assert f.truth((condition("type != 'PSF'"), likely)) == claim
    assert f.truth((f.Any((condition("type == survey"), likely)),)) == f.Any(
        (condition("type == survey"), claim)
    )
