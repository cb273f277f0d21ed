"""The columns that an observation adds to a scored catalog, with their units and meanings."""

from __future__ import annotations

import pyarrow as pa

from targetsel.observing.exposure import LONGEST
from targetsel.observing.line import Line
from targetsel.observing.observed_lines import QUANTITIES, Exposure
from targetsel.scoring.scored_rows import quantile_fields
from targetsel.tables.parquet import described

STATUS = "observed_status"
MIDDLE = {"": 0.0, "_q16": -1.0, "_q84": 1.0}  # ends of names, and normal scores
_KINDS = {"": "median", "_q16": "16th percentile", "_q84": "84th percentile"}
_UNITS = {"lineflux": "erg.s**-1.cm**-2", "snr": "", "exposure_time": "s"}
_UCDS = {
    "lineflux": "phot.flux;spect.line",
    "snr": "stat.snr;spect.line",
    "exposure_time": "time.duration;obs.exposure",
}


def observed_fields(
    exposure: Exposure, lines: tuple[Line, ...], proxies: tuple[str, ...]
) -> list[pa.Field]:
    """What is added to a file that has posteriors of these proxies, in its order."""
    before, fields = list(proxies), []
    for line in lines:
        fields += _of_place(line)
        for quantity in QUANTITIES:
            name, about = f"{quantity}_{line.name}", _about(quantity, line, exposure)
            unit, ucd = _UNITS[quantity], _UCDS[quantity]
            for end, kind in _KINDS.items():
                what = ucd if end else f"{ucd};stat.median"
                text = f"{kind} of {about}"
                fields.append(described(name + end, pa.float32(), unit, what, text))
            fields += quantile_fields(name, about, unit, tuple(before))
            before.append(name)
    about = "ok, or why fluxes of lines are not known"
    status = described(STATUS, pa.string(), "", "meta.code.status", about, nullable=False)
    return [*fields, status]


def _of_place(line: Line) -> list[pa.Field]:
    where = f"where {line.name} is observed, in vacuum; at the median redshift"
    ranged = f"probability that {line.name} is within the spectrograph's range"
    clear = f"probability that {line.name}, if within range, is clear of strong sky lines"
    f32, share = pa.float32(), "stat.probability"
    return [
        described(f"wavelength_{line.name}", f32, "Angstrom", "em.wl;spect.line", where),
        described(f"in_range_{line.name}", f32, "", share, ranged),
        described(f"clear_of_sky_{line.name}", f32, "", share, clear),
    ]


def _about(quantity: str, line: Line, exposure: Exposure) -> str:
    where = f"{line.name} in a fiber of {exposure.spectrograph.name}"
    if quantity == "lineflux":
        return f"flux of {where}, dimmed by Galactic dust if that is given"
    if quantity == "snr":
        return f"signal-to-noise ratio of {where} after {exposure.time:g} s"
    ratio = f"a signal-to-noise ratio of {exposure.snr:g}"
    return f"time until {where} has {ratio}, at most {LONGEST:g} s"
