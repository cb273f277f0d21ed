"""Options and arguments that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from targetsel.errors import CatalogError

RulesOption = Annotated[
    str, typer.Option("--rules", help="Rule file, or the name of a shipped one.")
]
ClassOption = Annotated[str, typer.Option("--class", help="Target class of the rule file.")]
ScoredArgument = Annotated[
    Path | None,
    typer.Argument(help="Scored catalog. Default: the only *.scored.parquet of this folder."),
]
CalibrationOption = Annotated[
    Path | None,
    typer.Option(help="Scored catalog of sources with spectra, not used in training."),
]
TruthOption = Annotated[
    Path | None,
    typer.Option(help="Parquet with the ids and the measured proxies of those sources."),
]
RaOption = Annotated[str | None, typer.Option("--ra-col", help="Column of right ascension.")]
DecOption = Annotated[str | None, typer.Option("--dec-col", help="Column of declination.")]
IdOption = Annotated[str | None, typer.Option("--id-col", help="Column of source ids.")]


def both(calibration: Path | None, truth: Path | None) -> tuple[Path, Path] | None:
    """The two files of a calibration, or None without them.

    Raises
    ------
    CatalogError
        If there is only one.
    """
    if calibration is None and truth is None:
        return None
    if calibration is None or truth is None:
        missing = "--truth" if truth is None else "--calibration"
        raise CatalogError(f"{missing} is missing: a calibration takes a scored catalog and truth")
    return calibration, truth
