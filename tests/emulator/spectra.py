"""SDSS's Science Archive Server, and SPARCL."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
from astropy.io import fits
from astropy.table import Table

from tests.emulator.server import Answer, Handler, Request

FILE = re.compile(r".*/26/spectra/(\d{4})/spec-\1-(\d+)-(\d{4})\.fits")
LOGLAM = np.arange(3.58, 3.9645, 1e-4)


@dataclass(frozen=True)
class SpectrumArchives:
    """Spectra of sources, the same ones in both.

    Attributes
    ----------
    redshifts : mapping
        From (plate, mjd, fiber) to the redshift, of SDSS's spectra.
    targets : mapping
        From target id to the redshift, of SPARCL's.
    flux : callable
        From a redshift and a number to a spectrum on the wavelengths 10**LOGLAM.
    masked : set
        Numbers (fiber or target id) whose spectra are masked throughout.
    warned : set
        Fibers and target ids whose redshifts have the warning 4.
    swapped : set
        Fibers under whose names another fiber's file lies.
    """

    redshifts: Mapping[tuple[int, int, int], float]
    targets: Mapping[int, float] = field(default_factory=dict)
    flux: Callable[[float, int], np.ndarray] = lambda z, k: np.full(len(LOGLAM), 10.0)
    masked: frozenset[int] = frozenset()
    warned: frozenset[int] = frozenset()
    swapped: frozenset[int] = frozenset()

    def handlers(self) -> dict[str, Handler]:
        return {
            "/sas/dr17/sdss/spectro/redux": self.file,
            "/api/find/": self.find,
            "/api/spectras/": self.retrieve,
        }

    def file(self, request: Request) -> Answer:
        """One `spec` file."""
        found = FILE.fullmatch(request.path)
        key = tuple(map(int, found.groups())) if found else ()
        if key not in self.redshifts:
            return Answer(b"Not Found\n", status=404)
        plate, mjd, fiber = key
        redshift = self.redshifts[key]
        flux, ivar = self._arrays(redshift, fiber)
        primary = fits.PrimaryHDU()
        says = fiber + 1 if fiber in self.swapped else fiber
        primary.header.update({"PLATEID": plate, "MJD": mjd, "FIBERID": says, "VACUUM": True})
        primary.header["BUNIT"] = "1E-17 erg/cm^2/s/Ang"
        columns = {"flux": flux, "loglam": LOGLAM, "ivar": ivar}
        columns = {name: values.astype(np.float32) for name, values in columns.items()}
        coadd = fits.BinTableHDU(Table(columns), name="COADD")
        row = {"Z": [np.float32(redshift)], "ZWARNING": [4 * (fiber in self.warned)]}
        special = fits.BinTableHDU(Table(row), name="SPECOBJ")
        stream = io.BytesIO()
        fits.HDUList([primary, coadd, special]).writeto(stream)
        return Answer(stream.getvalue(), "application/fits")

    def find(self, request: Request) -> Answer:
        """The records of target ids; each target has a second, lesser one."""
        asked = json.loads(request.body)
        search = {name: values for name, *values in asked["search"]}
        assert search["data_release"] == ["DESI-DR1"]
        records = []
        for target in search["specid"]:
            for rank in ("b", "a") if target in self.targets else ():
                record = {"sparcl_id": f"{target}-{rank}", "specid": target, "_dr": "DESI-DR1"}
                records.append(record | {"specprimary": rank == "a"})
        return _json([{"status": {"warnings": []}}, *records[: int(request.query["limit"])]])

    def retrieve(self, request: Request) -> Answer:
        """The arrays of records."""
        assert request.query["format"] == "json"
        records = []
        for name in json.loads(request.body):
            target, _, rank = name.partition("-")
            redshift = self.targets[int(target)]
            flux, ivar = self._arrays(redshift, int(target))
            flux = flux * (1 if rank == "a" else 1000)
            mask = np.zeros(len(flux), dtype=int)
            mask[:100] = 4
            record = {"sparcl_id": name, "specid": int(target), "redshift": redshift}
            record["redshift_warning"] = 4 * (int(target) in self.warned)
            arrays = {"wavelength": 10**LOGLAM, "flux": flux, "ivar": ivar, "mask": mask}
            records.append(record | {key: values.tolist() for key, values in arrays.items()})
        return _json([{"status": {"warnings": []}}, *records])

    def _arrays(self, redshift: float, number: int) -> tuple[np.ndarray, np.ndarray]:
        flux = self.flux(redshift, number)
        noise = np.random.default_rng(number % 2**32).normal(0, 0.2, len(flux))
        ivar = np.full(len(flux), 0.0 if number in self.masked else 25.0)
        return flux + noise, ivar


def _json(value: object) -> Answer:
    return Answer(json.dumps(value).encode(), "application/json")
