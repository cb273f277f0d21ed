import numpy as np
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from targetsel.cli.spectra import app
from targetsel.errors import SpectrumError
from targetsel.parquet import read_footer
from targetsel.spectra.infill import Basis

RUNNER = CliRunner()


def spectrum_file(folder, name="galaxy.npz", **changes):
    """A galaxy at redshift 0.1 as plain arrays."""
    grid = 10 ** (3.53 + 0.00039 * np.arange(1000))
    arrays = {
        "wavelength": grid * 1.1,
        "flux": Basis.shipped().mean * 30,
        "ivar": np.full(1000, 1e4),
        "redshift": 0.1,
    } | changes
    np.savez(folder / name, **{k: v for k, v in arrays.items() if v is not None})
    return folder / name


def run(*words):
    return RUNNER.invoke(app, [str(word) for word in words])


def test_encode_writes_latents_and_draws_them(tmp_path, ensemble_folder):
    out, picture = tmp_path / "latents.parquet", tmp_path / "p.png"
    result = run(
        "encode", spectrum_file(tmp_path), "-o", out, "--ensemble", ensemble_folder,
        "--picture", picture,
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    assert f"1 of 1 spectra encoded in {out}" in result.output
    assert picture.exists()
    table = pq.read_table(out)
    assert table.column("source_id").to_pylist() == ["galaxy"]
    assert len(table.column("latent_mean")[0]) == len(table.column("latent_std")[0]) == 6
    assert read_footer(out)["latent_space"] == "vae6"


def test_decoder_of_its_own_may_be_named(tmp_path, ensemble_folder):
    out, file = tmp_path / "latents.parquet", ensemble_folder / "decoder.safetensors"
    assert run("encode", spectrum_file(tmp_path), "-o", out, "--decoder", file).exit_code == 0
    again = tmp_path / "again.parquet"
    run("encode", spectrum_file(tmp_path), "-o", again, "--decoder", ensemble_folder)
    assert again.read_bytes() == out.read_bytes()


def test_redshift_may_be_given(tmp_path, ensemble_folder):
    file = spectrum_file(tmp_path, redshift=None)
    out = tmp_path / "latents.parquet"
    words = ("encode", file, "-o", out, "--ensemble", ensemble_folder)
    with pytest.raises(SpectrumError, match="no redshift"):
        RUNNER.invoke(app, [str(word) for word in words], catch_exceptions=False)
    assert not out.exists()
    assert run(*words, "--redshift", 0.1).exit_code == 0
    assert pq.read_table(out).column("redshift").to_pylist() == [0.1]


def test_bad_file_among_good_ones_is_told_and_kept(tmp_path, ensemble_folder):
    good = spectrum_file(tmp_path)
    bad = spectrum_file(tmp_path, "bad.npz", ivar=np.zeros(1000))
    out = tmp_path / "latents.parquet"
    result = run("encode", good, bad, "-o", out, "--ensemble", ensemble_folder)
    assert result.exit_code == 0
    assert f"{bad}: every pixel is masked" in result.stderr
    assert f"1 of 2 spectra encoded in {out}" in result.stdout
    assert pq.read_table(out).num_rows == 2
