"""The run of all benchmarks: no script is forgotten, and each gives figures as it is asked."""

import ast
import json
from dataclasses import asdict
from pathlib import Path

import pytest
import run_all
from comparison import Kept, read
from measuring import Figure, over, process, timed

BENCHMARKS = Path(run_all.__file__).parent
SCRIPTS = sorted(path.stem for path in BENCHMARKS.glob("*.py"))


def function(script: str, name: str) -> ast.FunctionDef | None:
    tree = ast.parse((BENCHMARKS / f"{script}.py").read_text())
    named = [each for each in tree.body if isinstance(each, ast.FunctionDef) and each.name == name]
    return named[0] if named else None


def test_every_script_is_run_or_listed_with_a_reason():
    assert sorted([*run_all.SMALL, *run_all.NOT_RUN]) == SCRIPTS
    assert all(len(why.split()) > 2 for why in run_all.NOT_RUN.values())


def test_only_scripts_that_are_run_give_figures():
    assert [each for each in SCRIPTS if function(each, "figures")] == sorted(run_all.SMALL)


@pytest.mark.parametrize("script", run_all.SMALL)
def test_figures_take_a_folder_and_the_settings_of_the_small_run(script):
    names = [each.arg for each in function(script, "figures").args.args]
    assert set(run_all.SMALL[script]) <= set(names[1:])


@pytest.mark.parametrize("script", run_all.SMALL)
def test_the_table_of_a_script_is_made_from_its_figures(script):
    called = {
        ast.unparse(n.func) for n in ast.walk(function(script, "main")) if isinstance(n, ast.Call)
    }
    assert {"figures", "print_figures"} <= called


def test_a_slower_figure_ends_the_run_with_status_one(tmp_path, monkeypatch, capsys):
    then = tmp_path / "then.json"
    run_all.comparison.write(
        then, {"lines": {"folded": Kept(1.0, 0.01, "", "time", False)}}, {"version": "0.0.9"}
    )
    monkeypatch.setattr(run_all, "prepared", lambda folder: folder)
    for now, status in ((1.01, 0), (1.5, 1)):
        figure = asdict(Figure((now, now), "", "time"))
        monkeypatch.setattr(run_all, "one_pass", lambda *_, figure=figure: {"folded": figure})
        monkeypatch.setattr("sys.argv", ["run_all.py", "--only", "lines", "--then", str(then)])
        assert run_all.main() == status
        assert ("SLOWER: lines.py: folded" in capsys.readouterr().out) == bool(status)


def test_an_interrupted_run_goes_on_where_it_stopped(tmp_path, monkeypatch):
    asked = []

    def one_pass(script, folder):
        asked.append(script)
        if len(asked) == 4:
            raise KeyboardInterrupt
        return {"folded": asdict(Figure((float(len(asked)),), "", "time"))}

    monkeypatch.setattr(run_all, "one_pass", one_pass)
    with pytest.raises(KeyboardInterrupt):
        run_all.measured(["lines", "folding"], tmp_path, 2)
    found = run_all.measured(["lines", "folding"], tmp_path, 2)
    assert asked == ["lines", "folding", "lines", "folding", "folding"]
    assert found["lines"]["folded"].value == 2.0  # of 1 and 3
    assert not list(tmp_path.iterdir())


def test_the_figures_of_a_release_name_machine_date_passes_and_noise():
    kept = sorted(BENCHMARKS.glob("figures-*.json"))

    for path in kept:
        figures, about = read(path)
        assert path.stem == f"figures-{about['version']}"
        assert {"date", "machine", "passes", "load"} <= set(about)
        assert any(each.noise for named in figures.values() for each in named.values())


# --- measuring ------------------------------------------------------------------------------------


def test_a_time_is_told_in_units_of_the_reference():
    def count(n):
        return lambda: sum(range(n))

    found = timed({"four times": count(4_000_000)}, 5, reference=count(1_000_000), per=2)
    assert 2 < found["four times"].value < 8
    assert len(found["four times"].values) == 5


def test_a_ratio_is_taken_round_by_round():
    one, other = (Figure(each, "", "time") for each in ((2.0, 4.0), (1.0, 4.0)))
    assert over(one, other, "times").values == (2.0, 1.0)


def test_a_process_tells_its_own_peak_memory_and_not_its_parents():
    block = bytearray(400 << 20)
    cost = process("-c", "x = bytearray(100 << 20)")
    assert 100 < cost.peak < 200 < len(block) / (1 << 20)


def test_a_process_that_fails_stops_the_benchmark_with_its_output():
    with pytest.raises(SystemExit, match="no such thing"):
        process("-c", "raise SystemExit('no such thing')")


def test_figures_survive_the_way_from_a_process_of_their_own(monkeypatch):
    figure = Figure((1.0, 2.0), "s", "time", seconds=3.0, per=4)

    class Done:
        returncode = 0
        stdout = "text before\n" + json.dumps({"folded": asdict(figure)})

    monkeypatch.setattr(run_all.subprocess, "run", lambda *_, **__: Done)
    assert run_all.figure_of(run_all.one_pass("lines", Path("x"))["folded"]) == figure
