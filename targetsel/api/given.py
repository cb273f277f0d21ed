"""Arguments that functions take in several forms: paths, shipped names, things in memory."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias, overload

from targetsel.errors import HandoffError
from targetsel.tables.any_form import AnyTable, is_path

if TYPE_CHECKING:
    from targetsel.imaging.cutout import Cutouts
    from targetsel.imaging.folder import Folder
    from targetsel.imaging.store import CutoutStore
    from targetsel.scoring.ensemble import Ensemble
    from targetsel.selection.target_list import TargetList

AnyPath: TypeAlias = "str | os.PathLike[str]"
AnyPaths: TypeAlias = "AnyPath | Iterable[AnyPath]"
AnyCutouts: TypeAlias = "AnyPath | CutoutStore | Folder | Cutouts"
AnyEnsemble: TypeAlias = "AnyPath | Ensemble"
AnyTargets: TypeAlias = "AnyPath | TargetList"
# Spectra that sources may have already: --known of commands.
AnySpectra: TypeAlias = "AnyTable | Sequence[AnyTable]"
# A scored catalog and the truth about its sources: --labelled and --truth of commands.
Labelled: TypeAlias = "tuple[AnyPath, AnyPath]"


def in_silence(line: str) -> None:
    """Discard a line of progress."""


@overload
def path_of(given: AnyPath) -> Path: ...
@overload
def path_of(given: None) -> None: ...
def path_of(given: AnyPath | None) -> Path | None:
    """A path that may be left out."""
    return None if given is None else Path(given)


def paths_of(given: AnyPaths) -> list[Path]:
    """One path or several as a list."""
    return [Path(given)] if isinstance(given, str | os.PathLike) else [Path(each) for each in given]


def pair_of(labelled: Labelled | None) -> tuple[Path, Path] | None:
    """The two files of a calibration, if they are given."""
    return None if labelled is None else (Path(labelled[0]), Path(labelled[1]))


def ensemble_of(
    ensemble: AnyEnsemble, device: str = "cpu", calibrated: bool = True, engine: str = "torch"
) -> Ensemble:
    """An ensemble that was read, or that of a folder or a shipped name."""
    from targetsel.scoring.ensemble import Ensemble

    if isinstance(ensemble, Ensemble):
        return ensemble
    name = ensemble if isinstance(ensemble, str) else Path(ensemble)
    return Ensemble.read(name, device, calibrated, engine)


def check_targets(targets: object) -> None:
    """Raise a HandoffError unless this is a target list or names a file."""
    from targetsel.selection.target_list import TargetList

    if not isinstance(targets, TargetList) and not is_path(targets):
        raise HandoffError(
            f"the targets are of type {type(targets).__name__}; expected a target list. Give a "
            "TargetList or its file; a table has lost the rules."
        )


def targets_of(targets: AnyTargets) -> TargetList:
    """A target list that was read, or that of a file.

    Raises
    ------
    HandoffError
        If it is neither.
    """
    from targetsel.selection.target_list import TargetList

    check_targets(targets)
    if isinstance(targets, TargetList):
        return targets
    return TargetList.read(Path(targets), needs_footer=False)


@overload
def store_of(cutouts: AnyPath | CutoutStore) -> CutoutStore: ...
@overload
def store_of(cutouts: AnyPath | CutoutStore | None) -> CutoutStore | None: ...
def store_of(cutouts: AnyPath | CutoutStore | None) -> CutoutStore | None:
    """A cutout store that was opened, or that of a path; None where there is none."""
    from targetsel.imaging.store import CutoutStore

    if cutouts is None:
        return None
    return cutouts if isinstance(cutouts, CutoutStore) else CutoutStore.open(Path(cutouts))
