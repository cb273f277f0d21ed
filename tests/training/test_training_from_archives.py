import dataclasses
import hashlib
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from targetsel.errors import CatalogError, OutputError
from targetsel.imaging.store import CutoutStore
from targetsel.sky.catalog import Catalog
from targetsel.spectra.decoder import Decoder
from targetsel.spectra.rest_frame import Basis
from targetsel.surveys import http
from targetsel.surveys.http import Web
from targetsel.surveys.ps1 import PanStarrsImages
from targetsel.surveys.sdss import SdssSpectra, SkyServer
from targetsel.training.from_archives import (
    SDSS_MAIN,
    TrainingServices,
    find_sample,
    make_training_set,
)
from targetsel.training.labels import Labels
from tests.emulator.catalogs import Catalogs
from tests.emulator.faults import Faults
from tests.emulator.loopback import only_loopback
from tests.emulator.ps1 import PS1
from tests.emulator.server import Emulator
from tests.emulator.sky import Stars
from tests.emulator.spectra import LOGLAM, SpectrumArchives

KINDS = ("html", "garbage", "truncated", "dropped", "429", "503 with Retry-After", "500")
SAMPLE = dataclasses.replace(SDSS_MAIN, pieces=3)
OUTSIDE, MASKED, WITHOUT_FILE = 3, 5, 7  # rows of sources with a trouble


@pytest.fixture(autouse=True)
def nothing_leaves_loopback(monkeypatch):
    monkeypatch.setattr(http, "PAUSE", 0.0)
    with only_loopback():
        yield


def galaxy(redshift, number):
    """A spectrum of the shipped basis, at a redshift."""
    grid = 3.53 + 0.00039 * np.arange(1000) + np.log10(1 + redshift)
    basis = Basis.shipped()
    return 300 * np.interp(LOGLAM, grid, basis.mean + 0.01 * (number % 5) * basis.components[1])


class Sky:
    """20 galaxies in SDSS's catalog, its spectra and Pan-STARRS's images."""

    def __init__(self, n=20, reverse=False):
        rng = np.random.default_rng(1)
        self.source_id = 1237650000000000000 + rng.permutation(n)
        self.ra, self.dec = rng.uniform(0, 360, n), rng.uniform(-20, 60, n)
        self.dec[OUTSIDE] = -50.0
        redshift = rng.uniform(0.02, 0.2, n)
        fiber = np.arange(n) + 1
        self.columns = {"objID": self.source_id, "ra": self.ra, "dec": self.dec}
        for band in "ugriz":
            self.columns |= {f"petroFlux_{band}": np.full(n, 100.0)}
            self.columns |= {f"petroFluxIvar_{band}": np.full(n, 1.0)}
            self.columns |= {f"extinction_{band}": np.full(n, 0.1)}
        self.columns |= {"petroR50_r": np.full(n, 2.0), "redshift": redshift}
        self.columns |= {"zErr": np.full(n, 1e-5), "zWarning": np.zeros(n, int)}
        self.columns |= {"plate": np.full(n, 266), "mjd": np.full(n, 51602), "fiberID": fiber}
        self.columns |= {"run2d": np.full(n, "26")}
        self.spectra = {(266, 51602, k + 1): z for k, z in enumerate(redshift) if k != WITHOUT_FILE}

        if reverse:
            self.columns = {name: values[::-1] for name, values in self.columns.items()}

    def handlers(self, faults):
        stars = Stars.at(self.ra, self.dec)
        masked = frozenset({MASKED + 1})
        archives = SpectrumArchives(self.spectra, flux=galaxy, masked=masked)
        catalogs = Catalogs({}, self.columns, {"ra": [], "dec": []})
        return PS1(stars, faults).handlers() | archives.handlers() | catalogs.handlers()

    def services(self, url):
        web = Web(rate=10_000, attempts=5)
        images = PanStarrsImages(web, ("g", "r"), 16, url)
        return TrainingServices(SkyServer(web, url), SdssSpectra(web, f"{url}/sas"), images)


@pytest.fixture(scope="module")
def sky():
    return Sky()


@pytest.fixture(scope="module")
def decoder(ensemble_folder):
    return ensemble_folder / "decoder.safetensors"


def made_in(folder, sky, decoder, n=20, faults=None, sample=SAMPLE):
    faults = faults or Faults()
    with Emulator(sky.handlers(faults), faults) as emulator:
        summary = make_training_set(folder, sample, n, sky.services(emulator.url), decoder)
    return summary, emulator


@pytest.fixture(scope="module")
def good(sky, decoder, tmp_path_factory):
    """A training set from archives that do not fail; read only. With its summary."""
    folder = tmp_path_factory.mktemp("good") / "set"
    return folder, made_in(folder, sky, decoder)[0]


def ids(path):
    return pq.read_table(path)["source_id"].to_pylist()


def fingerprints(folder):
    names = ("catalog", "latents", "spectra", "dropped")
    tables = {name: pq.read_table(folder / f"{name}.parquet") for name in names}
    made = {name: table.replace_schema_metadata() for name, table in tables.items()}
    store = [path.read_bytes() for path in sorted((folder / "cutouts").glob("*.parquet"))]
    return made, hashlib.sha256(b"".join(store)).hexdigest()


def test_training_set_has_all_that_training_takes(sky, good):
    folder, summary = good
    ready = set(sky.source_id.tolist())
    ready -= set(sky.source_id[[OUTSIDE, MASKED, WITHOUT_FILE]].tolist())
    assert (summary.asked, summary.ready, summary.unfinished) == (20, 17, 0)
    for name in ("catalog", "latents", "spectra"):
        assert ids(folder / f"{name}.parquet") == sorted(ready)
    store = CutoutStore.open(folder / "cutouts")
    assert store.bands == ("g", "r")
    file = folder / "decoder" / "decoder.safetensors"
    labels = Labels.of_latents(folder / "latents.parquet", Decoder.read(file), file)
    found = labels.with_catalog(Catalog.read(folder / "catalog.parquet")).in_store(store)
    assert len(found) == 17
    assert (found.noise > 0).all()
    direct = Labels.of_spectra(folder / "spectra.parquet", Decoder.read(file))
    assert direct.mean == pytest.approx(labels.mean, abs=1e-4)


def test_source_that_is_dropped_says_at_which_step_and_why(sky, good):
    folder, summary = good
    rows = pq.read_table(folder / "dropped.parquet").to_pylist()
    found = {row["source_id"]: (row["step"], row["reason"]) for row in rows}
    assert len(found) == 3
    assert found[sky.source_id[WITHOUT_FILE]] == ("spectrum", "no such spectrum")
    step, reason = found[sky.source_id[MASKED]]
    assert step == "spectrum"
    assert "every pixel is masked" in reason
    assert found[sky.source_id[OUTSIDE]] == ("cutout", "g: outside the footprint")
    assert summary.dropped["cutout", "g: outside the footprint"] == 1


def test_failing_archives_give_the_same_training_set(sky, decoder, good, tmp_path):
    faults = Faults(0.2, kinds=KINDS, seed=2)
    _, emulator = made_in(tmp_path / "failing", sky, decoder, faults=faults)
    assert sum(seen.request.fault is not None for seen in emulator.log) > 10
    assert fingerprints(good[0]) == fingerprints(tmp_path / "failing")


def test_what_got_no_answer_comes_with_the_next_run_and_nothing_else(sky, decoder, good, tmp_path):
    folder = tmp_path / "set"
    handlers = sky.handlers(Faults())
    path = "/sas/dr17/sdss/spectro/redux"
    whole = handlers[path]
    broken = {"on": True}

    def file(request):
        answer = whole(request)
        if broken["on"] and request.path.endswith("0.fits"):  # two of the twenty
            return dataclasses.replace(answer, content=answer.content[:2880])
        return answer

    with Emulator(handlers | {path: file}) as emulator:
        services = sky.services(emulator.url)
        first = make_training_set(folder, SAMPLE, 20, services, decoder)
        assert (first.ready, first.unfinished) == (15, 2)
        broken["on"] = False
        asked = len(emulator.log)
        second = make_training_set(folder, SAMPLE, 20, services, decoder)
        assert len(emulator.log) - asked == 2 + 2 * 3  # spectra; lists of files and two bands
        asked = len(emulator.log)
        make_training_set(folder, SAMPLE, 20, services, decoder)
        assert len(emulator.log) == asked
    assert (second.ready, second.unfinished) == (17, 0)
    assert fingerprints(folder) == fingerprints(good[0])


def test_sources_are_chosen_by_their_ids_and_the_seed_alone(sky, decoder, tmp_path):
    chosen = []
    sample = dataclasses.replace(SAMPLE, pieces=1)
    for order in (False, True):
        folder = tmp_path / f"{order}"
        summary, _ = made_in(folder, Sky(reverse=order), decoder, n=8, sample=sample)
        assert summary.asked == 8
        chosen.append(ids(folder / "sample.parquet"))
    assert chosen[0] == chosen[1]
    assert chosen[0] != sorted(sky.source_id.tolist())[:8]


def test_changed_settings_do_not_go_on_with_a_training_set(sky, decoder, good):
    with pytest.raises(OutputError, match="set: was begun with n 20; now it is 21"):
        made_in(good[0], sky, decoder, n=21)


def test_main_galaxies_are_asked_for_by_their_target_flags():
    question = SDSS_MAIN.question(5)
    assert "(s.legacy_target1 & 448) > 0" in question
    assert "s.z BETWEEN 0 AND 0.36" in question
    assert "s.zWarning = 0" in question
    assert question.endswith("(p.objID % 97) = 5")


def test_unknown_sample_is_refused_with_a_hint():
    with pytest.raises(CatalogError, match=r"unknown sample .* Did you mean"):
        find_sample("sdss-man")


def test_command_makes_the_training_set_of_the_function(
    sky, decoder, good, tmp_path, monkeypatch, capsys
):
    from targetsel.surveys import registry, sdss
    from tests.cli.typed import Typed

    with Emulator(sky.handlers(Faults())) as emulator:
        web_services = sky.services(emulator.url)
        monkeypatch.setattr(sdss, "SkyServer", lambda web: web_services.catalog)
        monkeypatch.setattr(sdss, "SdssSpectra", lambda web: web_services.spectra)
        monkeypatch.setattr(registry, "open_cutouts", lambda *_: web_services.cutouts)
        said = Typed(monkeypatch, capsys)(
            *("trainingset", "--n", 20, "--decoder", Path(decoder), "-o", tmp_path / "typed")
        )
    assert said.status == 0, said.err
    assert "1  dropped: cutout: g: outside the footprint" in said.out
    assert "17 of 20 sources are ready in" in said.out
    assert fingerprints(tmp_path / "typed") == fingerprints(good[0])
