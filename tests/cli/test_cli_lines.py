"""`targetsel lines`, as it is typed."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from targetsel.tables.parquet import read_footer, write_table


def test_show_names_every_index_with_its_kind_and_unit(targetsel):
    said = targetsel("lines", "show")
    assert said.status == 0
    lines = {line.split()[0]: line.split()[1:3] for line in said.out.splitlines() if line}
    assert lines["ew_halpha"] == ["emission", "Angstrom"]
    assert lines["mg2"] == ["magnitude", "mag"]


def test_show_says_how_much_of_broad_lines_each_window_counts(targetsel):
    lines = targetsel("lines", "show").out.splitlines()
    assert lines[0].split() == ["name", "kind", "unit", "100", "150", "250", "about"]
    shares = {line.split()[0]: line.split()[3:6] for line in lines[1:-3]}
    # Halpha's 14 Angstrom are +-3.20 sigma at 100 km/s, 99.9 % of a normal; at 250, +-1.28, 80 %.
    assert shares["ew_halpha"] == ["100%", "97%", "80%"]
    assert shares["ew_halpha_fit"] == shares["mgb"] == ["-", "-", "-"]
    assert "instrument and pixels included" in lines[-1]


def test_show_checks_a_table_of_ones_own(targetsel, tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(
        "schema: targetsel/lines/v1\nlines:\n- {name: my_break, kind: break, medium: air, "
        "blue: [4300, 4400], red: [4500, 4400]}\n"
    )
    said = targetsel("lines", "show", "--lines", path)
    assert said.status == 2
    assert said.err.startswith(f"{path}:3:71: error: the band runs from 4500 to 4400; expected")
    assert said.err.endswith(" ^\n")
    path.write_text(path.read_text().replace("4500, 4400]", "4450, 4500]"))
    assert "my_break" in targetsel("lines", "show", "--lines", path).out


def test_maps_fitted_on_the_mock_truth_are_applied_to_a_scored_catalog(
    targetsel, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    raw = np.linspace(-1, 60, 400)
    truth = pa.table({"ew_halpha": raw, "input_halpha": 1.1 * raw + 1})
    write_table(truth, tmp_path / "truth.parquet", {"images": "simulated"})
    write_table(pa.table({"ew_halpha": [10.0]}), tmp_path / "scored.parquet", {"schema": "x"})
    said = targetsel("lines", "calibrate", "truth.parquet", "-o", "maps.json")
    assert said.status == 0, said.err
    assert said.out.splitlines()[-1] == "1 map (of simulated galaxies) written to maps.json"
    assert json.loads((tmp_path / "maps.json").read_text())["origin"]["images"] == "simulated"
    said = targetsel("lines", "apply", "scored.parquet", "--maps", "maps.json", "-o", "out.parquet")
    assert said.status == 0, said.err
    row = pq.read_table(tmp_path / "out.parquet").to_pylist()[0]
    assert row["ew_halpha"] == 10
    np.testing.assert_allclose(row["ew_halpha_cal"], 12, rtol=1e-5)
    assert read_footer(tmp_path / "out.parquet")["schema"] == "x"


def test_the_scored_catalog_is_not_overwritten(targetsel, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    maps = {"ew_halpha": {"raw": [0, 1, 2], "calibrated": [1, 2, 3]}}
    document = {"schema": "targetsel/width-maps/v1", "maps": maps, "origin": {}}
    (tmp_path / "maps.json").write_text(json.dumps(document))
    write_table(pa.table({"ew_halpha": [10.0]}), tmp_path / "scored.parquet")
    before = (tmp_path / "scored.parquet").read_bytes()
    said = targetsel(
        "lines", "apply", "scored.parquet", "--maps", "maps.json", "-o", "scored.parquet"
    )
    assert said.status == 2
    assert said.err == "scored.parquet: is read by the same command. Choose another name.\n"
    assert (tmp_path / "scored.parquet").read_bytes() == before
