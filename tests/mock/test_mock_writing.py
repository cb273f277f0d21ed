"""A mock sky on disk: whole, honest about itself, and the same however it was made."""

import os
import shutil
import signal
import subprocess
import sys
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from targetsel.errors import MockError, OutputError
from targetsel.imaging.cutout import Cutouts
from targetsel.imaging.packing import write_store
from targetsel.imaging.store import CutoutStore
from targetsel.mock import writing
from targetsel.mock.camera import find_camera
from targetsel.mock.galaxies import Galaxies
from targetsel.mock.plan import BLOCK, SkyPlan, Variation
from targetsel.mock.writing import draw_page, write_sky
from targetsel.scoring.ensemble import DEFAULT, find_ensemble
from targetsel.spectra.decoder import Decoder
from targetsel.spectra.lines import PROXIES
from targetsel.tables.files import sha256_of_file
from targetsel.tables.parquet import read_footer
from targetsel.training.training_spectra import TrainingSpectra

LEGACY = find_camera("legacy")
N = 280  # more than a block
NAMES = ("catalog", "truth", "spectra")


@pytest.fixture(scope="module")
def sky(tmp_path_factory):
    folder = tmp_path_factory.mktemp("mock") / "sky"
    assert BLOCK < N
    write_sky(folder, SkyPlan.of(N, seed=11))
    return folder


@pytest.fixture(scope="module")
def tables(sky):
    return {name: pq.read_table(sky / f"{name}.parquet") for name in NAMES}


def lists(column):
    return np.array(column.to_pylist())


def contents(folder):
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def test_all_files_speak_of_the_same_sources(sky, tables):
    ids = tables["catalog"]["source_id"].to_pylist()
    assert len(set(ids)) == N
    assert all(table["source_id"].to_pylist() == ids for table in tables.values())
    assert set(CutoutStore.open(sky / "cutouts").source_ids()) == set(ids)
    groups = tables["catalog"]["group_id"].to_pylist()
    assert all(table["group_id"].to_pylist() == groups for table in tables.values())


def test_every_footer_says_that_images_are_simulated_and_from_what(sky):
    for name in NAMES:
        footer = read_footer(sky / f"{name}.parquet")
        assert footer["images"] == "simulated"
        assert footer["mock"]["seed"] == 11
        assert footer["mock"]["survey"] == "ps1"
        assert footer["mock"]["variation"]["link"] == 1.0
        assert footer["mock"]["variation"]["realism"] == 1.0
        assert footer["mock"]["variation"]["farther"] == 0.4
        assert footer["mock"]["held_out"] is False
        assert footer["code_version"]


def test_images_say_that_they_are_simulated_wherever_they_are(sky, tmp_path):
    store = tmp_path / "moved"
    shutil.copytree(sky / "cutouts", store)
    assert CutoutStore.open(store).simulated
    assert read_footer(store / "part-00000.parquet")["mock"]["seed"] == 11


def test_number_of_workers_changes_no_byte(sky, tmp_path):
    write_sky(tmp_path / "again", SkyPlan.of(N, seed=11), workers=2)
    assert contents(tmp_path / "again") == contents(sky)


def test_a_smaller_sky_is_part_of_a_larger_one(tables, tmp_path):
    write_sky(tmp_path / "small", SkyPlan.of(10, seed=11))
    small = pq.read_table(tmp_path / "small" / "spectra.parquet")
    large = tables["spectra"].slice(0, 10)
    assert small["source_id"].equals(large["source_id"])
    assert lists(small["flux"]) == pytest.approx(lists(large["flux"]), abs=1e-6)


def test_true_spectra_have_a_sum_of_squares_of_one_and_noise_as_stated(tables):
    flux, ivar, true = (lists(tables["spectra"][name]) for name in ("flux", "ivar", "flux_true"))
    assert (true**2).sum(axis=1) == pytest.approx(1.0, abs=1e-5)
    seen = ivar > 0
    assert ((flux - true) * np.sqrt(ivar))[seen].std() == pytest.approx(1.0, abs=0.01)
    snr = tables["truth"]["snr"].to_numpy()
    of_pixels = np.where(seen, true * np.sqrt(ivar), np.nan)
    assert np.nanmedian(of_pixels, axis=1) == pytest.approx(snr, rel=1e-3)
    assert snr.min() >= 4
    assert snr.max() <= 60


def test_latents_are_the_shipped_decoders_of_the_true_spectra(sky, tables):
    decoder = Decoder.read(find_ensemble(DEFAULT))
    latents, _ = decoder.encode(lists(tables["spectra"]["flux_true"]))
    assert lists(tables["truth"]["latent"]) == pytest.approx(latents, abs=1e-4)
    assert tables["truth"].schema.field("latent").type == pa.list_(pa.float32(), 6)
    file = find_ensemble(DEFAULT) / "decoder.safetensors"
    assert read_footer(sky / "truth.parquet")["decoder_sha256"] == sha256_of_file(file)


def test_truth_has_proxies_lines_components_and_weights_without_gaps(tables):
    truth = tables["truth"]
    expected = {
        *PROXIES,
        "input_halpha",
        "fiber_g_r",
        "bulge_share",
        "disk_radius",
        "knot_share",
        "snr",
    }
    assert expected <= set(truth.schema.names)
    for name in set(truth.schema.names) - {"latent"}:
        assert np.isfinite(truth[name].to_numpy()).all(), name
    assert (truth["weight"].to_numpy() == 1).all()
    assert truth.schema.field("disk_radius").metadata[b"unit"] == b"arcsec"


def test_over_sampled_emitters_carry_weights(tables, tmp_path):
    plan = SkyPlan.of(120, 11, variation=Variation(over_sampling=0.5))
    write_sky(tmp_path / "rich", plan)
    rich = pq.read_table(tmp_path / "rich" / "truth.parquet")
    strong = rich["ew_halpha"].to_numpy() > 40
    assert strong.mean() > (tables["truth"]["ew_halpha"].to_numpy() > 40).mean()
    assert rich["weight"].to_numpy()[strong].mean() < 1
    catalog = pq.read_table(tmp_path / "rich" / "catalog.parquet")
    assert catalog["weight"].equals(rich["weight"])
    assert "weight" not in tables["catalog"].column_names


def test_spectra_can_be_learnt_from_as_they_are(sky):
    spectra = TrainingSpectra.read(sky / "spectra.parquet")
    assert spectra.flux.shape == (N, 1000)
    assert (spectra.ivar > 0).mean() > 0.9


def test_real_galaxies_begin_again_when_there_are_no_more():
    few = Galaxies.of_demonstration().take(np.arange(100))
    plan = SkyPlan(few, 350, seed=2, variation=Variation(farther=0))
    blocks = [plan.sources(start) for start in plan.blocks]
    ids = np.concatenate([block.source_id for block in blocks])
    groups = np.concatenate([block.group_id for block in blocks])
    assert len(np.unique(ids)) == 350
    assert np.array_equal(groups, np.tile(few.source_id, 4)[:350])
    flux = np.concatenate([block.flux for block in blocks])
    assert np.array_equal(flux[:100], few.flux)
    assert (flux[100:200, 2] < few.flux[:, 2]).all()


def test_held_out_galaxies_are_the_demonstrations_and_no_others():
    shown = set(Galaxies.of_demonstration().source_id.tolist())
    held_out = SkyPlan.of(2000, held_out=True)
    learnt = SkyPlan.of(2000)
    assert set(held_out.sources(0).group_id.tolist()) <= shown
    assert not set(learnt.sources(0).group_id.tolist()) & shown


def test_another_survey_has_its_bands_and_pixels(tmp_path):
    for survey in map(find_camera, ("legacy", "lsst", "kids")):
        folder = tmp_path / survey.name
        write_sky(folder, SkyPlan.of(12, survey=survey))
        store = CutoutStore.open(folder / "cutouts")
        assert store.bands == survey.bands
        assert store.pixel_scale == survey.pixel_scale
        assert store.sky_sigma == pytest.approx(survey.sky_sigma)
        assert draw_page(folder, tmp_path / f"{survey.name}.png") == 12
        assert (tmp_path / f"{survey.name}.png").read_bytes().startswith(b"\x89PNG")


def test_a_sky_takes_the_place_of_a_sky_but_not_of_other_files(tmp_path):
    write_sky(tmp_path, SkyPlan.of(4, seed=1))
    write_sky(tmp_path, SkyPlan.of(3, seed=2))
    assert len(pq.read_table(tmp_path / "spectra.parquet")) == 3
    pq.write_table(pa.table({"source_id": [1]}), tmp_path / "spectra.parquet")
    before = contents(tmp_path)
    with pytest.raises(OutputError, match=r"spectra.parquet: already exists and is not of"):
        write_sky(tmp_path, SkyPlan.of(4))
    assert contents(tmp_path) == before


def test_a_folder_of_cutouts_that_are_not_ours_is_left_alone(tmp_path):
    (tmp_path / "cutouts").mkdir()
    (tmp_path / "cutouts" / "notes.txt").write_text("mine")
    with pytest.raises(OutputError, match="is not a cutout store"):
        write_sky(tmp_path, SkyPlan.of(4))
    assert contents(tmp_path) == {"cutouts/notes.txt": b"mine"}


def test_a_store_of_other_cutouts_is_left_alone(tmp_path):
    flux = np.zeros((1, 1, 8, 8), np.float32)
    cutouts = Cutouts(np.array([1]), flux, ("r",), 0.25)
    write_store(tmp_path / "cutouts", [(cutouts, np.zeros(1), np.zeros(1))], [1.0])
    before = contents(tmp_path)
    with pytest.raises(OutputError, match=r"part-00000.parquet: already exists and is not of a"):
        write_sky(tmp_path, SkyPlan.of(4))
    assert contents(tmp_path) == before


def test_a_folder_serves_one_run_at_a_time(tmp_path, monkeypatch):
    def another(blocks, *_):
        monkeypatch.undo()
        with pytest.raises(OutputError, match="another run is writing there"):
            write_sky(tmp_path, SkyPlan.of(2))
        yield from blocks

    monkeypatch.setattr(writing, "tracked", another)
    write_sky(tmp_path, SkyPlan.of(4))
    assert len(pq.read_table(tmp_path / "catalog.parquet")) == 4


def test_a_worker_that_is_killed_is_told_of(tmp_path, monkeypatch):
    def killed(*_, **__):
        raise BrokenProcessPool

    monkeypatch.setattr(writing, "map_bounded", killed)
    with pytest.raises(MockError, match=r"ended from outside.*fewer --workers"):
        write_sky(tmp_path, SkyPlan.of(4), workers=2)
    assert contents(tmp_path) == {}


KILLED = """
import os, signal, sys
from pathlib import Path
from targetsel.mock import writing
from targetsel.mock.plan import SkyPlan

def stopped_after_one(blocks, *_):
    yield next(iter(blocks))
    os.kill(os.getpid(), signal.SIGKILL)

writing.tracked = stopped_after_one
writing.write_sky(Path(sys.argv[1]), SkyPlan.of(300))
"""


def test_killed_half_way_nothing_is_there_under_its_name(tmp_path):
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    ended = subprocess.run(
        [sys.executable, "-c", KILLED, str(tmp_path / "sky")], env=environment, check=False
    )
    assert ended.returncode == -signal.SIGKILL
    left = {path.name for path in (tmp_path / "sky").iterdir()}
    assert not left & {"catalog.parquet", "truth.parquet", "spectra.parquet", "cutouts"}
    write_sky(tmp_path / "sky", SkyPlan.of(3))
    assert len(CutoutStore.open(tmp_path / "sky" / "cutouts")) == 3
    left = {path.name for path in (tmp_path / "sky").iterdir()}
    assert left == {"catalog.parquet", "truth.parquet", "spectra.parquet", "cutouts"}


def test_an_error_on_the_way_leaves_nothing(tmp_path, monkeypatch):
    def fails_after_one(blocks, *_):
        yield next(iter(blocks))
        raise RuntimeError("stop")

    monkeypatch.setattr(writing, "tracked", fails_after_one)
    with pytest.raises(RuntimeError, match="stop"):
        write_sky(tmp_path, SkyPlan.of(4))
    assert contents(tmp_path) == {}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n": 0}, "0 mock sources asked for, expected at least 1."),
        ({"n": 5, "seed": -1}, "seed -1: expected a whole number that is not negative."),
        (
            {"n": 5, "variation": Variation(redshift=(0.5, 0.9))},
            "no real galaxy has a redshift between 0.5 and 0.9. Most of them lie between",
        ),
        (
            {"n": 5, "survey": LEGACY, "variation": Variation(zero_point={"i": 0.1})},
            "zero_point: survey 'legacy' has no band 'i'; expected some of g, r, z.",
        ),
    ],
)
def test_what_cannot_be_made_is_refused(arguments, message):
    with pytest.raises(MockError) as caught:
        SkyPlan.of(**arguments)
    assert str(caught.value).startswith(message)
