"""Labelled sources that are most alike to a target."""

from __future__ import annotations

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import targetsel as ts
from targetsel.errors import CatalogError, EnsembleError
from targetsel.inspection.alike import AlikeSources
from targetsel.networks.posterior import LatentPosterior
from targetsel.tables.parquet import write_table
from tests.inspection.test_inspection_page import data_of, element


def posterior(mean, std):
    mean, std = np.array(mean, float), np.array(std, float)
    factor = np.array([np.diag(each) for each in std])
    ids = np.arange(len(mean))
    return LatentPosterior(ids, mean[:, None], factor[:, None], np.ones(len(mean)))


def among(mean, ids=None):
    class Labelled:
        def __len__(self):
            return len(mean)

    return AlikeSources(Labelled(), np.array(mean, float), (np.zeros(len(mean)),) * 2, None)


def test_the_nearest_come_first_by_the_targets_own_posterior():
    labelled = among([[0, 4], [1, 0], [0, 0.5], [9, 9]])
    # In units of (1, 1): distances 4, 1, 0.5 over sqrt(2). In units of (0.1, 8): 0.5, 10, 0.0625.
    rows, distance = labelled.nearest(posterior([[0, 0], [0, 0]], [[1, 1], [0.1, 8]]))
    assert rows.tolist() == [[2, 1, 0], [2, 0, 1]]
    expected = np.array([[0.5, 1, 4], [0.0625, 0.5, 10]]) / np.sqrt(2)
    assert distance == pytest.approx(expected)


def test_of_equal_ones_the_first_come_first_and_fewer_than_three_are_enough():
    rows, _ = among([[1, 0], [0, 1], [-1, 0], [0, -1]]).nearest(posterior([[0, 0]], [[1, 1]]))
    assert rows.tolist() == [[0, 1, 2]]
    rows, _ = among([[1, 0], [0, 0]]).nearest(posterior([[0, 0]], [[1, 1]]))
    assert rows.tolist() == [[1, 0]]


def test_nothing_is_alike_to_a_source_without_a_posterior():
    rows, distance = among([[1, 0]]).nearest(posterior([[np.nan, 0]], [[1, 1]]))
    assert rows.tolist() == [[-1]]
    assert np.isnan(distance).all()


@pytest.fixture(scope="module")
def truth(sky):
    """Made of the predictions, so that the numbers are known."""
    table = pq.read_table(sky / "catalog.scored.parquet")
    keep = table.column("status").to_numpy(zero_copy_only=False) == "ok"
    some = table.filter(pa.array(keep)).slice(0, 20)
    path = sky / "true.parquet"
    names = ["source_id", "ra", "dec", "ew_halpha", "d4000"]
    pq.write_table(some.select(names).replace_schema_metadata(None), path)
    return path


@pytest.fixture(scope="module")
def page(write, sky, truth, tmp_path_factory):
    like = (sky / "catalog.scored.parquet", truth)
    return write("catalog.scored.parquet", tmp_path_factory.mktemp("alike") / "page", like=like)


def test_a_page_has_three_alike_sources_with_their_truth_and_pictures(page, truth):
    data, about = data_of(page), element(page, "settings")
    assert about["alike"] == {"name": "catalog.scored.parquet", "n": 20, "k": 3}
    true = {str(row["source_id"]): row for row in pq.read_table(truth).to_pylist()}
    names = [each["name"] for each in about["lines"]]
    shown = [each for each in data["targets"] if each["alike"]]
    assert len(shown) > 20
    for target in shown:
        distances = [apart for _, apart, _ in target["alike"]]
        assert distances == sorted(distances)
        assert len(distances) == 3
    for each in data["sources"]:
        expected = true[each["id"]]
        assert each["true"][names.index("ew_halpha")] == pytest.approx(expected["ew_halpha"], 1e-3)
        assert each["true"][names.index("ew_oiii")] is None
        assert len(each["picture"]) < 4000
    own = [target for target in shown if target["id"] in true]
    assert all(target["alike"][0][1:] == [0.0, True] for target in own)


def test_with_its_alike_sources_no_target_takes_more_than_twenty_kilobytes(page):
    data = data_of(page)
    for each in data["targets"]:
        with_it = [each, *(data["sources"][at] for at, _, _ in each["alike"])]
        assert len(json.dumps(with_it)) < 20_000


def test_the_order_of_the_labelled_sources_does_not_matter(page, write, sky, truth, tmp_path):
    table = pq.read_table(truth)
    turned = tmp_path / "true.parquet"
    pq.write_table(table.take(np.arange(len(table))[::-1]), turned)
    scored = pq.read_table(sky / "catalog.scored.parquet")
    footer = json.loads(scored.schema.metadata[b"targetsel"])
    other = sky / "turned" / "catalog.scored.parquet"
    other.parent.mkdir()
    write_table(scored.take(np.arange(len(scored))[::-1]), other, footer)
    (other.parent / "cutouts").symlink_to(sky / "cutouts")
    again = write("catalog.scored.parquet", tmp_path / "page", like=(other, turned))
    for path in sorted(page.path.parent.iterdir()):
        assert path.read_bytes() == (again.path.parent / path.name).read_bytes(), path.name


def test_a_labelled_catalog_of_another_ensemble_is_refused(write, sky, truth, tmp_path):
    table = pq.read_table(sky / "catalog.scored.parquet")
    footer = json.loads(table.schema.metadata[b"targetsel"])
    other = tmp_path / "other.scored.parquet"
    write_table(table, other, footer | {"ensemble": {"name": "x", "sha256": "ab"}})
    with pytest.raises(EnsembleError, match="its predictions are of the ensemble ab"):
        write("catalog.scored.parquet", tmp_path / "page", like=(other, truth))
    assert not (tmp_path / "page").exists()


def test_slim_labelled_rows_are_refused(sky, write, truth, tmp_path, ensemble_folder):
    slim = sky / "slim.scored.parquet"
    ts.score(
        sky / "catalog.parquet", sky / "cutouts", output=slim, ensemble=ensemble_folder, slim=True
    )
    with pytest.raises(CatalogError, match="which score --slim leaves out"):
        write("catalog.scored.parquet", tmp_path / "page", like=(slim, truth))
    slim.unlink()
