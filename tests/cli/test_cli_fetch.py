"""`targetsel fetch catalog` and `fetch spectra`, as they are typed; `fetch cutouts` is beside."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from targetsel.sky.footprint import Footprint
from targetsel.spectra.reading import read_spectra
from targetsel.surveys import http
from targetsel.surveys.catalogs import fetch_region
from targetsel.surveys.http import Web
from targetsel.surveys.registry import surveys
from targetsel.surveys.sdss import SkyServer
from tests.cli.typed import contents
from tests.emulator.catalogs import Catalogs
from tests.emulator.loopback import only_loopback
from tests.emulator.server import Emulator
from tests.emulator.spectra import SpectrumArchives


@pytest.fixture(autouse=True)
def only_here(monkeypatch, tmp_path):
    monkeypatch.setattr(http, "PAUSE", 0.0)
    monkeypatch.chdir(tmp_path)
    with only_loopback():
        yield tmp_path


@pytest.fixture
def archives():
    """Five galaxies about (150.1, 2.2), with spectra."""
    n = 5
    columns = {"objID": 2**60 + np.arange(n), "ra": 150.1 + 0.01 * np.arange(n)}
    columns |= {"dec": np.full(n, 2.2), "petroR50_r": np.full(n, 2.0)}
    for band in "ugriz":
        columns |= {f"petroFlux_{band}": np.full(n, 10.0)}
        columns |= {f"petroFluxIvar_{band}": np.full(n, 4.0), f"extinction_{band}": np.ones(n)}
    columns |= {"plate": np.full(n, 266), "mjd": np.full(n, 51602), "fiberID": np.arange(n) + 1}
    spectra = SpectrumArchives({(266, 51602, k + 1): 0.1 for k in range(n)})
    catalogs = Catalogs({}, columns, {"ra": [], "dec": []})
    with Emulator(spectra.handlers() | catalogs.handlers()) as emulator:
        yield emulator


def test_command_and_function_fetch_the_same_catalog(targetsel, archives, tmp_path):
    said = targetsel(
        *("fetch", "catalog", "--survey", "sdss", "--cone", "150.1,2.2,0.025"),
        *("--url", archives.url, "--rate", 1000, "-o", "typed.parquet"),
    )
    assert (said.status, said.out) == (0, "3 rows written to typed.parquet\n")
    archive = SkyServer(Web(rate=1000), archives.url)
    fetch_region(archive, Footprint.cone(150.1, 2.2, 0.025), tmp_path / "called.parquet")
    files = contents(tmp_path)
    assert files["typed.parquet"] == files["called.parquet"]
    assert sorted(files) == ["called.parquet", "typed.parquet"]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("sky.fits", b"<html>", "not a FITS file; expected one that begins with SIMPLE."),
        ("sky.json", b"{}", "covers no part of the sky; expected a MOC"),
        ("sky.csv", b"", "its name ends in '.csv'"),
        ("nowhere.fits", None, "no such file; expected a MOC"),
    ],
)
def test_file_that_holds_no_part_of_the_sky_is_refused(name, content, message, targetsel, tmp_path):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    said = targetsel("fetch", "catalog", "--survey", "sdss", "--moc", name, "-o", "c.parquet")
    assert (said.status, said.out) == (2, "")
    assert message in said.err
    assert len(said.err.splitlines()) == 1
    assert not (tmp_path / "c.parquet").exists()


def test_surveys_are_listed_with_what_they_offer(targetsel):
    said = targetsel("fetch", "surveys")
    assert said.status == 0
    names = [line.split()[0] for line in said.out.splitlines()]
    assert [name for name in names if name != "--option"] == [
        survey.name for survey in surveys().values() if survey.offers
    ]
    assert "--option layer=...        layer of the viewer; default: ls-dr10" in said.out
    assert "--option tiles=...        folder of FITS tiles; required" in said.out
    assert "ps1     catalog, query, cutouts: Pan-STARRS1" in said.out


def test_training_set_of_an_unknown_survey_is_refused_in_one_line(targetsel):
    said = targetsel("trainingset", "--survey", "foo", "--n", 3, "-o", "set")
    assert (said.status, said.out) == (2, "")
    assert said.err.startswith("unknown survey 'foo'. Known: ps1, legacy")
    assert len(said.err.splitlines()) == 1


def test_fetched_spectra_are_counted_by_outcome(targetsel, archives, tmp_path):
    fibers = [1, 2, 99]
    table = {"source_id": [7, 8, 9], "ra": [1.0] * 3, "dec": [2.0] * 3, "fiber": fibers}
    pq.write_table(pa.table(table | {"plate": [266] * 3, "mjd": [51602] * 3}), "c.parquet")
    words = ("fetch", "spectra", "c.parquet", "--survey", "sdss", "--url", f"{archives.url}/sas")
    said = targetsel(*words, "--rate", 1000, "-o", "s.parquet")
    assert said.status == 0, said.err
    assert said.out.splitlines() == [
        "         2  ok",
        "         1  no such spectrum",
        "2 spectra written to s.parquet",
    ]
    assert [each.source_id for each in read_spectra(tmp_path / "s.parquet")] == [7, 8]
    again = targetsel(*words, "--rate", 1000, "-o", "s.parquet")
    assert again.out.splitlines()[0] == "         3  known from an earlier run"


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (
            ("catalog", "--survey", "ps1", "-o", "c.parquet"),
            "fetch catalog: expected one of --cone, --moc and --adql.",
        ),
        (
            ("catalog", "--survey", "ps1", "--cone", "1,2", "-o", "c.parquet"),
            "--cone 1,2: expected RA,DEC,RADIUS in degrees, such as 150.1,2.2,0.5.",
        ),
        (
            ("catalog", "--survey", "ps1", "--cone", "0,91,1", "-o", "c.parquet"),
            "cone 0,91,1: the center is not on the sky; give ra and dec in deg.",
        ),
        (
            ("catalog", "--survey", "ps1", "--cone", "0,0,0", "-o", "c.parquet"),
            "cone 0,0,0: radius 0 deg; expected 0 to 180 deg.",
        ),
        (
            ("catalog", "--survey", "sdss", "--cone", "1,2,3", "--url", "x", "-o", "c.parquet"),
            "--url x: expected an address such as https://archive.org/tap.",
        ),
        (
            ("spectra", "--survey", "sdss", "-o", "s.parquet"),
            "fetch spectra: expected CATALOG, or --query in its place.",
        ),
        (
            ("spectra", "--survey", "ps1", "-o", "s.parquet"),
            "survey 'ps1' has no spectra; expected one of sdss, desi.",
        ),
        (
            ("catalog", "--survey", "hsc", "--cone", "1,2,3", "-o", "c.parquet"),
            "survey 'hsc' has no catalog; expected one of ps1, sdss, legacy, desi.",
        ),
        (
            ("catalog", "--survey", "sdss", "--cone", "1,2,3", "-o", "no/c.parquet"),
            "no/c.parquet: the folder no does not exist. Create it first.",
        ),
    ],
)
def test_what_makes_no_sense_is_refused_in_one_line(words, line, targetsel, tmp_path):
    said = targetsel("fetch", *words)
    assert (said.status, said.out, said.err) == (2, "", f"{line}\n")
    assert contents(tmp_path) == {}
