"""Rule files of a folder, written anew: their bits locked, their layout made alike."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from targetsel.documents.document import read_text
from targetsel.errors import OutputError
from targetsel.rules.bits import BitLock
from targetsel.rules.formatting import formatted
from targetsel.rules.rule_file import SCHEMA
from targetsel.rules.rules import Rules, find_rules
from targetsel.tables.files import written_beside


@dataclass(frozen=True)
class LockedFolder:
    """The bits of a folder of rule files.

    Attributes
    ----------
    lock : BitLock
    path : Path
        The file of the lock.
    files : tuple of Path
        The rule files.
    rules : Rules
        All of them together.
    """

    lock: BitLock
    path: Path
    files: tuple[Path, ...]
    rules: Rules


def lock_folder(folder: Path) -> LockedFolder:
    """Write the bits of all rule files in a folder to `rules.bits`, so that they stay for ever.

    Raises
    ------
    RuleError, OutputError
        If there are no rule files, or two classes want one bit.
    """
    files = tuple(path for path in sorted(folder.glob("*.y*ml")) if _is_rule_file(path))
    if not files:
        raise OutputError(f"{folder}: no rule files here. Name the folder that holds them.")
    rules = Rules.together(Rules.read(path) for path in files)
    lock = BitLock.read(folder).updated(rules.classes)
    return LockedFolder(lock, lock.write(folder), files, rules)


def format_file(path_or_name: str | Path, check: bool = False) -> tuple[Path, bool]:
    """Bring a rule file to our layout; with `check` only see. The file, and whether it changes."""
    path = find_rules(path_or_name)
    before = read_text(path)
    after = formatted(before, str(path))
    if before != after and not check:
        with written_beside(path) as beside:
            beside.write_text(after, encoding="utf-8", newline="\n")
    return path, before != after


def _is_rule_file(path: Path) -> bool:
    """Whether a YAML file says that it holds rules, or says nothing of what it holds."""
    found = re.search(r"^schema:\s*(\S+)", read_text(path), re.MULTILINE)
    return found is None or found[1].strip("'\"").startswith(SCHEMA.rsplit("/", 1)[0])
