"""Every command that takes a truth file accepts the same ones, and refuses others alike."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from targetsel.scoring.ensemble import Ensemble
from targetsel.spectra.lines import PROXIES
from targetsel.tables.parquet import read_footer, write_table
from tests.calibration.known_sky import D, N, lists, write_known
from tests.cli.typed import contents
from tests.selection.scored_by_hand import rule_text

KNOWN = ("--labelled", "known.scored.parquet", "--truth", "truth.parquet")
SCORED = ("known.scored.parquet",)
COMMANDS = {
    "calibrate": (*SCORED, "--truth", "truth.parquet", "--ensemble", "tiny", "--force"),
    "evaluate": (*SCORED, "--truth", "truth.parquet", "-o", "out", "--rules", "a.yaml"),
    "compare": (*SCORED, "--spectra", "truth.parquet", "--ensemble", "tiny", "-o", "c.parquet"),
    "forecast": ("--rules", "a.yaml", "others.parquet", *KNOWN),
    "select": ("--rules", "a.yaml", "others.parquet", *KNOWN, "-o", "targets.parquet"),
}


@pytest.fixture(scope="module")
def known(ensemble_folder, tmp_path_factory):
    """Scored sources, their truth, others like them, and a rule file; read only."""
    folder = tmp_path_factory.mktemp("known")
    scored, truth = write_known(folder, Ensemble.read(ensemble_folder))
    table = pq.read_table(scored)
    others = pa.array(table["source_id"].to_numpy() + 10**6)
    table = table.set_column(0, table.schema.field(0), others)
    write_table(table, folder / "others.parquet", read_footer(scored))
    bound = np.median(pq.read_table(truth)["ew_halpha"].to_numpy())
    promise = "    guarantee: {purity: 0.3, kind: average}\n"
    (folder / "a.yaml").write_text(rule_text(f"P(ew_halpha > {bound:.5f}) >= 0.1", rest=promise))
    return folder


@pytest.fixture
def folder(known, ensemble_folder, tmp_path, monkeypatch):
    """The working directory: a copy of `known`, and the ensemble."""
    shutil.copytree(known, tmp_path, dirs_exist_ok=True)
    shutil.copytree(ensemble_folder, tmp_path / "tiny")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def replaced(folder, **columns):
    """Replace columns of the truth file, or drop those that are None."""
    path = folder / "truth.parquet"
    table, footer = pq.read_table(path), read_footer(path)
    for name, values in columns.items():
        if name in table.column_names:
            table = table.drop_columns([name])
        if isinstance(values, tuple):
            values, unit = values
            table = table.append_column(
                pa.field(name, pa.float64(), metadata={"unit": unit}), pa.array(values)
            )
        elif values is not None:
            table = table.append_column(name, values)
    write_table(table, path, footer)


def said_by_all(targetsel, folder):
    """Results of all commands, without hashes of the truth file."""
    found = {}
    for command, words in COMMANDS.items():
        said = targetsel(command, *words)
        assert said.status == 0, said
        found[command] = said.out
    found["calibration"] = json.loads((folder / "tiny" / "calibration.json").read_text())
    found["calibration"].pop("truth_sha256")
    for name in ("out/evaluation.parquet", "c.parquet", "targets.parquet"):
        found[name] = pq.read_table(folder / name).to_pandas().to_string()
    return found


def test_all_commands_take_ids_as_integers_or_text_and_any_unit_that_converts(targetsel, folder):
    table = pq.read_table(folder / "truth.parquet")
    expected = said_by_all(targetsel, folder)
    for command in ("evaluate", "compare", "forecast", "select"):
        assert f"{N} sources with a prediction and a known spectrum\n" in expected[command]
        assert "images or spectra are simulated" in expected[command]
    ids = table["source_id"].cast(pa.string())
    halpha = (table["ew_halpha"].to_numpy(), "Angstrom")
    replaced(folder, source_id=ids, ew_halpha=halpha)
    assert said_by_all(targetsel, folder) == expected
    replaced(folder, ew_halpha=(halpha[0] * 2.0**-7, "128 Angstrom"))
    assert said_by_all(targetsel, folder) == expected


def truth_of_others():
    return {"source_id": pa.array(np.arange(N) - 5000)}


NOT_A_NUMBER = pa.array(np.full(N, np.nan))


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"source_id": None}, "no column 'source_id', so it is not a truth file. Such a file hol"),
        ({"source_id": pa.array([7] * N)}, "column 'source_id': ids are repeated, such as 7."),
        (
            {"source_id": pa.array([None, *range(1, N)])},
            "column 'source_id': 1 rows have no id. Leave them out.",
        ),
        (
            {"source_id": pa.array(np.arange(N) + 0.5)},
            "floats (double), and 0.5 is no whole",
        ),
        (truth_of_others(), f"none of its {N} ids (the first is '-5000') is in known.scored"),
        ({"latent": None, **dict.fromkeys(PROXIES)}, "neither latents ('latent_mean') nor a proxy"),
        (
            {"latent": lists(np.full((N, D), np.nan)), **dict.fromkeys(PROXIES, NOT_A_NUMBER)},
            f"all {N} sources that were scored have NaN for a truth",
        ),
        (
            {"ew_halpha": (np.ones(N), "s")},
            "column 'ew_halpha': is in 's'; expected 'Angst",
        ),
        ({"ew_halpha": pa.array(["strong"] * N)}, "column 'ew_halpha': holds text; expect"),
        ({"latent": pa.array(np.ones(N))}, "column 'latent': holds numbers; expected lists"),
        ({"latent": lists(np.zeros((N, D + 4)))}, "column 'latent': 10 latents, but the ensemble"),
        ({"weight": pa.array(np.full(N, -1.0))}, "column 'weight': expected numbers from 0 up"),
    ],
)
def test_all_commands_refuse_a_bad_truth_file_in_the_same_words(
    targetsel, folder, columns, message
):
    replaced(folder, **columns)
    before = contents(folder)
    lines = set()
    for command, words in COMMANDS.items():
        said = targetsel(command, *words)
        assert (said.status, said.out) == (2, ""), (command, said)
        lines.add(said.err)
    assert len(lines) == 1, lines
    (line,) = lines
    assert line.startswith("truth.parquet")
    assert message in line
    assert contents(folder) == before


def test_all_commands_refuse_latents_of_another_decoder_in_the_same_words(targetsel, folder):
    for name, decoder in (("known.scored.parquet", "1" * 64), ("truth.parquet", "2" * 64)):
        footer = read_footer(folder / name) | {"decoder_sha256": decoder}
        write_table(pq.read_table(folder / name), folder / name, footer)
    lines = {targetsel(command, *words).err for command, words in COMMANDS.items()}
    assert len(lines) == 1, lines
    assert "its latents are of the decoder 222222222222, but those predicted" in lines.pop()
