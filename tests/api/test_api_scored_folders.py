"""A scored catalog in partitions gives all that the one file gives."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import targetsel as ts
from targetsel.rules.facts import facts_of, rule_columns
from targetsel.scored.file import ScoredFile
from targetsel.scored.known_columns import with_known
from targetsel.tables.any_format import is_simulated
from targetsel.tables.parquet import read_footer
from tests.calibration.known_sky import write_known
from tests.scored.partitions import cut, cut_by_rows, parts_of

RULES = """
schema: targetsel/rules/v1
name: limited
define:
  lines: "ew_halpha > catalog_quantile(ew_halpha, 0.3) and d4000 < 1.8"
classes:
  BRIGHT:
    bit: 1
    priority: 3000
    where: ["rmag < catalog_quantile(rmag, 0.8)", "P(lines) >= 0.1"]
    dedup: {within: 3 deg}
    rank: -rmag
    limit: {total: 20}
  SPREAD:
    bit: 2
    priority: 2000
    where: ["P(lines) >= 0.2"]
    rank: P(lines)
    limit: {per_deg2: 0.02, nside: 4, by: hash}
  SURE:
    bit: 3
    priority: 1000
    where: ["P(d4000 > 1.5) >= 0.3"]
    guarantee: {purity: 0.5, confidence: 0.6}
"""


ONE = "one.scored.parquet"


@pytest.fixture(scope="module")
def folder(scored_demonstration, tmp_path_factory):
    """The scored file of a demonstration; the same in partitions, in files of 70 rows, in pieces.

    The pieces have the footer of the file, as if another program had cut it.
    """
    folder = tmp_path_factory.mktemp("partitions")
    one = folder / "one.scored.parquet"
    shutil.copy(scored_demonstration / "catalog.scored.parquet", one)
    cut(one, folder / "hats", order=1)
    cut(one, folder / "pieces", order=1, scored_alone=False)
    cut_by_rows(one, folder / "flat", 70)
    assert [len(parts_of(folder / name)) for name in ("hats", "pieces", "flat")] == [22, 22, 5]
    (folder / "limited.yaml").write_text(RULES.lstrip())
    for name in ("truth.parquet", "measured-spectra.parquet", "cutouts"):
        (folder / name).symlink_to(scored_demonstration / name)
    return folder


@pytest.fixture
def here(folder, tmp_path, monkeypatch):
    """An empty folder with links to all of them, in which the test runs."""
    for each in folder.iterdir():
        (tmp_path / each.name).symlink_to(each)
    monkeypatch.chdir(tmp_path)


def chosen(scored, rules="limited.yaml"):
    """The target list of a scored catalog, with all that it can have."""
    path = Path(f"{Path(scored).name}.targets.parquet")
    known = (scored, "truth.parquet")
    assert len(ts.select(scored, rules, path, labelled=known, with_funnels=True, threads=2)) > 20
    return path


def test_target_lists_of_pieces_are_the_same_bytes(here):
    assert chosen("pieces").read_bytes() == chosen(ONE).read_bytes()


@pytest.mark.parametrize("many", ["hats", "flat"])
def test_target_lists_of_partitions_differ_in_the_hash_of_the_catalog_alone(here, many):
    lists = [chosen(many), chosen(ONE)]
    (ours, theirs) = (pq.read_table(each).replace_schema_metadata() for each in lists)
    assert ours.equals(theirs)
    assert ours.schema.equals(theirs.schema, check_metadata=True)
    footer, expected = map(read_footer, lists)
    assert footer["catalog"].pop("sha256") != expected["catalog"].pop("sha256")
    assert footer == expected


def test_a_folder_of_scored_files_is_read_as_a_scored_catalog(here):
    for many in ("hats", "flat"):
        assert type(ts.read(many)) is ts.Scored
        assert f"Scored catalog of 300 sources in {many}: 299 ok" in ts.read(many).summary()
        assert is_simulated(Path(many))


def written(write):
    """The table and the footer that a function writes for a scored catalog."""

    def read(scored):
        path = Path(f"{Path(scored).name}.made.parquet")
        write(scored, path)
        footer = read_footer(path)
        for each in ("catalog", "n_unmeasured", "statuses", "support"):
            (footer.get("scored") or footer).pop(each, None)
        return pq.read_table(path).replace_schema_metadata(), footer

    return read


def evaluated(scored):
    found = ts.evaluate(scored, "truth.parquet", rules=["emission"])
    about = {name: each for name, each in found.about.items() if name != "scored_sha256"}
    return list(found.figures), found.counts, about


def shown(scored):
    picture = ts.show(scored, 119, "cutouts", f"{Path(scored).name}.png", rules="emission")
    return picture.read_bytes()


def of_lists(scored):
    emission = chosen(ONE, "emission")
    return ts.diff(chosen(ONE), emission, scored=scored), ts.density(emission, scored=scored)


def sheets(scored):
    numbers = []
    for targets in (chosen(ONE, "emission"), scored):
        output = f"{Path(scored).name}.pdf"
        numbers.append(ts.show_all(targets, "cutouts", output, scored=scored))
    return numbers


FUNCTIONS = {
    "funnel": lambda scored: ts.funnel(scored, "limited.yaml"),
    "explain": lambda scored: ts.explain(scored, "limited.yaml", 119),
    "tune": lambda scored: ts.tune(scored, "emission", "STAR_FORMING", 10),
    "forecast": lambda scored: ts.forecast(scored, "emission"),
    "forecast with known": lambda scored: ts.forecast(
        scored, "emission", labelled=(scored, "truth.parquet")
    ),
    "diff": lambda scored: ts.diff("emission", "oiii", scored),
    "diff and density of lists": of_lists,
    "selection_function": lambda scored: ts.selection_function(
        scored, "emission", f"{Path(scored).name}.a.parquet", f"{Path(scored).name}.b.parquet"
    ),
    "evaluate": evaluated,
    "observe": written(lambda scored, path: ts.observe(scored, 2.0, path)),
    "priors": written(lambda scored, path: ts.write_priors(scored, path, redshift=0.1)),
    "show": shown,
    "show_all": sheets,
    "read": lambda scored: (ts.read(scored).statuses, ts.read(scored, "scored").table),
    "restore": written(lambda scored, path: ts.restore(scored, scored, path)),
}


# They sum probabilities piece by piece, so that the last digits depend on where pieces end.
SUMS = ("tune", "forecast", "forecast with known")


def plain(thing, rounded):
    """Numbers and words of results, without what they are kept in."""
    if isinstance(thing, pa.Table):
        return thing.to_pydict()
    if dataclasses.is_dataclass(thing):
        return plain(vars(thing), rounded)
    if isinstance(thing, dict):
        return {name: plain(each, rounded) for name, each in thing.items()}
    if isinstance(thing, float) and rounded:
        return float(f"{thing:.12g}")
    return [plain(each, rounded) for each in thing] if isinstance(thing, list | tuple) else thing


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_give_for_partitions_what_they_give_for_the_file(here, name):
    many, one = (plain(FUNCTIONS[name](scored), name in SUMS) for scored in ("hats", ONE))
    assert repr(many).replace("hats", ONE) == repr(one)


def test_labelled_sources_in_a_folder_are_calibrated_and_compared_as_in_one_file(
    ensemble_folder, tmp_path
):
    one, truth = write_known(tmp_path, ts.Ensemble.read(ensemble_folder))
    many = cut_by_rows(one, tmp_path / "many", 70)
    assert len(parts_of(many)) > 2
    calibrations, compared = [], []
    for scored in (many, one):
        calibrations.append(ts.calibrate(scored, truth, ensemble_folder, local=False).sha256)
        compared.append(ts.compare(scored, truth, ensemble=ensemble_folder, seed=3).table)
    assert calibrations[0] == calibrations[1]
    assert compared[0].replace_schema_metadata().equals(compared[1].replace_schema_metadata())


def test_rules_know_the_columns_of_a_folder_as_those_of_the_file(here):
    assert rule_columns(Path("hats")) == rule_columns(Path(ONE))
    of_folder = with_known(ScoredFile(Path("hats")).schema)
    assert facts_of(Path("hats")) == (of_folder, facts_of(Path(ONE))[1])
