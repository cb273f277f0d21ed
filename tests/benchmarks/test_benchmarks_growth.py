"""The model of growth: lines through measured costs, and the page that they make."""

from pathlib import Path

import growth_page
import pytest
from growth_page import BILLION, Growth, page


def test_a_line_gives_back_its_start_and_slope():
    line = Growth.of({1000: 3.0, 10_000: 12.0, 100_000: 102.0})  # 2 s, and 1 ms for each row
    assert (line.start, line.row) == pytest.approx((2.0, 1e-3))
    assert line.deviation == pytest.approx(0.0, abs=1e-9)
    assert line(BILLION) == pytest.approx(1e6, rel=1e-5)


def test_growth_that_is_no_line_says_how_far_off_it_is():
    assert Growth.of({1000: 1.0, 10_000: 100.0, 100_000: 10_000.0}).deviation > 0.5


@pytest.mark.parametrize("peaks", [{1: 500.0, 10: 490.0}, {10: 1.0, 100: 12.0}])
def test_neither_start_nor_slope_is_below_zero(peaks):
    line = Growth.of(peaks)
    assert min(line.start, line.row) >= 0


def test_what_sorts_costs_half_as_much_again_at_a_thousand_times_a_million_rows():
    line = Growth.of({1000: 1.0, 1_000_000: 1000.0})  # 1e9 log 1e9 is 1.5 times 1e9 log 1e6
    assert line.as_if_sorted(BILLION) / line(BILLION) == pytest.approx(1.5, rel=1e-3)
    assert line.as_if_sorted(1000) == line(1000)


def made_up_page(share: float, same: bool = True) -> str:
    rows = (1000, 10_000, 100_000)
    slopes = {"mock": 5e-3, "cutouts pack": 1e-3, "score": 4e-3, "select": 1e-6, "export": 1e-5}
    slopes |= {growth_page.TENTH: share * 4e-3, growth_page.THOUSANDTH: 1e-5}
    costs = {name: {n: (1 + slope * n, 200.0) for n in rows} for name, slope in slopes.items()}
    del costs["score"][100_000]
    about = dict.fromkeys("runs date cores processor python numpy torch".split(), "x")  # noqa: SIM905
    lists = {"rows": 30_000, "targets": 7, "same": same}
    return page(costs, 16_000.0, lists, about | {"reference": 0.2, "busy": 0.3})


def test_the_page_says_whether_scoring_for_rules_met_its_goal():
    # 1 + 0.1 * 400 s of 1 + 400 s, and 1 + 0.2 * 400 s
    assert "0.102 of the 401 s that scoring all would take (within the goal" in made_up_page(0.1)
    assert "0.202 of the 401 s that scoring all would take (MORE THAN the goal" in made_up_page(0.2)


def test_the_page_says_where_the_lists_differ():
    assert "Of 30,000 rows `select` makes the same list of 7 targets" in made_up_page(0.1)
    assert "makes ANOTHER LIST of 7 targets" in made_up_page(0.1, same=False)


def test_a_billion_cutouts_of_16_kilobytes_take_16_terabytes():
    assert "| cutouts in their store | 16,000 GB | | 16 GB | |" in made_up_page(0.1)


def test_measured_costs_stand_in_bold_and_others_do_not():
    row = next(each for each in made_up_page(0.1).splitlines() if each.startswith("| 100,000 | **"))
    assert row.split(" | ")[1:4] == ["**501**", "**101**", "401"]


def test_the_page_in_benchmarks_is_one_that_growth_writes():
    text = (Path(growth_page.__file__).parent / "growth.md").read_text()
    titles = [line for line in made_up_page(0.1).splitlines() if line.startswith("#")]
    assert [line for line in text.splitlines() if line.startswith("#")] == titles
