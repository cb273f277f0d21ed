import dataclasses
import json
import signal
import subprocess
import sys
import time

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import targetsel as ts
from targetsel.errors import CutoutError, OutputError
from targetsel.imaging.store import CutoutStore
from targetsel.surveys import fetching
from targetsel.surveys.cutouts import fetch_cutouts
from targetsel.surveys.http import Web
from targetsel.surveys.legacy import LegacyImages
from targetsel.surveys.ps1 import PanStarrsImages
from targetsel.surveys.virtual_observatory import SiaImages
from targetsel.tables.hats import HatsCatalog
from tests.cli.typed import contents
from tests.emulator.faults import PASSING, Faults
from tests.emulator.server import Emulator
from tests.emulator.services import every_service
from tests.emulator.sky import Stars
from tests.surveys.cutouts.conftest import check_star


@dataclasses.dataclass
class Sources:
    """A catalog in memory."""

    source_id: np.ndarray
    ra: np.ndarray
    dec: np.ndarray

    def batches(self):
        for start in range(0, len(self.ra), 7):
            rows = slice(start, start + 7)
            yield Sources(self.source_id[rows], self.ra[rows], self.dec[rows])


def scattered(n, seed=0):
    """N sources between dec -29 and 60, their ids in no order."""
    rng = np.random.default_rng(seed)
    dec = np.degrees(np.arcsin(rng.uniform(-0.48, 0.87, n)))
    return Sources(rng.permutation(n) + 100, rng.uniform(0, 360, n), dec)


def bright(sources):
    stars = Stars.at(sources.ra, sources.dec)
    return Stars(stars.ra, stars.dec, 16 + (stars.magnitude - 16) / 2)


def manifest(store):
    return pq.read_table(store.with_name(f"{store.name}.manifest.parquet"))


def outcomes(store):
    """The status of each source and band."""
    table = manifest(store).to_pylist()
    return {(row["source_id"], row["band"]): row["status"] for row in table}


SURVEYS = {
    "ps1": lambda web, url: PanStarrsImages(web, ("g", "r"), 24, url),
    "legacy": lambda web, url: LegacyImages(web, ("g", "r"), 24, 0.25, url=url),
    "sia2": lambda web, url: SiaImages(web, ("g", "r"), 24, f"{url}/sia2/query", 0.2),
}


@pytest.mark.parametrize("survey", SURVEYS)
def test_every_failure_in_passing_is_survived_and_named(survey, tmp_path):
    sources = scattered(6 * len(PASSING) if survey == "legacy" else 2 * len(PASSING))
    stars = bright(sources)
    seen = set()
    # The first answer to every question fails, in one way or another.
    faults = Faults(share=1.0, in_a_row=1, retry_after=0, delay=0.01)
    with Emulator(every_service(stars, faults), faults) as emulator:
        service = SURVEYS[survey](Web(rate=1000), emulator.url)
        fetched = fetch_cutouts(service, sources.batches, tmp_path / "store")
        seen = {entry.request.fault for entry in emulator.log}
    assert seen >= set(PASSING)
    assert (fetched.written, fetched.unfinished) == (len(sources.ra), 0)
    cutouts = CutoutStore.open(tmp_path / "store").read(sources.source_id)
    assert cutouts.status.tolist() == ["ok"] * len(sources.ra)
    # Of PS1, north is up in the middle of a projection cell only, which is degrees wide.
    np.testing.assert_allclose(cutouts.orientation.position_angle, 0, atol=5)
    assert (cutouts.orientation.parity == 1).all()
    for row in range(len(sources.ra)):
        for plane, band in zip(cutouts.flux[row], "gr", strict=True):
            check_star(plane, row, stars, band)
    troubles = " ".join(
        " ".join(row["troubles"]) for row in manifest(tmp_path / "store").to_pylist()
    )
    for words in ("HTTP 429", "HTTP 503", "HTTP 500", "html", "ended too early", "dropped"):
        assert words in troubles


def test_a_manifest_row_tells_where_each_band_came_from(tmp_path):
    sources = scattered(3)
    with Emulator(every_service(bright(sources))) as emulator:
        fetch_cutouts(SURVEYS["ps1"](Web(1000), emulator.url), sources.batches, tmp_path / "store")
    table = manifest(tmp_path / "store")
    assert table["source_id"].to_pylist() == np.repeat(sources.source_id, 2).tolist()
    assert table["band"].to_pylist() == ["g", "r"] * 3
    row = table.to_pylist()[0]
    assert row["url"].startswith(f"{emulator.url}/cgi-bin/fitscut.cgi?ra=")
    assert row["bytes"] % 2880 == 0
    assert len(row["sha256"]) == 64
    assert abs(row["time"].timestamp() - time.time()) < 60


def test_what_is_known_is_not_asked_for_again_and_a_grown_catalog_asks_for_the_rest(tmp_path):
    sources = scattered(12)
    few = Sources(sources.source_id[:8], sources.ra[:8], sources.dec[:8])
    faults = Faults(lasting=0.5, lasting_kinds=("outside",))
    with Emulator(every_service(bright(sources), faults), faults) as emulator:
        service = SURVEYS["ps1"](Web(rate=1000), emulator.url)
        fetch_cutouts(service, few.batches, tmp_path / "store")
        n_asked = len(emulator.log)
        again = fetch_cutouts(service, few.batches, tmp_path / "store")
        assert (len(emulator.log), again.known) == (n_asked, 8)
        grown = fetch_cutouts(service, sources.batches, tmp_path / "store")
        assert grown.known == 8
        fetch_cutouts(service, sources.batches, tmp_path / "at once")
    assert contents(tmp_path / "store") == contents(tmp_path / "at once")
    assert grown.statuses["outside the footprint"] == 12 - grown.written > 0


def test_cutouts_of_a_hats_catalog_come_in_its_partitions(tmp_path):
    sources = scattered(12)
    table = pa.table({"id": sources.source_id, "ra": sources.ra, "dec": sources.dec})
    ts.partition(table, tmp_path / "sky", rows=5)
    with Emulator(every_service(bright(sources))) as emulator:
        asked = {"bands": "gr", "size": 24, "url": emulator.url, "rate": 1000.0}
        ts.fetch_cutouts(table, tmp_path / "one", "ps1", **asked)
        for _ in range(2):  # the second time replaces the first
            fetched = ts.fetch_cutouts(tmp_path / "sky", tmp_path / "many", "ps1", **asked)
    files = list((tmp_path / "many").rglob("Npix=*.parquet"))
    assert len(files) == len(HatsCatalog.open(tmp_path / "sky").pixels) > 2
    store, one = CutoutStore.open(tmp_path / "many"), CutoutStore.open(tmp_path / "one")
    assert fetched.written == len(store) == 12
    np.testing.assert_array_equal(
        store.read(sources.source_id).flux, one.read(sources.source_id).flux
    )
    (tmp_path / "images").mkdir()
    np.save(tmp_path / "images" / f"{sources.source_id[0]}.npy", np.ones((2, 24, 24)))
    with pytest.raises(OutputError, match="holds cutouts that were fetched"):
        ts.pack(tmp_path / "images", tmp_path / "sky", tmp_path / "many", bands="gr",
                pixel_scale=0.25, zeropoint=22.5)  # fmt: skip


def test_a_source_that_moved_is_fetched_again(tmp_path):
    sources = scattered(3)
    with Emulator(every_service(bright(sources))) as emulator:
        service = SURVEYS["ps1"](Web(rate=1000), emulator.url)
        fetch_cutouts(service, sources.batches, tmp_path / "store")
        sources.dec[1] += 0.001
        assert fetch_cutouts(service, sources.batches, tmp_path / "store").known == 2


def test_another_run_asks_again_for_what_failed(tmp_path):
    sources = scattered(6)
    faults = Faults(lasting=1.0, lasting_kinds=("gone",))
    with Emulator(every_service(bright(sources), faults), faults) as emulator:
        service = SURVEYS["ps1"](Web(rate=1000), emulator.url)
        with pytest.raises(
            CutoutError, match=r"no source has a cutout. See the manifest beside it"
        ):
            fetch_cutouts(service, sources.batches, tmp_path / "store")
        assert set(outcomes(tmp_path / "store").values()) == {"HTTP 404"}
        emulator.faults = Faults()
        fetched = fetch_cutouts(service, sources.batches, tmp_path / "store")
    assert (fetched.written, fetched.known) == (6, 0)


def test_a_service_that_answers_no_one_is_left_alone(tmp_path, monkeypatch):
    monkeypatch.setattr(fetching, "FAILURES_IN_A_ROW", 5)
    sources = scattered(200)
    faults = Faults(lasting=1.0, lasting_kinds=("gone",))
    with Emulator(every_service(bright(sources), faults), faults) as emulator:
        service = SURVEYS["ps1"](Web(rate=1000), emulator.url)
        with pytest.raises(CutoutError, match=r"5 requests in a row got no good answer.*HTTP 404"):
            fetch_cutouts(service, sources.batches, tmp_path / "store")
        assert len(emulator.log) < 100


def test_new_sources_come_first_however_many_have_failed_before(tmp_path, monkeypatch):
    faults = Faults(lasting=0.5, lasting_kinds=("gone",))
    sources = scattered(40)
    gone = np.array(
        [faults.of_place(*p) == "gone" for p in zip(sources.ra, sources.dec, strict=True)]
    )
    order = np.argsort(~gone, kind="stable")  # those that fail for ever are first in the catalog
    sources = Sources(sources.source_id[order], sources.ra[order], sources.dec[order])
    n_gone = int(gone.sum())
    some = Sources(*(column[: n_gone + 2] for column in dataclasses.astuple(sources)))
    with Emulator(every_service(bright(sources), faults), faults) as emulator:
        service = SURVEYS["ps1"](Web(rate=1000), emulator.url)
        assert fetch_cutouts(service, some.batches, tmp_path / "store").unfinished == n_gone
        monkeypatch.setattr(fetching, "FAILURES_IN_A_ROW", n_gone - 3)
        n_asked = len(emulator.log)
        fetched = fetch_cutouts(service, sources.batches, tmp_path / "store")
        queries = [seen.request.query for seen in emulator.log[n_asked:]]
    assert (fetched.written, fetched.unfinished) == (40 - n_gone, n_gone)
    new = {f"{ra:.8f}" for ra in sources.ra[n_gone + 2 :]}
    asked = [query["ra"] in new for query in queries]
    assert asked.index(False) >= len(new)


def test_other_settings_do_not_mix_with_what_was_fetched(tmp_path):
    sources = scattered(2)
    with Emulator(every_service(bright(sources))) as emulator:
        web = Web(rate=1000)
        fetch_cutouts(
            PanStarrsImages(web, ("g",), 24, emulator.url), sources.batches, tmp_path / "store"
        )
        with pytest.raises(
            OutputError, match=r"store\.fetched: was begun with size 24; now it is 25"
        ):
            fetch_cutouts(
                PanStarrsImages(web, ("g",), 25, emulator.url), sources.batches, tmp_path / "store"
            )


def test_a_place_that_holds_something_else_is_refused_before_anything_is_asked(tmp_path):
    sources = scattered(2)
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "thesis.tex").touch()
    with Emulator(every_service(bright(sources))) as emulator:
        service = SURVEYS["ps1"](Web(rate=1000), emulator.url)
        with pytest.raises(OutputError, match=r"already exists and is not a cutout store"):
            fetch_cutouts(service, sources.batches, tmp_path / "store")
        assert not emulator.log
    assert [path.name for path in tmp_path.iterdir()] == ["store"]


@pytest.mark.parametrize("torn", [b'{"source_id": 1, "ra"', b"\0\0\0\0\n"])
def test_a_torn_journal_loses_its_last_source_only(tmp_path, torn):
    sources = scattered(4)
    with Emulator(every_service(bright(sources))) as emulator:
        service = SURVEYS["ps1"](Web(rate=1000), emulator.url)
        fetch_cutouts(service, sources.batches, tmp_path / "store")
        before = contents(tmp_path / "store")
        journal = tmp_path / "store.fetched" / "journal.jsonl"
        *whole, _ = journal.read_bytes().splitlines(keepends=True)
        journal.write_bytes(b"".join(whole) + torn)
        assert fetch_cutouts(service, sources.batches, tmp_path / "store").known == 3
    assert contents(tmp_path / "store") == before


def test_damaged_pieces_are_noticed(tmp_path):
    sources = scattered(4)
    with Emulator(every_service(bright(sources))) as emulator:
        service = SURVEYS["ps1"](Web(rate=1000), emulator.url)
        fetch_cutouts(service, sources.batches, tmp_path / "store")
        pieces = tmp_path / "store.fetched" / "pieces"
        content = bytearray(pieces.read_bytes())
        content[50] ^= 1
        pieces.write_bytes(content)
        with pytest.raises(OutputError, match=r"pieces: damaged at '1.*Remove .*store.fetched"):
            fetch_cutouts(service, sources.batches, tmp_path / "store")


def test_hostile_ids_and_headers_do_not_lead_out_of_the_folder(tmp_path):
    sources = scattered(2)
    sources.source_id = np.array(["../../escaped", "/etc/passwd\0"], dtype=object)
    handlers = every_service(bright(sources))

    def hostile(handler):
        headers = {"Content-Disposition": 'attachment; filename="../../escaped.fits"'}
        return lambda request: dataclasses.replace(handler(request), headers=headers)

    (tmp_path / "here").mkdir()
    with Emulator({path: hostile(handler) for path, handler in handlers.items()}) as emulator:
        service = SURVEYS["ps1"](Web(rate=1000), emulator.url)
        fetch_cutouts(service, sources.batches, tmp_path / "here" / "store")
    assert [path.name for path in tmp_path.iterdir()] == ["here"]
    names = sorted(path.name for path in (tmp_path / "here").iterdir())
    assert names == ["store", "store.fetched", "store.manifest.parquet"]
    stored = CutoutStore.open(tmp_path / "here" / "store").source_ids()
    assert sorted(stored) == sorted(sources.source_id)


RATE = 250.0


def start(catalog, url, store):
    """A run in a process of its own."""
    words = [sys.executable, "-m", "tests.surveys.cutouts.one_run", catalog, url, store, RATE]
    return subprocess.Popen([*map(str, words)], stderr=subprocess.PIPE, text=True)


def finished_places(store):
    """The places of the sources that the journal says are finished."""
    journal = store.with_name(f"{store.name}.fetched") / "journal.jsonl"
    if not journal.exists():
        return set()
    whole = journal.read_bytes().rpartition(b"\n")[0].splitlines()
    entries = [json.loads(line) for line in whole]
    places = [entry["key"].partition(":")[2].split(",") for entry in entries if entry["final"]]
    return {(f"{float(ra):.8f}", f"{float(dec):.8f}") for ra, dec in places}


def check_polite(emulator, rate):
    """Never more than 8 requests at once; in any span, 8 and the rate's worth of requests."""
    assert 2 <= emulator.busiest <= 8
    ahead = [n - rate * seen.time for n, seen in enumerate(emulator.log)]
    lowest = np.minimum.accumulate(ahead)
    # A busy machine may deliver requests late, and then together: 0.1 s are allowed for.
    assert (ahead - lowest).max() <= 8 + 0.1 * rate


def test_killed_three_times_among_failures_it_ends_with_the_same_bytes(tmp_path):
    sources = scattered(150)
    catalog = tmp_path / "catalog.npy"
    np.save(catalog, np.stack([sources.source_id, sources.ra, sources.dec]))
    kinds = ("outside", "missing band", "NaN band", "gone")
    lasting = Faults(lasting=0.15, lasting_kinds=kinds)
    stars = bright(sources)
    with Emulator(every_service(stars, lasting), lasting) as emulator:
        service = PanStarrsImages(Web(rate=1000), ("g", "i"), 24, emulator.url)
        fetch_cutouts(service, sources.batches, tmp_path / "calm")
    failing = Faults(0.2, 0.15, lasting_kinds=kinds, delay=0.05)
    known = []
    with Emulator(every_service(stars, failing), failing, latency=0.02) as emulator:
        for n_requests in (120, 220, 320):
            run = start(catalog, emulator.url, tmp_path / "store")
            while len(emulator.log) < n_requests and run.poll() is None:
                time.sleep(0.01)
            run.send_signal(signal.SIGKILL)
            run.communicate()
            time.sleep(0.2)  # requests of the dead come to their end
            known.append((len(emulator.log), finished_places(tmp_path / "store")))
        run = start(catalog, emulator.url, tmp_path / "store")
        _, err = run.communicate(timeout=600)
        check_polite(emulator, RATE)
    assert run.returncode == 0, err
    assert contents(tmp_path / "store") == contents(tmp_path / "calm")
    assert outcomes(tmp_path / "store") == outcomes(tmp_path / "calm")
    statuses = {"ok", "outside the footprint", "band not in the file list", "no data", "HTTP 404"}
    assert set(outcomes(tmp_path / "store").values()) == statuses
    for n_requests, finished in known:
        queries = [seen.request.query for seen in emulator.log[n_requests:]]
        assert 0 < len(finished) < 150
        assert not finished & {(query["ra"], query["dec"]) for query in queries}
