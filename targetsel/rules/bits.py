"""Bits of target classes: those that rule files ask for, and those that are given.

A class that asks for no bit has the one that is locked, or the lowest that no class of the rules
asks for and no class has locked, in the order of the rules. So the same files have the same bits,
until classes are added. To keep them for ever, lock them: beside rule files may lie a file
`rules.bits` that says which class each bit of `target_bits` belongs to, one a line, and which are
retired:

    0  STAR_FORMING
    3  LRG_OLD  retired after 2026A

A bit in it is never assigned to another class, so that the bits of old target lists keep their
meaning. ``targetsel rules lock`` keeps it up to date.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path

from targetsel.documents.source_location import SourceLocation
from targetsel.errors import RuleError
from targetsel.rules.rule_file import HIGHEST, TargetClass
from targetsel.tables.files import written_beside

FILE = "rules.bits"
_LINE = re.compile(r"(\d{1,2})\s+([A-Za-z_][A-Za-z_0-9]*)(?:\s+(retired\b.*))?", re.ASCII)
_HEADING = (
    "# Bits of target classes. A bit is never given to another class; see targetsel rules lock."
)


@dataclass(frozen=True)
class Owner:
    """The class that a bit belongs to; `retired` is empty, or the word and why."""

    name: str
    retired: str = ""


@dataclass(frozen=True)
class BitLock:
    """The bits assigned so far.

    Attributes
    ----------
    owners : dict of int to Owner
    """

    owners: dict[int, Owner]

    @classmethod
    def read(cls, folder: Path) -> BitLock:
        """The lock file of a folder of rules; without one, no bit is assigned.

        Raises
        ------
        RuleError
            If a line is neither a comment nor a bit with its class, or a bit or class repeats.
        """
        path = folder / FILE
        try:
            lines = path.read_text(encoding="utf-8").splitlines()
        except FileNotFoundError:
            return cls({})
        except (OSError, UnicodeDecodeError) as error:
            raise RuleError(
                f"{path}: cannot be read: {error}. Restore it from your version control."
            ) from None
        owners: dict[int, Owner] = {}
        for number, line in enumerate(lines, 1):
            if not line.strip() or line.lstrip().startswith("#"):
                continue
            place = SourceLocation(str(path), number, 1, line)
            match = _LINE.fullmatch(line.strip())
            if match is None or int(match[1]) > HIGHEST:
                raise place.error(
                    f"expected a bit, 0 to {HIGHEST}, its class, and perhaps retired, "
                    "e.g. 3 LRG retired after 2026A"
                )
            bit, owner = int(match[1]), Owner(match[2], match[3] or "")
            if bit in owners or owner.name in {each.name for each in owners.values()}:
                raise place.error(
                    f"bit {bit} or class {owner.name} is there twice; keep the older line"
                )
            owners[bit] = owner
        return cls(owners)

    def __bool__(self) -> bool:
        return bool(self.owners)

    def bit_of(self, target_class: TargetClass) -> int | None:
        """The bit that a class asks for, or that it has here; None if it is free to take any."""
        if target_class.written_bit is not None:
            return target_class.written_bit
        names = {owner.name: bit for bit, owner in self.owners.items()}
        return names.get(target_class.name)

    def check(self, target_class: TargetClass, taken: Collection[int]) -> None:
        """Raise a RuleError if a class claims a bit that belongs, or belonged, to another class.

        `taken` are all bits that are not free.
        """
        name, bit = target_class.name, target_class.written_bit
        place = target_class.place_of("bit")
        owner = None if bit is None else self.owners.get(bit)
        if owner and owner.name != name:
            what = (
                f"was {owner.name} and is {owner.retired}"
                if owner.retired
                else (f"is already given to {owner.name}")
            )
            raise place.error(f"bit {bit} {what} ({FILE}); {_way_out(taken)}")
        for other, each in self.owners.items():
            if each.name == name and each.retired:
                raise place.error(f"class {name} is {each.retired} ({FILE}); take another name")
            if each.name == name and bit not in (None, other):
                raise place.error(
                    f"class {name} has bit {other} ({FILE}), not {bit}; write bit: {other}, or "
                    "leave it out"
                )

    def updated(self, classes: Iterable[TargetClass]) -> BitLock:
        """The lock after every one of these classes, and no other, came into use.

        Raises
        ------
        RuleError
            See `with_bits`.
        """
        classes = with_bits((each, self) for each in classes)
        owners = {**self.owners, **{each.bit: Owner(each.name) for each in classes}}
        used = {each.name for each in classes}
        for bit, owner in owners.items():
            if owner.name not in used and not owner.retired:
                owners[bit] = Owner(owner.name, "retired")
        return BitLock(owners)

    def write(self, folder: Path) -> Path:
        """Write the lock file of a folder of rules."""
        lines = [
            f"{bit:<3}{owner.name}  {owner.retired}".rstrip()
            for bit, owner in sorted(self.owners.items())
        ]
        with written_beside(folder / FILE) as beside:
            beside.write_text("\n".join([_HEADING, *lines]) + "\n", encoding="utf-8")
        return folder / FILE


def with_bits(classes: Iterable[tuple[TargetClass, BitLock]]) -> tuple[TargetClass, ...]:
    """Classes, each given with the lock beside its file, with their bits.

    Raises
    ------
    RuleError
        If two classes ask for one bit, or one for a bit that is locked for another; it says which
        bit is free.
    """
    pairs = list(classes)
    taken = {bit for _, lock in pairs for bit in lock.owners}
    taken |= {each.written_bit for each, _ in pairs if each.written_bit is not None}
    users: dict[int, TargetClass] = {}
    for each, lock in pairs:
        lock.check(each, taken)
        bit = lock.bit_of(each)
        if bit is not None and bit in users:
            here, there = each.place_of("bit"), users[bit].place_of()
            where = f"{there.file}, line" if there.file != here.file else "line"
            raise here.error(
                f"bit {bit} is already used by {users[bit].name} ({where} {there.line}); "
                f"{_way_out(taken)}"
            )
        if bit is not None:
            users[bit] = each
    found = []
    for each, lock in pairs:
        bit = lock.bit_of(each)
        if bit is None:
            bit = _lowest_free(taken)
            if bit is None:
                raise each.place_of().error(
                    f"no bit is left for class {each.name}: all of 0 to {HIGHEST} are used or "
                    f"locked ({FILE}); move it to a rule file in another folder"
                )
            taken.add(bit)
        found.append(each.with_bit(bit))
    return tuple(found)


def _lowest_free(taken: Collection[int]) -> int | None:
    return next((bit for bit in range(HIGHEST + 1) if bit not in taken), None)


def _way_out(taken: Collection[int]) -> str:
    """The next step for a class whose bit is another's."""
    free = _lowest_free(taken)
    if free is None:
        return f"none of 0 to {HIGHEST} is free"
    return f"take bit {free}, the lowest free one, or leave 'bit:' out"
