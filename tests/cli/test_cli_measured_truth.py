"""Measured spectra serve as truth: from files of spectra to `forecast` and `evaluate`."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from targetsel.scored.labelled_sources import LabelledSources
from targetsel.scoring.ensemble import Ensemble
from targetsel.spectra.lines import LineTable
from targetsel.spectra.reading import read_spectra
from targetsel.tables.parquet import read_footer, write_table
from tests.calibration.known_sky import write_known
from tests.selection.scored_by_hand import rule_text

HALPHA, SIGMA = 6564.6, 2.0  # [Angstrom]
WAVELENGTH = np.arange(3700.0, 7000.0, 2.0)
N_PARQUET, N_CSV = 300, 3


def line(width):
    """Ha of this equivalent width [Angstrom] on a flat continuum of one."""
    shape = np.exp(-(((WAVELENGTH - HALPHA) / SIGMA) ** 2) / 2)
    return 1 + width * shape / (SIGMA * np.sqrt(2 * np.pi))


def width_of(source_id):
    return 3.0 + int(str(source_id).removeprefix("g")) % 17


def store(path, ids):
    n = len(ids)
    columns = {
        "source_id": ids,
        "wavelength": [WAVELENGTH] * n,
        "flux": [line(width_of(each)) for each in ids],
        "ivar": [np.full(len(WAVELENGTH), 1e4)] * n,
        "redshift": [0.0] * n,
    }
    pq.write_table(pa.table(columns), path)


def csv_of(path, source_id):
    pixels = zip(WAVELENGTH, line(width_of(source_id)), strict=True)
    rows = [f"{wavelength},{flux},1e4,0,{source_id}" for wavelength, flux in pixels]
    path.write_text("\n".join(["wavelength,flux,ivar,z,source_id", *rows]))


@pytest.fixture
def scored(ensemble_folder, tmp_path, monkeypatch):
    """A function: write `known.scored.parquet` with these ids in place of the first ones."""
    path, _ = write_known(tmp_path, Ensemble.read(ensemble_folder))
    monkeypatch.chdir(tmp_path)
    claim = rule_text("P(ew_halpha > 10 Angstrom) >= 0.01")
    (tmp_path / "a.yaml").write_text(claim)

    def write(ids, position=None):
        table, footer = pq.read_table(path), read_footer(path)
        if isinstance(ids[0], str):
            old = table["source_id"].to_pylist()[len(ids) :]
            column = pa.array([*ids, *map(str, old)])
        else:
            column = pa.array([*ids, *table["source_id"].to_pylist()[len(ids) :]])
        table = table.set_column(0, "source_id", column)
        for name, values in (position or {}).items():
            values = [*values, *table[name].to_pylist()[len(ids) :]]
            table = table.set_column(table.schema.names.index(name), name, pa.array(values))
        write_table(table, path, footer)
        return path

    return write


def check_as_truth(targetsel, path, n):
    """Both commands take the measured spectra as truth, and find as many sources."""
    for words in (
        ("forecast", path, "--rules", "a.yaml", "--labelled", path, "--truth", "m.parquet"),
        ("evaluate", path, "--truth", "m.parquet", "-o", "out"),
    ):
        said = targetsel(*words)
        assert said.status == 0, said
        joined = f"{n} sources with a prediction and a known spectrum"
        assert words[0] == "forecast" or joined in said.out


@pytest.mark.parametrize("kind", [int, "g{}".format])
def test_measured_widths_reach_forecast_and_evaluate_under_ids_of_their_own_kind(
    kind, scored, targetsel, tmp_path
):
    ids = [kind(1000 + k) for k in range(N_PARQUET + N_CSV)]
    path = scored(ids)
    store(tmp_path / "s.parquet", ids[:N_PARQUET])
    names = [f"{k}.csv" for k in range(N_CSV)]
    for name, each in zip(names, ids[N_PARQUET:], strict=True):
        csv_of(tmp_path / name, each)
    (tmp_path / "torn.csv").write_text("wavelength,flux")
    said = targetsel("spectra", "measure", "s.parquet", *names, "torn.csv", "-o", "m.parquet",
                     "--index", "ew_halpha")  # fmt: skip
    assert said.status == 0, said
    measured = pq.read_table("m.parquet")
    torn = None if kind is int else "torn"
    assert measured.schema.field("source_id").type == (pa.int64() if kind is int else pa.string())
    assert measured["source_id"].to_pylist() == [*ids, torn]
    known = LabelledSources.read(path, tmp_path / "m.parquet")
    assert known.source_id.tolist() == ids
    expected = [width_of(each) for each in ids]
    assert known.proxies["ew_halpha"] == pytest.approx(expected, abs=0.02)
    check_as_truth(targetsel, path, len(ids))


def test_a_catalog_of_text_takes_spectra_of_whole_numbers(scored, targetsel, tmp_path):
    path = scored([str(each) for each in range(2000, 2300)])
    store(tmp_path / "s.parquet", list(range(2000, 2300)))
    targetsel("spectra", "measure", "s.parquet", "-o", "m.parquet", "--index", "ew_halpha")
    assert pq.read_schema("m.parquet").field("source_id").type == pa.int64()
    check_as_truth(targetsel, path, 300)


def test_sdss_spectra_are_truth_under_the_names_of_their_files(
    real_spectra, scored, targetsel, tmp_path
):
    stems = [each.name.removesuffix(".gz").removesuffix(".fits") for each in real_spectra]
    spectra = [read_spectra(each)[0] for each in real_spectra]
    ra, dec = np.array([each.position for each in spectra]).T.tolist()
    path = scored(stems, {"ra": ra, "dec": dec})
    words = "spectra", "measure", *real_spectra, "-o", "m.parquet", "--id-from", "file"
    said = targetsel(*words)
    assert said.status == 0, said
    assert pq.read_table("m.parquet")["source_id"].to_pylist() == stems
    known = LabelledSources.read(path, tmp_path / "m.parquet")
    assert known.source_id.tolist() == stems
    assert {"ew_halpha", "d4000"} <= {*known.truth.names} <= {*LineTable.shipped().names}
    check_as_truth(targetsel, path, len(stems))


def test_widths_negative_in_emission_are_no_truth(scored, targetsel, tmp_path):
    path = scored([1000])
    store(tmp_path / "s.parquet", [1000, 1001])
    words = ("spectra", "measure", "s.parquet", "-o", "m.parquet", "--ew-sign", "mpa")
    targetsel(*words, "--index", "ew_halpha")
    said = targetsel("evaluate", path, "--truth", "m.parquet", "-o", "out")
    assert (said.status, said.err) == (
        2,
        "m.parquet: its widths are negative in emission (--ew-sign mpa); expected positive ones, "
        "as in the scored file. Measure the spectra again without --ew-sign.\n",
    )
