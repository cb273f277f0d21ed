import pytest
from hypothesis import given
from hypothesis import strategies as st

from targetsel import errors
from targetsel.errors import TargetselError, counted, did_you_mean


def test_every_error_is_one_that_the_command_line_prints():
    everything = vars(errors).values()
    kinds = [each for each in everything if isinstance(each, type) and issubclass(each, Exception)]
    assert len(kinds) > 5
    for kind in kinds:
        assert issubclass(kind, TargetselError)
        assert kind.__doc__


@pytest.mark.parametrize(
    ("word", "hint"),
    [
        ("d400", " Did you mean 'd4000'?"),
        ("EW_HALPHA", " Did you mean 'ew_halpha'? (names are case-sensitive)"),
        ("ew_halpa", " Did you mean 'ew_halpha' or 'ew_hbeta'?"),
        ("xyz", ""),
        ("", ""),
    ],
)
def test_hint_names_what_is_close(word, hint):
    assert did_you_mean(word, ["ew_halpha", "ew_hbeta", "d4000"]) == hint


@given(st.text(max_size=20), st.lists(st.text(max_size=20), max_size=5))
def test_hint_is_empty_or_a_question(word, known):
    hint = did_you_mean(word, iter(known))
    assert hint == "" or hint.startswith(" Did you mean ")


@pytest.mark.parametrize(
    ("count", "expected"),
    [
        ((0, "source"), "0 sources"),
        ((1, "source"), "1 source"),
        ((1234, "source"), "1,234 sources"),
        ((1, "spectrum", "spectra"), "1 spectrum"),
        ((2, "spectrum", "spectra"), "2 spectra"),
    ],
)
def test_one_is_counted_in_the_singular(count, expected):
    assert counted(*count) == expected
