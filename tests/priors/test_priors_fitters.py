"""Files of redshift priors in the forms of fitters."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from astropy.io import fits

from targetsel.errors import TargetselError
from targetsel.priors.fitters import FITTERS, write_for_fitter
from targetsel.priors.writing import PriorOptions
from tests.observing.test_observing_predicted import SPREAD, predicted

GIVEN = PriorOptions("zphot", "zphot_err")


@pytest.fixture
def scored(tmp_path):
    """Three sources: at 0.15, at 0.3, and one of which only the catalog's columns tell that -99
    stands for no redshift."""
    path = predicted(tmp_path, (0.15, 0.3, 0.4))
    table = pq.read_table(path)
    quantiles = table["photoz_quantiles"].to_pylist()
    place = table.schema.get_field_index("photoz_quantiles")
    field = table.schema.field(place)
    table = table.set_column(place, field, pa.array([*quantiles[:2], None], field.type))
    table = table.append_column("zphot", pa.array([0.14, 0.31, -99.0]))
    table = table.append_column("zphot_err", pa.array([0.01, 0.02, 0.01]))
    pq.write_table(table, path)
    return path


def rows(path):
    return fits.getdata(path, "PRIORS")


def test_redrock_gets_every_source_with_the_median_and_the_deviation(scored, tmp_path):
    found = write_for_fitter(scored, tmp_path / "priors.fits", "redrock")
    assert (found.n_sources, found.n_priors) == (3, 2)
    table = rows(tmp_path / "priors.fits")
    assert table["TARGETID"].dtype == ">i8"
    assert list(table["TARGETID"]) == pq.read_table(scored)["source_id"].to_pylist()
    assert set(table["FUNCTION"]) == {"gaussian"}
    assert table["Z"] == pytest.approx([0.15, 0.3, 0.0], abs=1e-6)
    assert table["SIGMA"] == pytest.approx([SPREAD, SPREAD, 1000.0], rel=1e-3)


def test_a_top_hat_holds_99_percent_and_one_of_an_unknown_redshift_all(scored, tmp_path):
    write_for_fitter(scored, tmp_path / "priors.fits", "redrock", "tophat")
    table = rows(tmp_path / "priors.fits")
    assert table["SIGMA"] == pytest.approx([2 * 2.5758 * SPREAD] * 2 + [1000.0], rel=1e-3)
    assert set(table["FUNCTION"]) == {"tophat"}


def test_a_very_sure_top_hat_is_as_wide_as_some_steps_of_redrocks_grid(scored, tmp_path):
    options = PriorOptions("zphot", 1e-5)
    write_for_fitter(scored, tmp_path / "priors.fits", "redrock", "tophat", options)
    assert rows(tmp_path / "priors.fits")["SIGMA"][0] == 0.01


def test_columns_that_are_given_take_the_place_of_the_prediction(scored, tmp_path):
    write_for_fitter(scored, tmp_path / "priors.fits", "redrock", options=GIVEN)
    table = rows(tmp_path / "priors.fits")
    assert list(table["Z"]) == [0.14, 0.31, 0.0]
    assert list(table["SIGMA"]) == [0.01, 0.02, 1000.0]


@pytest.mark.parametrize("function", FITTERS["redrock"].functions)
def test_redrock_reads_the_priors(function, scored, tmp_path, monkeypatch):
    # No dependency of the tests, since it brings fitsio, which is under the GPL.
    priors = pytest.importorskip("redrock.priors")
    monkeypatch.setattr(np, "NaN", np.nan, raising=False)  # which Redrock 0.21 takes from NumPy 1
    write_for_fitter(scored, tmp_path / "priors.fits", "redrock", function)
    read = priors.Priors(str(tmp_path / "priors.fits"))
    z = np.linspace(0.0, 1.7, 3401)
    ids = pq.read_table(scored)["source_id"].to_pylist()
    for source_id, middle in zip(ids[:2], (0.15, 0.3), strict=True):
        chi2 = read.eval(source_id, z)
        lowest = z[np.isfinite(chi2)][chi2[np.isfinite(chi2)] < 1e-3]
        assert np.mean(lowest) == pytest.approx(middle, abs=1e-3)
    free = read.eval(ids[2], z)[1:-1]
    assert np.abs(free).max() < 1e-4


def test_bagpipes_and_prospector_get_a_gaussian_within_redshifts_that_can_be(scored, tmp_path):
    first = str(pq.read_table(scored)["source_id"][0].as_py())
    third = str(pq.read_table(scored)["source_id"][2].as_py())
    write_for_fitter(scored, tmp_path / "b.json", "bagpipes", options=GIVEN)
    bagpipes = json.loads((tmp_path / "b.json").read_text())
    assert bagpipes[first]["redshift"] == pytest.approx([0.09, 0.19])
    assert bagpipes[first]["redshift_prior_sigma"] == 0.01
    assert bagpipes[third] == {"redshift": [0.0, 10.0]}
    write_for_fitter(scored, tmp_path / "p.json", "prospector", options=GIVEN)
    prospector = json.loads((tmp_path / "p.json").read_text())
    assert prospector[first] == {"mean": 0.14, "sigma": 0.01, "mini": 0.0, "maxi": 10.0}


def test_eazy_gets_a_line_for_each_source(scored, tmp_path):
    write_for_fitter(scored, tmp_path / "e.txt", "eazy", options=GIVEN)
    names, *values = np.genfromtxt(tmp_path / "e.txt").T
    assert list(values[0]) == [0.14, 0.31, 0.0]
    assert list(names) == pq.read_table(scored)["source_id"].to_pylist()


def test_some_ids_are_written_alone(scored, tmp_path):
    second = pq.read_table(scored)["source_id"].to_pylist()[1]
    write_for_fitter(scored, tmp_path / "priors.fits", "redrock", ids={str(second)})
    assert list(rows(tmp_path / "priors.fits")["TARGETID"]) == [second]


def changed(path, name, values):
    table = pq.read_table(path)
    place = table.schema.get_field_index(name)
    pq.write_table(table.set_column(place, name, pa.array(values)), path)


@pytest.mark.parametrize(
    ("ids", "says"),
    [
        (["a", "b", "c"], "holds text, but the fitter's ids are whole numbers"),
        ([1, 2, 2], "several rows of the id '2'"),
        ([1, None, 3], "1 of 3 sources have none"),
        (pa.array([1, 2, 2**63], pa.uint64()), "2\\^63 or more"),
        ([1.5, 2.0, 3.0], "is no whole number"),
    ],
)
def test_ids_that_redrock_could_not_take_are_refused(ids, says, scored, tmp_path):
    changed(scored, "source_id", ids)
    with pytest.raises(TargetselError, match=says):
        write_for_fitter(scored, tmp_path / "priors.fits", "redrock")
    assert not (tmp_path / "priors.fits").exists()


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("redrok",), "unknown fitter 'redrok'. Did you mean 'redrock'"),
        (("redrock", "box"), "takes gaussian, lorentzian, tophat"),
        (("redrock", None, PriorOptions("zphot")), "without an error is no prior"),
        (("redrock", None, PriorOptions("zphit", 0.1)), "no column 'zphit'"),
        (("redrock", None, PriorOptions("zphot", 0.0001), {"nobody"}), "no source 'nobody'"),
    ],
)
def test_what_cannot_be_is_refused_in_a_line(words, says, scored, tmp_path):
    with pytest.raises(TargetselError, match=says) as caught:
        write_for_fitter(scored, tmp_path / "priors.fits", *words)
    assert "\n" not in str(caught.value)


def test_a_catalog_of_which_no_redshift_is_known_is_refused(scored, tmp_path):
    changed(scored, "zphot_err", [np.nan, 0.0, -1.0])
    with pytest.raises(TargetselError, match="none of its 3 sources has a redshift with an error"):
        write_for_fitter(scored, tmp_path / "priors.fits", "redrock", options=GIVEN)


def test_a_file_of_another_ending_is_refused(scored, tmp_path):
    with pytest.raises(TargetselError, match=r"ends in \.fits"):
        write_for_fitter(scored, tmp_path / "priors.txt", "redrock")
