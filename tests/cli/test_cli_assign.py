"""targetsel assign, as it is typed."""

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from targetsel.cli.handoff import assign
from tests.handoff.lists_by_hand import target_list


def run(*words):
    app = typer.Typer()
    app.command()(assign)
    result = CliRunner().invoke(app, [str(word) for word in words])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


@pytest.fixture
def targets(tmp_path):
    """Ten targets 100 arcsec apart along the equator from (10, 0), and two far away."""
    ra = np.append(10 + 100 / 3600 * np.arange(10), [50.0, 60.0])
    path = tmp_path / "list.targets.parquet"
    target_list(12, ra=ra, dec=np.zeros(12)).write(path)
    return path


def test_forecast_is_counted_by_class_and_calls_itself_a_simulation(targets):
    result = run(targets, "--for", "2df", "--ra", 10, "--dec", 0)
    assert result.exit_code == 0
    lines = result.output.splitlines()
    assert lines[0].startswith("SIMULATION, not an assignment: AAT 2dF, 392 fibers in a circle")
    assert [line.split() for line in lines[2:5]] == [
        ["STRONG", "3400", "6", "5", "5", "100%"],
        ["WEAK", "3200", "6", "5", "5", "100%"],
        ["all", "12", "10", "10", "100%"],
    ]
    assert "For a real assignment use Configure." in result.output


def test_numbers_of_the_instrument_can_be_replaced(targets):
    words = (targets, "--for", "2df", "--ra", 10, "--dec", 0)
    assert run(*words, "--fibers", 3).output.splitlines()[4].split()[3:] == ["3", "30%"]
    assert run(*words, "--separation", 150).output.splitlines()[4].split()[3:] == ["5", "50%"]
    assert run(*words, "--diameter", 0.1).output.splitlines()[4].split()[2:4] == ["2", "2"]


def test_field_without_targets_is_no_error(targets):
    result = run(targets, "--for", "pfs", "--ra", 200, "--dec", 0)
    assert result.exit_code == 0
    assert [line.split() for line in result.output.splitlines()[4:5]] == [
        ["all", "12", "0", "0", "-"]
    ]
    assert "is 140.00 deg away at ra 60.0000, dec 0.0000" in result.output
    assert "ra 10.00 to 60.00 and dec 0.00 to 0.00" in result.output
