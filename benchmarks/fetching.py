"""Speed of fetching cutouts, and recovery from failures, against emulated archives.

    python benchmarks/fetching.py throughput --sources 1000
    python benchmarks/fetching.py trouble --sources 5000 --kills 10

The services are emulated on loopback in this process (`tests/emulator`), the images are simulated
stars, and `targetsel fetch cutouts --survey ps1` runs in a process of its own, so both share the
machine's cores. `throughput` compares the requests a second with the 80 that 8 threads cannot
exceed at a latency of 100 ms, and with what 8 bare threads reach that ask the same questions and
throw the answers away; it prints the command's memory as it goes. `trouble` lets a fifth of the
answers fail, kills the command again and again, and compares the end with a calm run.
"""

from __future__ import annotations

import argparse
import json
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlencode

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import requests

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.emulator.faults import PASSING, Faults
from tests.emulator.server import Emulator
from tests.emulator.services import every_service
from tests.emulator.sky import Stars

BANDS = "grizy"
LATENCY = 0.1


def write_catalog(path: Path, n: int) -> Stars:
    """A catalog of N places north of dec -29, and the stars there."""
    rng = np.random.default_rng(1)
    ra, dec = rng.uniform(0, 360, n), np.degrees(np.arcsin(rng.uniform(-0.48, 1, n)))
    pq.write_table(pa.table({"source_id": rng.permutation(n), "ra": ra, "dec": dec}), path)
    return Stars.at(ra, dec)


def start(folder: Path, url: str, store: str, rate: float) -> subprocess.Popen:
    """The command, in a process of its own that cannot leave loopback."""
    words = f"fetch cutouts catalog.parquet --survey ps1 --bands {BANDS} --size 64 -o {store}"
    words += f" --url {url} --rate {rate}"
    return subprocess.Popen(
        [sys.executable, "-m", "tests.emulator.loopback", *words.split()],
        cwd=folder,
        env={"PYTHONPATH": str(Path(__file__).parents[1]), "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        text=True,
    )


def resident(run: subprocess.Popen) -> float:
    """Memory of a running process [MiB]; NaN when it has ended."""
    try:
        status = Path(f"/proc/{run.pid}/status").read_text()
        return next(int(line.split()[1]) for line in status.splitlines() if "VmRSS" in line) / 1024
    except (OSError, StopIteration):
        return float("nan")


def throughput(folder: Path, n: int) -> None:
    with Emulator(every_service(write_catalog(folder / "catalog.parquet", n)), None, LATENCY) as em:
        run = start(folder, em.url, "store", 1000)
        for tenth in range(1, 11):
            while len(em.log) < tenth * 6 * n // 10 and run.poll() is None:
                time.sleep(0.05)
            print(f"{len(em.log):>8} requests, {resident(run):.0f} MiB", flush=True)
        print(run.communicate()[0].strip())
        print(f"fetch cutouts: {speed(em, 0)}; at most {em.busiest} at once, ", end="")
        print(f"{em.connections} connections")
        asked = len(em.log)
        urls = [f"{em.url}{e.request.path}?{urlencode(e.request.query)}" for e in em.log]
        (folder / "urls").write_text("\n".join(urls[:3000]))
        for _ in range(2):
            words = [sys.executable, __file__, "bare", "--urls", str(folder / "urls")]
            subprocess.run(words, check=True)
            print(f"8 bare threads: {speed(em, asked)}", flush=True)
            asked = len(em.log)


def speed(em: Emulator, first: int) -> str:
    """Requests a second from one on; the first tenth is left out, when connections are opened."""
    times = np.array([seen.time for seen in em.log[first:]])
    times = times[len(times) // 10 :]
    rate = (len(times) - 1) / (times[-1] - times[0])
    return f"{rate:.1f} requests a second, {100 * rate * LATENCY / 8:.1f} % of 8 per {LATENCY} s"


def bare(urls: Path) -> None:
    """Ask with 8 threads, and do nothing with the answers."""
    here = threading.local()

    def ask(url: str) -> None:
        if not hasattr(here, "session"):
            here.session = requests.Session()
        here.session.get(url)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(ask, urls.read_text().splitlines()))


def trouble(folder: Path, n: int, kills: int, rate: float) -> None:
    stars = write_catalog(folder / "catalog.parquet", n)
    lasting = Faults(lasting=0.05)
    with Emulator(every_service(stars, lasting), lasting) as em:
        out, _ = start(folder, em.url, "calm", 1000).communicate()
        print(f"calm: {len(em.log)} requests\n{out}", flush=True)
    # One answer in five fails: some for good, the others in passing.
    failing = Faults(share=0.19, lasting=0.05)
    finished: list[tuple[int, set]] = []
    with Emulator(every_service(stars, failing), failing, 0.01) as em:
        for kill in range(1, kills + 1):
            run = start(folder, em.url, "store", rate)
            while len(em.log) < kill * 6 * n // (kills + 1) and run.poll() is None:
                time.sleep(0.02)
            run.send_signal(signal.SIGKILL)
            run.communicate()
            time.sleep(0.5)
            finished.append((len(em.log), finished_places(folder / "store.fetched")))
        out, _ = start(folder, em.url, "store", rate).communicate()
        print(out)
        report(em, rate)
    twice = sum(
        (seen.request.query["ra"], seen.request.query["dec"]) in places
        for n_requests, places in finished
        for seen in em.log[n_requests:]
    )
    print(f"{kills} kills after {[len(places) for _, places in finished]} finished sources")
    print(f"{twice} requests for sources that were finished before a kill")
    print(f"the store is {'' if same(folder) else 'NOT '}the calm run's, byte for byte")
    calm, store = outcomes(folder / "calm"), outcomes(folder / "store")
    print(f"{sum(calm[key] != store[key] for key in calm)} of {len(calm)} bands fared otherwise")


def report(em: Emulator, rate: float) -> None:
    """Print counts and rates of the requests that reached the services."""
    faults = Counter(seen.request.fault for seen in em.log)
    failed = sum(count for kind, count in faults.items() if kind)
    ahead = np.array([k - rate * seen.time for k, seen in enumerate(em.log)])
    burst = (ahead - np.minimum.accumulate(ahead)).max() + 1
    print(f"{len(em.log)} requests, {failed} failed by the server, {len(PASSING)} ways in passing:")
    print("  " + ", ".join(f"{kind} {count}" for kind, count in faults.most_common() if kind))
    print(f"at most {em.busiest} at once, at most {burst:.1f} ahead of {rate:g} a second")


def finished_places(folder: Path) -> set[tuple[str, str]]:
    """The places of the sources that are finished, as questions write them."""
    lines = (folder / "journal.jsonl").read_bytes().rpartition(b"\n")[0].splitlines()
    entries = (json.loads(line) for line in lines)
    places = [each["key"].partition(":")[2].split(",") for each in entries if each["final"]]
    return {(f"{float(ra):.8f}", f"{float(dec):.8f}") for ra, dec in places}


def same(folder: Path) -> bool:
    """Whether both stores have the same files."""
    contents = [
        {path.name: path.read_bytes() for path in (folder / store).iterdir()}
        for store in ("calm", "store")
    ]
    return contents[0] == contents[1]


def outcomes(store: Path) -> dict[tuple[int, str], str]:
    """The status of each source and band."""
    table = pq.read_table(store.with_name(f"{store.name}.manifest.parquet"))
    rows = zip(*(table[name].to_pylist() for name in ("source_id", "band", "status")), strict=True)
    return {(source_id, band): status for source_id, band, status in rows}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("what", choices=("throughput", "trouble", "bare"))
    parser.add_argument("--urls", type=Path, help="for bare: a file, a URL a line")
    parser.add_argument("--sources", type=int, default=1000)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--rate", type=float, default=200.0)
    arguments = parser.parse_args()
    if arguments.what == "bare":
        bare(arguments.urls)
        return
    with tempfile.TemporaryDirectory() as folder:
        if arguments.what == "throughput":
            throughput(Path(folder), arguments.sources)
        else:
            trouble(Path(folder), arguments.sources, arguments.kills, arguments.rate)


if __name__ == "__main__":
    main()
