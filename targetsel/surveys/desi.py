"""DESI DR1: redshifts from the Astro Data Lab, spectra from SPARCL, both of NOIRLab.

SPARCL takes two requests for a batch: which records belong to the target ids, and those records'
arrays. It would send pickles by default; we ask for JSON.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from targetsel.errors import SpectrumError, beginning
from targetsel.spectra.redshifts import (
    FETCHED,
    SpectrumOptions,
    StatedRedshift,
    check_warning,
    warning_of,
)
from targetsel.spectra.spectrum import ObservedSpectrum
from targetsel.surveys.archives import DATA_LAB, PlainColumn, SurveyColumns, TapCatalog
from targetsel.surveys.fetching import NO_SPECTRUM, OK, Reply
from targetsel.surveys.http import Answer, Damaged, Web, ask, body_of
from targetsel.surveys.registry import SkySurvey
from targetsel.surveys.spectra import WantedSpectrum

ROOT = "https://astrosparcl.datalab.noirlab.edu/api"
RELEASE = "DESI-DR1"
AT_ONCE = 50  # spectra; each is some 0.4 MB of JSON
MOST = 24_000  # records the service gives at once
FIELDS = ("specid", "redshift", "redshift_warning", "wavelength", "flux", "ivar", "mask")
ZPIX = SurveyColumns(
    (
        PlainColumn("targetid", "source_id", pa.int64(), "", "meta.id;meta.main", "DESI TARGETID"),
        PlainColumn("mean_fiber_ra", "ra", pa.float64(), "deg", "pos.eq.ra;meta.main"),
        PlainColumn("mean_fiber_dec", "dec", pa.float64(), "deg", "pos.eq.dec;meta.main"),
        PlainColumn("z", "redshift", pa.float64(), "", "src.redshift"),
        PlainColumn("zerr", "redshift_err", pa.float32(), "", "stat.error;src.redshift"),
        PlainColumn("zwarn", "redshift_warning", pa.int64(), "", "meta.code.qual", "0 is good"),
        PlainColumn("spectype", "spectral_class", pa.string(), "", "src.class"),
    )
)

Record = dict[str, Any]


def zpix(web: Web, url: str = DATA_LAB) -> TapCatalog:
    """Targets of DESI DR1 with a spectrum, each once."""
    return TapCatalog(web, url, "desi", ZPIX, "desi_dr1.zpix", "zcat_primary = true")


@dataclass(frozen=True)
class SparclSpectra:
    """Spectra by DESI's TARGETID, coadded over each survey.

    Attributes
    ----------
    web : Web
    url : str
        Address of the interface.
    release : str
        SPARCL's name of the data release.
    """

    web: Web
    url: str = ROOT
    release: str = RELEASE
    at_once: int = AT_ONCE

    @property
    def columns(self) -> Mapping[str, tuple[str, ...]]:
        """See `SpectrumService.columns`."""
        return {"targetid": ("targetid", "target_id", "specid", "source_id")}

    def settings(self) -> Mapping[str, Any]:
        """See `SpectrumService.settings`."""
        return {"service": "desi", "release": self.release, "url": self.url}

    def fetch(self, wanted: Sequence[WantedSpectrum]) -> list[Reply]:
        """See `SpectrumService.fetch`."""
        known = self._records_of([int(each.names["targetid"]) for each in wanted])
        if not known:
            return [Reply(NO_SPECTRUM, None, Answer(self.url)) for _ in wanted]
        answer, records = self._retrieved(sorted(known.values()))
        return [self._reply(each, answer, known, records) for each in wanted]

    def _records_of(self, ids: list[int]) -> dict[int, str]:
        """SPARCL's id of the spectrum of each target that has one; of several, the primary."""
        search = [["specid", *ids], ["data_release", self.release]]
        asked = {"outfields": ["sparcl_id", "specid", "specprimary"], "search": search}
        _, found = ask(
            lambda: self.web.post(f"{self.url}/find/", asked, {"limit": MOST}),
            lambda said: _records(said, ("sparcl_id", "specid")),
        )
        best = sorted(found, key=lambda r: (bool(r.get("specprimary")), str(r["sparcl_id"])))
        return {record["specid"]: str(record["sparcl_id"]) for record in best}

    def _retrieved(self, uuids: list[str]) -> tuple[Answer, dict[str, Record]]:
        """The records with these ids, as far as the service has them."""
        include = ",".join(("sparcl_id", *FIELDS))
        params = {"include": include, "format": "json", "dataset_list": self.release}
        answer, records = ask(
            lambda: self.web.post(f"{self.url}/spectras/", uuids, params),
            lambda said: _records(said, ("sparcl_id", *FIELDS)),
        )
        return answer, {str(record["sparcl_id"]): record for record in records}

    def _reply(
        self,
        wanted: WantedSpectrum,
        answer: Answer,
        known: dict[int, str],
        records: dict[str, Record],
    ) -> Reply:
        target = int(wanted.names["targetid"])
        record = records.get(known.get(target, ""))
        if record is None or record["specid"] != target:
            return Reply(NO_SPECTRUM, None, answer)
        try:
            return Reply(OK, _spectrum(record, wanted, self.release), answer)
        except SpectrumError as error:
            return Reply(str(error), None, answer)


def _records(answer: Answer, fields: Sequence[str]) -> list[Record]:
    """The records of an answer, whose first element is a header."""
    content = body_of(answer)
    try:
        header, *records = json.loads(content)
        whole = isinstance(header, dict) and all(set(fields) <= set(record) for record in records)
        for record in records:
            record["specid"] = int(record["specid"])
    except (ValueError, TypeError, LookupError, RecursionError, OverflowError) as error:
        raise Damaged(f"no records in JSON but {beginning(content)}") from error
    if not whole:
        raise Damaged(f"records without some of {', '.join(fields)}")
    return records


def _spectrum(record: Record, wanted: WantedSpectrum, release: str) -> ObservedSpectrum:
    place = f"{release} {record['specid']}"
    arrays = {}
    for name in FIELDS[1:]:
        try:
            arrays[name] = np.asarray(record[name], dtype=np.float64)
        except (ValueError, TypeError) as error:
            raise SpectrumError(f"{place}: '{name}' is damaged; expected plain numbers") from error
    for name in ("redshift", "redshift_warning"):
        if arrays[name].ndim:
            raise SpectrumError(f"{place}: '{name}' holds several numbers; expected one")
    if arrays["mask"].shape != arrays["ivar"].shape:
        raise SpectrumError(
            f"{place}: {arrays['mask'].size} masks; expected {arrays['ivar'].size}, one for "
            "each pixel"
        )
    # Only what is not masked counts; DESI's own mask says which pixels that are.
    ivar = np.where(arrays["mask"] == 0, arrays["ivar"], 0.0)
    if (redshift := wanted.redshift) is None:
        warning = warning_of("ZWARN", float(arrays["redshift_warning"]))
        stated = StatedRedshift(float(arrays["redshift"]), warning)
        redshift = check_warning(place, stated, SpectrumOptions(), FETCHED)
    return ObservedSpectrum(
        place, wanted.source_id, arrays["wavelength"], arrays["flux"], ivar, redshift
    )


SURVEY = SkySurvey(
    name="desi",
    title="DESI DR1: redshifts (Data Lab), spectra by targetid (SPARCL)",
    catalog=zpix,
    query=zpix,
    spectra=SparclSpectra,
)
