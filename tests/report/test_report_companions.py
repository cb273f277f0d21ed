"""Scored catalogs and cutouts that are found beside a list."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

import targetsel as ts
from targetsel.errors import CatalogError, CutoutError
from targetsel.imaging.packing import write_store
from targetsel.imaging.store import CutoutStore
from targetsel.report.companions import companions_of, fingerprint_of
from targetsel.report.finders import charts_of
from targetsel.report.sheet import Listed, blocks
from targetsel.scored.file import ScoredFile
from targetsel.selection.target_list import TargetList
from targetsel.tables.parquet import write_table

RULES = """schema: targetsel/rules/v1
name: bright
classes:
  BRIGHT:
    bit: 0
    priority: 3000
    where: [rmag < 18]
"""


@pytest.fixture(scope="module")
def made(demonstration, ensemble_folder, tmp_path_factory) -> Path:
    """A catalog, its cutouts, its scored catalog and a list; read only."""
    folder = tmp_path_factory.mktemp("companions")
    shutil.copy(demonstration / "catalog.parquet", folder)
    shutil.copytree(demonstration / "cutouts", folder / "cutouts")
    scored = folder / "catalog.scored.parquet"
    ts.score(
        folder / "catalog.parquet", folder / "cutouts", output=scored, ensemble=ensemble_folder
    )
    (folder / "bright.yaml").write_text(RULES)
    ts.select(scored, folder / "bright.yaml", output=folder / "bright.targets.parquet")
    return folder


@pytest.fixture
def folder(made, tmp_path, monkeypatch) -> Path:
    """The same, to change; the current folder is an empty one."""
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    return Path(shutil.copytree(made, tmp_path / "work"))


def with_footer(path, output, **changes):
    table = pq.read_table(path)
    footer = json.loads(table.schema.metadata[b"targetsel"])
    write_table(table, output, {**footer, **changes})


def packed_otherwise(folder, name="cutouts"):
    """The store again, with one cutout less."""
    store = CutoutStore.open(folder / "cutouts")
    cutouts = store.read(store.source_ids()[:-1])
    ra, dec = cutouts.position
    shutil.rmtree(folder / "cutouts")
    write_store(folder / name, [(cutouts, ra, dec)], store.sky_sigma)


def test_the_scored_catalog_and_the_cutouts_beside_a_list_are_found(folder):
    found = companions_of(folder / "bright.targets.parquet")
    assert found.scored == folder / "catalog.scored.parquet"
    assert found.store.path == folder / "cutouts"
    assert (found.reason, found.cautions, len(found.found)) == ("", (), 2)
    again = companions_of(folder / "catalog.scored.parquet")
    assert (again.scored, again.store.path) == (found.scored, found.store.path)


def test_they_are_found_in_the_present_folder_too(folder, monkeypatch):
    listed = shutil.move(folder / "bright.targets.parquet", folder.parent / "elsewhere")
    monkeypatch.chdir(folder)
    found = companions_of(Path(listed))
    assert (found.scored, found.store.path) == (Path("catalog.scored.parquet"), Path("cutouts"))


@pytest.mark.parametrize("entry", ["catalog", "ensemble", "calibration"])
def test_another_scored_catalog_is_never_taken_for_that_of_the_list(entry, folder):
    scored, listed = folder / "catalog.scored.parquet", folder / "bright.targets.parquet"
    with_footer(scored, folder / "other.scored.parquet", **{entry: {"sha256": "ab"}})
    assert companions_of(listed).scored == scored
    scored.unlink()
    with pytest.raises(CatalogError, match=r"was not selected from other\.scored.*--scored"):
        companions_of(listed)
    named = companions_of(listed, folder / "other.scored.parquet")
    assert named.cautions[0] == (
        "bright.targets.parquet was not selected from other.scored.parquet, by its footer."
    )


def test_of_several_that_could_be_meant_the_message_names_the_option(folder):
    shutil.copy(folder / "catalog.scored.parquet", folder / "copy.scored.parquet")
    with pytest.raises(CatalogError, match=r"catalog\.scored\.parquet, copy.* with --scored"):
        companions_of(folder / "bright.targets.parquet")
    (folder / "catalog.scored.parquet").unlink()
    (folder / "copy.scored.parquet").unlink()
    with pytest.raises(CatalogError, match=r"no scored catalog, .* lies beside it\. .*--scored"):
        companions_of(folder / "bright.targets.parquet")


def test_a_store_that_was_not_scored_is_taken_only_where_it_is_named(folder):
    packed_otherwise(folder)
    found = companions_of(folder / "bright.targets.parquet")
    assert found.store is None
    assert found.reason == "the cutouts that were scored are not those of cutouts"
    named = companions_of(
        folder / "bright.targets.parquet", store=CutoutStore.open(folder / "cutouts")
    )
    assert named.cautions == ("The cutouts of cutouts are not those that were scored.",)


def test_a_store_of_other_ids_is_not_taken(folder):
    scored = folder / "catalog.scored.parquet"
    table = pq.read_table(scored)
    at = table.schema.get_field_index("source_id")
    ids = [[f"other {each}" for each in table["source_id"].to_pylist()]]
    pq.write_table(table.set_column(at, "source_id", ids), scored)
    assert companions_of(scored).reason.endswith(
        "has none of its sources, whose ids are others now"
    )


def test_a_damaged_store_beside_the_right_one_does_no_harm(folder):
    (folder / "a-cutouts").mkdir()
    (folder / "a-cutouts" / "part-00000.parquet").write_bytes(b"PAR1")
    assert companions_of(folder / "bright.targets.parquet").store.path.name == "cutouts"


def test_finder_charts_are_of_the_store_that_was_scored(folder):
    class Shown:
        def __len__(self):
            return 0

    listed = folder / "bright.targets.parquet"
    assert fingerprint_of(listed) == CutoutStore.open(folder / "cutouts").sha256
    assert charts_of(Shown(), None, listed).store.path == folder / "cutouts"
    with_footer(listed, folder / "old.targets.parquet", cutouts=None)  # by the scored catalog
    assert charts_of(Shown(), None, folder / "old.targets.parquet").store is not None
    packed_otherwise(folder, "more-cutouts")
    assert "are not those of more-cutouts" in charts_of(Shown(), None, listed).reason


def test_pictures_need_no_names_of_what_lies_beside(folder, ensemble_folder):
    ids = TargetList.read(folder / "bright.targets.parquet").table["source_id"]
    ensemble = {"ensemble": ensemble_folder}
    given = {"cutouts": folder / "cutouts", **ensemble}
    for name, more in {"found.pdf": {"cutouts": None, **ensemble}, "given.pdf": given}.items():
        listed = folder / "bright.targets.parquet"
        assert ts.show_all(listed, output=folder / name, **more) == len(ids)
        scored = folder / "catalog.scored.parquet"
        ts.show(scored, ids[0].as_py(), output=folder / f"one-{name}", **more)
    assert (folder / "found.pdf").read_bytes() == (folder / "given.pdf").read_bytes()
    assert (folder / "one-found.pdf").read_bytes() == (folder / "one-given.pdf").read_bytes()
    shutil.rmtree(folder / "cutouts")
    with pytest.raises(CutoutError, match=r"but no cutout store, .*Name the store"):
        ts.show(scored, ids[0].as_py(), None, folder / "one.png", **ensemble)


def test_slim_rows_are_not_predicted_again_from_other_cutouts(folder, ensemble_folder):
    slim = folder / "slim.scored.parquet"
    ts.score(
        folder / "catalog.parquet", folder / "cutouts", output=slim, ensemble=ensemble_folder,
        slim=True,
    )  # fmt: skip
    packed_otherwise(folder, "fewer")
    with pytest.raises(CutoutError, match="is not the store that was scored, and the rows of"):
        ts.show_all(slim, folder / "fewer", folder / "sheet.pdf", ensemble=ensemble_folder)


def test_rows_come_in_the_order_of_the_list_whatever_that_of_the_file(folder):
    scored, targets = folder / "catalog.scored.parquet", folder / "bright.targets.parquet"
    table = pq.read_table(scored)
    turned = table.take(np.random.default_rng(3).permutation(len(table)))
    pq.write_table(turned, folder / "turned.parquet", row_group_size=37)
    listed = Listed.of(TargetList.read(targets))
    with ScoredFile(folder / "turned.parquet") as file:
        pieces = list(blocks(file, listed, ["source_id", "rmag"], 10))
    assert {len(table) for table, _ in pieces[:-1]} == {10}
    found = np.concatenate([table["source_id"].to_numpy() for table, _ in pieces])
    assert found.tolist() == listed.source_id.tolist()
    assert [word for _, words in pieces for word in words] == listed.words


def test_a_scored_catalog_with_a_target_twice_or_elsewhere_is_refused(folder):
    scored = folder / "catalog.scored.parquet"
    table, listed = (
        pq.read_table(scored),
        Listed.of(TargetList.read(folder / "bright.targets.parquet")),
    )
    at = table["source_id"].to_pylist().index(listed.source_id[0])
    pq.write_table(table.take([*range(len(table)), at]), folder / "twice.parquet")
    with (
        ScoredFile(folder / "twice.parquet") as file,
        pytest.raises(
            CatalogError, match=f"the source '{listed.source_id[0]}' is there more than once"
        ),
    ):
        list(blocks(file, listed, ["source_id"]))
    ra = (table["ra"].to_numpy() + 1) % 360
    moved = table.set_column(table.schema.get_field_index("ra"), table.schema.field("ra"), [ra])
    pq.write_table(moved, folder / "moved.parquet")
    with ScoredFile(folder / "moved.parquet") as file, pytest.raises(CatalogError, match="arcsec"):
        list(blocks(file, listed, ["source_id"]))
