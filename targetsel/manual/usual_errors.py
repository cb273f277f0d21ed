"""Errors that are easy to meet on the way to a first list: cause, and way out.

The page of errors executes each of them in the folder of the demonstration, and `targetsel docs`
with the printed line tells its cause and way out. `text` is the beginning of the message, as
`messages` harvests it.
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class UsualError:
    """An error that is easy to meet.

    Attributes
    ----------
    title : str
        What happened, in the user's words.
    text : str
        The beginning of its `Message.text`.
    cause, way_out : str
        Sentences.
    command : str
        The line for the shell that brings it up.
    files : mapping of str to str
        Names and contents of files that are written before.
    """

    title: str
    text: str
    cause: str
    way_out: str
    command: str
    files: dict[str, str] = field(default_factory=dict)


def _rules(condition: str) -> str:
    return f"""schema: targetsel/rules/v1
name: mine
classes:
  LINES:
    priority: 1
    where: {condition}
"""


USUAL = (
    UsualError(
        "The file is not there",
        "<path>: no such file or folder.",
        "No file of that name is in the folder that you named. Where a name beside it is close, "
        "the message gives it.",
        "Name the file with its folder as seen from where you are (`pwd` and `ls` tell).",
        "targetsel score catalogue.parquet",
    ),
    UsualError(
        "My catalog calls right ascension something else",
        "<path>: no column of <",
        "Positions are found by the names that catalogs of surveys have, in any case of letters. "
        "The message lists these names and the columns that your catalog has.",
        "Name your columns: `--ra-col lon --dec-col lat`, and `--id-col` for the ids.",
        "targetsel score lonlat.csv --cutouts cutouts",
        {"lonlat.csv": "source_id,lon,lat\n1,150.1,2.2\n"},
    ),
    UsualError(
        "My CSV begins with comments",
        "<path>, line 1: begins with '#' ('<first>');",
        "The first line of a CSV file has to hold the names of the columns. A `#` before them "
        "would become a part of the first name.",
        "Delete the comments and the `#`, or save the table as FITS, VOTable, ECSV or Parquet, "
        "which have a place for both.",
        "targetsel score comments.csv --cutouts cutouts",
        {"comments.csv": "# from TOPCAT\nsource_id,ra,dec\n1,150.1,2.2\n"},
    ),
    UsualError(
        "My cutouts are somewhere else",
        "<beside>: no cutout store there.",
        "`score` looks for a folder `cutouts` beside the catalog. There is none.",
        "Name your store as the second argument or with `--cutouts`. From images, make one with "
        "`targetsel cutouts pack`; from a survey, with `targetsel fetch cutouts`.",
        "mkdir -p elsewhere && cp catalog.parquet elsewhere && "
        "targetsel score elsewhere/catalog.parquet",
    ),
    UsualError(
        "The cutouts are of other ids",
        "<path>: none of its <n rows> ids is among the <store> of <path>",
        "Cutouts are joined to the catalog by the id of the source, and not one id is in both. "
        "The message shows an id of each, so that you see how they differ.",
        "If your catalog has several columns of ids, name the one that the cutouts were packed "
        "with by `--id-col`. Otherwise name the store that belongs to this catalog.",
        "targetsel score other-ids.csv --cutouts cutouts",
        {"other-ids.csv": "source_id,ra,dec\nJ1000+0212,150.1,2.2\n"},
    ),
    UsualError(
        "I gave a catalog that was never scored",
        "<path>: no column '<name>', so it is not a scored catalog.",
        "Rules speak of predictions, and only `score` writes these. The file that you gave has "
        "none.",
        "Run `targetsel score` on the catalog, and give `select` what it wrote: its name ends in "
        "`.scored.parquet`.",
        "targetsel select catalog.parquet --rules emission",
    ),
    UsualError(
        "A rule names a column that is not there",
        "unknown column '<name>'.<hint><known>",
        "A name in a condition is neither a column of the scored catalog nor a name under "
        "`define:`. The line and the caret show where it stands.",
        "Correct the name. `targetsel rules columns catalog.scored.parquet` lists all that you "
        "can write.",
        "targetsel select catalog.scored.parquet --rules misspelt.yaml",
        {"misspelt.yaml": _rules("P(ew_halpa > 20 Angstrom) >= 0.5")},
    ),
    UsualError(
        "A limit is in another unit than the column",
        "<left node> is in <unit>, <subject> is in <unit>",
        "Columns have units, and a comparison needs both sides in units of one kind. Flux and "
        "magnitude are different kinds.",
        "Write the limit in the unit of the column, as the message says. For the magnitude of a "
        "column of flux write `mag(flux_r_sdss) < 20`.",
        "targetsel select catalog.scored.parquet --rules units.yaml",
        {"units.yaml": _rules("flux_r_sdss < 20 mag")},
    ),
    UsualError(
        "YAML reads my condition as something else",
        "not valid YAML: <problem>; <step>",
        "A rule file is YAML, in which `: ` and ` #` and some first characters have a meaning of "
        "their own. Here the colon in the text ends what YAML takes for a name.",
        "Put the whole condition in single quotes, and texts inside it in double quotes: "
        "`'name == \"A: 1\"'`.",
        "targetsel rules lint colon.yaml",
        {"colon.yaml": _rules('rmag < 20 and name == "A: 1"')},
    ),
    UsualError(
        "The assignment tool needs a setting",
        "'<tool>' needs <many> <meanings>. Write these lines",
        "Each tool wants to know something that no target list holds, such as the epoch to which "
        "positions are moved.",
        "Write the lines below the message into a YAML file, with your values, and give it with "
        "`--config`. The folder `settings` of "
        "the demonstration has a file for each tool; `targetsel docs deimos` explains the keys.",
        "targetsel export emission.targets.parquet --for deimos",
    ),
)
