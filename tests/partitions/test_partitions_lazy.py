"""An LSDB catalog scored when it is computed: the same as the folder that `score` writes."""

from __future__ import annotations

import shutil

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import targetsel as ts
from targetsel import extras
from targetsel.errors import CatalogError, ExtraError, OutputError, RuleError
from targetsel.jobs.launch import dask_client
from targetsel.scored.file import ScoredFile
from targetsel.tables.hats import HatsCatalog

lsdb = pytest.importorskip("lsdb")
cloudpickle = pytest.importorskip("cloudpickle")
QUIET = {"progress_bar": False}

RULES = """
schema: targetsel/rules/v1
name: bright
seed: 1
classes:
  BRIGHT:
    bit: 0
    priority: 1
    where:
      - rmag < {limit}
      - ew_halpha > 3
"""


@pytest.fixture(autouse=True)
def in_this_thread():
    import dask

    with dask.config.set(scheduler="synchronous"):
        yield


@pytest.fixture
def lazily(hats, demonstration, ensemble_folder):
    """Plan the score of the demonstration's HATS catalog, or of another catalog of LSDB."""

    def lazily(catalog=None, **options):
        return ts.score_catalog(
            lsdb.open_catalog(hats) if catalog is None else catalog,
            options.pop("cutouts", demonstration / "cutouts"),
            options.pop("ensemble", ensemble_folder),
            **options,
        )

    return lazily


@pytest.fixture(scope="module")
def scored(hats, demonstration, ensemble_folder, tmp_path_factory):
    """The folder that `score` writes of the same catalog; read only."""
    output = tmp_path_factory.mktemp("lazy") / "scored"
    ts.score(hats, demonstration / "cutouts", ensemble_folder, output)
    return output


def rows_of(root):
    catalog = HatsCatalog.open(root)
    return pa.concat_tables([pq.read_table(catalog.path_of(each)) for each in catalog.pixels])


def check_same(frame, expected):
    """The columns of a frame, with its index as one of them, are those of a table, to the bit."""
    found = pa.Table.from_pandas(frame.reset_index(), preserve_index=False)
    assert {*found.column_names} == {*expected.column_names}
    for field in expected.schema:
        values = found[field.name].cast(field.type).combine_chunks()
        assert values.equals(expected[field.name].combine_chunks()), field.name


def test_computed_rows_are_those_that_score_writes(lazily, scored):
    frame = lazily().compute(**QUIET)
    check_same(frame, rows_of(scored))
    assert frame.index.name == "_healpix_29"
    assert frame.index.is_monotonic_increasing


def test_nothing_is_computed_before_it_is_asked_for(lazily):
    planned = lazily(engine="torch")
    frame = planned.partitions[1].compute(**QUIET)
    assert list(planned.columns) == list(frame.columns)
    assert (planned.dtypes == frame.dtypes).all()


def test_a_task_does_not_hold_the_networks(lazily, ensemble_folder):
    task = cloudpickle.dumps(lazily().to_delayed()[0])
    assert len(task) < (ensemble_folder / "decoder.safetensors").stat().st_size / 8


def test_networks_are_read_once(lazily, monkeypatch):
    from targetsel.partitions import lazy

    planned, read = lazily(seed=17), []
    before = lazy.Networks.read
    monkeypatch.setattr(lazy.Networks, "read", lambda self: read.append(1) or before(self))
    assert planned.npartitions > 3
    planned.compute(**QUIET)
    assert len(read) == 1


def test_workers_of_a_dask_cluster_give_the_same_rows(lazily, scored):
    with dask_client(None, 1):
        check_same(lazily().compute(**QUIET), rows_of(scored))


def test_a_cone_is_scored_alone(lazily, hats, scored):
    row = rows_of(hats).slice(3, 1).to_pylist()[0]
    cone = lsdb.open_catalog(hats).cone_search(row["ra"], row["dec"], 1.0)
    frame = lazily(cone).compute(**QUIET)
    expected = rows_of(scored)
    check_same(frame, expected.filter(pa.compute.equal(expected["source_id"], row["source_id"])))


def test_a_partition_that_a_query_leaves_empty_has_all_columns(lazily, hats):
    nobody = lsdb.open_catalog(hats).query("rmag < 0")
    frame = lazily(nobody).compute(**QUIET)
    assert len(frame) == 0
    assert "ew_halpha_quantiles" in frame.columns


def test_units_and_provenance_are_in_the_attributes_of_the_catalog(lazily, scored):
    planned = lazily()
    frame = planned.compute(**QUIET)
    frame.attrs = planned.meta.attrs
    with ScoredFile(frame) as found, ScoredFile(scored) as expected:
        for field in expected.schema:
            assert found.schema.field(field.name).metadata == field.metadata, field.name
        for entry in ("ensemble", "calibration", "options", "columns", "rules", "validation"):
            assert found.footer[entry] == expected.footer[entry], entry


def test_a_frame_with_its_attributes_gives_the_targets_of_the_folder(lazily, scored):
    planned = lazily()
    frame = planned.compute(**QUIET)
    frame.attrs = planned.meta.attrs
    rules = ts.Rules.parse(RULES.format(limit=18))
    found, expected = ts.select(frame, rules), ts.select(scored, rules)
    assert found.table["source_id"].to_pylist() == expected.table["source_id"].to_pylist()


def test_lsdb_writes_all_values(lazily, scored, tmp_path):
    lazily().write_catalog(tmp_path / "out", as_collection=False, **QUIET)
    check_same(lsdb.open_catalog(tmp_path / "out").compute(**QUIET), rows_of(scored))
    assert len(ts.read(tmp_path / "out", "scored")) == rows_of(scored).num_rows


def test_sources_that_rules_do_not_need_are_not_predicted(lazily, scored):
    rmag = rows_of(scored)["rmag"].to_pylist()
    limit = sorted(rmag)[len(rmag) // 2]
    frame = lazily(rules=ts.Rules.parse(RULES.format(limit=limit))).compute(**QUIET)
    assert (frame["status"] == "not needed").tolist() == [each >= limit for each in rmag]


def test_a_quantile_of_the_whole_catalog_is_refused(lazily):
    rules = ts.Rules.parse(RULES.format(limit="catalog_quantile(rmag, 0.5)"))
    with pytest.raises(RuleError, match="a quantile over the whole catalog, which a partition"):
        lazily(rules=rules)


def test_a_scored_catalog_is_not_scored_again(lazily, scored):
    with pytest.raises(CatalogError, match="which score would write"):
        lazily(lsdb.open_catalog(scored))


def test_networks_that_have_changed_are_refused(lazily, ensemble_folder, tmp_path):
    folder = shutil.copytree(ensemble_folder, tmp_path / "mine")
    planned = lazily(ensemble=folder)
    card = folder / "card.json"
    card.write_text(card.read_text().replace('"tiny"', '"tiny, again"'))
    with pytest.raises(RuntimeError, match="their ensemble is not what it was when"):
        planned.compute(**QUIET)


def test_tables_and_things_in_memory_are_refused(lazily, demonstration, ensemble_folder):
    with pytest.raises(CatalogError, match="of type DataFrame; expected one of LSDB"):
        lazily(pq.read_table(demonstration / "catalog.parquet").to_pandas())
    with pytest.raises(OutputError, match="ensemble: held in memory, where"):
        lazily(ensemble=ts.Ensemble.read(ensemble_folder))


def test_the_extra_is_named_where_lsdb_is_not_installed(lazily, monkeypatch):
    monkeypatch.setattr(extras, "find_spec", lambda name: None if name == "lsdb" else name)
    with pytest.raises(ExtraError, match=r"needs lsdb, .* pip install 'targetsel\[cluster\]'"):
        lazily()
