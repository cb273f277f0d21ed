import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from targetsel.cli.spectra import app
from targetsel.errors import SpectrumError
from targetsel.spectra.rest_frame import Basis
from targetsel.tables.parquet import read_footer, write_table

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


def spectrum_table(folder, name, footer):
    """The same galaxy as a table of one row, with a footer."""
    with np.load(spectrum_file(folder)) as arrays:
        rows = {each: [arrays[each].tolist()] for each in arrays}
    write_table(pa.table({"source_id": [7], **rows}), folder / name, footer)
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
    with pytest.raises(SpectrumError, match="has no 'redshift'"):
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


def test_measure_writes_lines_with_errors_in_the_sign_asked_for(tmp_path):
    file = spectrum_file(tmp_path)
    rows = []
    for sign in ("emission", "mpa"):
        out = tmp_path / f"{sign}.parquet"
        words = ("measure", file, "-o", out, "--index", "ew_halpha", "--index", "d4000")
        result = run(*words, "--ew-sign", sign)
        assert result.exit_code == 0, result.output
        assert f"1 of 1 spectra measured in {out}" in result.output
        assert read_footer(out)["ew_sign"] == sign
        rows += pq.read_table(out).to_pylist()
    ours, mpa = rows
    assert list(ours)[5:9] == ["ew_halpha", "ew_halpha_err", "d4000", "d4000_err"]
    assert ours["ew_halpha"] == -mpa["ew_halpha"] != 0
    assert ours["d4000"] == mpa["d4000"]
    assert ours["ew_halpha_err"] > 0


def test_measure_takes_a_line_table_of_ones_own(tmp_path):
    lines, out = tmp_path / "mine.yaml", tmp_path / "out.parquet"
    lines.write_text(
        "schema: targetsel/lines/v1\nlines:\n- {name: my_break, kind: break, medium: air, "
        "blue: [4300, 4400], red: [4450, 4500]}\n"
    )
    words = ("measure", spectrum_file(tmp_path), "-o", out, "--lines", lines)
    assert run(*words, "--index", "my_break").exit_code == 0
    assert 0.5 < pq.read_table(out)["my_break"][0].as_py() < 2


def test_measure_tells_of_bad_files_and_fails_where_all_are(tmp_path):
    bad = spectrum_file(tmp_path, "bad.npz", ivar=np.zeros(1000))
    out = tmp_path / "out.parquet"
    result = run("measure", spectrum_file(tmp_path), bad, "-o", out)
    assert f"{bad}: every pixel is masked" in result.stderr
    assert "1 of 2 spectra measured" in result.stdout
    out.unlink()
    with pytest.raises(SpectrumError, match="every pixel is masked"):
        RUNNER.invoke(app, ["measure", str(bad), "-o", str(out)], catch_exceptions=False)
    assert not out.exists()


@pytest.mark.parametrize("command", ["encode", "measure"])
def test_results_of_simulated_spectra_are_marked_so_and_those_of_others_are_not(tmp_path, command):
    real = spectrum_file(tmp_path)
    simulated = spectrum_table(tmp_path, "simulated.parquet", {"images": "simulated"})
    unmarked = spectrum_table(tmp_path, "unmarked.parquet", {})
    out = tmp_path / "out.parquet"
    marks = []
    for files in ((real,), (unmarked,), (simulated,), (real, simulated)):
        said = run(command, *files, "-o", out)
        assert said.exit_code == 0, said.output
        marks.append(read_footer(out).get("images"))
    assert marks == [None, None, "simulated", "simulated"]


def test_a_simulated_file_without_a_result_marks_nothing(tmp_path):
    bad = spectrum_table(tmp_path, "bad.parquet", {"images": "simulated"})
    masked = pq.read_table(bad).drop_columns("ivar").append_column("ivar", [[[0.0] * 1000]])
    write_table(masked, bad, {"images": "simulated"})
    out = tmp_path / "out.parquet"
    assert (
        "1 of 2 spectra measured" in run("measure", spectrum_file(tmp_path), bad, "-o", out).stdout
    )
    assert "images" not in read_footer(out)
