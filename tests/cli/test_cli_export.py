"""targetsel export and import-assignment, as they are typed."""

import pytest
import typer
import yaml
from astropy.table import Table
from typer.testing import CliRunner

import targetsel as ts
from targetsel.cli.handoff import export, import_assignment
from targetsel.errors import CatalogError, HandoffError, OutputError
from targetsel.handoff.export import TOOLS
from targetsel.selection.target_list import TargetList
from tests.handoff.assigned_by_hand import write_fba
from tests.handoff.lists_by_hand import target_list
from tests.handoff.tools_by_hand import SETTINGS as SETTINGS_OF_TOOLS
from tests.handoff.tools_by_hand import write_template

SETTINGS = "epoch: 2026.5\nobsconditions: DARK|GRAY\n"


def run(*words):
    app = typer.Typer()
    app.command()(export)
    app.command()(import_assignment)
    result = CliRunner().invoke(app, [str(word) for word in words])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with a list of four targets and settings for DESI, where the command is run."""
    target_list().write(tmp_path / "by-hand.targets.parquet")
    (tmp_path / "desi.yaml").write_text(SETTINGS)
    monkeypatch.chdir(tmp_path)
    return tmp_path


DESI = ("export", "by-hand.targets.parquet", "--for", "desi", "--config", "desi.yaml")


def test_export_writes_the_file_and_the_map_of_priorities(folder):
    result = run(*DESI)
    assert "4 targets for DESI fiberassign, science targets written to" in result.output
    assert (folder / "by-hand.desi.fits").exists()
    assert (folder / "by-hand.desi.fits.priorities.ecsv").exists()
    assert "read back" not in result.output


def test_check_reads_the_file_back_and_says_by_whom(folder):
    result = run(*DESI, "--check", "-o", "x.fits")
    assert "4 ids, priorities and positions are the same (to 0.00000 arcsec)" in result.output
    assert "read back by " in result.output


def test_list_shows_every_tool_with_its_settings(folder):
    output = run("export", "--list").output
    for name, tool in TOOLS.items():
        assert f"{name}: {tool.title}{' (experimental)' if tool.experimental else ''}\n" in output
        for key in tool.settings.model_fields:
            assert f"    {key} " in output
    assert "    epoch             required: epoch of the observation (Julian year)" in output
    assert "    obsconditions     required where the list has no obs_conditions: when to" in output
    assert "    desi_target       names of DESI_TARGET bits" in output
    assert "0 (best) to 9 (worst)" in output
    assert "as in the list, higher first" in output


def test_targets_without_proper_motions_stand_still_which_is_said_and_kept(folder):
    said = "the list has no proper motions: its targets are taken to stand still, as galaxies"
    assert said in run(*DESI).output
    kept = Table.read(folder / "by-hand.desi.fits.priorities.ecsv").meta["assumed"]
    assert kept == [said]


def test_motion_that_some_targets_lack_is_an_error_and_writes_nothing(folder):
    some = target_list(pmra=[1.0, None, None, None], pmdec=[1.0, None, None, None])
    some.write(folder / "by-hand.targets.parquet")
    with pytest.raises(HandoffError, match=r"--assume-still"):
        run(*DESI)
    assert sorted(path.name for path in folder.iterdir()) == [
        "by-hand.targets.parquet",
        "desi.yaml",
    ]


def test_settings_that_are_missing_are_an_error_that_names_the_option(folder):
    with pytest.raises(
        HandoffError, match=r"'desi' needs the settings 'epoch' .*'obsconditions' .*--config"
    ):
        run("export", "by-hand.targets.parquet", "--for", "desi")


def test_output_must_not_be_the_list_nor_the_settings(folder):
    for name in ("by-hand.targets.parquet", "desi.yaml"):
        before = (folder / name).read_bytes()
        with pytest.raises(OutputError, match=f"{name}: is read by the same command"):
            run(*DESI, "-o", name)
        assert (folder / name).read_bytes() == before


@pytest.mark.parametrize(
    ("tool", "name", "said"),
    [
        ("pfs-uploader", "a.ecsv", "CSV. Give a name that ends in .csv."),
        ("pfs-ga", "a.fits", "Feather or CSV. Give a name that ends in .feather or .csv."),
        ("desi", "a", "FITS. Give a name that ends in .fits."),
        ("desi", "a.fits.gz", "FITS. Give a name that ends in .fits."),
        ("deimos", "a.FITS", "text. Give a name that ends in .txt."),
    ],
)
def test_a_name_of_another_format_than_the_tools_is_refused(folder, tool, name, said):
    (folder / "tool.yaml").write_text(yaml.safe_dump(SETTINGS_OF_TOOLS[tool]))
    with pytest.raises(OutputError) as error:
        run(*DESI[:3], tool, "--config", "tool.yaml", "-o", name)
    assert str(error.value) == f"{name}: the file for '{tool}' is {said}"
    assert not (folder / name).exists()


@pytest.mark.parametrize(
    ("tool", "name", "start"),
    [
        ("pfs-ga", "a.csv", b'"targetid",'),
        ("pfs-ga", "a.feather", b"ARROW1"),
        ("desi", "a.fit", b"SIMPLE"),
        ("deimos", "a.lis", b"# name RA[h]"),
        ("deimos", "a", b"# name RA[h]"),
    ],
)
def test_a_tool_takes_other_endings_that_suit_its_format(folder, tool, name, start):
    (folder / "tool.yaml").write_text(yaml.safe_dump(SETTINGS_OF_TOOLS[tool]))
    run(*DESI[:3], tool, "--config", "tool.yaml", "-o", name)
    assert (folder / name).read_bytes().startswith(start)


@pytest.mark.parametrize("output", [None, "a.fits"])
def test_a_table_is_refused_as_it_has_lost_the_rules(folder, output):
    with pytest.raises(HandoffError) as error:
        ts.export(target_list().table, "desi", output, config={"epoch": 2026.5})
    assert str(error.value) == (
        "the targets are of type Table; expected a target list. Give a TargetList or its file; "
        "a table has lost the rules."
    )


def test_output_must_not_be_a_template_nor_a_map_of_ids(folder):
    write_template(folder / "t.fits")
    (folder / "weave.yaml").write_text("template: t.fits\n")
    words = ("export", "by-hand.targets.parquet", "--for", "weave", "--config", "weave.yaml")
    write_fba(folder / "fba.fits", {}, [])
    (folder / "ids.parquet").write_text("")
    back = ("import-assignment", "by-hand.targets.parquet", "fba.fits", "--ids", "ids.parquet")
    for command, name in ((words, "t.fits"), (back, "ids.parquet")):
        before = (folder / name).read_bytes()
        with pytest.raises(OutputError, match=f"{name}: is read by the same command"):
            run(*command, "-o", name)
        assert (folder / name).read_bytes() == before


def test_file_that_is_no_target_list_is_an_error(folder):
    with pytest.raises(CatalogError, match=r"no such file"):
        run("export", "nowhere.parquet", "--for", "desi", "--config", "desi.yaml")
    with pytest.raises(CatalogError, match=r"not a Parquet file"):
        run("export", "desi.yaml", "--for", "desi", "--config", "desi.yaml")


def test_priorities_are_merged_when_asked_to(folder):
    target_list(16, priority=list(range(16))).write(folder / "many.targets.parquet")
    (folder / "pfs.yaml").write_text("epoch: 2026.5\nexptime: 900\n")
    words = ("export", "many.targets.parquet", "--for", "pfs-netflow", "--config", "pfs.yaml")
    with pytest.raises(HandoffError, match=r"16 different priorities.*--bin-priorities"):
        run(*words)
    run(*words, "--bin-priorities")
    assert "15,1,1,STRONG" not in (folder / "many.pfs-netflow.ecsv").read_text()
    mapped = (folder / "many.pfs-netflow.ecsv.priorities.ecsv").read_text().splitlines()[-16:]
    assert mapped[0].startswith("15,1,1,")
    assert mapped[-1].startswith("0,15,1,")


def test_import_tells_shares_and_writes_the_left_overs(folder):
    places = {101: (359.75, -1.5), 103: (0.25, 2.5)}
    write_fba(folder / "fba-001001.fits", places, [101, 102, 103])
    result = run("import-assignment", "by-hand.targets.parquet", "fba-001001.fits")
    lines = [line.split() for line in result.output.splitlines()]
    assert ["STRONG", "3400", "2", "2", "2", "100%"] in lines
    assert ["WEAK", "3200", "2", "1", "0", "0%"] in lines
    assert "2 of 4 targets are left over" in result.output
    left = TargetList.read(folder / "by-hand.left-over.targets.parquet")
    assert left.table["target_id"].to_pylist() == [102, 104]


def test_left_overs_must_not_overwrite_an_input(folder):
    write_fba(folder / "fba-001001.fits", {}, [])
    words = ("import-assignment", "by-hand.targets.parquet", "fba-001001.fits")
    for name in words[1:]:
        with pytest.raises(
            OutputError, match=r"is read by the same command|is written as Parquet only"
        ):
            run(*words, "-o", name)
