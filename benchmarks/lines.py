"""Speed from latents to line strengths: folded, on the full grid, and spectrum by spectrum.

    python benchmarks/lines.py

Prints, for some sources of 384 draws each, the CPU time of a source-draw by the decoder with the
line table folded into its last layer (`FoldedDecoder`), by decoding all pixels and measuring these,
and, where specutils is installed, by its `equivalent_width` in a loop over the same lines; and by
how much the first two differ from double precision. The first two take turns, so that a busy
machine slows both alike, and the ratio is the median of ratios of neighbouring times. One thread.
"""

from __future__ import annotations

import argparse
import copy
import time
from pathlib import Path

import numpy as np
import torch
from measuring import Figure, over, print_figures, timed

from targetsel.scoring.ensemble import find_ensemble
from targetsel.spectra.decoder import SOURCES_AT_ONCE, Decoder, FoldedDecoder
from targetsel.spectra.grid import wavelengths
from targetsel.spectra.lines import PROXIES, LineTable, measure
from targetsel.spectra.lines.index import Width

LOOPED = 40  # spectra that are measured one by one


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--sources", type=int, default=32)
    parser.add_argument("--draws", type=int, default=384)
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--all", action="store_true", help="the whole line table, not the proxies")
    arguments = parser.parse_args()
    decoder, table = Decoder.read(find_ensemble("mock-ps1")), chosen(arguments.all)
    latents = draws_of(arguments.sources, arguments.draws)
    print(
        f"{len(table.names)} indices, {latents.shape[0]} sources of {latents.shape[1]} draws, "
        f"{arguments.rounds} rounds, one thread"
    )
    found = figures(None, arguments.rounds, arguments.sources, arguments.draws, arguments.all)
    print_figures(found)
    one_by_one(decoder, table, latents)
    differences(decoder, FoldedDecoder(decoder, table), latents)


def figures(
    folder: Path | None = None,
    rounds: int = 30,
    sources: int = 32,
    draws: int = 384,
    whole_table: bool = False,
) -> dict[str, Figure]:
    """What either way takes for all draws of all sources."""
    torch.set_num_threads(1)
    decoder, table = Decoder.read(find_ensemble("mock-ps1")), chosen(whole_table)
    folded, latents = FoldedDecoder(decoder, table), draws_of(sources, draws)
    ways = {
        "folded": lambda: folded.measure(latents),
        "full grid": lambda: on_full_grid(decoder, latents, table),
    }
    found = timed(ways, rounds, per=sources * draws)
    share = over(found["folded"], found["full grid"], "of the time on the full grid")
    return found | {"folded, of the full grid": share}


def chosen(whole_table: bool) -> LineTable:
    """The proxies, or all lines and indices."""
    shipped = LineTable.shipped()
    return shipped.choose(shipped.names if whole_table else PROXIES)


def draws_of(n: int, n_draws: int) -> np.ndarray:
    """Latents (N, S, 6) amid those of galaxies: further out, spectra lose their continuum."""
    rng = np.random.default_rng(0)
    return rng.normal(0, 0.4, (n, 1, 6)) + rng.normal(0, 0.3, (n, n_draws, 6))


def on_full_grid(decoder: Decoder, latents: np.ndarray, table: LineTable) -> np.ndarray:
    """The indices by way of all pixels, some sources at a time as `score` does it."""
    pieces = [
        measure(decoder.decode(latents[start : start + SOURCES_AT_ONCE]), table).values
        for start in range(0, len(latents), SOURCES_AT_ONCE)
    ]
    return np.concatenate(pieces)


def one_by_one(decoder: Decoder, table: LineTable, latents: np.ndarray) -> None:
    """Print the speed of specutils on the widths of the table."""
    try:
        from astropy import units as u
        from specutils import SpectralRegion, Spectrum
        from specutils.analysis import equivalent_width
    except ImportError:
        print("specutils: not installed")
        return
    widths = [index for _, index in table.measured if isinstance(index, Width)]
    flux = decoder.decode(latents[:1, :LOOPED]).flux[0].astype(np.float64)
    start = time.perf_counter()
    for one in flux:
        spectrum = Spectrum(flux=one * u.Unit("Jy"), spectral_axis=wavelengths() * u.AA)
        for index in widths:
            region = SpectralRegion(index.line.start * u.AA, index.line.end * u.AA)
            level = 0.5 * sum(
                one[(wavelengths() > side.start) & (wavelengths() < side.end)].mean()
                for side in (index.sides.blue, index.sides.red)
            )
            equivalent_width(spectrum, continuum=level * u.Unit("Jy"), regions=region)
    took = time.perf_counter() - start
    speed = len(flux) / took
    print(f"{'specutils, in a loop':28s}{speed:12,.1f} source-draws/s, decoding not counted,")
    print(f"{'':41s}{len(widths)} widths between level continua")


def differences(decoder: Decoder, folded: FoldedDecoder, latents: np.ndarray) -> None:
    """Print the largest deviations from double precision."""
    part, table = latents[:8], folded.table
    network = copy.deepcopy(decoder.network).double()
    with torch.inference_mode():
        raw = network.unstandardise(torch.from_numpy(part))
        flux = (network.decoder(raw) + network.mean_spectrum).numpy()
    exact = table.measure(flux, wavelengths())
    print("\nlargest deviation from double precision on the full grid")
    both = (folded.measure(part).values, on_full_grid(decoder, part, table))
    print(f"{'':20s}{'folded':>12s}{'full grid':>12s}")
    for k, name in enumerate(table.names):
        worst = [np.nanmax(np.abs(found[..., k] - exact[..., k])) for found in both]
        print(f"{name:20s}{worst[0]:12.1e}{worst[1]:12.1e}  {table[name].unit}")


if __name__ == "__main__":
    main()
