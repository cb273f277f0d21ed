"""`targetsel score --slim`: what its file serves, and what is refused for want of latents."""

import pytest

import targetsel as ts

LACKS = (
    "slim.parquet: no column 'member_mean', which score --slim leaves out. Score the catalog, or "
    "the sources that you need it of, without --slim."
)


@pytest.fixture
def slim(targetsel, sky):
    words = ("score", "catalog.parquet", "--ensemble", "tiny", "--slim", "-o", "slim.parquet")
    assert targetsel(*words).status == 0
    return sky / "slim.parquet"


@pytest.mark.parametrize(
    "words",
    [
        ("priors", "write", "slim.parquet", "--ensemble", "tiny", "-o", "priors.parquet"),
        ("compare", "slim.parquet", "--spectra", "catalog.parquet", "--ensemble", "tiny",
         "-o", "compared.parquet"),
    ],
    ids=lambda words: words[0],
)  # fmt: skip
def test_what_needs_the_latents_names_the_column_and_the_way_out(slim, refused, words):
    assert refused(*words) == LACKS


def test_function_and_command_write_the_same_slim_file(slim, sky):
    ours = ts.score("catalog.parquet", "cutouts", "tiny", "ours.parquet", slim=True)
    assert ours.path.read_bytes() == slim.read_bytes()
    in_memory = ts.score("catalog.parquet", "cutouts", "tiny", slim=True)
    assert in_memory.schema.names == ours.schema.names


@pytest.mark.parametrize("command", ["select", "funnel", "tune", "forecast", "explain"])
def test_commands_on_rules_take_slim_rows(targetsel, slim, command):
    words = {
        "select": ("-o", "slim.targets.parquet"),
        "tune": ("--class", "EXCITED", "--targets", "3"),
        "explain": ("--id", ts.read("slim.parquet")["source_id"][0]),
    }
    said = targetsel(command, "slim.parquet", "--rules", "emission", *words.get(command, ()))
    assert said.status == 0, said.err
