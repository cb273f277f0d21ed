"""Shares of changed sources that are selected."""

from __future__ import annotations

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

import targetsel as ts
from targetsel.errors import CatalogError, CutoutError, EnsembleError, OutputError, RuleError
from targetsel.imaging.store import CutoutStore
from targetsel.manual.columns import KINDS
from targetsel.tables.parquet import read_footer


def test_unchanged_sources_are_selected_as_the_catalog_says(inject, sky):
    found = inject(dim=[1]).table
    first = found.filter(pc.equal(found["dim"], 0.0))
    scored = ts.read(sky / "catalog.scored.parquet").table
    scored = scored.take(pc.index_in(first["source_id"], scored["source_id"].combine_chunks()))
    for name in ("cutout_mag", "typicality", "status", "support"):
        assert first[name].to_pylist() == scored[name].to_pylist()
    membership = ts.apply_rules(ts.Rules.read(sky / "bright.yaml"), scored)
    assert membership.names == ("BRIGHT", "LIKELY")
    assert first["selected_BRIGHT"].to_numpy().tolist() == membership.selected[:, 0].tolist()
    # All of LIKELY: of these the rules take a sample.
    assert (first["selected_LIKELY"].to_numpy() >= membership.selected[:, 1]).all()
    both = membership.selected[:, 1]
    likely = first["probability_LIKELY"].to_numpy()
    assert likely[both] == pytest.approx(membership.probability[both, 1], abs=1e-6)


def test_the_limit_on_a_magnitude_is_met_by_the_magnitude_after_the_change(inject):
    table = inject(dim=[0.5, 1]).table
    ok = np.array(table["status"].to_pylist()) == "ok"
    fainter = table["magnitude"].to_numpy() + table["dim"].to_numpy()
    assert (table["selected_BRIGHT"].to_numpy()[ok] == (fainter < 17.5)[ok]).all()


def test_a_source_has_its_steps_in_order_whatever_the_order_of_the_file(inject, sky, tmp_path):
    scored = pq.read_table(sky / "catalog.scored.parquet")
    order = np.random.default_rng(1).permutation(len(scored))
    pq.write_table(scored.take(order), tmp_path / "shuffled.scored.parquet")
    one = inject(dim=[1], noisier=[2], sources=15)
    other = inject(
        tmp_path / "shuffled.scored.parquet", dim=[1], noisier=[2], sources=15, threads=2
    )
    assert one.table.equals(other.table)
    assert one.table["dim"].to_pylist()[:4] == [0, 1, 0, 1]
    assert one.records == other.records


def test_blocks_of_sources_change_no_byte(inject, tmp_path, monkeypatch):
    whole, small = tmp_path / "whole.parquet", tmp_path / "small.parquet"
    inject(output=whole, dim=[1], sources=12)
    monkeypatch.setattr("targetsel.injection.rows.AT_ONCE", 5)
    inject(output=small, dim=[1], sources=12)
    assert whole.read_bytes() == small.read_bytes()


def test_a_list_is_changed_as_the_catalog_it_was_selected_from(inject, sky):
    ids = set(ts.read(sky / "bright.targets.parquet")["source_id"])
    of_list = inject("bright.targets.parquet", dim=[1], classes=["BRIGHT"]).table
    of_catalog = inject(dim=[1], classes=["BRIGHT"]).table
    assert {*of_list["source_id"].to_pylist()} == ids
    own = pc.is_in(of_catalog["source_id"], value_set=of_list["source_id"].combine_chunks())
    assert of_catalog.filter(own).equals(of_list)


def test_shares_count_the_rows(inject):
    found = inject(dim=[1], classes=["BRIGHT"])
    whole = [each for each in found.shares if each.is_whole]
    table = found.table.filter(pc.equal(found.table["status"], "ok"))
    for each in whole:
        rows = table.filter(pc.equal(table["dim"], each.step.dim))["selected_BRIGHT"].to_numpy()
        assert each.n_selected == rows.sum()
        assert each.selected.value == rows.mean()
        assert each.selected.low < each.selected.value < each.selected.high
    assert whole[0].kept.value == 1
    assert whole[1].kept.value < 1
    bins = [each for each in found.shares if not each.is_whole and each.step == found.steps[1]]
    assert sum(each.selected.n for each in bins) in (0, whole[1].selected.n)


def test_the_file_has_the_declared_columns_and_the_figures_in_its_footer(inject, tmp_path):
    path = tmp_path / "found.parquet"
    found = inject(output=path, dim=[1], classes=["LIKELY"], page=tmp_path / "found.html")
    kind = next(each for each in KINDS if each.command == "inject")
    names = [each.name.replace("<class>", "LIKELY") for each in kind.columns()]
    assert pq.read_schema(path).names == names
    figures = read_footer(path)["figures"]
    assert figures == [dict(each) for each in found.records]
    page = (tmp_path / "found.html").read_text()
    assert "LIKELY" in page
    assert "SIMULATED" in page
    assert "redshift" in page


def test_what_stays_and_what_is_left_out_is_said(inject):
    said = " | ".join(inject(dim=[1]).facts)
    assert "get fainter with the images: rmag" in said
    assert "left as they were, as nobody knows what they would be: redshift" in said
    assert "sample, dedup and limit are left out" in said
    assert "SIMULATED" in said


def test_a_column_in_magnitudes_of_no_known_band_is_named(inject, sky, tmp_path):
    scored = pq.read_table(sky / "catalog.scored.parquet")
    place = scored.schema.get_field_index("rmag")
    named = scored.schema.field("rmag").with_name("bright")
    renamed = scored.schema.set(place, named)
    pq.write_table(
        scored.rename_columns(renamed.names).cast(renamed), tmp_path / "a.scored.parquet"
    )
    rules = (sky / "bright.yaml").read_text().replace("rmag <", "bright <")
    said = " | ".join(inject(tmp_path / "a.scored.parquet", rules=rules, dim=[1]).facts)
    assert "bright: in mag, and of no band that is known" in said


def test_a_survey_restores_the_noise_of_the_galaxies_own_light(inject):
    plain, restored = inject(dim=[2], sources=5), inject(dim=[2], sources=5, survey="ps1")
    unchanged = pc.equal(plain.table["dim"], 0.0)
    assert plain.table.filter(unchanged).equals(restored.table.filter(unchanged))
    assert not plain.table.equals(restored.table)
    assert any("is not restored" in each for each in plain.facts)
    assert not any("is not restored" in each for each in restored.facts)


def test_a_survey_of_other_bands_is_refused(inject):
    with pytest.raises(CutoutError, match="--survey legacy: has the bands"):
        inject(dim=[1], survey="legacy")
    with pytest.raises(CutoutError, match="survey 'ps2'"):
        inject(dim=[1], survey="ps2")


def test_cutouts_in_memory_are_refused(inject, sky):
    store = CutoutStore.open(sky / "cutouts")
    with pytest.raises(CutoutError, match="of type Cutouts; expected a cutout store"):
        inject(cutouts=store.read(store.source_ids(5)), dim=1)


def test_a_quantile_is_that_of_the_whole_unchanged_catalog(inject, sky):
    rules = (
        (sky / "bright.yaml")
        .read_text()
        .replace("rmag < 17.5", "rmag < catalog_quantile(rmag, 0.5)")
    )
    found = inject(rules=rules, dim=[5], classes=["BRIGHT"])
    assert [each.n_selected for each in found.shares if each.is_whole][1] == 0
    with pytest.raises(CatalogError, match="which a target list does not have"):
        inject("bright.targets.parquet", rules=rules, dim=[1])


def test_a_store_of_some_sources_is_enough(inject, sky, tmp_path):
    store = CutoutStore.open(sky / "cutouts")
    some = store.source_ids(7)
    table = pq.read_table(sky / "catalog.parquet")
    ts.pack(store.read(some), table, tmp_path / "few")
    found = inject(cutouts=tmp_path / "few", dim=[1])
    assert {*found.table["source_id"].to_pylist()} == {*some.tolist()}
    assert "7 sources with a cutout" in found.facts[0]


def changed_copy(sky, folder, change):
    path = folder / "changed.scored.parquet"
    table = pq.read_table(sky / "catalog.scored.parquet")
    pq.write_table(change(table), path)
    return path


def test_a_column_that_came_after_the_predictions_is_refused(inject, sky, tmp_path):
    path = changed_copy(
        sky, tmp_path, lambda table: table.append_column("mine", [[1.0] * len(table)])
    )
    rules = (sky / "bright.yaml").read_text().replace("rmag < 17.5", "mine > 0.5")
    with pytest.raises(CatalogError, match="'mine', which was added after"):
        inject(path, rules=rules, dim=[1])


def test_a_repeated_source_is_refused(inject, sky, tmp_path):
    path = changed_copy(sky, tmp_path, lambda table: table.take([0, 1, 1]))
    with pytest.raises(CatalogError, match="1 of its sources are there more than once"):
        inject(path, dim=[1])


def test_files_that_do_not_fit_are_refused(inject, sky, tmp_path):
    with pytest.raises(CatalogError, match="neither a scored catalog nor a target list"):
        inject("catalog.parquet", dim=[1])
    with pytest.raises(EnsembleError, match="scored by the ensemble 'tiny'"):
        inject(dim=[1], ensemble="mock-ps1")
    path = changed_copy(sky, tmp_path, lambda table: table.replace_schema_metadata(None))
    with pytest.raises(EnsembleError, match="does not say which ensemble scored it"):
        inject(path, dim=[1])
    with pytest.raises(RuleError, match="target class 'BRIHGT'"):
        inject(dim=[1], classes=["BRIHGT"])
    with pytest.raises(CatalogError, match="--sources 0"):
        inject(dim=[1], sources=0)
    with pytest.raises(CatalogError, match="--seed -1"):
        inject(dim=[1], seed=-1)
    with pytest.raises(OutputError, match=r"written as Parquet only"):
        inject(dim=[1], output=tmp_path / "found.fits")
    with pytest.raises(OutputError, match=r"ends in \.html"):
        inject(dim=[1], page=tmp_path / "found.pdf")


def test_a_store_of_other_sources_is_refused(inject, sky, tmp_path):
    store = CutoutStore.open(sky / "cutouts")
    path = changed_copy(
        sky, tmp_path, lambda table: table.filter(pc.invert(pc.is_in(
            table["source_id"], value_set=pc.cast(store.source_ids(20).tolist(), "int64")
        ))),
    )  # fmt: skip
    some = store.source_ids(20)
    ts.pack(store.read(some), pq.read_table(sky / "catalog.parquet"), tmp_path / "few")
    with pytest.raises(CutoutError, match="has a cutout of none of the 20 sources"):
        inject(path, cutouts=tmp_path / "few", dim=[1])


def test_a_class_with_a_guarantee_is_refused(inject, sky):
    rules = (
        (sky / "bright.yaml")
        .read_text()
        .replace("    sample: 0.5\n", "    guarantee: {purity: 0.5}\n")
    )
    with pytest.raises(RuleError, match="LIKELY has a guarantee"):
        inject(rules=rules, dim=[1])
    assert inject(rules=rules, dim=[1], classes=["BRIGHT"]).names == ("BRIGHT",)
