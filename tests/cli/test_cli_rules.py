"""targetsel rules, as it is typed."""

import json
import os
import subprocess
import sys

import pyarrow as pa
import pytest
from typer.testing import CliRunner

from targetsel.cli.rules import app
from targetsel.errors import OutputError, RuleError
from targetsel.rules.rule_file import json_schema
from targetsel.rules.rules import find_rules
from targetsel.tables.parquet import described, write_table
from tests.selection.scored_by_hand import rule_text


def run(*words):
    result = CliRunner().invoke(app, [str(word) for word in words])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "good.yaml").write_text(rule_text("rmag < 20"))
    (tmp_path / "doubtful.yaml").write_text(rule_text("rmag < 18", "rmag > 20"))
    (tmp_path / "bad.yaml").write_text(rule_text("rmag < 20 magg"))
    schema = pa.schema(
        [
            ("source_id", pa.int64()),
            ("ra", pa.float64()),
            ("dec", pa.float64()),
            ("_healpix_29", pa.int64()),
            described("rmag", pa.float32(), "mag", "", "brightness"),
        ]
    )
    write_table(schema.empty_table(), tmp_path / "sky.scored.parquet")
    return tmp_path


def test_lint_tells_of_errors_and_doubts_and_goes_on_to_the_next_file(folder):
    result = run("lint", "bad.yaml", "doubtful.yaml", "good.yaml", "emission")
    assert result.exit_code == 2
    assert "bad.yaml:9:20: error: unknown unit 'magg'" in result.output
    assert "doubtful.yaml:10:10: warning: can never be true" in result.output
    assert "good.yaml: no remarks" in result.output
    assert "emission.yaml: no remarks" in result.output


def test_lint_goes_on_after_a_file_that_is_not_there(folder):
    result = run("lint", "nothing.yaml", "good.yaml")
    assert result.exit_code == 2
    assert "good.yaml: no remarks" in result.output


def test_lint_counts_the_faults_of_a_file(folder):
    text = rule_text("rmag < 20 magg", "rmag <", "typicality > 1", rest="    ranc: 3\n")
    (folder / "worse.yaml").write_text(text)
    assert "worse.yaml: 3 errors and 1 warning" in run("lint", "worse.yaml").output


def test_lint_ends_with_one_for_doubts_and_zero_without(folder):
    assert run("lint", "doubtful.yaml").exit_code == 1
    assert run("lint", "good.yaml", "--catalog", "sky.scored.parquet").exit_code == 0


def test_schema_is_printed_with_the_columns_of_a_catalog(folder):
    assert json.loads(run("schema").output) == json_schema()
    assert "rmag [mag]" in run("schema", "--catalog", "sky.scored.parquet").output


def test_fmt_changes_untidy_files_only_and_with_check_none(folder):
    untidy = (folder / "good.yaml").read_text().replace("rmag < 20", "rmag<20")
    (folder / "untidy.yaml").write_text(untidy)
    assert run("fmt", "--check", "untidy.yaml").exit_code == 1
    assert (folder / "untidy.yaml").read_text() == untidy
    assert "untidy.yaml: formatted" in run("fmt", "good.yaml", "untidy.yaml").output
    assert (folder / "untidy.yaml").read_text() == (folder / "good.yaml").read_text()
    assert run("fmt", "--check", "untidy.yaml", "good.yaml").exit_code == 0


def test_columns_lists_names_units_and_descriptions(folder):
    (line,) = (
        each
        for each in run("columns", "sky.scored.parquet").output.splitlines()
        if each.startswith("rmag")
    )
    assert line.split() == ["rmag", "mag", "float32", "brightness"]


def test_columns_of_a_catalog_that_is_not_scored_are_listed_too(folder):
    (folder / "plain.csv").write_text("id,ra,dec,type\n1,2.5,3.5,EXP\n2,2.5,3.5,\n3,2.5,3.5,DEV\n")
    said = run("columns", "plain.csv").output.splitlines()
    assert [line.split() for line in said[1:]] == [
        ["id", "integer"],
        ["ra", "float64"],
        ["dec", "float64"],
        ["type", "text", "'DEV',", "'EXP'"],
    ]


def test_functions_are_listed_with_an_example_each(folder):
    said = run("functions").output
    assert "  P(condition)" in said
    assert "std(ew_halpha) < 5 Angstrom" in said
    assert "Units, written after numbers: mag, Angstrom" in said


def test_shipped_rules_are_shown_as_they_are_and_a_wrong_name_lists_them(folder):
    assert run("show", "emission").output == find_rules("emission").read_text()
    with pytest.raises(RuleError, match=r"shipped rule file\. Known: aberrant, agn"):
        run("show", "x")


def test_first_rules_are_written_once(folder):
    assert "written to my.yaml" in run("init", "sky.scored.parquet", "-o", "my.yaml").output
    assert run("lint", "my.yaml", "--catalog", "sky.scored.parquet").exit_code == 0
    with pytest.raises(OutputError, match=r"my\.yaml: is there already\. Name another file"):
        run("init", "-o", "my.yaml")


def test_lock_gives_the_bits_of_all_files(folder):
    (folder / "bad.yaml").unlink()
    (folder / "doubtful.yaml").write_text(
        rule_text("rmag < 1").replace("ELG", "LRG").replace("bit: 3", "bit: 4")
    )
    (folder / "settings.yaml").write_text("schema: targetsel/pfs/v1\nstale: true\n")
    said = run("lock").output
    assert [line.split() for line in said.splitlines()[1:-1]] == [["3", "ELG"], ["4", "LRG"]]
    assert "2 classes of 2 rule files written to rules.bits" in said
    assert (folder / "rules.bits").read_text().splitlines()[1:] == ["3  ELG", "4  LRG"]
    (folder / "doubtful.yaml").unlink()
    run("lock")
    assert (folder / "rules.bits").read_text().splitlines()[1:] == ["3  ELG", "4  LRG  retired"]


def test_checking_shipped_rules_imports_nothing_slow():
    script = (
        "import sys\nfrom targetsel.cli import main\n"
        "try: main()\nexcept SystemExit: pass\nprint(*sys.modules)"
    )
    run = subprocess.run(
        [sys.executable, "-c", script, "rules", "lint", "emission"],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    imported = set(run.stdout.split())
    assert "targetsel.rules.lint" in imported
    slow = {"astropy", "matplotlib", "pandas", "pyarrow.compute", "scipy.special", "scipy.stats"}
    assert not imported & (slow | {"torch", "xml.etree.ElementTree"})
