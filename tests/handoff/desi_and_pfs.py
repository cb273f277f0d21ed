"""DESI's and PFS's tools, each with settings that suit a list made by hand."""

from __future__ import annotations

from pathlib import Path

from targetsel.handoff.export import Export, export
from targetsel.handoff.prepare import ExportOptions
from targetsel.handoff.registry import TOOLS
from targetsel.selection.target_list import TargetList
from tests.handoff.lists_by_hand import settings, target_list

SETTINGS = {
    "desi": {"epoch": "2026.5", "obsconditions": {"STRONG": "DARK|GRAY", "WEAK": "BRIGHT"}},
    "desi-tertiary": {
        "program_number": "12",
        "faprgrm": "tertiary12",
        "obsconds": "DARK",
        "sbprof": "ELG",
        "goaltime": "1000",
        "checker": "AB",
    },
    "pfs-uploader": {
        "exptime": {"STRONG": "1800", "WEAK": "3600"},
        "resolution": "L",
        "reference_arm": "r",
    },
    "pfs-netflow": {"exptime": "1800", "qa_reference_arm": "n"},
    "pfs-ga": {"exptime": "1800", "catid": "10092", "obcode": "by_hand_"},
}


def wide_list(**changed) -> TargetList:
    """Four targets across RA 0; 103 moves by 1 arcsec/yr to the south-east, known at 2016.0."""
    moving = {
        "ref_epoch": [None, None, 2016.0, None],
        "pmra": [None, None, 800.0, None],
        "pmdec": [None, None, -600.0, None],
    }
    return target_list(**(moving | changed))


def exported(
    name: str, path: Path, targets: TargetList | None = None, values=None, **options
) -> Export:
    """The list written for the tool of this name; `values` replace settings (None: leave out)."""
    given = {k: v for k, v in (SETTINGS[name] | (values or {})).items() if v is not None}
    return export(
        wide_list() if targets is None else targets,
        TOOLS[name],
        settings(TOOLS[name], given),
        path,
        ExportOptions(**({"assume_still": True} | options)),
    )
