"""Every engine says what torch says, of each source for itself."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

import targetsel as ts
import targetsel.scoring.engines
import targetsel.scoring.stream
from targetsel.cli.score import EngineChoice
from targetsel.errors import EnsembleError, ExtraError
from targetsel.extras import EXTRAS, installed
from targetsel.imaging.cutout import Cutouts
from targetsel.imaging.store import CutoutStore
from targetsel.networks.deconvolution import fold
from targetsel.networks.network import Network, NetworkPlan, presets
from targetsel.scoring.engines import ENGINES, OTHERS, Members, start_engine
from targetsel.scoring.ensemble import Ensemble
from targetsel.scoring.rows import ScoreOptions
from targetsel.scoring.stream import score
from targetsel.sky.catalog import CatalogFile
from targetsel.tables.parquet import read_footer


@pytest.fixture(scope="module", params=OTHERS)
def engine(request) -> str:
    if not installed(request.param):
        pytest.skip(f"{' or '.join(EXTRAS[request.param])} is not installed")
    return str(request.param)


@pytest.fixture(scope="module")
def started(engine) -> Ensemble:
    return Ensemble.read(engine=engine)


@pytest.fixture(scope="module")
def cutouts(demonstration) -> Cutouts:
    store = CutoutStore.open(demonstration / "cutouts")
    return store.read(store.source_ids())


def test_an_engine_predicts_what_torch_does(started, cutouts):
    expected, found = Ensemble.read().predict(cutouts), started.predict(cutouts)
    assert expected.mean.std() > 0.3
    for name in ("member_mean", "member_factor", "typicality"):
        one, other = getattr(expected, name), getattr(found, name)
        np.testing.assert_allclose(other, one, rtol=1e-5, atol=1e-5, err_msg=name)


def test_a_prediction_by_an_engine_does_not_depend_on_other_sources_and_threads(started, cutouts):
    together = started.predict(cutouts)
    rows = [[k, 0] for k in range(0, 40, 5)]
    with ThreadPoolExecutor(4) as pool:
        for (k, _), alone in zip(
            rows, pool.map(lambda some: started.predict(cutouts.take(some)), rows), strict=True
        ):
            for name in ("member_mean", "member_factor", "typicality"):
                assert np.array_equal(getattr(alone, name)[0], getattr(together, name)[k]), name


@pytest.mark.parametrize(
    "plan",
    [
        presets()["hybrid"].model_copy(update={"width": 0.125}),
        presets()["tiny-deconvolution"].model_copy(update={"width": 0.25}),
        NetworkPlan(width=0.125, depth=50, deconvolution="everywhere", groups=4),
        NetworkPlan(width=0, photometry=16, softening=10.0),
        NetworkPlan(width=0.125, photometry=16),
    ],
    ids=["hybrid", "tiny", "deep", "photometry alone", "with photometry"],
)
def test_an_engine_runs_every_kind_of_network(engine, plan):
    torch.manual_seed(0)
    network = Network(plan)
    with torch.no_grad():
        network(torch.randn(32, 5, 32, 32) + torch.randn(32, 5, 1, 1))
        for layer in network.modules():
            if hasattr(layer, "gamma"):
                layer.gamma.fill_(0.01)
    twice = plan.depth < 50  # two deep ones take a minute to export
    members = Members([fold(network)] * (2 if twice else 1)).eval()
    x = torch.randn(3, 5, 32, 32)
    with torch.inference_mode():
        expected = members(x)
    assert expected.std() > 0.01
    found = start_engine(engine, members, x)(x)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-4 * expected.std())


def test_an_engine_pools_an_odd_number_of_pixels_as_torch_does(engine):
    members = Members([Network(NetworkPlan(width=0.125)).eval()])
    x = torch.randn(3, 5, 44, 44)
    with torch.inference_mode():
        expected = members(x)
    found = start_engine(engine, members, x)(x)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-4 * expected.std())


def test_an_engine_that_says_other_than_torch_or_nothing_is_refused(monkeypatch):
    members, x = Members([Network(NetworkPlan(width=0.125)).eval()]), torch.randn(3, 5, 32, 32)
    monkeypatch.setitem(OTHERS, "onnxruntime", lambda members, _: lambda x: 1.01 * members(x))
    monkeypatch.setattr(targetsel.scoring.engines, "version", lambda name: "1.2")
    with (
        torch.no_grad(),
        pytest.raises(EnsembleError, match=r"e 1\.2 predicts other features"),
    ):
        start_engine("onnxruntime", members, x)
    monkeypatch.setitem(OTHERS, "openvino", lambda members, x: 1 / 0)
    with pytest.raises(EnsembleError, match=r"openvino cannot run these networks\. Use the"):
        start_engine("openvino", members, x)


@pytest.fixture
def run(demonstration, ensemble_folder, tmp_path):
    """Score the demonstration's catalog by an engine into a temporary folder."""

    def run(engine, output="out.scored.parquet", catalog=None, threads=1):
        return score(
            CatalogFile.open(catalog or demonstration / "catalog.parquet"),
            CutoutStore.open(demonstration / "cutouts"),
            Ensemble.read(ensemble_folder, engine=engine),
            tmp_path / output,
            ScoreOptions(n_draws=16),
            threads,
        )

    return run


def test_shuffled_rows_other_chunks_and_more_threads_give_an_engine_the_same_rows(
    run, engine, demonstration, tmp_path, monkeypatch
):
    catalog = pq.read_table(demonstration / "catalog.parquet")
    order = np.random.default_rng(0).permutation(catalog.num_rows)
    pq.write_table(catalog.take(order), tmp_path / "shuffled.parquet")
    whole = run(engine).output
    monkeypatch.setattr(targetsel.scoring.stream, "ROWS_PER_CHUNK", 7)
    first = run(engine, "a.parquet").output
    assert pq.read_table(first).equals(pq.read_table(whole))
    other = run(engine, "b.parquet", tmp_path / "shuffled.parquet", threads=3).output
    assert other.read_bytes() == first.read_bytes()


def test_work_of_another_engine_is_not_gone_on_with(run, engine, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(targetsel.scoring.stream, "_join", lambda *a: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            run("torch")
    again = run(engine)
    assert (again.n_resumed, again.changed) == (0, ("engine",))
    assert read_footer(again.output)["engine"].startswith(f"{engine} ")


def test_the_footer_names_the_engine_and_its_version(run):
    assert read_footer(run("torch").output)["engine"] == f"torch {torch.__version__}"


def test_the_command_knows_every_engine():
    assert tuple(each.value for each in EngineChoice) == ENGINES


def test_an_unknown_engine_is_refused():
    with pytest.raises(EnsembleError, match=r"unknown engine 'opnvino'\. Did you mean 'openvino'"):
        Ensemble.read(engine="opnvino")


@pytest.mark.parametrize("name", OTHERS)
def test_another_engine_than_torch_runs_on_the_cpu_alone(name):
    with pytest.raises(EnsembleError, match=f"engine {name} runs on the CPU alone, not on cuda"):
        Ensemble.read(device="cuda", engine=name)


@pytest.mark.parametrize("name", OTHERS)
def test_without_an_engine_one_line_says_what_to_install(name, demonstration, monkeypatch):
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ExtraError, match=rf"engine {name} needs .*\[{name}\]'"):
        ts.score(demonstration / "catalog.parquet", engine=name)


def test_an_engine_does_not_tell_its_makers_that_it_is_used(engine, tmp_path):
    """What they leave in the home directory, to know it again, shows that they would."""
    packages, home = tmp_path / "packages", tmp_path / "home"
    packages.mkdir()
    home.mkdir()
    (packages / "openvino_telemetry.py").write_text("raise SystemExit('imported')")
    program = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "import torch\n"
        "from targetsel.networks.network import Network, NetworkPlan\n"
        "from targetsel.scoring.engines import Members, start_engine\n"
        "members = Members([Network(NetworkPlan(width=0, photometry=8)).eval()])\n"
        "x = torch.randn(2, 5, 8, 8)\n"
        "print(tuple(start_engine(sys.argv[2], members, x)(x).shape))"
    )
    command = [sys.executable, "-c", program, str(packages), engine]
    environment = {k: v for k, v in os.environ.items() if k not in ("CI", "ORT_DISABLE_TELEMETRY")}
    environment |= {"HOME": str(home), "PYTHONPATH": os.pathsep.join(sys.path)}
    environment |= {f"XDG_{kind}_HOME": str(home) for kind in ("CACHE", "CONFIG", "DATA", "STATE")}
    ran = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert (ran.returncode, ran.stdout) == (0, "(1, 2, 8)\n"), ran.stderr
    assert not [path for path in home.rglob("*") if path.is_file()]


def test_a_device_that_is_not_there_is_refused_in_a_line(monkeypatch):
    with pytest.raises(EnsembleError, match=r"device gpu: is not known\. Use cpu or cuda"):
        Ensemble.read(device="gpu")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(EnsembleError, match="device cuda: this machine or PyTorch has no CUDA"):
        Ensemble.read(device="cuda")
