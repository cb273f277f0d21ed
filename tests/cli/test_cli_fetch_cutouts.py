import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from targetsel.errors import counted
from targetsel.imaging.store import CutoutStore
from tests.cli.typed import contents
from tests.emulator.faults import Faults
from tests.emulator.loopback import only_loopback
from tests.emulator.server import Emulator
from tests.emulator.services import every_service
from tests.emulator.sky import Stars


@pytest.fixture(autouse=True)
def nothing_leaves_loopback():
    with only_loopback():
        yield


@pytest.fixture
def catalog(tmp_path, monkeypatch):
    """Four sources in catalog.parquet, in the working directory."""
    columns = {"objid": [4, 7, 1, 9], "ra": [10.0, 359.9999, 40.5, 60], "dec": [0.0, 10, 20, 30]}
    pq.write_table(pa.table(columns), tmp_path / "catalog.parquet")
    monkeypatch.chdir(tmp_path)
    return {name: np.array(values) for name, values in columns.items()}


@pytest.fixture
def emulator(catalog):
    with Emulator(every_service(Stars.at(catalog["ra"], catalog["dec"]))) as emulator:
        yield emulator


def test_a_catalog_becomes_a_store_and_the_command_says_how_it_went(targetsel, catalog, emulator):
    words = "fetch cutouts catalog.parquet --survey ps1 --bands gri --size 32 -o store --rate 500"
    said = targetsel(*words.split(), "--url", emulator.url)
    assert said.status == 0, said.err
    assert said.out.splitlines() == ["         4  ok", "4 cutouts written to store"]
    store = CutoutStore.open("store")
    assert (store.bands, store.shape, store.pixel_scale) == (("g", "r", "i"), (3, 32, 32), 0.25)
    assert store.read(catalog["objid"]).status.tolist() == ["ok"] * 4
    again = targetsel(*words.split(), "--url", emulator.url)
    assert again.out.splitlines()[0] == "         4  known from an earlier run"


def test_what_failed_is_counted_and_named(targetsel, catalog, emulator):
    lasting = Faults(lasting=0.5, seed=3, lasting_kinds=("gone",))
    emulator.faults = lasting
    failed = sum(
        lasting.of_place(*place) is not None
        for place in zip(catalog["ra"], catalog["dec"], strict=True)
    )
    assert 0 < failed < 4
    words = "fetch cutouts catalog.parquet --survey legacy --bands gr -o store --rate 500"
    said = targetsel(*words.split(), "--url", emulator.url)
    assert f"{failed:>10}  HTTP 404" in said.out
    assert f"{counted(4 - failed, 'cutout')} written to store" in said.out
    assert f"{counted(failed, 'source')} failed: run the command again to try again" in said.out


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (
            "--survey ps2",
            "unknown survey 'ps2'. Did you mean 'ps1'?",
        ),
        (
            "--survey ps1 --bands gu",
            "survey 'ps1' has no band 'u'; expected some of g, r, i, z, y.",
        ),
        ("--survey sia2", "survey 'sia2' needs --url. Give it."),
        ("--survey sia2 --url http://127.0.0.1/", "survey 'sia2' needs --option pixel-scale=VALUE"),
        ("--survey local", "survey 'local' needs --option tiles=VALUE"),
        (
            "--survey ps1 --option layer=ls-dr9",
            "survey 'ps1': unknown option 'layer'. Known: url.",
        ),
        (
            "--survey legacy --option pixel-scal=0.2",
            "survey 'legacy': unknown option 'pixel-scal'. Did you mean 'pixel-scale'?",
        ),
        ("--survey legacy --option layer", "--option layer: expected NAME=VALUE, such as layer="),
        (
            "--survey legacy --option layer=a --option layer=b",
            "--option layer=b: layer is given twice. Give it once.",
        ),
        ("--survey ps1 --url ftp://x/", "--url ftp://x/: expected an address such as https://"),
        (
            "--survey legacy --option pixel-scale=0",
            "survey 'legacy': pixel-scale is '0'; expected 0.001 to 100 arcsec.",
        ),
        (
            "--survey local --option zeropoint=bright --option tiles=x",
            "survey 'local': zeropoint is 'bright'; expected 0 to 40 mag.",
        ),
        (
            "--survey local --option tiles=nowhere",
            "nowhere: no such folder. Expected a folder of FIT",
        ),
        ("--survey ps1 --bands gq", "bands 'gq': unknown band 'q'."),
    ],
)
def test_options_that_make_no_sense_are_one_line_and_write_nothing(
    targetsel, catalog, tmp_path, words, line
):
    before = contents(tmp_path)
    said = targetsel("fetch", "cutouts", "catalog.parquet", "-o", "store", *words.split())
    assert (said.status, said.out) == (2, "")
    assert said.err.startswith(line)
    assert len(said.err.splitlines()) == 1
    assert contents(tmp_path) == before
