"""The files of a page of inspection."""

from __future__ import annotations

import json
import re

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import targetsel as ts
from targetsel.errors import CatalogError, CutoutError, OutputError, SpectrumError
from targetsel.imaging.packing import write_store
from targetsel.imaging.store import CutoutStore
from targetsel.inspection.spectra import LEVELS, WAVELENGTH, packed
from targetsel.tables.parquet import write_table


def data_of(page, number=1):
    text = (page.path.parent / f"targets-{number:04d}.js").read_text()
    return json.loads(re.fullmatch(r'inspection\.add\("targets-\d{4}",(.*)\);\n', text)[1])


def element(page, name):
    text = page.path.read_text()
    return json.loads(re.search(rf'<script id="{name}" type="application/json">(.*?)<', text)[1])


def test_a_page_holds_every_source_in_the_order_of_its_file(page, sky):
    ids = pq.read_table(sky / "catalog.scored.parquet")["source_id"].to_pylist()
    assert [each["id"] for each in data_of(page)["targets"]] == list(map(str, ids))
    assert page.n_targets == len(ids)
    columns = {each["name"]: each for each in element(page, "columns")["columns"]}
    assert columns["id"]["values"] == list(map(str, ids))
    assert columns["ra"]["unit"] == "deg"
    assert {"rmag", "g - r", "typicality", "ew_halpha"} <= columns.keys()


def test_no_target_takes_more_than_twenty_kilobytes(page):
    for each in data_of(page)["targets"]:
        assert len(json.dumps(each)) < 20_000


def test_the_same_input_gives_the_same_bytes(page, write, tmp_path):
    again = write("catalog.scored.parquet", tmp_path / "again", rules="emission")
    for path in sorted(page.path.parent.iterdir()):
        assert path.read_bytes() == (again.path.parent / path.name).read_bytes(), path.name


def test_a_page_names_nothing_on_the_network_but_links(page):
    text = page.path.read_text()
    assert not re.search(r'(src|href)="(?!#)', text)
    assert "default-src 'none'" in text


def test_conditions_have_the_outcome_value_and_margin_that_explain_gives(page, sky):
    data = data_of(page)
    found = data["targets"][0]
    expected = ts.explain(sky / "catalog.scored.parquet", "emission", found["id"])
    for ours, theirs in zip(found["why"], expected, strict=True):
        assert ours["class"] == theirs.name
        for row, told in zip(ours["rows"], theirs.rows, strict=True):
            assert data["texts"][row[1]] == told.text
            assert row[2] == {"true": 1, "false": 0, "missing": -1}[told.outcome]
            assert row[5] == (told.margin and pytest.approx(told.margin, rel=0.01))


def test_a_list_shows_its_own_rules_and_only_its_targets(write, sky, tmp_path):
    page = write("bright.targets.parquet", tmp_path / "page")
    targets = ts.read(sky / "bright.targets.parquet")
    assert 0 < page.n_targets == len(targets)
    data = data_of(page)
    assert [each["id"] for each in data["targets"]] == [str(each) for each in targets["source_id"]]
    assert {why["class"] for each in data["targets"] for why in each["why"]} == {"BRIGHT"}
    assert {why["selected"] for each in data["targets"] for why in each["why"]} == {"selected"}


def test_of_classes_that_the_list_lacks_nothing_is_said_of_its_choice(write, sky, tmp_path):
    """A list of other rules does not tell what `dedup` and `limit` of these would leave out."""
    other = (sky / "bright.yaml").read_text().replace("BRIGHT", "OTHER")
    (tmp_path / "other.yaml").write_text(other)
    page = write("bright.targets.parquet", tmp_path / "page", rules=tmp_path / "other.yaml")
    verdicts = {why["selected"] for each in data_of(page)["targets"] for why in each["why"]}
    assert verdicts == {"obeys every condition"}


def test_packed_numbers_are_known_to_a_part_in_sixty_thousand():
    values = np.array([1.5, np.nan, -3.0, 4.0])
    found = packed(values)
    import base64

    levels = np.frombuffer(base64.b64decode(found["values"]), "<u2")
    back = found["low"] + levels / LEVELS * (found["high"] - found["low"])
    assert back[[0, 2, 3]] == pytest.approx(values[[0, 2, 3]], abs=7 / 60_000)
    assert levels[1] == 65535


def test_a_measured_spectrum_lies_over_the_predicted_one(write, sky, tmp_path):
    ids = pq.read_table(sky / "catalog.scored.parquet")["source_id"].to_pylist()
    wave = np.linspace(3500.0, 9000.0, 4000)
    np.savez(
        tmp_path / "measured.npz",
        wavelength=wave,
        flux=np.full((1, 4000), 7.0),
        ivar=np.ones((1, 4000)),
        redshift=np.array([0.05]),
        source_id=np.array(ids[:1]),
    )
    page = write("catalog.scored.parquet", tmp_path / "page", spectra=tmp_path / "measured.npz")
    assert page.n_measured == 1
    first, *others = data_of(page)["targets"]
    assert first["measured"]["z"] == 0.05
    assert all(each["measured"] is None for each in others)
    assert len(element(page, "settings")["wavelength"]) == len(WAVELENGTH) == 500


def test_spectra_of_other_sources_are_refused(write, tmp_path):
    wave = np.linspace(3500.0, 9000.0, 4000)
    one = {"wavelength": wave, "flux": np.ones((1, 4000)), "ivar": np.ones((1, 4000))}
    np.savez(tmp_path / "other.npz", **one, redshift=[0.05], source_id=[10**9])
    with pytest.raises(SpectrumError, match="is of a source of the list"):
        write("catalog.scored.parquet", tmp_path / "page", spectra=tmp_path / "other.npz")
    assert not (tmp_path / "page").exists()


def test_other_files_in_a_folder_are_never_replaced(write, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("years of work")
    with pytest.raises(OutputError, match="holds other files"):
        write("catalog.scored.parquet", tmp_path / "mine")
    assert (tmp_path / "mine" / "thesis.tex").read_text() == "years of work"


def test_a_store_of_other_sources_is_refused(write, sky, tmp_path):
    table = pq.read_table(sky / "catalog.scored.parquet")
    ids = pq.read_table(sky / "catalog.scored.parquet")["source_id"]
    other = table.set_column(
        table.schema.get_field_index("source_id"),
        "source_id",
        [[i + 10**7 for i in ids.to_pylist()]],
    )
    write_table(
        other, sky / "other.scored.parquet", json.loads(table.schema.metadata[b"targetsel"])
    )
    with pytest.raises(CutoutError, match="has none of the sources"):
        write("other.scored.parquet", tmp_path / "page", scored=sky / "other.scored.parquet")


def test_a_store_whose_sources_are_elsewhere_is_refused(write, sky, tmp_path):
    store = CutoutStore.open(sky / "cutouts")
    cutouts = store.read(store.source_ids())
    ra, dec = cutouts.position
    write_store(tmp_path / "moved", [(cutouts, (ra + 1) % 360, dec)], store.sky_sigma)
    with pytest.raises(CutoutError, match="arcsec"):
        write("catalog.scored.parquet", tmp_path / "page", cutouts=tmp_path / "moved")


def test_cutouts_that_were_not_scored_are_shown_with_a_caution(write, sky, tmp_path):
    store = CutoutStore.open(sky / "cutouts")
    cutouts = store.read(store.source_ids()[1:])
    write_store(tmp_path / "some", [(cutouts, *cutouts.position)], store.sky_sigma)
    page = write("bright.targets.parquet", tmp_path / "page", cutouts=tmp_path / "some")
    caution = "The cutouts of some are not those that were scored."
    assert element(page, "settings")["cautions"][0] == caution
    assert page.said == ("caution: the cutouts of some are not those that were scored",)


def test_a_catalog_that_lost_its_posteriors_is_still_a_scored_one(write, sky, tmp_path):
    table = pq.read_table(sky / "catalog.scored.parquet")
    footer = json.loads(table.schema.metadata[b"targetsel"])
    lost = table.drop(["member_mean", "member_cov"])
    write_table(lost, sky / "lost.parquet", footer)
    page = write("lost.parquet", tmp_path / "page", scored=None, cutouts=None)
    assert page.n_targets == len(table)
    assert page.said == (f"found cutouts {sky / 'cutouts'}",)


def test_an_empty_catalog_has_nothing_to_inspect(write, sky, tmp_path):
    table = pq.read_table(sky / "catalog.scored.parquet").slice(0, 0)
    write_table(table, sky / "none.scored.parquet", json.loads(table.schema.metadata[b"targetsel"]))
    with pytest.raises(CatalogError, match="nothing to inspect"):
        write("none.scored.parquet", tmp_path / "page", scored=sky / "none.scored.parquet")


def test_a_list_that_repeats_a_source_is_refused(write, sky, tmp_path):
    table = pq.read_table(sky / "bright.targets.parquet")
    footer = json.loads(table.schema.metadata[b"targetsel"])
    write_table(pa.concat_tables([table, table.slice(0, 1)]), sky / "twice.targets.parquet", footer)
    with pytest.raises(CatalogError, match="is there more than once"):
        write("twice.targets.parquet", tmp_path / "page")
