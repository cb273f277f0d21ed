"""All services together."""

from __future__ import annotations

import numpy as np

from tests.emulator.catalogs import catalogs_of
from tests.emulator.faults import Faults
from tests.emulator.legacy import Legacy
from tests.emulator.ps1 import PS1
from tests.emulator.server import Handler
from tests.emulator.sky import BANDS, Stars
from tests.emulator.spectra import SpectrumArchives
from tests.emulator.vo import VO


def every_service(stars: Stars, faults: Faults | None = None) -> dict[str, Handler]:
    """The handlers of every service, by the beginning of their paths."""
    faults = faults or Faults()
    ids = np.arange(len(stars.ra)) + 1
    catalogs = catalogs_of(ids, stars.ra, stars.dec, stars.magnitude[:, BANDS.index("r")])
    # Flat spectra of redshift 0.1, in fibers of one great plate and by the same target ids.
    spectra = SpectrumArchives(
        {(266, 51602, k): 0.1 for k in ids.tolist()}, dict.fromkeys(ids.tolist(), 0.1)
    )
    images = PS1(stars, faults), Legacy(stars, faults), VO(stars, faults)
    services = (*images, catalogs, spectra)
    return {path: handler for each in services for path, handler in each.handlers().items()}
