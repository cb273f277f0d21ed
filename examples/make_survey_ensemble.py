"""Make a small ensemble for another survey's images: a mock sky, networks, and their calibration.

    python examples/make_survey_ensemble.py legacy --work work/ -o legacy/

Images and spectra are SIMULATED: the sky is that of the shipped ensemble's training as the survey's
camera sees it (`targetsel surveys` lists them). The decoder is the shipped ensemble's, so that
latents mean the same. The ensemble is used by its folder: `targetsel score --ensemble legacy/`. The
command resumes if interrupted; it took 40 minutes on two cores beside much other work. The ensemble
is called by the name of its folder.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from calibrate_default_ensemble import calibrate_on
from train_default_ensemble import EPOCHS, simulate, train_ensemble

from targetsel.errors import EnsembleError
from targetsel.mock.camera import find_camera
from targetsel.scoring.ensemble import decoder_file
from targetsel.spectra.decoder import Decoder
from targetsel.surveys.registry import find_card


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("survey", help="a survey with a card, such as legacy")
    parser.add_argument("-o", "--output", type=Path, required=True, help="the ensemble's folder")
    parser.add_argument("--work", type=Path, required=True, help="folder for the skies")
    parser.add_argument("--n", type=int, default=36_000, help="mock sources to learn from")
    parser.add_argument("--calibrating", type=int, default=7_500, help="mock sources to calibrate")
    parser.add_argument("--members", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=EPOCHS, help="of the networks")
    parser.add_argument("--width", type=float, default=0.25, help="of the networks")
    parser.add_argument("--workers", type=int, default=2)
    given = parser.parse_args()
    camera, sky = find_camera(given.survey), given.work / "sky"
    simulate(sky, given.n, given.workers, camera)
    decoder = Decoder.read(decoder_file("mock-ps1"))
    train_ensemble(given, sky, decoder, find_card(given.survey, EnsembleError).binning)
    calibrate_on(given.output, given.work / "known", given.calibrating, given.workers, camera)


if __name__ == "__main__":
    main()
