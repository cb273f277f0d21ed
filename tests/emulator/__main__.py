"""python -m tests.emulator: the services by hand, until Ctrl-C.

python -m tests.emulator catalog.parquet --port 8123 --failing 0.2 &
targetsel fetch cutouts catalog.parquet --survey ps1 --url http://127.0.0.1:8123 -o cutouts
"""

from __future__ import annotations

import argparse
import contextlib
from pathlib import Path

from targetsel.sky.catalog import Catalog
from tests.emulator.faults import Faults
from tests.emulator.server import Emulator
from tests.emulator.services import every_service
from tests.emulator.sky import Stars


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("catalog", type=Path, help="where stars are put, of 16 to 20 mag")
    parser.add_argument("--port", type=int, default=8123)
    parser.add_argument("--failing", type=float, default=0.0, help="share of answers")
    parser.add_argument("--lasting", type=float, default=0.0, help="share of places")
    parser.add_argument("--latency", type=float, default=0.1, help="[s]")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    faults = Faults(arguments.failing, arguments.lasting, arguments.seed, retry_after=1)
    catalog = Catalog.read(arguments.catalog)
    handlers = every_service(Stars.at(catalog.ra, catalog.dec), faults)
    emulator = Emulator(handlers, faults, arguments.latency, arguments.port)
    print(f"{emulator.url}: {', '.join(handlers)}", flush=True)
    with contextlib.suppress(KeyboardInterrupt):
        emulator.serve()
    print(f"{len(emulator.log)} requests, at most {emulator.busiest} at once")


if __name__ == "__main__":
    main()
