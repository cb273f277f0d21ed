"""The table of what priors are worth, from updates whose outcome is known."""

import pyarrow as pa
import pytest
from priors import PRIORS, SNRS, table


@pytest.fixture
def rows():
    """Two sources; with the image prior both are right, with the others one of them."""
    found = []
    for source in (1, 2):
        for snr in SNRS:
            for prior in PRIORS:
                good = prior == "image" or source == 1
                found.append(
                    {
                        "prior": prior,
                        "snr": snr,
                        "source_id": source,
                        "redshift_error": 0.001 if good else -0.02,
                        "redshift_below": 0.5 if good else 0.99,
                        "log_evidence": 12.0 if prior == "image" else 10.0,
                        "effective_size": 100.0,
                        "ew_halpha_error": -3.0 if good else 5.0,
                        "ew_halpha_below": 0.94,
                        "ew_oiii_error": 1.0,
                        "ew_oiii_below": 0.96,
                    }
                )
    return pa.Table.from_pylist(found)


def test_success_errors_and_coverage_are_counted(rows):
    lines = table(rows).splitlines()
    assert lines[0].startswith("SIMULATED images and spectra: 2 held-out mock sources")
    image, population = lines[2].split(), lines[3].split()
    assert image[:4] == ["0.5", "image", "100.0%", "3.00"]
    assert population[:4] == ["0.5", "population", "50.0%", "4.00"]
    assert image[7:10] == ["100.0%", "100.0%", "0.0%"]
    assert population[7:10] == ["50.0%", "100.0%", "0.0%"]
    assert (image[10], population[10]) == ("2.0", "0.0")


def test_the_error_of_a_coverage_comes_from_the_scatter_between_sources(rows):
    last = [line.strip() for line in table(rows).splitlines() if "z 50.0%" in line]
    # One source always within, one never: 0.5 over the root of 2.
    assert last[0] == "population  z 50.0% [35.4%], Halpha 100.0% [0.0%], [OIII] 0.0% [0.0%]"


def test_redshifts_right_with_one_prior_alone_are_counted(rows):
    assert (
        "S/N 0.5: z right with image alone 1, with population alone 0; as uneven by chance: 1.00"
        in table(rows).splitlines()
    )
