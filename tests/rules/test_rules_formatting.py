"""One layout for rule files."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from targetsel.errors import RuleError
from targetsel.rules.formatting import formatted, spaced
from targetsel.rules.rules import Rules, shipped_rules

UNTIDY = """schema: targetsel/rules/v1
name:   x
define:
    # a comment of its own
    clean:   ebv<0.15 mag   and not has_bit( maskbits,1,  11 )   # trailing


classes:
     A:
        bit: 0
        priority: 1
        where:
        - 17<rmag<20
        - >-
          P(ew>2)
          > 0.5
        # about the next
        - "x in [1,-2]"
        limit: {total: 5}

"""
TIDY = """schema: targetsel/rules/v1
name:   x
define:
  # a comment of its own
  clean:   ebv < 0.15 mag and not has_bit(maskbits, 1, 11)   # trailing

classes:
  A:
    bit: 0
    priority: 1
    where:
      - 17 < rmag < 20
      - >-
        P(ew>2)
        > 0.5
      # about the next
      - "x in [1, -2]"
    limit: {total: 5}
"""


def test_untidy_file_becomes_tidy_and_keeps_its_comments():
    assert formatted(UNTIDY) == TIDY


def test_tidy_file_stays_as_it_is():
    assert formatted(TIDY) == TIDY


@pytest.mark.parametrize("path", shipped_rules(), ids=lambda path: path.stem)
def test_shipped_rules_are_tidy(path):
    assert formatted(path.read_text()) == path.read_text()


@pytest.mark.parametrize(
    ("untidy", "tidy"),
    [
        ("a>5&b>1", "a > 5 & b > 1"),
        ("-x**2-3", "-x**2 - 3"),
        ("a*( b+c )>-1", "a * (b + c) > -1"),
        ("not(a>1)", "not (a > 1)"),
        ("v>300km/s", "v > 300 km/s"),
        ("x in[1,-2]", "x in [1, -2]"),
        ("P(a>1)>=.8", "P(a > 1) >= .8"),
        ("within('a b.fits',5arcsec)", "within('a b.fits', 5 arcsec)"),
        ("type!='a  b'", "type != 'a  b'"),
        ("not(type in['A',\"B\"  ])", "not (type in ['A', \"B\"])"),
        ("flag==true", "flag == true"),
        ("x>5Å", "x > 5 Å"),
        ("this is not one", "this is not one"),
    ],
)
def test_expression_is_spaced(untidy, tidy):
    assert spaced(untidy) == tidy


def test_a_layout_that_would_change_its_meaning_is_refused():
    with pytest.raises(RuleError, match="fmt cannot format this layout; nothing was changed"):
        formatted("description: |\n  # part of the text\n  and more\nname: x\n")


@settings(max_examples=200)
@given(st.data())
def test_formatting_a_damaged_file_keeps_its_meaning_or_refuses(data):
    start = data.draw(st.integers(0, len(UNTIDY)))
    end = data.draw(st.integers(start, min(start + 6, len(UNTIDY))))
    inserted = data.draw(st.text(alphabet="a0 \n:-[]{}#'\">|P(.", max_size=6))
    text = UNTIDY[:start] + inserted + UNTIDY[end:]
    try:
        after = formatted(text)
    except RuleError:
        return
    assert formatted(after) == after
    try:
        meaning = Rules.parse(text).sha256
    except RuleError:
        return
    assert Rules.parse(after).sha256 == meaning
