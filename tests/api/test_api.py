"""The commands as functions: the same results, from tables of any library."""

from __future__ import annotations

import ast
import inspect
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from astropy.table import QTable, Table

import targetsel as ts


@pytest.mark.parametrize("name", [each for each in ts.__all__ if each != "__version__"])
def test_every_public_name_is_there_and_says_what_it_is(name):
    found = getattr(ts, name)
    assert (found.__doc__ or "").strip(), name
    if getattr(found, "__module__", "").startswith("targetsel.api"):
        takes = ["Parameters\n", "Raises\n"] if inspect.signature(found).parameters else []
        for part in (*takes, "Returns\n"):
            assert part in found.__doc__, (name, part)


def test_type_checkers_see_the_names_that_are_there_at_run_time():
    tree = ast.parse(Path(ts.__file__).read_text())
    (block,) = [node for node in tree.body if isinstance(node, ast.If)]
    seen = {
        alias.asname: f"{node.module}.{alias.name}"
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert seen == {name: f"targetsel.{home}.{name}" for name, home in ts._HOME_OF.items()}


def test_no_public_name_is_that_of_a_room_which_an_import_would_put_in_its_place():
    rooms = {path.stem for path in Path(ts.__file__).parent.iterdir()}
    assert not rooms & {*ts.__all__}


def test_only_public_names_are_listed():
    listed = {name for name in dir(ts) if name != "__version__"}
    assert listed == {name for name in ts.__all__ if name != "__version__"}
    assert not {"annotations", "import_module", "TYPE_CHECKING", "Any"} & listed


def test_importing_targetsel_imports_no_large_library():
    script = (
        "import sys, targetsel; print({'torch', 'numpy', 'astropy', 'pyarrow'} & {*sys.modules})"
    )
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert run.stdout == "set()\n"


@pytest.mark.parametrize("form", ["arrow", "astropy", "quantities", "pandas", "polars", "catalog"])
def test_a_catalog_of_any_library_is_scored_as_the_command_scores_its_file(folder, form):
    table = pq.read_table(folder / "catalog.parquet")
    catalog = ts.read(folder / "catalog.parquet")
    given = {
        "arrow": lambda: table,
        "astropy": catalog.to_astropy,
        "quantities": lambda: QTable(catalog.to_astropy()),
        "pandas": catalog.to_pandas,
        "polars": lambda: pl.DataFrame(catalog),
        "catalog": lambda: catalog,
    }[form]()
    ours = ts.score(given, folder / "cutouts")
    theirs = ts.read(folder / "catalog.scored.parquet")
    names = theirs.table.column_names[theirs.table.column_names.index("_healpix_29") :]
    assert ours.table.select(["source_id", *names]).equals(
        theirs.table.select(["source_id", *names])
    )
    assert ours.footer["ensemble"] == theirs.footer["ensemble"]


def test_big_endian_and_masked_columns_with_usual_names_make_a_catalog():
    table = Table(
        {
            "objID": np.array([7, 8], dtype=">i8"),
            "RAJ2000": np.array([10.0, 11.0], dtype=">f8"),
            "DEJ2000": np.array([-1.0, 1.0], dtype=">f8"),
            "rmag": np.ma.array([20.0, 21.0], mask=[False, True]),
        }
    )
    catalog = ts.Catalog.read(table)
    assert catalog.source_id.tolist() == [7, 8]
    assert catalog.ra.tolist() == [10.0, 11.0]
    assert catalog.table["rmag"].null_count == 1
    assert ts.Catalog.read(table.as_array()).source_id.tolist() == [7, 8]


def test_errors_of_tables_in_memory_are_those_of_files_and_name_the_catalog():
    with pytest.raises(ts.TargetselError, match="the catalog: no column of declination"):
        ts.Catalog.read(pd.DataFrame({"id": [1], "ra": [2.0]}))
    with pytest.raises(ts.TargetselError, match="ids are repeated: 1"):
        ts.Catalog.read({"id": [1, 1], "ra": [2.0, 3.0], "dec": [2.0, 3.0]})
    with pytest.raises(ts.TargetselError, match="the catalog: is of type int; expected a path"):
        ts.Catalog.read(3)


def test_selecting_from_memory_gives_the_targets_of_the_command(folder, scored, tmp_path):
    expected = ts.read(folder / "emission.targets.parquet")
    whole = scored[:]
    assert whole.path is None
    for given in (scored, str(scored.path), whole, scored.to_arrow(), scored.to_pandas()):
        found = ts.select(given, "emission")
        assert found.table.equals(expected.table)
        assert found.footer == expected.footer
    ts.select(scored, "emission", tmp_path / "list.parquet")
    assert (tmp_path / "list.parquet").read_bytes() == (
        folder / "emission.targets.parquet"
    ).read_bytes()


def test_rules_are_taken_as_name_file_text_and_content(scored):
    content = {
        "schema": "targetsel/rules/v1",
        "name": "mine",
        "classes": {"OLD": {"bit": 0, "priority": 1, "where": "d4000 > 1.4"}},
    }
    text = (
        "schema: targetsel/rules/v1\nname: mine\nclasses:\n"
        '  OLD: {bit: 0, priority: 1, where: "d4000 > 1.4"}\n'
    )
    ids = [ts.select(scored, rules)["source_id"].tolist() for rules in (content, text)]
    assert ids[0] == ids[1]
    assert len(ids[0]) == (scored["d4000"] > 1.4).sum()
    assert len(ts.Rules.of(["emission", "agn"]).classes) > len(ts.Rules.of("agn").classes)
    with pytest.raises(ts.TargetselError, match="rules: of type int; expected a file"):
        ts.Rules.of(3)


def test_slices_and_masks_keep_footer_and_units(scored):
    few, some = scored[:7], scored[scored["d4000"] > 1.4]
    assert len(few) == 7
    assert few.footer == scored.footer
    assert (some["d4000"] > 1.4).all()
    assert str(few.to_astropy()["ew_halpha"].unit) == "Angstrom"
    assert few.to_arrow().schema.field("ew_halpha").metadata[b"unit"] == b"Angstrom"
    assert few[[0, -1]]["source_id"].tolist() == [few["source_id"][0], few["source_id"][6]]
    with pytest.raises(ts.TargetselError, match=r"a mask of shape \(3,\)"):
        few[np.array([True, False, True])]
    with pytest.raises(ts.TargetselError, match="Did you mean 'd4000'"):
        few["d400"]


def test_several_columns_come_as_an_astropy_table_with_units(scored):
    some = scored[["source_id", "ew_halpha"]]
    assert some.colnames == ["source_id", "ew_halpha"]
    assert some["ew_halpha"].unit == "Angstrom"
    with pytest.raises(ts.TargetselError, match="unknown column 'ew_halfa'"):
        scored[["source_id", "ew_halfa"]]


@pytest.mark.parametrize("ending", ["parquet", "fits", "ecsv", "vot"])
def test_a_list_is_written_in_the_format_of_its_ending(folder, tmp_path, ending):
    targets = ts.select(folder / "catalog.scored.parquet", "quiescent")
    targets.write(str(tmp_path / f"list.{ending}"))
    back = ts.Catalog.read(tmp_path / f"list.{ending}", id_col="source_id")
    assert back["target_id"].tolist() == targets["target_id"].tolist()


def test_cutouts_in_memory_are_scored_as_the_store_that_they_were_read_from(folder):
    catalog = ts.read(folder / "catalog.parquet")
    store = ts.read(folder / "cutouts")
    assert isinstance(store, ts.CutoutStore)
    one = ts.score(catalog[:5], store)
    other = ts.score(catalog[:5], store.read(catalog.source_id[:5]))
    assert other["ew_halpha"].tolist() == one["ew_halpha"].tolist()


def test_representations_say_what_a_thing_is_in_a_few_lines(folder, scored):
    targets = ts.read(folder / "emission.targets.parquet")
    catalog = ts.read(folder / "catalog.parquet")
    store = ts.CutoutStore.open(folder / "cutouts")
    cutouts = store.read(store.source_ids(12))
    for thing, words in (
        (scored, ("40 sources", "mock-ps1", "ew_halpha [Angstrom]")),
        (targets, ("targets by emission", "STAR_FORMING")),
        (catalog, ("40 sources", "'source_id'")),
        (store, ("40 sources", "g, r, i, z, y", "64 x 64")),
        (ts.Rules.of("emission"), ("emission", "EXCITED")),
    ):
        text = repr(thing)
        assert len(text.splitlines()) <= 5, text
        assert len(text) < 600, text
        for word in words:
            assert word in text, text
        assert "array(" not in text
    assert "12 sources" in repr(cutouts)
    assert "array(" not in repr(cutouts)
    assert cutouts._repr_html_().count("<img") == 10
    assert "<table>" in scored._repr_html_()
    assert "P(excited)" in ts.Rules.of("emission")._repr_html_()


def test_slices_take_rows_of_catalogs_and_lists_alike(folder):
    catalog = ts.read(folder / "catalog.parquet", "catalog")
    targets = ts.read(folder / "emission.targets.parquet", "targets")
    assert catalog.take(slice(10, 20)).source_id.tolist() == catalog.source_id[10:20].tolist()
    assert catalog[10:20].source_id.tolist() == catalog.source_id[10:20].tolist()
    assert targets[:5]["source_id"].tolist() == targets["source_id"][:5].tolist()


def test_rows_give_the_names_of_their_columns_and_say_how_a_column_is_asked_for(folder):
    targets = ts.read(folder / "emission.targets.parquet", "targets")
    assert targets.colnames[:2] == ["target_id", "source_id"]
    with pytest.raises(AttributeError, match="names of columns are in `colnames`"):
        targets.columns  # noqa: B018
    with pytest.raises(AttributeError, match=r"columns are given as in rows\['program'\]"):
        targets.program  # noqa: B018


def test_reports_are_shown_as_the_small_tables_that_commands_print(folder, command):
    scored, some = folder / "catalog.scored.parquet", ["--rules", "emission"]
    explained = ts.explain(scored, "emission", ts.read(scored, "scored")["source_id"][0])
    known = ["--id", ts.read(scored, "scored")["source_id"][0]]
    assert command("explain", *some, *known, scored) == f"{explained!r}\n"
    funnels = ts.funnel(scored, "emission")
    assert command("funnel", *some, scored) == f"{funnels!r}\n"
    tuned = ts.tune(scored, "emission", "STAR_FORMING", 5)
    asked = ["--class", "STAR_FORMING", "--targets", 5]
    assert command("tune", *some, *asked, scored).startswith(repr(tuned))
    forecast = ts.forecast(scored, "emission")
    assert command("forecast", *some, scored).startswith(f"{forecast!r}\n")
    for reports in (explained, funnels, forecast):
        assert len(reports) == 2  # one for each class
        table = reports.to_pandas()
        assert [*dict.fromkeys(table["class"])] == [each.name for each in reports]
        assert len(table) == sum(len(each.records) for each in reports)
    for each in ts.diff("emission", "oiii", scored):
        heading, counts, *reasons = repr(each).splitlines()
        assert heading.split() == ["class", "before", "after", "entered", "left"]
        assert counts.split() == [each.name, *map(str, each.counts)]
        assert len(reasons) == len(each.reasons)


@pytest.mark.parametrize("ending", ["fits", "fits.gz", "ecsv", "vot"])
def test_scored_catalogs_and_lists_are_recognised_in_every_format_that_holds_them(
    folder, scored, tmp_path, ending
):
    targets = ts.read(folder / "emission.targets.parquet", "targets")
    for thing in (scored[:5], targets, targets[:0], ts.read(folder / "catalog.parquet")):
        thing.write(tmp_path / f"thing.{ending}")
        back = ts.read(tmp_path / f"thing.{ending}")
        assert type(back) is type(thing)
        assert back["source_id"].tolist() == thing["source_id"].tolist()


def test_a_scored_catalog_in_csv_has_lost_what_makes_it_one(scored, tmp_path):
    scored[["source_id", "ra", "dec", "status", "typicality"]].write(tmp_path / "scored.csv")
    assert type(ts.read(tmp_path / "scored.csv")) is ts.Catalog


def test_missing_numbers_of_fits_are_masked_in_astropy_again(tmp_path):
    table = Table({"OBJID": [1, 2], "RA": [1.0, 2.0], "DEC": [3.0, 4.0]})
    table["MAG_R"] = np.ma.masked_array([17.0, 18.0], mask=[False, True])
    table.write(tmp_path / "my.fits")
    assert ts.read(tmp_path / "my.fits").to_astropy()["MAG_R"].mask.tolist() == [False, True]


def test_a_shipped_ensemble_is_read_by_its_name():
    assert "'mock-ps1' of 5 networks" in repr(ts.read("mock-ps1"))
    with pytest.raises(ts.TargetselError, match="mine: no such folder or shipped ensemble"):
        ts.read("mine")


def test_latents_of_spectra_are_not_taken_for_a_catalog(tmp_path):
    names = ["source_id", "ra", "dec", "latent_mean", "chi2", "covered", "status"]
    path = tmp_path / "latents.parquet"
    pq.write_table(pa.table([[7], [1.0], [2.0], [[0.0]], [1.0], [1.0], ["ok"]], names), path)
    with pytest.raises(ts.TargetselError, match="holds latents of spectra, and is no catalog"):
        ts.read(path)
    assert len(ts.read(path, "catalog")) == 1
