"""targetsel assign, as it is typed."""

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from targetsel.cli.handoff import assign
from targetsel.errors import HandoffError
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
    assert lines[0].startswith(
        "SIMULATION, not an assignment: AAT 2dF, 365 fibers for targets (25 for sky and 2 for "
        "standard stars set aside) in a circle of 2 deg"
    )
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


def test_a_list_around_the_first_meridian_is_said_to_lie_across_it(tmp_path):
    path = tmp_path / "list.targets.parquet"
    target_list(4).write(path)
    result = run(path, "--for", "pfs", "--ra", 200, "--dec", 0)
    assert "all lie within ra 359.75 to 0.50 and dec" in result.output


def test_without_a_pointing_the_densest_is_proposed(targets):
    result = run(targets, "--for", "2df")
    lines = [line.split() for line in result.output.splitlines()]
    assert lines[1] == ["pointing", "ra", "[deg]", "dec", "[deg]", "in", "field", "with", "fiber"]
    assert lines[2][:1] + lines[2][3:] == ["1", "10", "10"]
    assert float(lines[2][1]) == pytest.approx(10.125, abs=1e-4)  # amid its targets
    assert ["all", "12", "10", "10", "100%"] in lines


def test_pointings_that_would_take_nothing_are_not_proposed(targets):
    result = run(targets, "--for", "2df", "--densest", 9)
    lines = [line.split() for line in result.output.splitlines()]
    assert [line[0] for line in lines[2:6]] == ["1", "2", "3", "In"]
    assert [line[3:] for line in lines[2:5]] == [["10", "10"], ["1", "1"], ["1", "1"]]
    assert "Further pointings would give no target a fiber; 9 were asked for." in result.output
    assert ["all", "12", "12", "12", "100%"] in lines


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--ra", 10), "--dec is missing. Give both --ra and --dec, or neither"),
        (("--dec", 10), "--ra is missing"),
        (("--ra", 10, "--dec", 0, "--densest", 2), "--densest looks for pointings itself"),
    ],
)
def test_half_a_pointing_and_a_pointing_with_densest_are_refused(targets, words, message):
    with pytest.raises(HandoffError, match=message):
        run(targets, "--for", "2df", *words)
