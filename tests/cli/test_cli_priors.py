"""`targetsel priors`, as it is typed, on a scored catalog made by hand."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from astropy.io import fits
from astropy.table import Table

from targetsel.networks.deviations import Deviations
from targetsel.networks.posterior import DEVIATIONS
from targetsel.priors.files import PriorFile
from targetsel.priors.spectral_model import SpectralResidual
from targetsel.priors.writing import PriorOptions, ScoredPosteriors
from targetsel.redshifts.distributions import LEVELS
from targetsel.redshifts.reading import read_distributions
from targetsel.scored.columns import scored_columns
from targetsel.spectra.decoder import Decoder
from targetsel.spectra.grid import wavelengths
from targetsel.tables.files import sha256_of_file
from targetsel.tables.parquet import read_footer, write_table
from tests.priors.toy import residual

N = 5
MEMBERS, LATENTS = 2, 6


def lists(values):
    flat = pa.array(values.ravel().astype(np.float32))
    return pa.FixedSizeListArray.from_arrays(flat, values.shape[1])


def scored_table(path: Path, ensemble: Path) -> None:
    """Five sources; the fourth was not scored, the fifth has no redshift."""
    rng = np.random.default_rng(1)
    lower = np.tril_indices(LATENTS)
    cov = np.tile((0.3 * np.eye(LATENTS))[lower], (N, MEMBERS))
    columns = {
        "source_id": pa.array(np.arange(N) + 10),
        "ra": pa.array(150.0 + np.arange(N)),
        "dec": pa.array([2.0] * N),
        "_healpix_29": pa.array(np.arange(N)),
        "photoz": pa.array([0.1, 0.12, 0.15, 0.1, np.nan]),
        "photoz_err": pa.array([0.01] * N),
        "member_mean": lists(rng.normal(size=(N, MEMBERS * LATENTS))),
        "member_cov": lists(cov),
        "status": pa.array(["ok", "ok", "ok", "lost band: r", "ok"]),
    }
    table = pa.table(columns)
    names = {"source_id": "source_id"}
    sha = sha256_of_file(ensemble / "card.json")
    write_table(table, path, {"columns": names, "ensemble": {"name": "tiny", "sha256": sha}})


@pytest.fixture
def folder(ensemble_folder, tmp_path, monkeypatch):
    """The working directory: `scored.parquet` and `tiny/`, with a residual made by hand."""
    shutil.copytree(ensemble_folder, tmp_path / "tiny")
    decoder = sha256_of_file(tmp_path / "tiny" / "decoder.safetensors")
    made = residual()
    SpectralResidual(made.edges, made.offset, made.factor, made.variance, decoder).write(
        tmp_path / "tiny"
    )
    scored_table(tmp_path / "scored.parquet", tmp_path / "tiny")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def write(targetsel, folder):
    """Write priors with their redshifts to `priors.parquet`."""

    def write(*words, output="priors.parquet"):
        return targetsel("priors", "write", "scored.parquet", "-o", output, "--ensemble", "tiny",
                         "--redshift", "photoz", "--redshift-error", "photoz_err",
                         *words)  # fmt: skip

    return write


def spectra_table(folder, **changes):
    """A spectrum of source 11 at redshift 0.12, decoded from its own latents, with noise."""
    latents = pq.read_table(folder / "scored.parquet")["member_mean"].to_pylist()[1][:LATENTS]
    decoder = Decoder.read(folder / "tiny")
    flux = decoder.decode(np.array(latents)[None, None]).flux[0, 0].astype(float)
    noise = 0.05 * np.sqrt((flux**2).mean())
    columns = {
        "source_id": [11],
        "wavelength": [(wavelengths() * 1.12).tolist()],
        "flux": [(flux + noise * np.random.default_rng(1).normal(size=1000)).tolist()],
        "ivar": [[noise**-2] * 1000],
    }
    pq.write_table(pa.table(columns | changes), folder / "spectra.parquet")


def test_priors_are_written_with_units_and_read_by_anyone(write, folder):
    said = write()
    assert said.status == 0, said.err
    assert said.out == "priors of 3 sources in priors.parquet; 2 more have none, see status\n"
    table = pq.read_table("priors.parquet")
    assert table["source_id"].to_pylist() == [10, 11, 12, 13, 14]
    assert table["status"].to_pylist() == [
        "ok", "ok", "ok", "lost band: r", "photoz is missing, expected 0 to 10"
    ]  # fmt: skip
    assert table.schema.field("wavelength").metadata[b"unit"] == b"Angstrom"
    row = table.to_pylist()[1]
    assert row["wavelength"] == pytest.approx(wavelengths() * 1.12, rel=1e-6)
    assert row["latent_weight"] == [0.5, 0.5]
    assert "flux_draws" not in row
    assert table["flux_q50"].to_pylist()[3] == [None] * 1000
    assert read_footer(folder / "priors.parquet")["frame"] == "observed"


def test_what_is_written_is_what_python_gives(write, folder):
    write()
    row = pq.read_table("priors.parquet").to_pylist()[0]
    scored = ScoredPosteriors.open(
        folder / "scored.parquet", "tiny", PriorOptions("photoz", "photoz_err")
    )
    prior, *_ = next(scored.batches(None)).priors
    bands = np.array([row[name] for name in ("flux_q16", "flux_q50", "flux_q84")])
    assert bands == pytest.approx(prior.bands(), rel=1e-6)
    assert (np.diff(bands, axis=0) > 0).all()


def test_draws_are_stored_when_asked_for_and_python_makes_the_same_without(write, folder):
    write(output="compact.parquet")
    write("--draws", 3, "--seed", 5)
    stored = np.array(pq.read_table("priors.parquet").to_pylist()[1]["flux_draws"])
    prior = PriorFile.open(folder / "compact.parquet", "tiny").prior(11)
    again = prior.draw(3, seed=5).astype(np.float32)
    assert np.array_equal(stored.reshape(1000, 3), again.T)


def test_an_update_is_the_same_from_a_file_with_draws_and_one_without(write, targetsel, folder):
    spectra_table(folder)
    found = []
    for words in ((), ("--draws", 3)):
        write(*words)
        assert update(targetsel).status == 0
        found.append(pq.read_table("updated.parquet"))
    assert found[0].equals(found[1])


def test_the_order_of_the_rows_changes_no_prior(write, folder):
    write()
    footer, table = read_footer(folder / "scored.parquet"), pq.read_table("scored.parquet")
    write_table(table.take([4, 2, 0, 1, 3]), folder / "scored.parquet", footer)
    write(output="other.parquet")
    one, other = pq.read_table("priors.parquet"), pq.read_table("other.parquet")
    assert other.sort_by("source_id").equals(one)


def test_line_strengths_come_with_the_priors_as_they_were_scored(write, folder):
    footer, table = read_footer(folder / "scored.parquet"), pq.read_table("scored.parquet")
    added = {each.name: each for each in scored_columns(LATENTS, MEMBERS)}
    names = ["ew_oii", "ew_oii_q16", "ew_oii_q84", "ew_oii_quantiles",
             "ew_hbeta_quantiles", "ew_hbeta_correlation"]  # fmt: skip
    rng = np.random.default_rng(2)
    for name in names:
        field = added[name].field
        width = field.type.list_size if pa.types.is_fixed_size_list(field.type) else 0
        values = np.sort(rng.uniform(-1, 1, size=(N, width or 1)))
        table = table.append_column(
            field, lists(values) if width else pa.array(values[:, 0].astype(np.float32))
        )
    write_table(table, folder / "scored.parquet", footer)
    assert write().status == 0
    priors = pq.read_table("priors.parquet")
    there = [0, 1, 2, 4]  # the fourth was not scored
    for name in names:
        assert priors[name].take(there).to_pylist() == table[name].take(there).to_pylist()
    assert b"normal_scores" in priors.schema.field("ew_oii_quantiles").metadata
    assert write("--format", "fits", output="priors").status == 0
    with fits.open("priors/prior-11.fits") as file:
        assert file["LINES"].columns.names == names
        assert file["LINES"].data["ew_oii"][0] == table["ew_oii"][1].as_py()


def test_some_ids_give_the_same_rows_as_all(write):
    write()
    write("--ids", "12,10", output="some.parquet")
    whole, some = pq.read_table("priors.parquet"), pq.read_table("some.parquet")
    assert some.equals(whole.take([0, 2]))


def test_ids_that_are_not_there_are_named_and_nothing_is_left(write, folder):
    (folder / "ids.txt").write_text("10\n99\n")
    before = sorted(folder.iterdir())
    said = write("--ids", "ids.txt")
    assert said.status == 2
    assert said.err.startswith("scored.parquet: has no source '99'. Give ids of this catalog, or a")
    assert sorted(folder.iterdir()) == before


def test_fits_files_hold_a_prior_each(write, folder):
    said = write("--format", "fits", output="priors")
    assert said.out == "priors of 3 sources in priors; 2 more have none, see status\n"
    assert sorted(path.name for path in (folder / "priors").iterdir()) == [
        f"prior-{k}.fits" for k in (10, 11, 12)
    ]
    with fits.open("priors/prior-11.fits") as file:
        assert file[0].header["REDSHIFT"] == 0.12
        assert file["SPECTRUM"].columns.names == ["wavelength", "flux_q16", "flux_q50", "flux_q84"]
        assert file["LATENTS"].data["latent_mean"].shape == (2, 6)


def test_fits_files_of_an_earlier_run_are_replaced_and_no_other_files(write, folder):
    write("--format", "fits", output="priors")
    before = (folder / "priors" / "prior-11.fits").read_bytes()
    assert write("--format", "fits", "--ids", "11", output="priors").status == 0
    assert [each.name for each in (folder / "priors").iterdir()] == ["prior-11.fits"]
    assert (folder / "priors" / "prior-11.fits").read_bytes() == before
    for name in ("notes.txt", "prior-mine.fits"):
        (folder / "priors" / name).write_text("mine")
        again = write("--format", "fits", output="priors")
        assert again.status == 2
        assert again.err == (
            f"priors: already exists, and {name} in it is no prior that targetsel wrote. Choose "
            "another folder for the FITS files.\n"
        )
        (folder / "priors" / name).unlink()


def test_a_catalog_of_another_ensemble_is_refused(write, folder):
    card = json.loads((folder / "tiny" / "card.json").read_text())
    (folder / "tiny" / "card.json").write_text(json.dumps(card | {"name": "other"}))
    said = write()
    assert said.status == 2
    assert said.err.startswith("scored.parquet: scored by the ensemble 'tiny' (")


def test_redshifts_for_redrock_are_written_without_the_ensemble(targetsel, folder):
    words = ["--for", "redrock", "--redshift", "photoz", "--redshift-error", "photoz_err"]
    said = targetsel("priors", "write", "scored.parquet", *words, "-o", "priors.fits")
    assert said.status == 0, said.err
    assert said.out == "redshifts of 4 sources in priors.fits; a broad prior for 1 without one\n"
    assert len(fits.getdata("priors.fits", "PRIORS")) == N


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--for", "redrock", "--draws", "3"], "--draws 3: of spectra"),
        (["--for", "redrock", "--format", "fits"], "--format fits: of spectra"),
        (["--function", "tophat"], "is for a fitter"),
    ],
)
def test_options_of_spectra_and_of_fitters_do_not_go_together(words, says, targetsel, folder):
    said = targetsel("priors", "write", "scored.parquet", *words, "-o", "priors.fits")
    assert said.status != 0
    assert says in said.err


def test_an_unknown_column_of_redshifts_is_refused(targetsel, folder):
    said = targetsel("priors", "write", "scored.parquet", "-o", "x.parquet", "--ensemble", "tiny",
                     "--redshift", "photo")  # fmt: skip
    assert said.err == "scored.parquet: no column 'photo'. Did you mean 'photoz' or 'photoz_err'?\n"


def test_priors_of_calibrated_posteriors_have_a_gaussian_for_each_member_and_part(
    write, targetsel, folder
):
    table = pq.read_table("scored.parquet")
    d, gate = LATENTS, np.zeros((1 + LATENTS, 3))
    gate[0] = [0.0, 1.0, 2.0]
    parts = np.stack([scale * np.eye(d) for scale in (0.6, 1.0, 1.6)])
    note = json.dumps(Deviations(np.full((3, d), 0.1), parts, gate).to_card()).encode()
    place = table.schema.get_field_index("member_cov")
    calibrated = table.schema.field(place).with_metadata({DEVIATIONS: note})
    pq.write_table(table.cast(table.schema.set(place, calibrated)), "scored.parquet")
    said = write()
    assert said.status == 0, said.err
    row = pq.read_table("priors.parquet").to_pylist()[1]
    share = np.exp(gate[0]) / np.exp(gate[0]).sum() / MEMBERS
    assert row["latent_weight"] == pytest.approx(np.tile(share, MEMBERS), rel=1e-6)
    assert len(row["latent_mean"]) == MEMBERS * 3 * d
    spectra_table(folder)
    said = update(targetsel)
    assert said.status == 0, said.err


def test_one_redshift_and_one_error_may_serve_all_sources(targetsel, write, folder):
    typed = ("priors", "write", "scored.parquet", "--ensemble", "tiny")
    at = ("--redshift", "0.12", "--redshift-error", "0.01")
    said = targetsel(*typed, "-o", "same.parquet", *at)
    assert said.status == 0, said.err
    write()
    same, own = pq.read_table("same.parquet").to_pylist(), pq.read_table("priors.parquet")
    assert same[1] == own.to_pylist()[1]  # whose own redshift is that one
    assert [row["redshift"] for row in same] == [0.12, 0.12, 0.12, None, 0.12]
    said = targetsel(*typed, "-o", "rest.parquet", "--redshift", "0")
    assert said.status == 0, said.err
    assert read_footer(folder / "rest.parquet")["frame"] == "observed"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--redshift", "-0.1"), "redshift is -0.1; expected 0 to 10"),
        (("--redshift", "nan"), "redshift is nan; expected 0 to 10"),
        (("--redshift", "0.1", "--redshift-error", "0"), "redshift error is 0, expected more than"),
        (("--redshift-error", "0.1"), "a redshift error without a redshift. Give --redshift too."),
    ],
)
def test_one_redshift_for_all_that_cannot_be_is_refused(words, message, targetsel, folder):
    said = targetsel("priors", "write", "scored.parquet", "-o", "x.parquet", "--ensemble", "tiny",
                     *words)  # fmt: skip
    assert (said.status, message in said.err) == (2, True)
    assert not Path("x.parquet").exists()


def update(targetsel, *words):
    return targetsel("priors", "update", "priors.parquet", "--spectra", "spectra.parquet", "-o",
                     "updated.parquet", "--ensemble", "tiny", *words)  # fmt: skip


def test_a_spectrum_finds_its_prior_and_what_they_say_together(write, targetsel, folder):
    write()
    spectra_table(folder)
    said = update(targetsel)
    assert said.status == 0, said.err
    assert said.out == "1 of 1 spectra combined with their priors in updated.parquet\n"
    (row,) = pq.read_table("updated.parquet").to_pylist()
    assert (row["source_id"], row["status"]) == (11, "ok")
    assert row["redshift_q05"] <= row["redshift_q16"] <= row["redshift"] <= row["redshift_q84"]
    assert row["ew_halpha_q05"] < row["ew_halpha"] < row["ew_halpha_q95"]
    assert len(row["redshift_draws"]) == 256
    assert abs(row["redshift"] - 0.12) < 0.04
    first = (folder / "updated.parquet").read_bytes()
    update(targetsel)
    assert (folder / "updated.parquet").read_bytes() == first


def test_an_sdss_spectrum_finds_its_prior_by_any_of_its_ids(write, targetsel, folder):
    write()
    spectra_table(folder)
    (row,) = pq.read_table("spectra.parquet").to_pylist()
    columns = {"FLUX": row["flux"], "IVAR": row["ivar"], "LOGLAM": np.log10(row["wavelength"])}
    ids = {"SPECOBJID": ["77"], "BESTOBJID": ["11"], "Z": [0.3], "ZWARNING": [4]}
    hdus = [fits.PrimaryHDU(), *(fits.BinTableHDU(Table(each)) for each in (columns, ids))]
    hdus[2].name = "SPECOBJ"
    fits.HDUList(hdus).writeto(folder / "spec.fits")
    said = targetsel("priors", "update", "priors.parquet", "--spectra", "spec.fits", "-o",
                     "updated.parquet", "--ensemble", "tiny")  # fmt: skip
    assert said.out == "1 of 1 spectra combined with their priors in updated.parquet\n", said
    assert pq.read_table("updated.parquet")["source_id"].to_pylist() == [11]


@pytest.mark.parametrize("name", ["z.hdf5", "z.pq"])
def test_updated_redshifts_are_written_for_qp_and_read_again(name, write, targetsel, folder):
    write()
    spectra_table(folder)
    assert update(targetsel, "--qp", name).status == 0
    (row,) = pq.read_table("updated.parquet").to_pylist()
    found = read_distributions(Path(name))
    assert found.source_id.tolist() == [11]
    percentile = np.interp(0.5, LEVELS, found.quantiles[0])
    assert percentile == pytest.approx(row["redshift"], abs=1e-6)


def test_a_file_that_qp_would_not_read_is_refused_before_the_work(write, targetsel, folder):
    write()
    spectra_table(folder)
    said = update(targetsel, "--qp", "z.fits")
    assert said.status != 0
    assert "z.fits: qp reads files by their ending" in said.err
    assert not (folder / "updated.parquet").exists()


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"source_id": [99]}, "priors.parquet: has no prior of the source '99'"),
        ({"source_id": [13]}, "has no prior of the source '13': lost band: r"),
        ({"ivar": [[0.0] * 1000]}, "spectra.parquet: every pixel is masked"),
        ({"flux": [[np.nan] * 1000]}, "spectra.parquet: flux is nan in 1000 unmasked pixels"),
        ({"wavelength": [(wavelengths()[::-1]).tolist()]}, "wavelengths do not increase"),
    ],
)
def test_spectra_of_no_use_are_refused_with_the_reason(write, targetsel, folder, changes, says):
    write()
    spectra_table(folder, **changes)
    said = update(targetsel)
    assert said.status == 2
    assert says in said.err
    assert len(said.err.splitlines()) == 1
    assert not (folder / "updated.parquet").exists()


def test_a_range_of_redshifts_takes_the_place_of_the_priors_own(write, targetsel, folder):
    write()
    spectra_table(folder)
    said = update(targetsel, "--redshift-range", 0.11, 0.13)
    assert said.status == 0, said.err
    (row,) = pq.read_table("updated.parquet").to_pylist()
    assert min(row["redshift_draws"]) >= 0.11
    assert max(row["redshift_draws"]) <= 0.13
    said = update(targetsel, "--redshift-range", -0.1, 0.13)
    assert said.err == "redshift prior: runs from -0.1 to 0.13, expected 0 to 10\n"


def test_priors_of_another_decoder_are_refused(write, targetsel, folder):
    write()
    spectra_table(folder)
    table, footer = pq.read_table("priors.parquet"), read_footer(folder / "priors.parquet")
    write_table(table, folder / "priors.parquet", footer | {"decoder_sha256": "f" * 64})
    said = update(targetsel)
    assert said.status == 2
    assert said.err.startswith("priors.parquet: its priors are of the decoder ffffffffffff, but")


def test_a_file_that_holds_no_priors_is_refused(targetsel, folder):
    shutil.copy("scored.parquet", "priors.parquet")
    assert update(targetsel).err.startswith(
        "priors.parquet: not a file of priors (its footer lacks"
    )


def test_a_residual_is_fitted_on_a_mock_skys_spectra(targetsel, folder):
    decoder = Decoder.read(folder / "tiny")
    latents = np.random.default_rng(1).normal(size=(1100, 1, LATENTS))
    write_table(
        pa.table({"flux_true": lists(decoder.decode(latents).flux[:, 0])}), Path("s.parquet")
    )
    said = targetsel("priors", "residual", "s.parquet", "--ensemble", "tiny")
    assert said.status == 0, said.err
    assert said.out == "1,100 spectra fitted, written to tiny\n"
    sha = sha256_of_file(folder / "tiny" / "decoder.safetensors")
    assert SpectralResidual.read(folder / "tiny", sha).factor.shape == (5, 1000, 12)
    said = targetsel("priors", "residual", "s.parquet", "--ensemble", "tiny", "--column", "flux")
    assert said.err == "s.parquet: no column 'flux'. Did you mean 'flux_true'?\n"
