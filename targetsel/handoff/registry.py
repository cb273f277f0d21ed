"""The tools by name."""

from __future__ import annotations

from targetsel.errors import HandoffError, did_you_mean
from targetsel.handoff import (
    deimos,
    desi,
    desi_tertiary,
    fourmost,
    gmmps,
    gmskcreate,
    hectospec,
    mosfire,
    nirspec,
    pfs_ga,
    pfs_netflow,
    pfs_uploader,
    sdss_v,
    two_df,
    weave,
)
from targetsel.handoff.tool import Tool

_MODULES = (
    desi,
    desi_tertiary,
    pfs_uploader,
    pfs_netflow,
    pfs_ga,
    fourmost,
    sdss_v,
    weave,
    nirspec,
    two_df,
    hectospec,
    deimos,
    mosfire,
    gmmps,
    gmskcreate,
)
TOOLS: dict[str, Tool] = {each.TOOL.name: each.TOOL for each in _MODULES}


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
