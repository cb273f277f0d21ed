"""From the sources of a list to the shares that would be selected of them, and their file."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from targetsel.errors import counted
from targetsel.injection.columns import ORIGINAL
from targetsel.injection.figures import Injection
from targetsel.injection.rows import Judge, changed_rows, magnitude_of
from targetsel.injection.sources import AnySources, Chosen, choose_sources
from targetsel.injection.steps import ImageStep
from targetsel.networks.inputs import InputsById
from targetsel.rules.rules import Rules
from targetsel.scored.columns import STATUS
from targetsel.scoring.ensemble import Ensemble
from targetsel.surveys.registry import find_card
from targetsel.tables.parquet import SIMULATED, says_simulated, write_table

FORMAT = "targetsel/injection/v1"


@dataclass(frozen=True)
class Request:
    """What shall be done.

    Attributes
    ----------
    sources : TargetList, path or table
        A target list or a scored catalog.
    images : InputsById
        The store that was scored.
    rules : Rules
    steps : tuple of ImageStep
    ensemble : Ensemble
    classes : tuple of str
        Names of classes; all, where there is none.
    n, seed : int
        Number of sources, and the seed that chooses them and draws the noise.
    threads : int
    survey : str or None
        Survey of the images, whose card tells the brightness of the sky.
    """

    sources: AnySources
    images: InputsById
    rules: Rules
    steps: tuple[ImageStep, ...]
    ensemble: Ensemble
    classes: tuple[str, ...] = ()
    n: int = 500
    seed: int = 0
    threads: int = 1
    survey: str | None = None


def inject(asked: Request, output: Path | None = None) -> Injection:
    """Change images, score and judge them; and write the rows, if a file is named.

    Raises
    ------
    TargetselError
        As `choose_sources`, `Judge.of` and `changed_rows`.
    """
    for name in asked.classes:
        asked.rules[name]  # so that an unknown one is refused before any file is read
    card = None if asked.survey is None else find_card(asked.survey)
    chosen = choose_sources(asked.sources, asked.images, asked.rules, asked.n, asked.seed)
    judge = Judge.of(
        chosen, asked.rules, asked.classes, asked.ensemble, asked.images, asked.seed, card
    )
    tables = list(changed_rows(chosen, judge, asked.steps, asked.threads))
    table = pa.concat_tables(tables).combine_chunks()
    by = magnitude_of(chosen.catalog.table)
    found = Injection(
        table,
        judge.names,
        asked.steps,
        f"{by.title}, {by.unit}",
        _facts(chosen, judge, asked, table),
        output,
    )
    if output is not None:
        write_table(table, output, _footer(found, chosen, judge, asked))
    return found


def _facts(chosen: Chosen, judge: Judge, asked: Request, table: pa.Table) -> tuple[str, ...]:
    """What was done and what not, in sentences."""
    lost = sum(each != "ok" for each in table[STATUS].to_pylist()[:: len(asked.steps)])
    kind = "target list" if chosen.is_list else "scored catalog"
    facts = [
        f"{len(chosen):,} of the {counted(chosen.n_with_cutout, 'source')} with a cutout "
        f"({chosen.n_all:,} in the {kind}) were chosen by hash; each stands for "
        f"{chosen.n_with_cutout / len(chosen):.3g} of them"
    ]
    if lost:
        facts.append(f"{counted(lost, 'source')} without a prediction, left out of all shares")
    if not len(judge.moved) and any(step.dim for step in asked.steps):
        facts.append("the classes read no magnitude of the catalog: the images alone get fainter")
    elif judge.moved:
        facts.append(f"get fainter with the images: {', '.join(judge.moved)}")
    if judge.stay:
        facts.append(
            f"read by the classes and left as they were, as nobody knows what they would be: "
            f"{', '.join(judge.stay)}"
        )
    if any(step.dim for step in asked.steps) and judge.in_magnitudes:
        facts.append(
            f"{', '.join(judge.in_magnitudes)}: in mag, and of no band that is known; if it is a "
            "magnitude and no colour, score the catalog with --brightness"
        )
    if judge.sky is None:
        facts.append(
            "the noise of galaxies' own light is not restored: name the survey of the images with "
            "--survey"
        )
    facts.append(
        "conditions alone decide: sample, dedup and limit are left out; redshifts and sizes of "
        "galaxies stay; purity is not known"
    )
    if judge.images.simulated or says_simulated(chosen.footer):
        facts.append("these images are SIMULATED")
    return tuple(facts)


def _footer(found: Injection, chosen: Chosen, judge: Judge, asked: Request) -> dict[str, Any]:
    ensemble, calibration = judge.ensemble, judge.ensemble.calibration
    simulated = judge.images.simulated or says_simulated(chosen.footer)
    return {
        "format": FORMAT,
        "rules": asked.rules.text,
        "rules_sha256": asked.rules.sha256,
        "classes": list(found.names),
        "ensemble": {"name": ensemble.name, "sha256": ensemble.sha256},
        "calibration": calibration.provenance if calibration else None,
        "options": asdict(judge.options),
        **judge.images.provenance,
        "seed": asked.seed,
        "survey": asked.survey,
        "sources": {"chosen": len(chosen), "with_cutout": chosen.n_with_cutout,
                    "all": chosen.n_all, "of": "list" if chosen.is_list else "catalog"},
        "changed_columns": list(judge.moved),
        "unchanged_columns": list(judge.stay),
        "steps": [asdict(each) for each in found.steps],
        "magnitude": [ORIGINAL, found.magnitude],
        "figures": [dict(each) for each in found.records],
        "states": [dict(each.record) for each in found.states],
        **(SIMULATED if simulated else {}),
    }  # fmt: skip
