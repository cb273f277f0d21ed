"""Bits are given once and for ever."""

import pytest

from targetsel.errors import RuleError
from targetsel.rules.bits import BitLock, Owner
from targetsel.rules.rules import Rules

RULES = """schema: targetsel/rules/v1
name: test
classes:
  ELG: {bit: 3, priority: 1, where: x > 1}
"""


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "a.yaml").write_text(RULES)
    return tmp_path


def refusal(folder, lock: str) -> str:
    (folder / "rules.bits").write_text(lock)
    with pytest.raises(RuleError) as caught:
        Rules.read(folder / "a.yaml")
    return str(caught.value)


def test_bit_of_its_own_or_a_free_one_may_be_used(folder):
    for lock in ("", "3 ELG\n", "# nothing\n\n4  LRG  retired\n"):
        (folder / "rules.bits").write_text(lock)
        assert Rules.read(folder / "a.yaml")["ELG"].bit == 3


def test_bit_of_another_class_is_refused_with_a_free_one(folder):
    assert refusal(folder, "0 QSO\n3 LRG\n").endswith(
        "a.yaml:4:14: error: bit 3 is already given to LRG (rules.bits); the lowest free bit is 1"
    )


def test_retired_bit_is_never_given_again(folder):
    assert "bit 3 was LRG_OLD and is retired after 2026A (rules.bits)" in refusal(
        folder, "3 LRG_OLD retired after 2026A\n"
    )
    assert "class ELG is retired (rules.bits); take another name" in refusal(
        folder, "3 ELG\n".replace("3 ELG", "7 ELG retired")
    )


def test_class_keeps_its_bit(folder):
    assert "class ELG has bit 7 (rules.bits), not 3" in refusal(folder, "7 ELG\n")


@pytest.mark.parametrize("line", ["ELG 3", "64 ELG", "3", "3 ELG old", "3 E-G"])
def test_line_that_is_no_bit_is_refused_with_its_place(folder, line):
    assert "rules.bits:2:1: error: expected a bit, 0 to 62, its class" in refusal(
        folder, f"# bits\n{line}\n"
    )


def test_bit_or_class_given_twice_is_refused(folder):
    assert "rules.bits:2:1: error: bit 4 or class ELG is there twice" in refusal(
        folder, "3 ELG\n4 ELG\n"
    )


def test_lock_learns_new_classes_and_retires_those_no_longer_used(folder):
    lock = BitLock({0: Owner("QSO"), 1: Owner("LRG", "retired after 2025")})
    updated = lock.updated(Rules.read(folder / "a.yaml").classes)
    updated.write(folder)
    assert BitLock.read(folder) == BitLock(
        {0: Owner("QSO", "retired"), 1: Owner("LRG", "retired after 2025"), 3: Owner("ELG")}
    )
    assert BitLock.read(folder).updated(Rules.read(folder / "a.yaml").classes) == updated
