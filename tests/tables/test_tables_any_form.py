"""Tables of other packages as Arrow."""

from __future__ import annotations

import pandas as pd
import pyarrow as pa
import pytest

from targetsel.tables.any_form import NOTES, table_of


class Frame(pd.DataFrame):
    """A frame as packages extend it, such as that of nested-pandas, which LSDB takes."""


@pytest.mark.parametrize("kind", [pd.DataFrame, Frame])
def test_a_frame_keeps_its_named_index_and_its_units_whatever_its_class(kind):
    told = pa.schema([pa.field("flux", pa.float64(), metadata={"unit": "nJy"})])
    frame = kind({"flux": [1.0, 2.0]}, index=pd.Index([7, 9], name="_healpix_29"))
    frame.attrs[NOTES] = told.serialize().to_pybytes().hex()
    table = table_of(frame, "the catalog")
    assert table.column_names == ["_healpix_29", "flux"]
    assert table["_healpix_29"].to_pylist() == [7, 9]
    assert table.schema.field("flux").metadata == {b"unit": b"nJy"}
