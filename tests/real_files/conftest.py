"""What tests of real files share."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator

import pytest


@contextlib.contextmanager
def one_line(error: type[Exception], message: str) -> Iterator[None]:
    """Expect an error of one line that has the message in it."""
    with pytest.raises(error, match=re.escape(message)) as caught:
        yield
    assert len(str(caught.value).splitlines()) == 1
