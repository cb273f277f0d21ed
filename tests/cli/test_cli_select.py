"""targetsel select, as it is typed."""

import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import typer
from typer.testing import CliRunner

from targetsel.cli.select import select
from targetsel.errors import CatalogError, RuleError
from targetsel.rules.rules import Rules
from targetsel.selection.select import select as select_targets
from targetsel.tables.parquet import read_footer, write_table

RULES = """\
schema: targetsel/rules/v1
name: bright
classes:
  BRIGHT: {bit: 0, priority: 100, where: rmag < 20 mag}
"""


def run(*words):
    app = typer.Typer()
    app.command()(select)
    result = CliRunner().invoke(app, [str(word) for word in words])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with one scored catalog and one rule file, where the command is run."""
    schema = pa.schema(
        [
            ("source_id", pa.int64()),
            ("ra", pa.float64()),
            ("dec", pa.float64()),
            ("_healpix_29", pa.int64()),
            pa.field("rmag", pa.float32(), metadata={"unit": "mag"}),
        ]
    )
    table = pa.table(
        [[1, 2, 3], [10.0, 11, 12], [0.0, 1, 2], [7, 8, 9], [19.0, 21, 18]], schema=schema
    )
    write_table(table, tmp_path / "sky.scored.parquet")
    (tmp_path / "bright.yaml").write_text(RULES)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_only_scored_file_and_rules_are_enough(folder):
    result = run("--rules", "bright.yaml")
    assert result.exit_code == 0
    assert (folder / "bright.targets.parquet").is_file()
    assert "BRIGHT" in result.output
    assert "2 targets of 3 sources written to bright.targets.parquet" in result.output


def test_the_only_scored_catalog_may_be_a_folder(folder):
    run("--rules", "bright.yaml", "-o", "one.parquet")
    (folder / "sky.scored").mkdir()
    with pytest.raises(
        CatalogError, match=r"several .* sky\.scored, sky\.scored\.parquet\. Name one"
    ):
        run("--rules", "bright.yaml")
    shutil.move("sky.scored.parquet", "sky.scored")
    assert run("--rules", "bright.yaml").exit_code == 0
    assert (folder / "bright.targets.parquet").read_bytes() == Path("one.parquet").read_bytes()


def test_list_lies_beside_the_scored_file_unless_told_otherwise(folder):
    (folder / "deep").mkdir()
    shutil.move("sky.scored.parquet", "deep")
    run("deep/sky.scored.parquet", "--rules", "bright.yaml")
    run("deep/sky.scored.parquet", "--rules", "bright.yaml", "-o", "mine.parquet")
    assert (folder / "deep/bright.targets.parquet").read_bytes() == (
        folder / "mine.parquet"
    ).read_bytes()


def test_command_and_function_write_the_same_list(folder):
    run("--rules", "bright.yaml")
    select_targets(folder / "sky.scored.parquet", Rules.read("bright.yaml"), folder / "f.parquet")
    assert (folder / "f.parquet").read_bytes() == (folder / "bright.targets.parquet").read_bytes()


def test_several_rule_files_make_one_list(folder):
    (folder / "faint.yaml").write_text(
        RULES.replace("bright", "faint")
        .replace("BRIGHT: {bit: 0", "FAINT: {bit: 1")
        .replace("rmag < 20", "rmag > 18.5")
    )
    result = run("--rules", "bright.yaml", "--rules", "faint.yaml")
    assert "3 targets of 3 sources written to bright+faint.targets.parquet" in result.output
    table = pq.read_table(folder / "bright+faint.targets.parquet")
    assert table["target_bits"].to_pylist() == [3, 2, 1]
    footer = read_footer(folder / "bright+faint.targets.parquet")
    assert footer["bits"] == {"BRIGHT": 0, "FAINT": 1}
    assert [name for name, _ in footer["rules_files"]] == ["bright.yaml", "faint.yaml"]


def test_dry_run_counts_and_writes_nothing(folder):
    before = sorted(folder.iterdir())
    result = run("--rules", "bright.yaml", "--dry-run")
    assert "2 targets of 3 sources chosen; nothing was written" in result.output
    assert sorted(folder.iterdir()) == before


def test_guarantee_without_sources_of_known_nature_is_refused(folder):
    (folder / "bright.yaml").write_text(RULES.replace("bit: 0", "bit: 0, guarantee: {purity: 0.9}"))
    with pytest.raises(RuleError, match=r"bright\.yaml:4:31: error: .*--labelled"):
        run("--rules", "bright.yaml")


def test_nothing_is_left_of_a_run_that_fails(folder):
    (folder / "bright.yaml").write_text(RULES.replace("mag}", "mag, exclude: none.parquet}"))
    with pytest.raises(RuleError, match=r"no file 'none\.parquet' in the folder"):
        run("--rules", "bright.yaml")
    assert sorted(path.name for path in folder.iterdir()) == ["bright.yaml", "sky.scored.parquet"]


def test_no_scored_file_asks_for_one(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CatalogError, match=r"has no \*\.scored\.parquet\. Name one as"):
        run("--rules", "emission")


def test_several_scored_files_are_listed(folder):
    shutil.copy("sky.scored.parquet", "sea.scored.parquet")
    with pytest.raises(CatalogError, match=r"catalogs: sea.* Name one as the argument SCORED\."):
        run("--rules", "bright.yaml")


def test_unknown_rules_list_the_shipped_ones(folder):
    with pytest.raises(RuleError, match="Known: aberrant, agn, emission, oiii"):
        run("--rules", "brigt.yaml")


def test_rules_that_name_no_column_point_to_their_place(folder):
    (folder / "bright.yaml").write_text(RULES.replace("rmag", "rmagg"))
    with pytest.raises(RuleError) as caught:
        run("--rules", "bright.yaml")
    assert str(caught.value).startswith("bright.yaml:4:42: error: unknown column 'rmagg'.")
    line, caret = caught.value.detail.split("\n")
    assert line[caret.index("^") :].startswith("rmagg < 20")
    assert not list(folder.glob("*targets*"))
