"""Every command that can take long says how far it is, and comes to the end of what it announced.

By the clock of these tests minutes pass at every step.
"""

from __future__ import annotations

import re
import shutil

import pytest

from targetsel.mock.demonstration import run
from tests.cli.typed import Typed

N = 60
LAST = re.compile(r"(.+): ([\d,]+) of ([\d,]+) [a-z]+ in [\d:]+")
BEFORE = re.compile(r".+: [\d,]+ of [\d,]+ [a-z]+(, \S+/(s|min|h), [\d:]+ left)?")

# Commands on the demonstration, and what each is seen to be doing.
# Before the last " && " stands what must be there first.
LONG = {
    "score catalog.parquet -o again.parquet": ["reading catalog.parquet", "scoring", "joining"],
    "score catalog.parquet -o again.fits": ["converting"],
    "select --rules emission -o list.parquet": ["choosing"],
    "select --rules emission -o list.fits": ["choosing", "converting"],
    "funnel --rules emission": ["reading catalog.scored.parquet"],
    "tune --rules emission --class EXCITED --targets 5": ["reading catalog.scored.parquet"],
    "forecast --rules emission": ["reading catalog.scored.parquet"],
    "diff emission oiii": ["reading catalog.scored.parquet"],
    "density emission.targets.parquet": ["reading emission.targets.parquet"],
    "randoms --rules emission --per-deg2 0.1 -o randoms.parquet": ["making points"],
    "selection-function --rules emission -o map.fits --nside 1": ["reading catalog.scored.parquet"],
    "observe catalog.scored.parquet --size 2arcsec -o observed.parquet": ["observing"],
    "show --all emission.targets.parquet --cutouts cutouts -o sheet.pdf": ["drawing"],
    "export emission.targets.parquet --for deimos --config settings/deimos.yaml -o deimos.lis": [
        "writing"
    ],
    "restore catalog.scored.parquet --from catalog.scored.parquet -o whole.parquet": [
        "reading catalog.scored.parquet"
    ],
    "mock --n 8 -o sky --workers 1": ["simulating", "writing the store"],
    "spectra measure measured-spectra.parquet -o strengths.parquet": ["measuring"],
    "spectra encode measured-spectra.parquet -o latents.parquet": ["encoding"],
    "lines calibrate truth.parquet -o widths.json": ["reading truth.parquet"],
    "priors write catalog.scored.parquet --redshift 0.1 -o priors.parquet": ["writing priors"],
    "spectra encode measured-spectra.parquet -o latents.parquet && "
    "compare catalog.scored.parquet --spectra latents.parquet -o compared.parquet": ["comparing"],
    "priors write catalog.scored.parquet --redshift redshift --redshift-error 0.001 "
    "-o priors.parquet && "
    "priors update priors.parquet --spectra measured-spectra.parquet -o updated.parquet": [
        "combining"
    ],
    "lines calibrate truth.parquet -o widths.json && "
    "lines apply catalog.scored.parquet --maps widths.json -o widths.parquet": [
        "reading catalog.scored.parquet"
    ],
    "decoder train spectra.parquet -o decoder --epochs 2 --batch 8": ["training"],
    "evaluate catalog.scored.parquet --truth truth.parquet -o evaluation": [
        "evaluating",
        "counting members",
    ],
}


@pytest.fixture(scope="module")
def walked(tmp_path_factory):
    """The folder of a small demonstration; read only."""
    folder = tmp_path_factory.mktemp("walked")
    run(folder, N)
    return folder


@pytest.mark.parametrize("words", LONG)
def test_long_commands_show_progress_up_to_the_end(
    words, walked, slow, tmp_path, monkeypatch, capsys
):
    folder = tmp_path / "demo"
    shutil.copytree(walked, folder)
    monkeypatch.chdir(folder)
    typed = Typed(monkeypatch, capsys)
    for command in words.split(" && "):
        said = typed(*command.split())
        assert said.status == 0, said
    ends = {}
    for line in said.err.splitlines():
        if found := LAST.fullmatch(line):
            ends[found[1]] = found[2], found[3]
        elif "epoch" not in line and "from spectra.parquet" not in line:
            assert BEFORE.fullmatch(line), line
    assert {*LONG[words]} <= ends.keys(), said.err
    assert all(done == total for done, total in ends.values()), ends
    assert not any(LAST.fullmatch(line) for line in said.out.splitlines())
