import numpy as np
import pyarrow as pa
import pytest

from tests.selection.scored_by_hand import scored_table


@pytest.fixture
def scored() -> pa.Table:
    """Four sources: strong lines, weak lines, old, and one without a posterior."""
    medians = [[120, 80, 1.2], [12, 52, 1.3], [1, 0, 1.9], [np.nan] * 3]
    widths = [[10, 10, 0.1], [4, 4, 0.1], [1, 1, 0.1], [np.nan] * 3]
    return scored_table(
        medians,
        widths,
        columns={
            "rmag": (pa.array([17.0, 19.5, 18.0, None], pa.float32()), "mag"),
            "flux_r": (pa.array([1000.0, 100.0, 400.0, 1.0], pa.float32()), "nJy"),
            "star": (pa.array([False, None, False, True]), ""),
        },
    )
