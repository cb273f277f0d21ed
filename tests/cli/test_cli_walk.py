"""The walk as a user types it: demo, score, select; every format gives the same."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from astropy.table import Table

import targetsel as package
from targetsel.imaging.cutout import Cutouts
from targetsel.imaging.packing import write_store
from targetsel.imaging.store import CutoutStore
from targetsel.rules.rules import Rules, shipped_rules
from targetsel.scoring.ensemble import Ensemble
from targetsel.sky.catalog import Catalog
from targetsel.tables.parquet import read_footer
from tests.cli.typed import contents


@pytest.fixture
def catalog(sky):
    return pq.read_table(sky / "catalog.parquet")


@pytest.fixture
def score(targetsel):
    """Score with the tiny ensemble, which must succeed; gives what was said."""

    def score(path="catalog.parquet", *words):
        said = targetsel("score", path, "--ensemble", "tiny", *words)
        assert said.status == 0, said
        assert said.err == ""
        return said.out

    return score


def test_version_is_printed(targetsel):
    assert targetsel("--version").out == f"targetsel {package.__version__}\n"


def test_score_and_select_are_two_commands(score, targetsel, sky):
    joined, said, calibrated, support, place = score().splitlines()
    assert joined == "40 of 40 sources have a cutout in cutouts"
    assert [said, place] == ["        40  ok", "written to catalog.scored.parquet"]
    assert calibrated.startswith("not calibrated: ")
    assert "of them have support: the ensemble was trained on sources of such" in support
    said = targetsel("select", "--rules", "emission")
    assert said.status == 0
    assert "of 40 sources written to emission.targets.parquet" in said.out
    for name in ("EXCITED", "STAR_FORMING"):
        assert name in said.out
    new = {name for name in contents(sky) if "/" not in name}
    assert new == {"catalog.parquet", "catalog.scored.parquet", "emission.targets.parquet"}


def test_score_counts_the_sources_that_lack_a_line_and_says_where_they_are_named(
    score, sky, monkeypatch
):
    whole = Ensemble.predict_proxies

    def without_d4000(self, posterior, *arguments):
        found = whole(self, posterior, *arguments)
        found.posterior.knots("d4000")[posterior.source_id % 10 == 0] = np.nan
        return found

    monkeypatch.setattr(Ensemble, "predict_proxies", without_d4000)
    said = score()
    table = pq.read_table(sky / "catalog.scored.parquet")
    lacking = [identity for identity in table["source_id"].to_pylist() if identity % 10 == 0]
    assert lacking
    assert f"{len(lacking):>10,}  of the ok lack some line or index, named in the column" in said
    named = table.filter(table["unmeasured"].is_valid())
    assert named["source_id"].to_pylist() == lacking
    assert set(named["unmeasured"].to_pylist()) == {"d4000"}
    assert read_footer(sky / "catalog.scored.parquet")["n_unmeasured"] == len(lacking)


def test_rules_of_the_working_directory_come_before_the_shipped_ones(score, targetsel, sky):
    score()
    (sky / "emission.yaml").write_text(
        "schema: targetsel/rules/v1\nname: mine\n"
        "classes: {MINE: {bit: 0, priority: 1, where: masked_fraction < 2}}\n"
    )
    for name in ("emission.yaml", "emission"):
        assert targetsel("select", "--rules", name).out.splitlines()[-1] == (
            "40 targets of 40 sources written to emission.targets.parquet"
        )
        assert read_footer(sky / "emission.targets.parquet")["rules_name"] == "mine"


@pytest.mark.parametrize("ending", ["fits", "vot", "ecsv", "csv", "fits.gz"])
def test_every_format_is_scored_alike(score, sky, catalog, ending):
    score()
    plain = pq.read_table(sky / "catalog.scored.parquet")
    columns = {name: catalog[name].to_numpy() for name in ("source_id", "ra", "dec", "rmag")}
    kind = {"vot": "votable", "fits.gz": "fits"}.get(ending)
    Table(columns).write(sky / f"other.{ending}", format=kind)
    score(f"other.{ending}")
    other = pq.read_table(sky / "other.scored.parquet")
    added = plain.column_names[plain.column_names.index("_healpix_29") :]
    assert added[-1] == "status"
    assert other.select(["source_id", *added]).equals(plain.select(["source_id", *added]))


def test_folder_of_files_is_one_catalog_with_its_result_beside_it(score, sky, catalog, monkeypatch):
    score()
    whole = (sky / "catalog.scored.parquet").read_bytes()
    (sky / "survey").mkdir()
    pq.write_table(catalog.slice(25), sky / "survey" / "a.parquet")
    pq.write_table(catalog.slice(0, 25), sky / "survey" / "b.parquet")
    score("survey")
    assert (sky / "survey.scored.parquet").read_bytes() == whole
    (sky / "survey.scored.parquet").unlink()
    monkeypatch.chdir("survey")
    said = score(".", "--ensemble", "../tiny")
    assert said.splitlines()[-1] == f"written to {sky / 'survey.scored.parquet'}"
    assert (sky / "survey.scored.parquet").read_bytes() == whole
    assert sorted(os.listdir()) == ["a.parquet", "b.parquet"]


def test_text_ids_across_ra_zero_keep_their_order_on_the_sky(score, targetsel, sky, catalog):
    names = np.array([f"J{number}" for number in range(40)], dtype=object)
    ra, dec = np.linspace(359.99, 360.01, 40) % 360, np.full(40, 0.5)
    assert ra.min() < 0.001
    assert ra.max() > 359.99
    table = pa.table({"name": names, "RAJ2000": ra, "DEJ2000": dec, "rmag": catalog["rmag"]})
    pq.write_table(table, sky / "wrap.parquet")
    store = CutoutStore.open(sky / "cutouts")
    cutouts = store.read(catalog["source_id"].to_numpy())
    named = Cutouts(names, cutouts.flux, cutouts.bands, cutouts.pixel_scale)
    write_store(sky / "named", [(named, ra, dec)], store.sky_sigma)
    score("wrap.parquet", "--id-col", "name", "--cutouts", "named")
    rows = Catalog.read(sky / "wrap.scored.parquet")
    assert sorted(rows.source_id) == sorted(names)
    assert dict(zip(rows.source_id, rows.ra, strict=True)) == dict(zip(names, ra, strict=True))
    assert (np.diff(rows.table["_healpix_29"].to_numpy()) >= 0).all()
    assert set(rows.table["status"].to_pylist()) == {"ok"}
    assert targetsel("select", "wrap.scored.parquet", "--rules", "aberrant").status == 0


def test_catalog_columns_of_any_kind_pass_through(score, sky, catalog):
    extra = {
        "class": pa.array(["STAR", None] * 20).dictionary_encode(),
        "a": pa.array(range(40)),
        "a.b": pa.array([[1.0], []] * 20),
        "": pa.array([b"x"] * 40),
        "_healpix_29": pa.array([0.5] * 40),
        "nothing": pa.nulls(40),
        "pair": pa.array([{"x": 1}] * 40),
    }
    odd = pa.table({name: catalog[name] for name in ("source_id", "ra", "dec")} | extra)
    pq.write_table(odd, sky / "odd.parquet")
    score("odd.parquet")
    back = pq.read_table(sky / "odd.scored.parquet").sort_by("source_id")
    odd = odd.sort_by("source_id")
    for name in set(extra) - {"_healpix_29"}:
        assert back[name].to_pylist() == odd[name].to_pylist(), name
    assert back.schema.field("_healpix_29").type == pa.int64()


def test_names_that_look_like_markup_are_printed_as_they_are(score, sky):
    (sky / "[bold]x[").mkdir()
    (sky / "[bold]x[" / "red]").mkdir()
    assert "written to [bold]x[/red]/out.parquet" in score(
        "catalog.parquet", "-o", "[bold]x[/red]/out.parquet"
    )


def test_demonstration_ends_with_what_came_out_against_the_truth(targetsel, tmp_path):
    said = targetsel("demo", tmp_path / "demo", "--n", "20", "--threads", "2")
    assert said.status == 0, said.err
    heading, *rows = said.out.splitlines()
    assert heading.split() == ["rules", "class", "selected", "expected", "true", "actual", "true"]
    shipped = [Rules.read(path) for path in shipped_rules()]
    names = [(rules.name, each.name) for rules in shipped for each in rules.classes]
    assert [tuple(row.split()[:2]) for row in rows[: len(names)]] == names
    classes = {row.split()[1]: row.split()[2:] for row in rows[: len(names)]}
    assert classes["OFF_MANIFOLD"][1:] == ["-", "-"]
    assert all(int(row[0]) <= 20 for row in classes.values())
    assert all(int(classes[name][2]) <= int(classes[name][0]) for name in ("EXCITED", "QUIESCENT"))
    lists = {f"{path.stem}.targets.parquet" for path in shipped_rules()}
    made = {
        "catalog.parquet",
        "catalog.scored.parquet",
        "cutouts",
        "fba-simulated.fits",
        "images",
        "known-spectra.parquet",
        "measured-spectra.parquet",
        "my-first-rules.yaml",
        "one-field.targets.parquet",
        "one-field.yaml",
        "settings",
        "spectra.parquet",
        "truth.parquet",
    }
    assert {path.name for path in (tmp_path / "demo").iterdir()} == made | lists


def test_commands_of_the_installed_program_are_those_of_the_module(sky):
    words = ["score", "catalog.parquet", "--ensemble", "tiny", "--threads", "1"]
    run = subprocess.run(
        [sys.executable, "-c", "from targetsel.cli import main; main()", *words],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (run.returncode, run.stderr) == (0, "")
    assert (sky / "catalog.scored.parquet").is_file()


def test_checking_a_rule_file_never_waits_for_torch(sky):
    script = (
        "import sys\nfrom targetsel.cli import main\n"
        "try: main()\nexcept SystemExit: pass\nprint('torch' in sys.modules)"
    )
    shutil.copy("catalog.parquet", "sky.scored.parquet")
    run = subprocess.run(
        [sys.executable, "-c", script, "select", "--rules", "emission"],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert run.stdout == "False\n"
