"""What can be said in an expression, and what is answered to what cannot."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from targetsel.errors import RuleError
from targetsel.rules.functions import parse


@pytest.mark.parametrize(
    ("text", "tree"),
    [
        ("a > 5 & b > 1", "((a > 5) and (b > 1))"),
        ("a > 5 | b > 1 and c > 2", "((a > 5) or ((b > 1) and (c > 2)))"),
        ("not a > 5 and b > 1", "((not (a > 5)) and (b > 1))"),
        ("~ a > 5", "(not (a > 5))"),
        ("17 < rmag <= 22.5 mag", "(17 < rmag <= 22.5 mag)"),
        ("-2**2", "(-(2 ** 2))"),
        ("2**-x", "(2 ** (-x))"),
        ("a - b - c", "((a - b) - c)"),
        ("a + b * c", "(a + (b * c))"),
        ("x between 1 and 2 and y > 3", "((x between 1 and 2) and (y > 3))"),
        ("x in [1, -2]", "(x in [1, (-2)])"),
        ("x is not missing", "(x is not missing)"),
        ("v > 300 km/s", "(v > 300 km/s)"),
        ("v > 300 / s", "(v > (300 / s))"),
        ("max(a, b, 3) > .5e1", "(max(a, b, 3) > 5.0)"),
        ("not within('a b.fits', 5 arcsec)", "(not within('a b.fits', 5 arcsec))"),
        ('type != "PSF"', "(type != 'PSF')"),
        ("'PSF' == type and x > 1", "(('PSF' == type) and (x > 1))"),
        ("not (type in ['a b', \"O'Neil\"])", "(not (type in ['a b', \"O'Neil\"]))"),
        ("flag != false", "(flag != false)"),
        ("flag in [true, false]", "(flag in [true, false])"),
        ("x > 5 \u00c5", "(x > 5 Angstrom)"),
        ("x > 5\u212b", "(x > 5 Angstrom)"),
        ("x > 5 A\u030a", "(x > 5 Angstrom)"),
        ("f > 2 erg/s/cm2/\u00c5", "(f > 2 erg/s/cm2/Angstrom)"),
        ("x > 5 \u00b5m", "(x > 5 um)"),
        ("x > 5 \u03bcJy", "(x > 5 uJy)"),
        ("P(a > 1 and b > 2) >= 80 percent", "(P((a > 1) and (b > 2)) >= 80 percent)"),
    ],
)
def test_expression_reads_as(text, tree):
    assert str(parse(text)) == tree


@given(st.sampled_from(["and", "or"]), st.lists(st.sampled_from("abc"), min_size=1, max_size=6))
def test_tree_written_out_reads_as_itself(word, names):
    tree = parse(f" {word} ".join(f"{name} > 1" for name in names))
    assert parse(str(tree)) == tree


@pytest.mark.parametrize(
    ("text", "column", "message"),
    [
        ("ew_halpha = 50", 11, "'=' is not a comparison; write == to compare"),
        ("rmag < 22.5 magg", 13, "unknown unit 'magg'. Did you mean 'mag' or 'nanomaggy'?"),
        ("rmag < 22.5 and 7 xyz", 19, "unknown unit 'xyz'. After a number stands a unit"),
        ("ew > '50'", 6, "cannot compare a number with text '50'; remove the quotes"),
        ("s < 'ok'", 5, "text has no order; compare it with == or !=, or write in ['ok']"),
        ("'a' < s < 'b'", 1, "text has no order"),
        ("flag > true", 8, "true has no order; compare a flag with == or !=, e.g. flag == true"),
        ("x + 'ok' > 1", 5, "'ok' cannot stand here; compare a column with it, e.g. type == 'ok'"),
        ("'ok' + x > 1", 1, "'ok' cannot stand alone; compare a column with it, e.g. type == 'ok'"),
        ("max('ok', x) > 1", 5, "'ok' cannot stand alone"),
        ("P('ok') > 0.5", 3, "'ok' cannot stand alone"),
        ("s between 'a' and 'b'", 11, "'a' cannot stand here"),
        ("x and true", 7, "true cannot stand alone; compare a column with it, e.g. flag == true"),
        ("s 'ok'", 3, "'ok' cannot stand here"),
        ("flag is true", 9, "write == true, as in flag == true"),
        ("flag == True", 9, "'True' is not a column: write true, as in flag == true"),
        ("s == 'ok", 6, "this text is not closed by a quote; if it holds ' #' or ': ', which YAML"),
        ("s == ‘ok’", 6, "unexpected character '‘'; write text in plain quotes, '...'"),
        ("s in ['a', 5]", 12, "a list holds values of one kind, and 'a' is text, 5 is a number"),
        ("s in [true, 'a']", 13, "true is true or false, 'a' is text"),
        ("17 < rmag > 20", 11, "must point the same way, e.g. 17 < rmag < 22.5"),
        ("a == b == c", 8, "must point the same way"),
        ("__import__('os').system('..')", 1, "unknown function '__import__'. Known: P, std, q,"),
        ("open('/etc/passwd')", 1, "unknown function 'open'. Known: P, std, q, mag, finite"),
        ("near(x)", 1, "unknown function 'near'. Known: "),
        ("in_moc(x)", 8, "in_moc() takes a file's name in quotes, e.g. in_moc('stars.moc.fits')"),
        (
            "within(1, 2)",
            8,
            "within() takes a file's name in quotes, e.g. within('stars.parquet', 5",
        ),
        ("rmag.real > 2", 5, "write the name of a column alone"),
        ("rmag ≥ 20", 6, "unexpected character '≥'; write >="),
        ("a && b", 3, "'&&' is not known here; write and"),
        ("a <> b", 3, "'<>' is not known here; write !="),
        ("a ^ 2 > 3", 3, "write ** for a power"),
        ("(" * 200, 34, "nested deeper than 32 levels; name the inner part under `define:`"),
        ("-" * 200 + "x > 1", 34, "nested deeper than 32 levels"),
        ("(a > 1", 7, "expected ')'; the '(' opened at column 1 is never closed"),
        ("(rmag < 20 and (d4000 > 1.6", 28, "the '(' opened at column 16 is never closed"),
        ("a > 3)", 6, "this ')' has no '('"),
        ("x not in [1]", 3, "write not (x in [...])"),
        ("x is 5", 6, "expected 'missing'"),
        ("x in [y]", 7, "expected a number or text, as in field in [1, 2, 5] or type in ['SER',"),
        ("x in [y]", 7, "text stands in quotes: 'y'"),
        ("x between 1, 2", 12, "expected 'and', as in x between 1 and 2"),
        ("min(1)", 1, "min() takes 2 to 16 arguments, not 1"),
        ("a b", 3, "unexpected 'b'; expected an operator"),
        ("a >", 4, "ends too early"),
        ("x > 1e999", 5, "the number 1e999 is too large"),
        ("x > 1" + "0" * 400, 5, "is too large"),
        ("", 1, "expected an expression, such as rmag < 22.5"),
        ("x" * 4097, 1, "longer than 4096 characters"),
        ("+".join("x" * 200), 1, "more than 256 parts"),
    ],
)
def test_fault_is_named_with_its_place(text, column, message):
    with pytest.raises(RuleError) as caught:
        parse(text)
    assert str(caught.value).startswith(f"expression:1:{column}: error: ")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_caret_stands_below_the_fault():
    with pytest.raises(RuleError) as caught:
        parse("rmag < 22.5 magg")
    assert caught.value.detail == "rmag < 22.5 magg\n            ^"


def test_detail_of_a_long_line_stays_short_and_keeps_its_caret():
    with pytest.raises(RuleError) as caught:
        parse("rmag < 20 and " * 50 + "rmag = 3")
    shown, caret = caught.value.detail.split("\n")
    assert len(shown) <= 100
    assert shown[caret.index("^")] == "="


@given(st.text(alphabet="aP19.()<>=!&|~+-*/[], '\"\nnotinsbetwm", max_size=60))
def test_any_text_is_an_expression_or_a_rule_error(text):
    try:
        parse(text)
    except RuleError as error:
        message = str(error)
    else:
        return
    assert "\n" not in message


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1.237648720693755918e18", 1237648720693755918),
        ("9007199254740993.0", 9007199254740993),
        ("9007199254740992.5", 9007199254740992.0),
        ("1e300", 1e300),
        ("1e18", 1e18),
        ("0.1", 0.1),
    ],
)
def test_number_has_the_value_that_is_written(text, value):
    number = parse(f"x < {text}").parts[1]
    assert (number.value, type(number.value)) == (value, type(value))
