"""Scored catalogs with redshifts from elsewhere."""

from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from scipy.stats import norm

from targetsel.calibration.fitting import read_known
from targetsel.errors import TargetselError
from targetsel.redshifts.joining import join_redshifts
from targetsel.rules.binding import Binder
from targetsel.rules.columns import CatalogColumns
from targetsel.rules.functions import parse
from targetsel.scored.file import ScoredFile
from targetsel.selection.evaluation import holds, probability
from targetsel.selection.sources import Sources
from targetsel.spectra.proxies import correlated
from tests.observing.test_observing_observation import scored as without_redshifts
from tests.observing.test_observing_predicted import predicted
from tests.redshifts.files import interp, write_parquet


def given(path, ids, z, error=0.01):
    columns = {"source_id": pa.array(ids), "redshift": z, "redshift_err": [error] * len(z)}
    pq.write_table(pa.table(columns), path)
    return path


@pytest.fixture
def scored(tmp_path):
    return predicted(tmp_path, (0.15, 0.15, 0.3))


def test_there_is_nothing_to_combine_with_where_no_redshift_is_predicted(tmp_path):
    path = without_redshifts(tmp_path, (0.15, 0.15, 0.3))
    file = given(tmp_path / "z.parquet", ids_of(path)[:1], [0.25])
    with pytest.raises(TargetselError, match=r"no redshift that others .* Leave out --combine"):
        join_redshifts(path, file, tmp_path / "out.parquet", combine=True)
    assert join_redshifts(path, file, tmp_path / "out.parquet").n_matched == 1


def ids_of(path):
    return pq.read_table(path)["source_id"].to_pylist()


def test_sources_are_joined_by_id_and_the_others_stay_bit_for_bit(scored, tmp_path):
    ids = ids_of(scored)
    file = given(tmp_path / "z.parquet", [ids[2], 999, ids[0]], [0.25, 0.1, 0.2])
    run = join_redshifts(scored, file, tmp_path / "out.parquet")
    assert (run.n_sources, run.n_given, run.n_matched) == (3, 3, 2)
    before, after = pq.read_table(scored), pq.read_table(tmp_path / "out.parquet")
    assert after["photoz_from"].to_pylist() == ["elsewhere", "image", "elsewhere"]
    assert after["photoz"].to_pylist() == pytest.approx([0.2, 0.15, 0.25])
    for name in before.column_names:
        assert after[name][1] == before[name][1], name
    assert after["ew_halpha"][0].as_py() != before["ew_halpha"][0].as_py()


def test_the_result_is_a_scored_catalog_that_says_where_its_redshifts_are_from(scored, tmp_path):
    file = given(tmp_path / "z.parquet", ids_of(scored), [0.2, 0.2, 0.2])
    join_redshifts(scored, file, tmp_path / "out.parquet")
    with ScoredFile(tmp_path / "out.parquet") as found, ScoredFile(scored) as before:
        assert correlated(found.schema) == correlated(before.schema)
        assert found.footer["redshifts"]["file"] == "z.parquet"


def test_the_order_of_rows_and_of_the_file_changes_nothing(scored, tmp_path):
    ids = ids_of(scored)
    one = given(tmp_path / "z.parquet", ids, [0.2, 0.21, 0.22])
    other = given(tmp_path / "y.parquet", ids[::-1], [0.22, 0.21, 0.2])
    table = pq.read_table(scored)
    pq.write_table(table.take([2, 0, 1]), tmp_path / "turned.parquet")
    join_redshifts(scored, one, tmp_path / "a.parquet")
    join_redshifts(tmp_path / "turned.parquet", other, tmp_path / "b.parquet")
    first, second = (pq.read_table(tmp_path / f"{name}.parquet") for name in "ab")
    assert first.take([2, 0, 1]).to_pylist() == second.to_pylist()


def test_ids_that_are_text_on_one_side_are_joined(scored, tmp_path):
    file = given(tmp_path / "z.parquet", [str(each) for each in ids_of(scored)], [0.2] * 3)
    assert join_redshifts(scored, file, tmp_path / "out.parquet").n_matched == 3


def test_a_catalog_without_redshifts_gets_them(tmp_path):
    path = without_redshifts(tmp_path, [0.1, 0.2])
    file = write_parquet(tmp_path / "pdf.pq", interp(ids_of(path)[:1], [0.3]))
    run = join_redshifts(path, file, tmp_path / "out.parquet")
    assert run.origins == {"elsewhere": 1, "": 1}
    table = pq.read_table(tmp_path / "out.parquet")
    assert table["photoz"].to_pylist() == [pytest.approx(0.3, abs=1e-4), None]
    with ScoredFile(tmp_path / "out.parquet") as found:
        assert correlated(found.schema)["photoz"] == ["ew_oiii", "ew_halpha", "d4000"]
    assert table["photoz_correlation"].to_pylist() == [[0.0] * 3, [None] * 3]


def test_combined_redshifts_that_disagree_are_missing(scored, tmp_path):
    file = given(tmp_path / "z.parquet", ids_of(scored), [0.16, 5.0, 0.3])
    run = join_redshifts(scored, file, tmp_path / "out.parquet", combine=True)
    assert run.origins == {"both": 2, "disagree": 1}
    table = pq.read_table(tmp_path / "out.parquet")
    assert table["photoz"][1].as_py() is None
    assert table["ew_halpha"][1] == pq.read_table(scored)["ew_halpha"][1]


def refused(*words, **options):
    with pytest.raises(TargetselError) as caught:
        join_redshifts(*words, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_files_that_share_no_id_are_refused(scored, tmp_path):
    file = given(tmp_path / "z.parquet", [991, 992], [0.1, 0.2])
    said = refused(scored, file, tmp_path / "out.parquet")
    assert "none of its 3 ids is among the 2" in said
    assert not (tmp_path / "out.parquet").exists()


@pytest.mark.parametrize(
    ("column", "says"),
    [("observed_status", "observed already"), ("photoz_from", "from elsewhere already")],
)
def test_a_catalog_that_is_observed_or_joined_already_is_refused(column, says, scored, tmp_path):
    table = pq.read_table(scored).append_column(column, pa.array(["ok"] * 3))
    pq.write_table(table, scored)
    file = given(tmp_path / "z.parquet", ids_of(scored), [0.1] * 3)
    assert says in refused(scored, file, tmp_path / "out.parquet")


def test_a_photoz_of_the_catalogs_own_is_refused(tmp_path):
    path = without_redshifts(tmp_path, [0.1, 0.2])
    table = pq.read_table(path).append_column("photoz", pa.array([0.1, 0.2]))
    pq.write_table(table, path)
    file = given(tmp_path / "z.parquet", ids_of(path), np.array([0.1, 0.2]))
    assert "'photoz' of its own" in refused(path, file, tmp_path / "out.parquet")


@pytest.mark.parametrize("window", [(0.1, 0.25), (0.25, 0.6), (0.55, 0.7)])
def test_rules_have_the_probability_of_a_pdf_with_two_peaks(window, scored, tmp_path):
    ids, grid = ids_of(scored), np.linspace(0, 1, 1001)
    parts = [0.7 * norm.pdf(grid, 0.2, 0.03) + 0.3 * norm.pdf(grid, 0.6, 0.02)] * 3
    tables = interp(ids, [0.2] * 3)
    tables["meta"]["xvals"], tables["data"]["yvals"] = grid[None], np.array(parts)
    file = write_parquet(tmp_path / "pdf.pq", tables)
    join_redshifts(scored, file, tmp_path / "out.parquet")
    table = pq.read_table(tmp_path / "out.parquet")
    text = f"{window[0]} < photoz < {window[1]}"
    bound = Binder(CatalogColumns(table.schema)).condition(parse(text))
    below = [0.7 * norm.cdf(z, 0.2, 0.03) + 0.3 * norm.cdf(z, 0.6, 0.02) for z in window]
    assert probability(bound, Sources(table)) == pytest.approx(below[1] - below[0], abs=0.01)
    for limit, chosen in ((below[1] - below[0] - 0.02, True), (below[1] - below[0] + 0.02, False)):
        rule = Binder(CatalogColumns(table.schema)).condition(parse(f"P({text}) >= {limit}"))
        assert holds(rule, Sources(table)).tolist() == [chosen] * 3


def test_no_calibration_is_fitted_to_redshifts_from_elsewhere(scored, tmp_path, monkeypatch):
    file = given(tmp_path / "z.parquet", ids_of(scored), [0.2, 0.2, 0.2])
    join_redshifts(scored, file, tmp_path / "out.parquet")
    monkeypatch.setattr(ScoredFile, "check_scored_by", lambda *_: None)
    ensemble = SimpleNamespace(name="mine", sha256="")
    with pytest.raises(TargetselError, match="are no prediction of the ensemble"):
        read_known(tmp_path / "out.parquet", scored, ensemble)
