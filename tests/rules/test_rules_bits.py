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
        "a.yaml:4:14: error: bit 3 is already given to LRG (rules.bits); take bit 1, "
        "the lowest free one, or leave 'bit:' out"
    )


def test_retired_bit_is_never_given_again(folder):
    assert "bit 3 was LRG_OLD and is retired after 2026A (rules.bits)" in refusal(
        folder, "3 LRG_OLD retired after 2026A\n"
    )
    assert "class ELG is retired (rules.bits); take another name" in refusal(
        folder, "3 ELG\n".replace("3 ELG", "7 ELG retired")
    )


CLASSES = """schema: targetsel/rules/v1
name: {name}
classes:
"""


def bits(rules) -> dict:
    return {each.name: each.bit for each in rules.classes}


def written(folder, name, **classes) -> Rules:
    lines = [f"  {each}: {{{bit}priority: 1, where: x > 1}}\n" for each, bit in classes.items()]
    (folder / f"{name}.yaml").write_text(CLASSES.format(name=name) + "".join(lines))
    return Rules.read(folder / f"{name}.yaml")


def test_class_that_asks_for_no_bit_has_the_lowest_that_none_asks_for(tmp_path):
    found = bits(written(tmp_path, "a", A="", B="bit: 0, ", C="", D=""))
    assert found == {"A": 1, "B": 0, "C": 2, "D": 3}


def test_class_that_asks_for_no_bit_has_its_locked_one_and_none_that_is_retired(tmp_path):
    (tmp_path / "rules.bits").write_text("0 GONE retired\n1 OTHER\n7 B\n")
    assert bits(written(tmp_path, "a", A="", B="")) == {"A": 2, "B": 7}


def test_bits_are_given_over_several_files(tmp_path):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    (tmp_path / "two" / "rules.bits").write_text("0 C\n2 OLD retired\n")
    first, second = written(tmp_path / "one", "a", A="", B=""), written(tmp_path / "two", "b", C="")
    assert (bits(first), bits(second)) == ({"A": 0, "B": 1}, {"C": 0})
    assert bits(Rules.together([first, second])) == {"A": 1, "B": 3, "C": 0}


def test_bits_that_were_given_stay_once_they_are_locked(tmp_path):
    first = written(tmp_path, "a", A="", B="")
    BitLock.read(tmp_path).updated(first.classes).write(tmp_path)
    assert bits(written(tmp_path, "a", Z="", B="", A="")) == {"Z": 2, "B": 1, "A": 0}


def test_no_bit_is_given_twice_nor_one_beyond_the_last(tmp_path):
    with pytest.raises(RuleError, match="no bit is left for class A63: all of 0 to 62 are used"):
        written(tmp_path, "a", **{f"A{k}": "" for k in range(64)})


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
