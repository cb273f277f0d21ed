"""Options and arguments that several commands share, so that one flag has one meaning and help."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from targetsel.cli.terminal import say, say_joined
from targetsel.errors import CatalogError, counted
from targetsel.scored.beside import SCORED, only_scored_file

RulesOption = Annotated[
    str, typer.Option("--rules", help="Rule file, or the name of a shipped one.")
]
ClassOption = Annotated[str, typer.Option("--class", help="Target class of the rule file.")]
_SCORED_HELP = "Scored catalog: a file, or a folder of its files, such as in HATS."
ScoredArgument = Annotated[Path, typer.Argument(help=_SCORED_HELP)]
FoundScoredArgument = Annotated[
    Path,
    typer.Argument(
        help=_SCORED_HELP,
        default_factory=only_scored_file,
        show_default=f"the only *{SCORED} of this folder",
    ),
]
ScoredOutput = Annotated[
    Path,
    typer.Option("--output", "-o", help="Scored catalog to write, in the format of its ending."),
]
ParquetOutput = Annotated[Path, typer.Option("--output", "-o", help="Parquet file to write.")]
SourceIdOption = Annotated[str, typer.Option("--id", help="Id of the source in the catalog.")]
EnsembleOption = Annotated[
    str, typer.Option("--ensemble", help="Ensemble: a folder, or the name of a shipped one.")
]
DecoderOption = Annotated[
    Path | None,
    typer.Option("--decoder", help="Decoder in place of the ensemble's: a folder or file."),
]
TruthFileOption = Annotated[
    Path,
    typer.Option(
        "--truth", help="Table in any format with the ids and the true latents, proxies or both."
    ),
]
LabelledOption = Annotated[
    Path | None,
    typer.Option(
        "--labelled",
        help="Scored catalog of labelled sources: their spectra are known, and were not used in "
        "training. Classes with a 'guarantee' need it; forecasts take intervals from it. A "
        "guarantee holds for one request made before looking at the truth; trying K rules on the "
        "same sources multiplies its risk by up to K.",
    ),
]
KnownOption = Annotated[
    list[Path] | None,
    typer.Option(
        "--known",
        help="Spectra that sources may have already: SDSS's specObj, DESI's redshift catalogs, or "
        "any table of positions or ids, in every format that catalogs have; may be repeated. Known "
        "sources are left out of a class unless its rules name the column 'known', "
        "'known_redshift' or 'known_sep'. Spectra with a warning do not make a source known.",
    ),
]
KnownRadiusOption = Annotated[
    float,
    typer.Option(
        "--known-radius",
        help="Largest distance of such a spectrum from its source, the nearest, in arcsec.",
    ),
]
TruthOption = Annotated[
    Path | None,
    typer.Option(
        help="Table in any format with the ids and the measured proxies of the sources in "
        "--labelled."
    ),
]
LinesOption = Annotated[
    Path | None,
    typer.Option("--lines", help="YAML file of definitions to add to the line table."),
]
BrightnessOption = Annotated[
    list[str] | None,
    typer.Option(
        "--brightness",
        help="Which column holds which band's fluxes or magnitudes: BAND=COLUMN, such as "
        "r_sdss=rmag or j_2mass=jmag,error=e_jmag,system=Vega; may be repeated. Default: what "
        "CATALOG.photometry.yaml beside the catalog says, and the usual names of surveys. Scored "
        "files and target lists remember it.",
    ),
]
SeedOption = Annotated[int, typer.Option("--seed", help="Seed of the posterior draws.")]
ThreadsOption = Annotated[
    int | None,
    typer.Option("--threads", min=1, help="Number of worker threads. Default: all cores."),
]
WorkersOption = Annotated[
    int | None,
    typer.Option(
        "--workers",
        min=1,
        help="Processes that do the partitions of a HATS catalog. Default: all cores.",
    ),
]
DaskOption = Annotated[
    bool, typer.Option("--dask", help="Let Dask begin these processes (extra cluster).")
]
SchedulerOption = Annotated[
    str | None,
    typer.Option(
        "--scheduler", help="Dask cluster that does the partitions: address or scheduler file."
    ),
]
ShardOption = Annotated[
    str | None,
    typer.Option(
        "--shard",
        help="K/N: do only every N-th partition from the K-th on, as one of N runs that share a "
        "folder, such as the tasks of an array job.",
        metavar="K/N",
    ),
]
TimeLimitOption = Annotated[
    str | None,
    typer.Option("--time-limit", help="Time after which a partition counts as failed, such as 2h."),
]
WithoutFailedOption = Annotated[
    bool,
    typer.Option(
        "--without-failed", help="Make the folder a HATS catalog without those that failed."
    ),
]
ScoredOrFolder = Annotated[
    Path,
    typer.Option(
        "--output",
        "-o",
        help="Scored catalog to write, in the format of its ending; for one in HATS also a folder, "
        "which becomes one.",
    ),
]
RaOption = Annotated[str | None, typer.Option("--ra-col", help="Column of right ascension.")]
DecOption = Annotated[str | None, typer.Option("--dec-col", help="Column of declination.")]
IdOption = Annotated[str | None, typer.Option("--id-col", help="Column of source ids.")]


def say_labelled(labelled: tuple[Path, Path] | None, scored: Path) -> None:
    """Say how many sources the two files of a calibration share, with each other and with the
    scored catalog that targets are chosen from."""
    if labelled is not None:
        from targetsel.scored.labelled_sources import count_labelled
        from targetsel.selection.claims import count_shared
        from targetsel.tables.any_format import is_simulated

        say_joined(*count_labelled(*labelled), any(map(is_simulated, labelled)))
        shared, n = count_shared(scored, labelled)
        if shared:
            say(
                f"{shared:,} of the {counted(n, 'source')} in {scored} are among them: "
                "intervals and guarantees are about sources whose spectra are not known"
            )


def both(
    labelled: Path | None, truth: Path | None, name: str = "--labelled"
) -> tuple[Path, Path] | None:
    """The scored catalog of labelled sources and their truth, or None without them.

    Raises
    ------
    CatalogError
        If there is only one.
    """
    if labelled is None and truth is None:
        return None
    if labelled is None or truth is None:
        missing = "--truth" if truth is None else name
        raise CatalogError(f"{missing} is missing. Give both {name} and --truth, or none.")
    return labelled, truth


_SITE_HELP = (
    "Where sources are observed: a name of 'targetsel sites', or coordinates such as "
    "'lat=31.96 lon=-111.6 height=2120'."
)
_NIGHT_HELP = (
    "Date of the evening at the site, such as 2027-03-14, or a run of nights, "
    "2027-03-14/2027-03-20; may be repeated."
)
SiteOption = Annotated[str, typer.Option(help=_SITE_HELP)]
SiteOrNoneOption = Annotated[str | None, typer.Option(help=_SITE_HELP)]
NightOption = Annotated[list[str], typer.Option(help=_NIGHT_HELP)]
NightOrNoneOption = Annotated[list[str] | None, typer.Option(help=_NIGHT_HELP)]
AirmassOption = Annotated[float, typer.Option(help="Sources are up while their airmass is below.")]
HorizonOption = Annotated[float, typer.Option(help="Altitude in deg that they must be above, too.")]
TwilightOption = Annotated[
    str,
    typer.Option(
        help="When it is dark: astronomical, nautical or civil, the Sun below -18, -12 or -6 deg."
    ),
]
