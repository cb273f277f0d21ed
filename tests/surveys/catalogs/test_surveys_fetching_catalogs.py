import dataclasses
import re
import signal
import subprocess
import sys
import time

import numpy as np
import pyarrow.parquet as pq
import pytest
from mocpy import MOC

from targetsel.errors import CatalogError, OutputError
from targetsel.sky.catalog import CatalogFile
from targetsel.sky.footprint import Footprint
from targetsel.surveys import fetching
from targetsel.surveys.catalogs import fetch_query, fetch_region, tiles_of
from targetsel.surveys.desi import zpix
from targetsel.surveys.http import Web
from targetsel.surveys.legacy import tractor
from targetsel.surveys.ps1 import PanStarrsObjects
from targetsel.surveys.registry import open_catalog, open_query
from targetsel.surveys.sdss import SkyServer
from tests.cli.typed import contents
from tests.emulator.faults import Faults
from tests.emulator.server import Emulator

# What can befall a table; the other kinds are of images.
KINDS = ("html", "garbage", "truncated", "short", "dropped", "429", "429 with Retry-After", "503",
         "503 with Retry-After", "500")  # fmt: skip
ARCHIVES = {
    "ps1": lambda web, url: PanStarrsObjects(web, f"{url}/panstarrs/dr2/mean.json"),
    "sdss": lambda web, url: SkyServer(web, url),
    "legacy": lambda web, url: tractor(web, f"{url}/tap"),
}
SYSTEM = {"ps1": "ps1", "sdss": "sdss", "legacy": "ls"}


@pytest.mark.parametrize("name", ARCHIVES)
@pytest.mark.parametrize("place", [(150.1, 2.2), (359.9999, -10.0), (0.0, 90.0)])
def test_catalog_of_a_cone_is_that_of_the_archive(name, place, around, web, tmp_path):
    sources = around(*place, 0.3, 300)
    output = tmp_path / "catalog.parquet"
    with Emulator(sources.catalogs().handlers()) as emulator:
        archive = ARCHIVES[name](web, emulator.url)
        fetched = fetch_region(archive, Footprint.cone(*place, 0.2), output)
    table = pq.read_table(output)
    inside = separation(sources, *place) <= 0.2
    assert fetched.written == table.num_rows == inside.sum()
    assert set(table["source_id"].to_pylist()) == set(sources.source_id[inside].tolist())
    rmag = dict(zip(sources.source_id.tolist(), sources.rmag, strict=True))
    flux = table[f"flux_r_{SYSTEM[name]}"].to_numpy()
    assert flux == pytest.approx(
        [10 ** ((31.4 - rmag[key]) / 2.5) for key in table["source_id"].to_pylist()], rel=1e-5
    )
    assert table.schema.field(f"flux_r_{SYSTEM[name]}").metadata[b"unit"] == b"nJy"
    assert table[f"flux_g_{SYSTEM[name]}"].null_count == table.num_rows  # not measured
    assert not (tmp_path / "catalog.parquet.fetched").exists()


def separation(sources, ra, dec):
    from astropy.coordinates import angular_separation

    here = np.radians([sources.ra, sources.dec])
    return np.degrees(angular_separation(*here, *np.radians([ra, dec])))


def test_fetched_catalog_is_sorted_on_the_sky_and_ours_to_read(around, web, tmp_path):
    sources = around(120.0, 30.0, 1.0, 400)
    output = tmp_path / "catalog.parquet"
    with Emulator(sources.catalogs().handlers()) as emulator:
        archive = ARCHIVES["sdss"](web, emulator.url)
        fetch_region(archive, Footprint.cone(120.0, 30.0, 1.1), output)
    file = CatalogFile.open(output)
    file.check()
    assert file.num_rows == 400
    pixels = pq.read_table(output)["_healpix_29"].to_numpy()
    assert (np.diff(pixels) >= 0).all()


@pytest.mark.parametrize("name", ARCHIVES)
def test_crowded_sky_is_asked_for_in_smaller_pieces(name, around, web, tmp_path):
    sources = around(150.1, 2.2, 0.2, 60)
    output = tmp_path / "catalog.parquet"
    with Emulator(sources.catalogs().handlers()) as emulator:
        archive = dataclasses.replace(ARCHIVES[name](web, emulator.url), limit=25)
        fetched = fetch_region(archive, Footprint.cone(150.1, 2.2, 0.25), output)
        assert len(emulator.log) > 4
    assert fetched.written == 60


@pytest.mark.parametrize("name", ARCHIVES)
def test_failing_archive_gives_the_same_bytes_as_a_good_one(name, around, web, tmp_path):
    sources = around(150.1, 2.2, 1.0, 150)
    made = []
    for share in (0.0, 0.6):
        output = tmp_path / f"catalog-{share}.parquet"
        faults = Faults(share, kinds=KINDS, seed=3)
        with Emulator(sources.catalogs().handlers(), faults) as emulator:
            archive = ARCHIVES[name](web, emulator.url)
            fetch_region(archive, Footprint.cone(150.1, 2.2, 0.9), output)
            failed = [seen.request.fault for seen in emulator.log if seen.request.fault]
            assert emulator.busiest <= 8
        # The footer tells which address was asked.
        made.append(pq.read_table(output).replace_schema_metadata())
    assert len(failed) >= 5
    assert made[0].equals(made[1])


def test_archive_that_fails_for_good_keeps_what_came(around, web, tmp_path):
    sources = around(150.1, 2.2, 1.0, 150)
    output = tmp_path / "catalog.parquet"
    footprint = Footprint.cone(150.1, 2.2, 0.9)
    catalogs = sources.catalogs()
    broken = Broken(catalogs.mean_objects, after=5)
    with Emulator({"/panstarrs": broken}) as emulator:
        archive = ARCHIVES["ps1"](web, emulator.url)
        with pytest.raises(
            CatalogError, match=r"got no good answer.*HTTP 404.*what was fetched is"
        ):
            fetch_region(archive, footprint, output)
        assert not output.exists()
        broken.after = 10**6
        asked = len(emulator.log)
        fetch_region(archive, footprint, output)
        n_tiles = len(list(tiles_of(footprint.region(), 0.5)))
        assert len(emulator.log) - asked == n_tiles - 5
    assert CatalogFile.open(output).num_rows > 100


KILLED = """
import sys
from pathlib import Path
from targetsel.sky.footprint import Footprint
from targetsel.surveys.catalogs import fetch_region
from targetsel.surveys.http import Web
from targetsel.surveys.sdss import SkyServer
archive = SkyServer(Web(rate=1000), sys.argv[2])
fetch_region(archive, Footprint.cone(150.1, 2.2, 1.5), Path(sys.argv[1]) / "catalog.parquet")
"""


def test_killed_run_goes_on_and_asks_for_no_finished_tile_again(around, web, tmp_path):
    sources = around(150.1, 2.2, 1.5, 200)
    footprint = Footprint.cone(150.1, 2.2, 1.5)
    n_tiles = len(list(tiles_of(footprint.region(), 0.5)))
    assert n_tiles > 30
    with Emulator(sources.catalogs().handlers(), latency=0.3) as emulator:
        run = subprocess.Popen([sys.executable, "-c", KILLED, str(tmp_path), emulator.url])
        while len(emulator.log) < 20 and run.poll() is None:
            time.sleep(0.02)
        run.send_signal(signal.SIGKILL)
        run.wait()
        assert not (tmp_path / "catalog.parquet").exists()
        journal = tmp_path / "catalog.parquet.fetched" / "journal.jsonl"
        finished = len(journal.read_text().splitlines())
        assert 0 < finished < n_tiles
        emulator.latency = 0
        time.sleep(0.5)  # for what the killed run had sent
        before = len(emulator.log)
        archive = ARCHIVES["sdss"](web, emulator.url)
        fetch_region(archive, footprint, tmp_path / "catalog.parquet")
        assert len(emulator.log) - before == n_tiles - finished
        fetch_region(archive, footprint, tmp_path / "whole.parquet")
    files = contents(tmp_path)
    assert sorted(files) == ["catalog.parquet", "whole.parquet"]
    assert files["catalog.parquet"] == files["whole.parquet"]


def test_run_killed_while_it_clears_its_folder_leaves_nothing_to_the_next(
    around, web, tmp_path, monkeypatch
):
    footprint, output = Footprint.cone(150.1, 2.2, 0.5), tmp_path / "catalog.parquet"
    with Emulator(around(150.1, 2.2, 0.5, 50).catalogs().handlers()) as emulator:
        archive = ARCHIVES["sdss"](web, emulator.url)
        with monkeypatch.context() as patch:
            patch.setattr("shutil.rmtree", stopped)
            with pytest.raises(KeyboardInterrupt):
                fetch_region(archive, footprint, output)
        whole = output.read_bytes()
        assert not (tmp_path / "catalog.parquet.fetched").exists()
        fetch_region(archive, footprint, output)
    assert contents(tmp_path) == {"catalog.parquet": whole}


def stopped(*_, **__):
    raise KeyboardInterrupt


def test_archive_that_is_down_is_not_asked_for_every_tile(around, tmp_path):
    footprint = Footprint.cone(150.1, 2.2, 3.0)
    assert len(list(tiles_of(footprint.region(), 0.5))) > 100
    with Emulator({}) as emulator:
        archive = ARCHIVES["sdss"](Web(rate=10_000, attempts=1), emulator.url)
        with pytest.raises(
            CatalogError, match=r"50 requests in a row got no good answer, .* HTTP 404"
        ):
            fetch_region(archive, footprint, tmp_path / "catalog.parquet")
        assert len(emulator.log) < 4 * (50 + 2 * fetching.WORKERS)


class Broken:
    """Answers so many questions, and then only 404."""

    def __init__(self, handler, after):
        self.handler, self.after = handler, after

    def __call__(self, request):
        from tests.emulator.server import Answer

        self.after -= 1
        return self.handler(request) if self.after >= 0 else Answer(b"Not Found\n", status=404)


def test_another_question_does_not_go_on_from_the_first(around, web, tmp_path):
    sources = around(150.1, 2.2, 0.2, 20)
    output = tmp_path / "catalog.parquet"
    with Emulator({"/panstarrs": Broken(sources.catalogs().mean_objects, 0)}) as emulator:
        archive = ARCHIVES["ps1"](web, emulator.url)
        with pytest.raises(CatalogError, match="no good answer"):
            fetch_region(archive, Footprint.cone(150.1, 2.2, 0.1), output)
        with pytest.raises(OutputError, match=r"was begun with region 'cone 150.1,2.2,0.1'; now"):
            fetch_region(archive, Footprint.cone(150.1, 2.2, 0.3), output)


def test_column_that_mast_leaves_out_without_a_word_is_noticed(around, web, tmp_path):
    catalogs = around(150.1, 2.2, 0.2, 20).catalogs(forgets="rMeanKronMag")
    with Emulator(catalogs.handlers()) as emulator:
        archive = ARCHIVES["ps1"](web, emulator.url)
        with pytest.raises(CatalogError, match="columns rMeanKronMag are missing"):
            fetch_region(archive, Footprint.cone(150.1, 2.2, 0.1), tmp_path / "catalog.parquet")


@pytest.mark.parametrize("name", ARCHIVES)
def test_part_of_the_sky_without_sources_is_said_and_nothing_written(name, around, web, tmp_path):
    with Emulator(around(150.1, 2.2, 0.2, 20).catalogs().handlers()) as emulator:
        archive = ARCHIVES[name](web, emulator.url)
        with pytest.raises(CatalogError, match=r"has no sources in cone 10.0,-40.0,0.1"):
            fetch_region(archive, Footprint.cone(10.0, -40.0, 0.1), tmp_path / "catalog.parquet")
    assert not (tmp_path / "catalog.parquet").exists()


def test_catalog_of_a_moc_holds_what_the_moc_holds(around, web, tmp_path):
    sources = around(150.1, 2.2, 1.0, 300)
    moc = MOC.from_string("8/197000-197100 9/787980").union(
        MOC.from_lonlat(*sky(sources, slice(0, 40)), max_norder=9)
    )
    moc.save(tmp_path / "sky.fits", "fits")
    with Emulator(sources.catalogs().handlers()) as emulator:
        archive = ARCHIVES["sdss"](web, emulator.url)
        fetch_region(archive, Footprint.read(tmp_path / "sky.fits"), tmp_path / "catalog.parquet")
    inside = moc.contains_lonlat(*sky(sources, slice(None)))
    found = pq.read_table(tmp_path / "catalog.parquet")["source_id"].to_pylist()
    assert set(found) == set(sources.source_id[inside].tolist())
    assert 40 <= len(found) < 300


def sky(sources, rows):
    from astropy import units as u
    from astropy.coordinates import Latitude, Longitude

    return Longitude(sources.ra[rows], u.deg), Latitude(sources.dec[rows], u.deg)


def test_answer_to_adql_has_our_names_and_the_archives_units(around, web, tmp_path):
    sources = around(150.1, 2.2, 0.2, 20)
    output = tmp_path / "answer.parquet"
    question = "SELECT ls_id, ra, dec, flux_r, flux_ivar_r, brick_primary FROM ls_dr10.tractor"
    with Emulator(sources.catalogs().handlers()) as emulator:
        archive = ARCHIVES["legacy"](web, emulator.url)
        assert fetch_query(archive, question, output).written == 20
    schema = pq.read_schema(output)
    assert schema.names == ["source_id", "ra", "dec", "flux_r_ls", "flux_r_ls_err", "brick_primary"]
    assert schema.field("ra").metadata[b"unit"] == b"deg"


def test_adql_for_pan_starrs_goes_to_tap(around, web, tmp_path):
    catalogs = around(150.1, 2.2, 0.2, 20).catalogs()
    tap = {name.lower(): values for name, values in catalogs.mast.items()} | {
        "ra": catalogs.tap["ra"],
        "dec": catalogs.tap["dec"],
    }
    with Emulator(dataclasses.replace(catalogs, tap=tap).handlers()) as emulator:
        archive = open_query("ps1", web, f"{emulator.url}/tap")
        question = "SELECT objid, rmeankronmag, rmeankronmagerr FROM dbo.meanobjectview"
        fetch_query(archive, question, tmp_path / "answer.parquet")
    table = pq.read_table(tmp_path / "answer.parquet")
    assert table.column_names == ["source_id", "flux_r_ps1", "flux_r_ps1_err"]


def test_desi_redshifts_come_by_their_own_names(around, web, tmp_path):
    sources = around(150.1, 2.2, 0.2, 30)
    n = len(sources.ra)
    tap = {"targetid": sources.source_id, "mean_fiber_ra": sources.ra}
    tap |= {"mean_fiber_dec": sources.dec, "z": np.full(n, 0.1), "zerr": np.full(n, 1e-5)}
    tap |= {"zwarn": np.zeros(n, int), "spectype": np.full(n, "GALAXY")}
    catalogs = dataclasses.replace(sources.catalogs(), tap=tap)
    with Emulator(catalogs.handlers()) as emulator:
        archive = zpix(web, f"{emulator.url}/tap")
        fetch_region(archive, Footprint.cone(150.1, 2.2, 0.3), tmp_path / "desi.parquet")
    assert pq.read_table(tmp_path / "desi.parquet")["redshift"].to_pylist() == [0.1] * 30


@pytest.mark.parametrize(
    ("name", "message"), [("sdss", "Incorrect syntax"), ("legacy", "syntax error")]
)
def test_question_that_the_archive_does_not_understand_is_refused(
    name, message, around, web, tmp_path
):
    with Emulator(around(150.1, 2.2, 0.2, 20).catalogs().handlers()) as emulator:
        archive = ARCHIVES[name](web, emulator.url)
        with pytest.raises(CatalogError, match=f"does not understand the query.*{message}"):
            fetch_query(archive, "SELECT nonsense", tmp_path / "answer.parquet")
        assert len(emulator.log) == 1
    assert contents(tmp_path) == {}


def test_answer_that_was_cut_short_is_refused(around, web, tmp_path):
    catalogs = around(150.1, 2.2, 0.2, 20).catalogs(most=10)
    with Emulator(catalogs.handlers()) as emulator:
        archive = ARCHIVES["legacy"](web, emulator.url)
        with pytest.raises(CatalogError, match="cut the answer short after 10 rows"):
            fetch_query(archive, "SELECT ls_id FROM ls_dr10.tractor", tmp_path / "answer.parquet")


def test_address_that_is_none_is_refused(web):
    with pytest.raises(CatalogError, match=re.escape("--url data.org: expected an address")):
        open_catalog("sdss", web, "data.org")
