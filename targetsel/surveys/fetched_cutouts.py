"""The sources of a catalog that have been asked for so far, and what came of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from targetsel.imaging.cutout import Cutouts
from targetsel.imaging.packing import Positions
from targetsel.surveys.survey import BandAnswer, Survey
from targetsel.tables.journal import Journal


@dataclass(frozen=True)
class Source:
    """One row of a catalog; ra and dec in deg, ICRS."""

    source_id: int | str
    ra: float
    dec: float


def sources_in(batch: Positions) -> Iterator[Source]:
    """The rows of a catalog, one after the other."""
    return map(Source, batch.source_id.tolist(), batch.ra.tolist(), batch.dec.tolist())


class FetchedSources:
    """A journal of cutouts; see `journal`.

    Parameters
    ----------
    folder : Path
        Exists, and is held by this run (see `files.held`).
    survey : Survey

    Raises
    ------
    OutputError
        If the folder was begun with other settings.
    """

    def __init__(self, folder: Path, survey: Survey) -> None:
        self.folder, self.survey = folder, survey
        self._shape = len(survey.bands), survey.size, survey.size
        self._journal = Journal(folder, survey.settings())
        self._codec = pa.Codec("zstd", compression_level=1)

    def close(self) -> None:
        self._journal.close()

    def add(self, source: Source, answers: Sequence[BandAnswer]) -> None:
        """Keep what the survey answered for a source."""
        finished = all(answer.final for answer in answers)
        piece = b""
        if finished and any(answer.flux is not None for answer in answers):
            piece = self._codec.compress(self._planes(answers).tobytes(), asbytes=True)
        record = {
            "source_id": source.source_id,
            "ra": source.ra,
            "dec": source.dec,
            "finished": finished,
            "answers": [_plain(answer) for answer in answers],
        }
        self._journal.add(str(source.source_id), record, piece)

    def entry(self, source: Source) -> dict[str, Any] | None:
        """What was last said of a source at this place, or None."""
        found = self._journal.record(str(source.source_id))
        if found is None or (found["ra"], found["dec"]) != (source.ra, source.dec):
            return None
        return found

    def state(self, source: Source) -> str:
        """Whether a source is "finished", "failed" when it was last asked for, or "new"."""
        entry = self.entry(source)
        if entry is None:
            return "new"
        return "finished" if entry["finished"] else "failed"

    def has_pixels(self, source: Source) -> bool:
        """Whether some band of a source has come."""
        entry = self.entry(source)
        return entry is not None and entry["length"] > 0

    def cutouts(self, sources: Sequence[Source]) -> Cutouts:
        """The cutouts of some sources; not present where none has come."""
        flux = np.full((len(sources), *self._shape), np.nan, np.float32)
        present = np.zeros(len(sources), dtype=bool)
        for row, source in enumerate(sources):
            entry = self.entry(source)
            if entry is not None and entry["length"]:
                packed = self._journal.piece(entry)
                plain = self._codec.decompress(packed, flux[row].nbytes, asbytes=True)
                flux[row], present[row] = np.frombuffer(plain, "<f4").reshape(self._shape), True
        ids = [source.source_id for source in sources]
        source_id = np.array(ids, dtype=np.int64 if isinstance(ids[0], int) else object)
        return Cutouts(source_id, flux, self.survey.bands, self.survey.pixel_scale, present)

    def _planes(self, answers: Iterable[BandAnswer]) -> np.ndarray:
        """The pixels of all bands, shape (B, H, W); NaN for a band without data."""
        blank = np.full(self._shape[1:], np.nan)
        return np.stack([blank if a.flux is None else a.flux for a in answers]).astype("<f4")


def _plain(answer: BandAnswer) -> dict[str, Any]:
    """An answer without its pixels."""
    return {
        "band": answer.band,
        "status": answer.status,
        "url": answer.url,
        "bytes": answer.n_bytes,
        "sha256": answer.sha256,
        "time": answer.time,
        "troubles": list(answer.troubles),
    }
