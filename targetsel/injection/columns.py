"""The columns of a file of changed sources."""

from __future__ import annotations

from collections.abc import Iterable

import pyarrow as pa

from targetsel.imaging.measurements import MAGNITUDE
from targetsel.scored.columns import STATUS, scored_columns
from targetsel.tables.columns import ID, NEVER, Column

CARRIED = (STATUS, MAGNITUDE, "typicality", "support")  # of the scored rows, as they are
ORIGINAL = "magnitude"
SELECTED, PROBABILITY = "selected_", "probability_"


def injected_columns(names: Iterable[str] = ("CLASS",)) -> tuple[Column, ...]:
    """The columns of a file of changed sources, with those of classes of these names."""
    of_scored = {each.name: each for each in scored_columns(1, 1)}
    columns = [
        Column("source_id", ID, "", "meta.id;meta.main", "Id in the catalog", NEVER),
        Column("dim", pa.float64(), "mag", "phot.mag", "By how much it was made fainter", NEVER),
        Column(
            "blur", pa.float64(), "arcsec", "instr.obsty.seeing",
            "Full width at half maximum of the Gaussian that its image was blurred by", NEVER,
        ),
        Column("noisier", pa.float64(), "", "arith.factor", "Factor on the noise", NEVER),
        Column(
            ORIGINAL, pa.float64(), "mag", "phot.mag",
            "Magnitude before any change: in r, or else on the cutout", "it is not known",
        ),
        *(of_scored[name] for name in CARRIED),
    ]  # fmt: skip
    for name in names:
        about = f"Probability that what {name} claims of its members' spectra is true of it"
        columns += [
            Column(
                SELECTED + name, pa.bool_(), "", "meta.code",
                f"Whether every condition of {name} is true after the change", NEVER,
            ),
            Column(
                PROBABILITY + name, pa.float32(), "", "stat.probability", about,
                "there is no prediction (see status)",
            ),
        ]  # fmt: skip
    return tuple(columns)
