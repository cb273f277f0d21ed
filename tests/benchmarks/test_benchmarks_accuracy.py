"""The accuracy benchmark on a small sky: every table says what it is, and ids are kept apart."""

import re
import sys

import accuracy
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from skies import Sky, matrix, places

from targetsel.scoring.ensemble import Ensemble, find_ensemble
from targetsel.spectra.decoder import Decoder
from targetsel.statistics.resampling import rank_correlation
from tests.conftest import tiny_ensemble


@pytest.fixture(scope="module")
def ensemble_of_16_pixels(tmp_path_factory):
    """Untrained networks, with the decoder that made the skies' spectra."""
    ensemble = tiny_ensemble()
    ensemble.card["input"]["size"] = 16
    decoder = Decoder.read(find_ensemble("mock-ps1"))
    folder = tmp_path_factory.mktemp("ensembles") / "small"
    Ensemble(ensemble.networks, decoder, ensemble.novelty, ensemble.card).write(folder)
    return folder


def test_labels_belong_to_their_sources_whatever_the_order_of_the_file(small_sky):
    sky = Sky.read(small_sky)
    decoder = Decoder.read(find_ensemble("mock-ps1"))
    proxies = accuracy.decoded(sky.labels(decoder, "flux_true"), Ensemble.read())
    same = rank_correlation(proxies["ew_halpha_nii"], sky.proxies["ew_halpha_nii"])
    assert same(np.ones(len(sky))) > 0.5  # 0 if rows were mixed up


def test_a_missing_id_ends_the_benchmark_in_one_line():
    with pytest.raises(SystemExit, match="1 ids are missing, such as 7"):
        places(np.array([3, 1]), np.array([1, 7]))


def test_every_table_says_that_it_is_of_a_mock_sky(
    small_sky, other_sky, ensemble_of_16_pixels, monkeypatch, capsys
):
    command = ["accuracy.py", str(other_sky), "--ensemble", str(ensemble_of_16_pixels)]
    command += ["--training-sky", str(small_sky), "--transfer", f"seeing={other_sky}"]
    monkeypatch.setattr(sys, "argv", [*command, "--resamplings", "20"])
    accuracy.main()
    printed = capsys.readouterr().out
    tables = printed.strip().split("\n\nmock sky: simulated images | ")[1:]
    for about in ("99 sources", "`flux_true`", "`flux`", "rank correlation", "lists of", "seeing"):
        assert any(about in table.split("\n")[0] for table in tables), about
    assert "50 distinct real galaxies" in printed
    assert "1 more have no prediction" in printed
    assert "0 of these galaxies are in the training sky" in printed
    verdicts = re.findall(r"excludes zero: (\w+)", printed)
    assert len(verdicts) == 2 * 6  # two recipes of labels; the best member, four models, a mean
    assert len(re.findall(r"both, rich .*excludes zero: (yes|no)", printed)) == 2
    assert "yes" in verdicts  # photometry has learnt; untrained networks know nothing


def test_without_a_training_sky_the_ensemble_stands_alone(
    other_sky, ensemble_of_16_pixels, monkeypatch, capsys
):
    command = ["accuracy.py", str(other_sky), "--ensemble", str(ensemble_of_16_pixels)]
    monkeypatch.setattr(sys, "argv", [*command, "--resamplings", "10"])
    accuracy.main()
    assert "rich" not in capsys.readouterr().out


def test_a_sky_without_weights_counts_every_source_alike(other_sky, tmp_path):
    for name in ("catalog.parquet", "spectra.parquet"):
        (tmp_path / name).symlink_to(other_sky / name)
    truth = pq.read_table(other_sky / "truth.parquet")
    pq.write_table(truth.drop_columns("weight"), tmp_path / "truth.parquet")
    assert (Sky.read(tmp_path).weight == 1).all()
    assert set(Sky.read(other_sky).weight) == {1.0, 2.0}


def test_lists_in_arrow_become_rows_even_of_a_slice():
    lists = pa.FixedSizeListArray.from_arrays(pa.array(range(6)), 2)
    assert matrix(lists.slice(1, 2)).tolist() == [[2, 3], [4, 5]]
