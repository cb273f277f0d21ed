import json
import re
import signal
import subprocess
import sys
import time

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from targetsel.errors import OutputError, SpectrumError
from targetsel.spectra.reading import read_spectra
from targetsel.surveys.desi import SparclSpectra
from targetsel.surveys.http import Web
from targetsel.surveys.registry import open_spectra
from targetsel.surveys.sdss import SdssSpectra
from targetsel.surveys.spectra import WantedSpectrum, fetch_spectra, wanted_in
from tests.emulator.faults import Faults
from tests.emulator.server import Answer, Emulator
from tests.emulator.spectra import LOGLAM, SpectrumArchives

KINDS = ("html", "garbage", "truncated", "short", "dropped", "429", "429 with Retry-After", "503",
         "503 with Retry-After", "500")  # fmt: skip


def sdss_table(plates, **more):
    plate, mjd, fiber = np.array(list(plates)).T
    ids = np.arange(len(plates)) + 2**60
    return pa.table({"source_id": ids, "plate": plate, "mjd": mjd, "fiberID": fiber} | more)


def manifest(output):
    rows = pq.read_table(output.with_name(f"{output.name}.manifest.parquet")).to_pylist()
    return {row["source_id"]: row for row in rows}


def statuses(output):
    return {key: row["status"] for key, row in manifest(output).items()}


def sdss(web, emulator):
    return SdssSpectra(web, f"{emulator.url}/sas")


def sparcl(web, emulator, at_once=3):
    return SparclSpectra(web, f"{emulator.url}/api", at_once=at_once)


def test_sdss_spectra_are_read_back_as_they_were_observed(plates, web, tmp_path):
    known = plates(5)
    output = tmp_path / "spectra.parquet"
    with Emulator(SpectrumArchives(known).handlers()) as emulator:
        service = sdss(web, emulator)
        fetched = fetch_spectra(service, wanted_in(sdss_table(known), service, "t"), output)
    assert (fetched.written, fetched.unfinished) == (5, 0)
    spectra = read_spectra(output)
    assert [s.source_id for s in spectra] == [2**60 + k for k in range(5)]
    assert [s.redshift for s in spectra] == pytest.approx(list(known.values()), rel=1e-6)
    assert spectra[0].wavelength == pytest.approx(10**LOGLAM, rel=1e-6)
    assert spectra[0].flux.mean() == pytest.approx(10, abs=0.02)
    assert set(spectra[0].ivar) == {25.0}


def test_redshift_of_the_catalog_comes_before_that_of_the_file(plates, web, tmp_path):
    known = plates(2)
    output = tmp_path / "spectra.parquet"
    with Emulator(SpectrumArchives(known).handlers()) as emulator:
        service = sdss(web, emulator)
        table = sdss_table(known, redshift=[0.05, 0.06])
        fetch_spectra(service, wanted_in(table, service, "t"), output)
    assert [s.redshift for s in read_spectra(output)] == [0.05, 0.06]


@pytest.mark.parametrize("archive", ["sdss", "desi"])
def test_redshifts_that_an_archive_warns_of_are_not_taken(archive, plates, web, tmp_path):
    known = plates(4)
    targets = {k + 1: z for k, z in enumerate(known.values())}
    archives = SpectrumArchives(known, targets, warned=frozenset({2, 3, 4}))
    # The second has only the archive's redshift, the third a doubted one, the fourth its own.
    more = {"redshift": [None, None, 0.05, 0.06], "redshift_warning": [0, 0, 4, 0]}
    table = sdss_table(known, targetid=list(targets), **more)
    with Emulator(archives.handlers()) as emulator:
        service = sdss(web, emulator) if archive == "sdss" else sparcl(web, emulator)
        output = tmp_path / "spectra.parquet"
        fetch_spectra(service, wanted_in(table, service, "t"), output)
    ok, second, third, fourth = statuses(output).values()
    assert ok == fourth == "ok"
    for status in (second, third):
        assert " has the warning ZWARN" in status
        assert status.endswith(
            " = 4 (SMALL_DELTA_CHI2), so it is not used. Give a redshift in a column 'redshift' of "
            "the table of sources, and 0 in 'redshift_warning' if it has that."
        )
    found = [s.redshift for s in read_spectra(output)]
    assert found == pytest.approx([targets[1], 0.06], rel=1e-6)


def test_desi_spectra_are_the_primary_ones_without_masked_pixels(web, tmp_path):
    targets = {39627000000000000 + k: 0.1 for k in range(7)}
    output = tmp_path / "spectra.parquet"
    table = pa.table({"targetid": [*targets, 5], "source_id": range(8)})
    with Emulator(SpectrumArchives({}, targets).handlers()) as emulator:
        service = sparcl(web, emulator)
        fetched = fetch_spectra(service, wanted_in(table, service, "t"), output)
        assert len(emulator.log) == 6  # two for each three targets
    assert fetched.written == 7
    assert statuses(output)[7] == "no such spectrum"
    spectrum = read_spectra(output)[0]
    assert spectrum.flux.mean() == pytest.approx(10, abs=0.02)  # the lesser record has 10,000
    assert (spectrum.ivar[:100] == 0).all()
    assert (spectrum.ivar[100:] == 25).all()


def test_source_without_a_usable_spectrum_says_why(plates, web, tmp_path):
    known = plates(4)
    table = sdss_table({**known, (1, 2, 3): 0.0})
    archives = SpectrumArchives(known, masked=frozenset({2}), swapped=frozenset({3}))
    output = tmp_path / "spectra.parquet"
    with Emulator(archives.handlers()) as emulator:
        service = sdss(web, emulator)
        fetched = fetch_spectra(service, wanted_in(table, service, "t"), output)
    found = statuses(output)
    assert [found[2**60], found[2**60 + 3]] == ["ok", "ok"]
    assert "every pixel is masked" in found[2**60 + 1]
    assert found[2**60 + 2] == "the file is of fiber 4, not 3"
    assert found[2**60 + 4] == "no such spectrum"
    assert (fetched.written, fetched.unfinished) == (2, 1)  # the swapped file may be mended


@pytest.mark.parametrize("archive", ["sdss", "desi"])
def test_failing_archive_gives_the_same_bytes_as_a_good_one(archive, plates, tmp_path):
    known = plates(40)
    targets = {k + 1: z for k, z in enumerate(known.values())}
    table = sdss_table(known, targetid=list(targets))
    made = []
    for share in (0.0, 0.3):
        output = tmp_path / f"{share}" / "spectra.parquet"
        output.parent.mkdir()
        faults = Faults(share, kinds=KINDS, seed=5)
        with Emulator(SpectrumArchives(known, targets).handlers(), faults) as emulator:
            web = Web(rate=1000, attempts=5)
            service = sdss(web, emulator) if archive == "sdss" else sparcl(web, emulator)
            fetched = fetch_spectra(service, wanted_in(table, service, "t"), output)
            failed = [seen for seen in emulator.log if seen.request.fault]
            assert emulator.busiest <= 8
        assert (fetched.written, fetched.unfinished) == (40, 0)
        # The footer tells which address was asked.
        made.append(pq.read_table(output).replace_schema_metadata())
    assert len(failed) > 5
    assert made[0].equals(made[1])
    troubled = [row for row in manifest(output).values() if row["troubles"]]
    assert troubled


def test_nothing_is_asked_for_twice_when_the_catalog_grows(plates, web, tmp_path):
    known = plates(6)
    output = tmp_path / "spectra.parquet"
    table = sdss_table(known)
    with Emulator(SpectrumArchives(known).handlers()) as emulator:
        service = sdss(web, emulator)
        fetch_spectra(service, wanted_in(table.slice(0, 4), service, "t"), output)
        assert len(emulator.log) == 4
        fetched = fetch_spectra(service, wanted_in(table, service, "t"), output)
        assert (fetched.known, fetched.written) == (4, 6)
        assert len(emulator.log) == 6


KILLED = """
import sys
from pathlib import Path
import pyarrow.parquet as pq
from targetsel.surveys.spectra import fetch_spectra, wanted_in
from targetsel.surveys.sdss import SdssSpectra
from targetsel.surveys.http import Web
folder = Path(sys.argv[1])
service = SdssSpectra(Web(rate=1000), sys.argv[2])
wanted = wanted_in(pq.read_table(folder / "t.parquet"), service, "t")
fetch_spectra(service, wanted, folder / "s.parquet")
"""


def test_killed_run_goes_on_and_asks_for_no_finished_source_again(plates, web, tmp_path):
    known = plates(60)
    pq.write_table(sdss_table(known), tmp_path / "t.parquet")
    with Emulator(SpectrumArchives(known).handlers(), latency=0.15) as emulator:
        command = [sys.executable, "-c", KILLED, str(tmp_path), f"{emulator.url}/sas"]
        run = subprocess.Popen(command)
        while len(emulator.log) < 25 and run.poll() is None:
            time.sleep(0.02)
        run.send_signal(signal.SIGKILL)
        run.wait()
        assert not (tmp_path / "s.parquet").exists()
        journal = tmp_path / "s.parquet.fetched" / "journal.jsonl"
        emulator.latency = 0
        service = sdss(web, emulator)
        wanted = wanted_in(sdss_table(known), service, "t")
        finished = {json.loads(line)["key"] for line in journal.read_text().splitlines()}
        time.sleep(0.5)  # for what the killed run had sent
        before = len(emulator.log)
        fetched = fetch_spectra(service, wanted, tmp_path / "s.parquet")
        asked = {seen.request.path for seen in emulator.log[before:]}
        assert len(asked) == 60 - len(finished)
        assert fetched.known == len(finished) > 0
        whole = tmp_path / "whole.parquet"
        fetch_spectra(service, wanted, whole)
    assert (tmp_path / "s.parquet").read_bytes() == whole.read_bytes()


def test_archive_that_answers_no_one_is_given_up(plates, tmp_path):
    known = plates(80)
    web = Web(rate=10_000, attempts=1)
    with Emulator({"/sas": lambda request: Answer(b"busy\n", status=503)}) as emulator:
        service = sdss(web, emulator)
        message = r"50 requests in a row got no good answer.*HTTP 503.*run the same command later"
        with pytest.raises(SpectrumError, match=message):
            fetch_spectra(
                service, wanted_in(sdss_table(known), service, "t"), tmp_path / "s.parquet"
            )
    assert not (tmp_path / "s.parquet").exists()


def test_store_of_another_service_is_not_gone_on_with(plates, web, tmp_path):
    known = plates(2)
    output = tmp_path / "spectra.parquet"
    with Emulator(SpectrumArchives(known, {1: 0.1}).handlers()) as emulator:
        service = sdss(web, emulator)
        fetch_spectra(service, wanted_in(sdss_table(known), service, "t"), output)
        other = sparcl(web, emulator)
        with pytest.raises(OutputError, match="was begun with release 17; now it is 'DESI-DR1'"):
            fetch_spectra(other, [WantedSpectrum(1, {"targetid": 1})], output)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.drop_columns("mjd"), "t: no column 'mjd', which names a spectrum."),
        (lambda t: t.set_column(2, "mjd", [[51602, None]]), "t: no 'mjd' in 1 row."),
        (lambda t: t.set_column(0, "source_id", [[7, 7]]), "t: has the source '7' twice."),
    ],
)
def test_catalog_that_does_not_name_its_spectra_is_refused(change, message, plates, web):
    with pytest.raises(SpectrumError, match=re.escape(message)):
        wanted_in(change(sdss_table(plates(2))), SdssSpectra(web), "t")


def test_source_without_an_id_is_called_by_plate_mjd_and_fiber(plates, web):
    wanted = wanted_in(sdss_table(plates(2)).drop_columns("source_id"), SdssSpectra(web), "t")
    assert [each.source_id for each in wanted] == ["266-51602-1", "266-51602-2"]


@pytest.mark.parametrize(
    ("names", "place"),
    [
        (
            {"plate": 266, "mjd": 51602, "fiber": 7},
            "sas/dr17/sdss/spectro/redux/26/spectra/0266/spec-0266-51602-0007.fits",
        ),
        (
            {"plate": 4055, "mjd": 55359, "fiber": 596, "run2d": "v5_13_2"},
            "sas/dr17/sdss/spectro/redux/v5_13_2/spectra/full/4055/spec-4055-55359-0596.fits",
        ),
    ],
)
def test_spectrum_lies_where_the_release_keeps_it(names, place, web):
    address = SdssSpectra(web).address(WantedSpectrum(1, names))
    assert address == f"https://data.sdss.org/{place}"


def test_pickles_are_never_asked_for(web, tmp_path):
    with Emulator(SpectrumArchives({}, {1: 0.1}).handlers()) as emulator:
        fetch_spectra(
            sparcl(web, emulator),
            [WantedSpectrum(1, {"targetid": 1})],
            tmp_path / "spectra.parquet",
        )
        formats = [seen.request.query.get("format") for seen in emulator.log]
    assert formats == [None, "json"]


def test_address_that_is_none_is_refused(web):
    with pytest.raises(SpectrumError, match="--url sas: expected an address"):
        open_spectra("sdss", web, "sas")
