"""`targetsel mock` as it is typed."""

from __future__ import annotations

import pyarrow.parquet as pq

from targetsel.tables.parquet import read_footer
from tests.cli.typed import contents


def test_mock_writes_a_sky_and_a_page_and_says_that_it_is_simulated(
    targetsel, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "varied.yaml").write_text("link: 0.5\n")
    words = ("mock", "--n", "6", "-o", "sky", "--seed", "3", "--variation", "varied.yaml")
    said = targetsel(*words, "--show", "page.png", "--workers", "1")
    assert said.status == 0, said
    assert said.out.splitlines() == [
        "6 mock sources of 6 real galaxies in sky/; images and spectra are simulated, with link "
        "0.5 between shapes and spectra.",
        "the first of them drawn in page.png",
    ]
    assert len(pq.read_table("sky/catalog.parquet")) == 6
    assert read_footer(tmp_path / "sky" / "truth.parquet")["mock"]["variation"]["link"] == 0.5
    assert (tmp_path / "page.png").exists()


def test_sky_whose_writing_was_stopped_is_written_again(targetsel, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = ("mock", "--n", "3", "-o", "sky", "--workers", "1")
    assert targetsel(*words).status == 0
    whole = contents(tmp_path)
    (tmp_path / "sky" / "truth.parquet").unlink()  # files get their names one after the other
    said = targetsel(*words)
    assert (said.status, said.err) == (0, "")
    assert contents(tmp_path) == whole


def test_page_may_lie_in_the_new_folder_but_take_the_place_of_nothing_in_it(
    targetsel, refused, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    words = ("mock", "--n", "1", "-o", "made", "--workers", "1")
    said = targetsel(*words, "--show", "made/page.png")
    assert said.status == 0, said
    assert said.out.startswith("1 mock source of 1 real galaxy in made/; ")
    (tmp_path / "varied.yaml").write_text("link: 0.5\n")
    for name in ("made/catalog.parquet", "varied.yaml"):
        said = refused(*words, "--variation", "varied.yaml", "--show", name)
        assert said == f"{name}: is read by the same command. Choose another name."
    assert (tmp_path / "varied.yaml").read_text() == "link: 0.5\n"


def test_unknown_key_of_a_variation_is_refused_with_a_caret(targetsel, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "varied.yaml").write_text("seing: 2\n")
    said = targetsel("mock", "--n", "5", "-o", "made", "--variation", "varied.yaml")
    assert said.status == 2
    assert said.out == ""
    assert said.err.splitlines() == [
        "varied.yaml:1:1: error: unknown key 'seing' in the file. Did you mean 'seeing'?",
        "seing: 2",
        "^",
    ]
    assert not (tmp_path / "made").exists()


def test_no_sources_are_refused(refused):
    assert refused("mock", "--n", "0", "-o", "made") == (
        "0 mock sources asked for, expected at least 1."
    )


def test_page_in_a_folder_that_is_not_there_is_refused_before_any_work(refused):
    said = refused("mock", "--n", "5", "-o", "made", "--show", "nowhere/page.png")
    assert said == "nowhere/page.png: the folder nowhere does not exist. Create it first."


def test_folder_with_a_catalog_of_another_kind_is_left_alone(refused, sky):
    (sky / "mine").mkdir()
    (sky / "mine" / "catalog.parquet").write_text("mine")
    said = refused("mock", "--n", "5", "-o", "mine")
    assert said == (
        "mine/catalog.parquet: already exists and is not of a mock sky. Choose another folder."
    )


def test_unknown_survey_is_refused_in_one_line_with_the_known_ones(refused):
    said = refused("mock", "--n", "3", "--survey", "foo", "-o", "made")
    assert (
        said
        == "unknown survey 'foo'. Known: ps1, sdss, legacy, hsc, kids, viking, lsst, rubin, euclid."
    )
