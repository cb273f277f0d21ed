"""Every message of an error says what was expected, or what to do next.

A message passes in one of four ways. It says what was expected, in the words that messages use for
that. Or a clause of it is a command: it begins with a verb of `VERBS`, a closed list of what users
of this package do. Or its end is filled in by a function that gives such words. Or whatever passes
it on adds them, and then that longer message is in the same module, and is tried as well.
"""

from __future__ import annotations

import re

import pytest

from targetsel.manual.messages import REMARK, Message, messages

VERBS = """
    add ask begin calibrate check choose compare convert copy correct create cut decompress delete
    download drop encode export fetch fit flatten format free give guarantee import join keep
    leave list look loosen make mark mask measure mend merge move name narrow observe pack
    predict put query quote read remove rename repeat replace report resample restore run save
    say score see select set shorten sort split store take train try turn use wait widen write
""".split()  # noqa: SIM905
COMMAND = re.compile(rf"(?i)(?:^|[.?;:] |, or |, and |, so )(?:please )?(?:{'|'.join(VERBS)})\b")
EXPECTED = re.compile(
    r"(?i)\bexpected\b|\bmust\b|\bat (?:least|most)\b|\bsuch as\b|\be\.g\. |^unknown |\bmay hold\b|"
    r"\btakes <\w+>, not |names that are understood|'targetsel [a-z ]+[A-Z]*' lists"
)
# Words that are filled in: hints, known names, and steps; `VALUES` are tried below.
FILLED_IN = re.compile(
    r"<(?:hint|known|step|next|next step|way out|again|remedy|close or known|values)>"
)
# What passes on the messages of a module, and what it adds.
ADDED = {
    "calibration.calibration": "<error> Fit it again with 'targetsel calibrate', or remove it.",
    "cli.usage": "<command>: <fault> See '<command> --help'.",
    "documents.models": "<file>: not valid JSON: <fault>. Copy it or make it again.",
    "scoring.card": "<told> Copy the whole folder of the ensemble again.",
}


def is_complete(text: str) -> bool:
    return any(each.search(text) for each in (COMMAND, EXPECTED, FILLED_IN))


@pytest.fixture(scope="module")
def harvested() -> tuple[Message, ...]:
    """Messages of errors; warnings of `rules lint` leave it to the reader whether to act."""
    return tuple(each for each in messages() if each.error != REMARK)


def test_every_message_says_what_was_expected_or_what_to_do(harvested):
    lacking = [each for each in harvested if not is_complete(each.text)]
    assert not [f"{each.module}: {each.text}" for each in lacking if each.module not in ADDED]


def test_what_is_added_to_messages_is_a_step(harvested):
    texts = {(each.module, each.text) for each in harvested}
    assert texts >= {*ADDED.items()}
    for text in ADDED.values():
        assert COMMAND.search(re.sub(r"<\w+>", "Some words.", text)), text


@pytest.mark.parametrize(
    "text",
    [
        "<path>: no such file.",
        "<path>: the table lacks <name>.",
        "constant expression overflows",
        "<path>: has no prior of the source '<source id>'",
        "<name>: the list is read only and takes no name",
        "files extend one another in more than 4 steps",
    ],
)
def test_a_message_that_only_says_what_is_wrong_is_found_out(text):
    assert not is_complete(text)


def test_most_messages_that_are_complete_name_a_step_or_a_value(harvested):
    """The words that are filled in do not carry the whole test."""
    plain = [each for each in harvested if COMMAND.search(each.text) or EXPECTED.search(each.text)]
    assert len(plain) > 0.9 * len(harvested)
