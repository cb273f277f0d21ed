"""Assignment tools: their settings, priorities and epochs, and what their formats were tried with.

`targetsel export` writes for each of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from targetsel.handoff.export import TOOLS
from targetsel.handoff.settings import EpochSettings
from targetsel.handoff.tool import Tool
from targetsel.manual.entries import Entry, code, page, sentence
from targetsel.manual.keys import Key, keys_of, listed
from targetsel.tables.files import ASTROPY_FORMATS, PARQUET_SUFFIXES

TABLES = (*PARQUET_SUFFIXES, *ASTROPY_FORMATS)  # endings that tell the format of a table

ABOUT = (
    "`targetsel export LIST --for TOOL` writes a target list for these tools. Settings stand in a "
    "YAML file that `--config` names. Where a setting is for all or by class, write one value, or "
    "a map of target classes to values. `--check` reads the written file back and compares it "
    "with the list."
)


def tools() -> Iterator[Entry]:
    """One entry for each tool."""
    for name, tool in TOOLS.items():
        endings = TABLES if tool.keeps_footer else (tool.suffix, *tool.other_suffixes)
        facts = [
            f"{sentence(tool.title)} The file ends in {' or '.join(map(code, endings))}.",
            f"**Tried.** {tool.tried}" + " Experimental." * tool.experimental,
            f"**Priorities.** {_priorities(tool)}",
            f"**Positions.** {_epoch(tool)}",
            f"**Ids.** {_ids(tool)}",
            f"**Fluxes.** {_fluxes(tool)}",
        ]
        if tool.max_targets is not None:
            facts.append(f"**At most** {tool.max_targets:,} targets.")
        facts.append(f"**Format from** {tool.source}.")
        settings = listed(_with_conditions(tool))
        facts.append(f"**Settings**\n\n{settings}" if settings else "**Settings**: none.")
        yield Entry("tool", name, tool.title, "\n\n".join(facts), (*tool.settings.model_fields,))


def _priorities(tool: Tool) -> str:
    scale = tool.priorities
    if scale is None:
        return "The format has none."
    first = "larger" if scale.step < 0 else "smaller"
    low, high = sorted((scale.best, scale.worst))
    if scale.kept:
        return f"Those of the list, {low} to {high}; {first} numbers go first."
    return (
        f"Counted from {scale.best} (the list's highest) to {scale.worst}; {first} numbers go "
        f"first. `--bin-priorities` merges neighbours where the list has more than "
        f"{scale.n_levels}."
    )


def _with_conditions(tool: Tool) -> Iterator[Key]:
    """The settings of a tool; of those that some lists spare, when they are required."""
    for key in keys_of(tool.settings):
        required = tool.settings.required(key.name)
        told = f"{sentence(key.meaning)} {sentence(required)}"
        yield key if key.required or not required else replace(key, meaning=told)


def _epoch(tool: Tool) -> str:
    if issubclass(tool.settings, EpochSettings):
        return "Moved to the epoch of the setting `epoch`, by the list's proper motions."
    if tool.epoch == "columns":
        return (
            "As in the list; the file holds each target's epoch and proper motion "
            f"({tool.default_epoch:g} for targets that stand still)."
        )
    if tool.epoch is None:
        return "As in the list."
    return f"Moved to the Julian year {tool.epoch:g}, by the list's proper motions."


def _fluxes(tool: Tool) -> str:
    if not tool.bands:
        return "None needed."
    bands = ", ".join(map(code, tool.bands))
    some = "" if "_" in tool.bands[0] else ", of any survey"
    return f"The list must have fluxes or magnitudes in one of {bands}{some}."


def _ids(tool: Tool) -> str:
    beside = "a map of ids, FILE.ids.ecsv, is written beside the file."
    if tool.ids == "row":
        return f"The number of the row, counted from 1; {beside}"
    if callable(tool.ids):
        return f"Made from the number of the row and the settings; {beside}"
    name = {"target_id": "`target_id` of the list.", "name": "`source_id` of the list, as text."}
    return name[tool.ids]


def write(folder: Path) -> None:
    """Write the page of tools."""
    text = page("Assignment tools", ABOUT, {"": tools()})
    (folder / "tools.md").write_text(text, encoding="utf-8")
