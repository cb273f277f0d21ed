"""Export of target lists: the tools by name, their files with maps of ids and priorities, a check.

A tool of a new observatory is one module, named in `MODULES`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from astropy.table import Table

from targetsel.documents.document import read_document, read_text
from targetsel.documents.models import validate_values
from targetsel.errors import HandoffError, OutputError, counted, unknown
from targetsel.handoff.files import write_ecsv
from targetsel.handoff.prepare import ExportOptions, prepare
from targetsel.handoff.settings import ToolSettings
from targetsel.handoff.tool import Tool, ToolTable, photometry_of
from targetsel.scored.simulated_training import CAUTION, caution_in
from targetsel.selection.target_list import TargetList
from targetsel.sky.positions import separation
from targetsel.tables.columns import ID, NEVER, Column
from targetsel.tables.files import ASTROPY_FORMATS, PARQUET_SUFFIXES, table_format
from targetsel.tables.ids import matched

MODULES = (
    *("desi", "pfs", "fourmost", "sdss_v", "weave", "nirspec", "text_lists", "gemini", "tom"),
    "table",
)
TOOLS: dict[str, Tool] = {
    tool.name: tool
    for module in MODULES
    for tool in import_module(f"targetsel.handoff.{module}").TOOLS
}
# Columns of the maps that are written beside a tool's file.
PRIORITY_MAP = (
    Column("list_priority", pa.int64(), meaning="priority in the list", null_when=NEVER),
    Column("tool_priority", pa.int64(), meaning="priority in the tool's file", null_when=NEVER),
    Column("n_targets", pa.int64(), meaning="targets of this priority", null_when=NEVER),
    Column("programs", pa.string(), meaning="their target classes", null_when=NEVER),
)
ID_MAP = (
    Column("id", ID, meaning="id, or code, in the tool's file", null_when=NEVER),
    Column("target_id", pa.int64(), meaning="id in the list", null_when=NEVER),
    Column("source_id", ID, meaning="id in the catalog", null_when=NEVER),
    Column("source_catalog", pa.string(), meaning="the catalog; empty if the list has none"),
)
POSITION_TOLERANCE = 0.001  # arcsec
AnyConfig = Path | str | PathLike[str] | Mapping[str, Any] | None
# Formats by the endings from which programs infer them; lists of text may end in any other.
FORMATS = {
    **{ending: name.removeprefix("ascii.").upper() for ending, name in ASTROPY_FORMATS.items()},
    **dict.fromkeys(PARQUET_SUFFIXES, "Parquet"),
    ".feather": "Feather",
    ".gz": "gzip",
}


@dataclass(frozen=True, repr=False)
class Export:
    """An exported list, and its files.

    Attributes
    ----------
    targets : ToolTable
        The targets in the form of the tool.
    files : tuple of Path
        The files written, the tool's own first.
    read_back : ReadBack or None
        The comparison of the file with the list, where it was asked for.
    """

    targets: ToolTable
    files: tuple[Path, ...]
    read_back: ReadBack | None = None

    def __repr__(self) -> str:
        n, tool = counted(len(self.targets), "target"), self.targets.tool
        return f"{n} for {tool.title}: {', '.join(map(str, self.files))}"

    @property
    def assumed(self) -> tuple[str, ...]:
        """Assumptions about the targets, a sentence each."""
        return self.targets.assumed

    @property
    def caution(self) -> str:
        """A caution about the list's predictions; empty where none is due."""
        return caution_in(self.targets.footer)

    @property
    def corrected(self) -> tuple[str, ...]:
        """Columns behind fluxes or magnitudes in the file that are corrected for extinction."""
        columns = self.targets.photometry.columns.values()
        if not self.targets.tool.writes_fluxes:
            return ()
        return tuple(each.name for each in columns if each.is_corrected and not each.is_error)


@dataclass(frozen=True)
class ReadBack:
    """Agreement of a tool's file, read back, with the list.

    Attributes
    ----------
    reader : str
        What read the file.
    n_targets : int
    largest_offset : float
        Largest difference of two positions [arcsec].
    with_priorities : bool
        Whether priorities were compared.
    """

    reader: str
    n_targets: int
    largest_offset: float
    with_priorities: bool


def find_tool(name: str) -> Tool:
    """The tool of this name.

    Raises
    ------
    HandoffError
        If there is none; it suggests those that begin so, or a close name, or lists them all.
    """
    if name in TOOLS:
        return TOOLS[name]
    if begin := [each for each in TOOLS if each.startswith(f"{name.lower()}-")]:
        raise HandoffError(f"unknown tool '{name}'. Choose one of {', '.join(begin)}.")
    raise HandoffError(unknown("tool", name, TOOLS))


def check_ending(tool: Tool, path: Path) -> None:
    """Refuse a name that promises another format than the tool's file has.

    Raises
    ------
    OutputError
    """
    if tool.keeps_footer:
        table_format(path)  # which is the one it is written in
        return
    suffixes = (tool.suffix, *tool.other_suffixes)
    formats = [FORMATS.get(each) for each in suffixes]
    if FORMATS.get(path.suffix.lower()) not in formats:
        kinds, endings = (" or ".join(each or "text" for each in of) for of in (formats, suffixes))
        raise OutputError(
            f"{path}: the file for '{tool.name}' is {kinds}. Give a name that ends in {endings}."
        )


def settings_of(
    tool: Tool,
    config: AnyConfig,
    columns: Sequence[str] | None = None,
    targets: TargetList | None = None,
    brightness: Sequence[str] = (),
) -> ToolSettings:
    """The settings of a tool from a file or a mapping, perhaps with columns of the list to write.

    With `targets`, and the `brightness` that is said of them, an error for missing settings also
    names those that are missing because the list has no such column, and fluxes that it lacks.

    Raises
    ------
    HandoffError
        If they are not the tool's, or a tool with its own columns is given some.
    """
    if targets is not None:
        _check_settings(tool, config, targets, brightness)
    if isinstance(config, Mapping):
        settings = validate_values(config, tool.settings, tool.name, HandoffError)
    else:
        settings = tool.settings.read(None if config is None else Path(config), tool.name)
    if columns is None:
        return settings
    if "columns" not in tool.settings.model_fields:
        raise HandoffError(
            f"--columns is for --for table; '{tool.name}' has its own columns. Leave it out."
        )
    return settings.model_copy(update={"columns": tuple(columns)})


def _check_settings(
    tool: Tool, config: AnyConfig, targets: TargetList, brightness: Sequence[str]
) -> None:
    """Tell all at once which settings, and fluxes of the list, are missing."""
    given: Any = {} if config is None else config
    if not isinstance(given, Mapping):
        path = Path(given)
        if path.suffix == ".json":
            return
        given = read_document(read_text(path, HandoffError), str(path), HandoffError)
    if not isinstance(given, Mapping) or not given.keys() <= tool.settings.model_fields.keys():
        return  # whoever reads it says what is wrong
    table = targets.table
    listed = [name for name in table.column_names if not table[name].null_count]
    if lacking := tool.settings.lacking(given, listed):
        fluxes = tool.lacks_fluxes(photometry_of(table, brightness))
        raise tool.settings.needs(lacking, tool.name, fluxes)


def export(
    targets: TargetList,
    tool: Tool,
    settings: ToolSettings,
    path: Path,
    options: ExportOptions = ExportOptions(),
) -> Export:
    """Write `targets` to `path` for a tool.

    Beside it come ``<file>.priorities.ecsv``, the map from the list's priorities to the tool's,
    and, where the tool has ids of its own, ``<file>.ids.ecsv``. Both keep what was assumed, and
    what is to know of the list's predictions; for tools without priorities the latter is there
    then.

    Raises
    ------
    HandoffError
        If the list is not what the tool takes.
    OutputError
        If a file cannot be written.
    """
    path = Path(path)
    prepared = prepare(targets, tool, settings, options)
    files = tool.write(prepared, settings, path)
    maps = {}
    if tool.priorities is not None:
        maps["priorities"] = priority_map(prepared)
    codes = tool.codes(prepared, settings) if tool.codes else None
    notes = notes_on(targets, prepared)
    unkept = bool(notes) and not maps and not tool.keeps_footer
    if tool.numbers_rows or codes is not None or unkept:
        maps["ids"] = id_map(prepared, codes)
    for what, table in maps.items():
        table.meta.update(notes)
        files.append(path.with_name(f"{path.name}.{what}.ecsv"))
        write_ecsv(files[-1], table)
    return Export(prepared, tuple(files))


def notes_on(targets: TargetList, prepared: ToolTable) -> dict[str, object]:
    """Notes for the maps beside a tool's file: assumptions, and a caution if one is due.

    Empty where there is neither.
    """
    caution = caution_in(targets.footer)
    notes: dict[str, object] = {"assumed": list(prepared.assumed)} if prepared.assumed else {}
    return notes | ({CAUTION: caution} if caution else {})


def priority_map(targets: ToolTable) -> Table:
    """Table of the list's priorities and the tool's, the most wanted first."""
    own = targets.table["priority"].to_numpy().astype(np.int64)
    pairs = np.stack([-own, targets.priority], axis=1)
    levels, level_of, counts = np.unique(pairs, axis=0, return_inverse=True, return_counts=True)
    programs = [
        " ".join(np.unique(targets.program[level_of.ravel() == level].astype(str)).tolist())
        for level in range(len(levels))
    ]
    scale = targets.tool.priorities
    assert scale is not None
    return Table(
        [-levels[:, 0], levels[:, 1], counts.astype(np.int64), programs],
        names=[each.name for each in PRIORITY_MAP],
        meta={
            "tool": targets.tool.name,
            "list_priority": "higher is better",
            "tool_priority": f"{'smaller' if scale.step > 0 else 'higher'} is better, "
            f"from {scale.best} (best) to {scale.worst} (worst)",
        },
    )


def id_map(targets: ToolTable, codes: np.ndarray | None = None) -> Table:
    """Table of the tool's ids, or other codes, and the targets that they stand for."""
    catalog = targets.table["source_catalog"].to_pylist()
    return Table(
        [
            targets.id if codes is None else codes.astype(str),
            targets.table["target_id"].to_numpy(),
            np.array(targets.table["source_id"].to_pylist()),
            [each or "" for each in catalog],
        ],
        names=[each.name for each in ID_MAP],
        meta={"tool": targets.tool.name},
    )


def check(targets: ToolTable, path: Path) -> ReadBack:
    """Read a tool's file back and compare it with the exported list.

    Raises
    ------
    HandoffError
        If ids, positions (to 0.001 arcsec) or priorities differ.
    """
    back = targets.tool.read(path)
    rows = matched(targets.id, back.id)
    lost = targets.id[rows < 0].tolist()
    if lost or len(back.id) != len(targets):
        first = f", the first lost is {lost[0]}" if lost else ""
        raise HandoffError(
            f"{path}: {back.reader} finds {len(back.id)} targets where {len(targets)} were "
            f"written for '{targets.tool.name}'{first}. Please report this."
        )
    offset = 3600 * separation(targets.ra, targets.dec, back.ra[rows], back.dec[rows])
    if not offset.max() <= POSITION_TOLERANCE:
        worst = int(np.nanargmax(offset))
        raise HandoffError(
            f"{path}: target {targets.id[worst]} is {offset[worst]:.4f} arcsec away from where "
            f"the list has it (read by {back.reader}). Please report this."
        )
    if back.priority is not None and not np.array_equal(back.priority[rows], targets.priority):
        raise HandoffError(
            f"{path}: priorities differ from those written (read by {back.reader}). "
            "Please report this."
        )
    return ReadBack(back.reader, len(targets), float(offset.max()), back.priority is not None)
