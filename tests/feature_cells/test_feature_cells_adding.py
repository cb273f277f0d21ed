"""Cells of a scored catalog: which source is in which, and how many spectra each has."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import targetsel as ts
from targetsel.errors import CatalogError, EnsembleError, OutputError
from targetsel.feature_cells import adding
from tests.feature_cells.four_groups import CENTRES, SIZES, four_groups, written


def by_id(found) -> dict[int, int | None]:
    table = found.to_arrow()
    return dict(zip(table["source_id"].to_pylist(), table["cell"].to_pylist(), strict=True))


def test_each_of_four_groups_is_a_cell_of_its_own_in_order_of_the_first_feature():
    found = ts.cells(four_groups(), cells=4)
    assert found["cell"].tolist() == np.repeat(np.arange(4), SIZES).tolist()
    assert found["cell_sources"].tolist() == np.repeat(SIZES, SIZES).tolist()
    assert np.abs(found.run.centres.features - CENTRES).max() < 0.05
    assert found["cell_known"].tolist() == [0] * 1000
    assert not found.run.says_known


def test_cells_depend_neither_on_the_order_of_rows_nor_on_pieces_nor_on_the_size_of_the_catalog(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(adding, "SAMPLE", 150)
    table = four_groups()
    whole = by_id(ts.cells(table, cells=30, seed=4))
    monkeypatch.setattr(adding, "ROWS", 37)
    other = table.take(np.random.default_rng(0).permutation(1000))
    pieces = ts.cells(written(other, tmp_path / "a.parquet", rows=90), cells=30, seed=4)
    assert by_id(pieces) == whole
    assert len(set(whole.values())) == 30


def test_another_seed_finds_other_cells():
    a, b = (by_id(ts.cells(four_groups(), cells=30, seed=seed)) for seed in (0, -1))
    assert a != b


def test_sources_without_a_feature_are_in_no_cell_and_count_in_none():
    table = four_groups()
    latents = table["latent_mean"].to_pylist()
    latents[0], latents[1] = None, [1.0, float("nan")]
    place = table.schema.get_field_index("latent_mean")
    table = table.set_column(place, "latent_mean", pa.array(latents, pa.list_(pa.float32(), 2)))
    found = ts.cells(table, cells=4)
    for name in ("cell", "cell_sources", "cell_known"):
        assert found.to_arrow()[name].to_pylist()[:2] == [None, None]
    assert found.run.n_without_cell == 2
    assert found["cell_sources"].tolist()[2] == 398


def test_spectra_count_by_the_column_known_or_by_files_and_not_with_a_warning(tmp_path):
    known = pa.array([k < 10 or None for k in range(1000)])
    found = ts.cells(four_groups(known=known), cells=4)
    assert found.run.known.tolist() == [10, 0, 0, 0]
    spectra = pa.table({"source_id": [1, 2, 401, 1000, 5000], "zwarn": [0, 4, 0, 0, 0],
                        "redshift": [0.1] * 5})  # fmt: skip
    path = written(spectra, tmp_path / "spectra.parquet")
    found = ts.cells(four_groups(), cells=4, known=path)
    assert found.run.known.tolist() == [1, 1, 0, 1]
    assert found["cell_known"].tolist() == np.repeat([1, 1, 0, 1], SIZES).tolist()
    assert found.run.n_unknown == 1
    assert found.run.share_unknown == pytest.approx(0.2)
    assert "known" not in found.to_arrow().column_names


def test_another_catalog_is_put_into_the_same_cells(tmp_path):
    first = tmp_path / "first.parquet"
    before = by_id(ts.cells(four_groups(), first, cells=12))
    some = four_groups().take(np.arange(0, 1000, 3))
    second = ts.cells(some, tmp_path / "second.parquet", like=first)
    found = by_id(second)
    assert found == {key: before[key] for key in found}
    assert second.to_arrow()["cell_sources"][0].as_py() == list(found.values()).count(
        second.to_arrow()["cell"][0].as_py()
    )
    third = ts.cells(four_groups(), like=tmp_path / "second.parquet")
    assert by_id(third) == before


def test_colours_are_a_magnitude_and_colours_of_neighbouring_bands():
    found = ts.cells(four_groups(), cells=4, features="colours")
    assert found.run.centres.names == ("r_sdss", "g_sdss - r_sdss")
    assert sorted(found.run.sources.tolist()) == sorted(SIZES)


def test_repeated_features_make_fewer_cells():
    same = pa.array([[1.0, 2.0]] * 1000, pa.list_(pa.float32(), 2))
    table = four_groups()
    place = table.schema.get_field_index("latent_mean")
    found = ts.cells(table.set_column(place, "latent_mean", same), cells=10)
    assert found.run.sources.tolist() == [1000]


@pytest.mark.parametrize(
    ("change", "given", "words"),
    [
        (lambda t: t.drop_columns(["latent_mean"]), {}, "no column 'latent_mean'.*--features"),
        (lambda t: t.drop_columns(["flux_g_sdss", "flux_r_sdss"]), {"features": "colours"},
         "no brightness in any band.*--brightness"),
        (lambda t: t, {"cells": 1}, "1 cells; expected 2 to 5,000"),
        (lambda t: t, {"cells": 1001}, "1,000 of its 1,000 sources have predictions.*--cells"),
        (lambda t: t.slice(0, 0), {"cells": 4}, "0 of its 0 sources.*smaller --cells"),
        (lambda t: t.append_column("cell", pa.array([1] * 1000)), {}, "has a column 'cell'"),
        (lambda t: t.append_column("known", pa.array([1.5] * 1000)), {"cells": 4},
         "its column 'known' holds double; expected true or false"),
    ],
)  # fmt: skip
def test_what_cannot_be_put_into_cells_is_refused(change, given, words):
    with pytest.raises(CatalogError, match=words):
        ts.cells(change(four_groups()), **given)


def test_cells_of_nothing_of_other_features_or_of_another_ensemble_are_not_taken_over(tmp_path):
    table = four_groups()
    plain = written(table, tmp_path / "plain.parquet")
    with pytest.raises(CatalogError, match="does not tell the centres of cells"):
        ts.cells(table, like=plain)
    ts.cells(table, tmp_path / "c.parquet", cells=4, features="colours")
    with pytest.raises(CatalogError, match="has no brightness"):
        ts.cells(table.drop_columns(["flux_g_sdss", "flux_r_sdss"]), like=tmp_path / "c.parquet")
    ts.cells(table, tmp_path / "l.parquet", cells=4)
    footer = json.loads(table.schema.metadata[b"targetsel"])
    one, other = ({"ensemble": {"name": name, "sha256": name * 32}} for name in ("ab", "cd"))
    ours = table.replace_schema_metadata({b"targetsel": json.dumps(footer | one)})
    theirs = table.replace_schema_metadata({b"targetsel": json.dumps(footer | other)})
    ts.cells(theirs, tmp_path / "o.parquet", cells=4)
    with pytest.raises(EnsembleError, match="predictions are of the ensemble"):
        ts.cells(ours, like=tmp_path / "o.parquet")


def test_a_catalog_is_not_the_spectra_of_its_own_sources(tmp_path):
    path = written(four_groups(), tmp_path / "a.parquet")
    with pytest.raises(CatalogError, match="is the catalog itself"):
        ts.cells(path, cells=4, known=path)


@pytest.mark.parametrize("features", ["latents", "colours"])
def test_a_picture_has_the_same_bytes_each_time_and_says_what_has_no_spectrum(tmp_path, features):
    known = pa.array([k < 10 for k in range(1000)])
    for name in ("a.svg", "b.svg"):
        ts.cells(four_groups(known=known), cells=4, features=features, picture=tmp_path / name)
    text = (tmp_path / "a.svg").read_text()
    assert (tmp_path / "b.svg").read_text() == text
    assert "no spectrum: 3 cells, 60% of the sources" in text
    with pytest.raises(OutputError, match="ends in"):
        ts.cells(four_groups(), cells=4, picture=tmp_path / "a.jpg")


def test_the_footer_and_every_column_of_the_catalog_stay(tmp_path):
    path = written(four_groups(), tmp_path / "a.parquet")
    found = ts.cells(path, tmp_path / "b.parquet", cells=4)
    before, after = pq.read_table(path), pq.read_table(tmp_path / "b.parquet")
    for name in before.column_names:
        assert after[name].to_pylist() == before[name].to_pylist()
    assert found.footer["ensemble"] == "abc"
    assert found.footer["cells"]["n_sources"] == 1000


def test_targets_of_a_list_are_counted_beside_spectra(tmp_path):
    table = four_groups()
    rules = "schema: targetsel/rules/v1\nname: few\nclasses:\n  A: {priority: 1, where: ra < 11}\n"
    targets = ts.select(table, ts.Rules.parse(rules))
    found = ts.cells(table, cells=4, targets=targets)
    chosen = np.asarray(table["ra"]) < 11
    by_cell = [int(chosen[found["cell"] == k].sum()) for k in range(4)]
    assert found.run.targets.tolist() == by_cell
    assert found["cell_targets"].tolist() == [by_cell[k] for k in found["cell"]]
    assert "cell_targets" not in ts.cells(table, cells=4).colnames
    other = table.set_column(0, "source_id", pa.array(np.arange(5001, 6001)))
    with pytest.raises(CatalogError, match=r"none of the \d+ targets \(the first .* chosen from i"):
        ts.cells(other, cells=4, targets=targets)
