"""The tools by name."""

from __future__ import annotations

from targetsel.errors import HandoffError, did_you_mean
from targetsel.handoff import (
    desi,
    fourmost,
    gemini,
    hectospec,
    keck,
    nirspec,
    pfs,
    sdss_v,
    two_df,
    weave,
)
from targetsel.handoff.tool import Tool

_MODULES = (desi, pfs, fourmost, sdss_v, weave, nirspec, two_df, hectospec, keck, gemini)
TOOLS: dict[str, Tool] = {tool.name: tool for module in _MODULES for tool in module.TOOLS}


def find_tool(name: str) -> Tool:
    """The tool of this name.

    Raises
    ------
    HandoffError
        If there is none; it suggests a close name, or lists them all.
    """
    if name in TOOLS:
        return TOOLS[name]
    hint = did_you_mean(name, TOOLS) or f" Known are {', '.join(TOOLS)}."
    raise HandoffError(f"no tool '{name}'.{hint}")
