"""Mutated rule files and expressions: every one is answered, in a line and in time.

`benchmarks/selection_at_random.py` runs many more of them.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from targetsel.errors import RuleError, TargetselError
from targetsel.rules.binding import Binder
from targetsel.rules.columns import CatalogColumns
from targetsel.rules.functions import parse
from targetsel.rules.rules import Rules, shipped_rules
from targetsel.selection.evaluation import holds
from targetsel.selection.membership import apply_rules
from targetsel.selection.sources import Sources
from tests.selection.scored_by_hand import scored_table

SECONDS = 10.0  # of CPU time, the most that a mutant may take

EXPRESSIONS = (
    "17 < rmag < 22.5 mag",
    "P(ew_halpha > 50 Angstrom and ew_oiii > 10 Angstrom) >= 0.8",
    "0.2 < P(ew_halpha > 20 Angstrom or not d4000 > 1.6) < 80 percent",
    "std(d4000) > 0.25 and q(ew_halpha, 0.16) >= 5",
    "P(log10(ew_oiii / ew_halpha) > 0.61 / (d4000 - 0.47) + 1.19) > 0.5",
    "bpt_sf < 0.2 or bpt_sf is missing",
    "not (source_id in [1, -2, 3]) and star | ~star & rmag between 17 and 20",
    "sqrt(abs(rmag ** 2 - 1e3)) / max(ra, dec, -1.5) != min(typicality, .5)",
)
RULES = """schema: targetsel/rules/v1
name: mutant
description: Strong-line galaxies. # no more
seed: 20260901
define:
  clean: rmag < 22 mag and not star
  trusted: "typicality > 0.01 and clean"
classes:
  ELG_STRONG:
    bit: 0
    priority: 3200
    where:
      - trusted
      - 17 < rmag < 22.5 mag
      - P(ew_halpha > 50 Angstrom and ew_oiii > 10 Angstrom) >= 0.8
    rank: P(ew_halpha > 50 Angstrom and ew_oiii > 10 Angstrom)
    limit: {total: 240}
  ELG_FILLER:
    bit: 1
    priority: 3000
    where: [clean, "d4000 < 1.6 or d4000 is missing"]
    rank: >-
      -rmag
"""
WORDS = (
    *"()[]{}<>=!&|~+-*/.,:;#'\"\\%@`^?$\n\t \0é≥−😀\ufeff\u2028",
    *(
        "**",
        "<=",
        "!=",
        "&&",
        "<>",
        "- ",
        "---",
        "...",
        "*a",
        "&a ",
        "!x ",
        "<<: ",
        "? ",
        "> ",
        "|",
    ),
    *(
        "and",
        "or",
        "not",
        "is",
        "missing",
        "between",
        "in",
        "P(",
        "q(",
        "std(",
        "log10(",
        "nan",
        "inf",
    ),
    *(
        "mag",
        "Angstrom",
        "percent",
        "km/s",
        "1e999",
        "0x1F",
        "1_000",
        "9" * 40,
        "-0",
        "64",
        "1e-400",
    ),
    *("rmag", "ew_halpha", "star", "status", "__class__", "os.system('x')", "where:", "define:"),
    *(
        "extends: ../x.yaml\n",
        "sample: 10 percent\n",
        "unless: [ELG_STRONG]\n",
        "limit: {total: 1}\n",
    ),
)


@pytest.fixture(scope="module")
def catalog() -> pa.Table:
    return small_catalog()


def small_catalog() -> pa.Table:
    """Four sources, with a measured column of every type."""
    return scored_table(
        [[12, 80, 1.2], [12, 52, 1.3], [1, 0, 1.9], [np.nan] * 3],
        [[3, 10, 0.1], [4, 4, 0.1], [1, 1, 0.1], [np.nan] * 3],
        [0.5, -0.3, 0.1],
        columns={
            "rmag": (pa.array([17.0, float("nan"), 18.0, None], pa.float32()), "mag"),
            "typicality": (pa.array([0.5, 0.001, 0.2, 0.9]), ""),
            "bpt_sf": (pa.array([0.1, None, 0.4, 0.9], pa.float32()), ""),
            "star": (pa.array([False, None, False, True]), ""),
            "status": (pa.array(["ok", "ok", None, "no cutout"]), ""),
        },
    )


def mutant(text: str, rng: random.Random) -> str:
    """The text after a few accidents."""
    for _ in range(rng.choice([1, 1, 2, 3, 8])):
        start = rng.randrange(len(text) + 1)
        end = min(len(text), start + rng.choice([0, 1, 1, 3, 10, 40]))
        kind = rng.randrange(8)
        if kind == 0:
            text = text[:start] + text[end:]
        elif kind == 1:
            text = text[:end] + text[start:]  # said twice
        elif kind == 2:
            text = text[:start] + text[start:end] * rng.choice([2, 30, 300]) + text[end:]
        elif kind == 3:
            text = text[:start] + text[start:end][::-1] + text[end:]
        elif kind == 4:
            text = (
                text[:start]
                + chr(rng.choice([rng.randrange(128), rng.randrange(0xD7FF)]))
                + text[end:]
            )
        elif kind == 5:
            text = (
                text[:start]
                + rng.choice(["(", "-", "not ", "[", "{", "- ", "P("]) * 60
                + text[end:]
            )
        else:
            text = text[:start] + rng.choice(WORDS) + text[end:]
        text = text[:20_000]
    return text


def answer_to_expression(text: str, catalog: pa.Table) -> str:
    """What is wrong with how an expression was answered; empty if nothing is."""

    def ask() -> None:
        formula = Binder(CatalogColumns(catalog.schema)).condition(parse(text))
        assert holds(formula, Sources(catalog)).shape == (len(catalog),)

    return _answer(ask, text)


def answer_to_rules(text: str, catalog: pa.Table) -> str:
    """What is wrong with how a rule file was answered; empty if nothing is."""

    def ask() -> None:
        apply_rules(Rules.parse(text, "mutant.yaml"), catalog)

    return _answer(ask, text)


def _answer(ask: Callable[[], None], text: str) -> str:
    start, fault = time.process_time(), ""
    try:
        ask()
    except TargetselError as error:
        if len(str(error).splitlines()) != 1 or len(str(error)) > 2000:
            fault = f"message {str(error)!r}"
    except Exception as error:
        fault = f"{type(error).__name__} {error}"
    if (took := time.process_time() - start) > SECONDS:
        fault = f"{fault} {took:.1f} s"
    return fault and f"{fault}: {text!r}"


def faults_among_expressions(seeds: range) -> list[str]:
    catalog = small_catalog()
    answers = []
    for seed in seeds:
        rng = random.Random(seed)
        answers.append(answer_to_expression(mutant(rng.choice(EXPRESSIONS), rng), catalog))
    return [each for each in answers if each]


def faults_among_rules(seeds: range) -> list[str]:
    catalog = small_catalog()
    texts = [RULES, *(path.read_text() for path in shipped_rules())]
    answers = []
    for seed in seeds:
        rng = random.Random(seed)
        answers.append(answer_to_rules(mutant(rng.choice(texts), rng), catalog))
    return [each for each in answers if each]


def test_every_mutated_expression_is_answered():
    assert faults_among_expressions(range(2000)) == []


def test_every_mutated_rule_file_is_answered():
    assert faults_among_rules(range(2000)) == []


@pytest.mark.parametrize("text", EXPRESSIONS)
def test_expression_is_sound_before_it_is_mutated(catalog, text):
    assert answer_to_expression(text, catalog) == ""
    Binder(CatalogColumns(catalog.schema)).condition(parse(text))


def test_rules_are_sound_before_they_are_mutated(catalog):
    assert apply_rules(Rules.parse(RULES), catalog).selected.any()


@pytest.mark.parametrize(
    "text",
    ["rmag ** 1e3 > typicality", "rmag ** -1e300 > typicality", "1e300 ** rmag > typicality"],
)
def test_power_beyond_all_units_is_answered(catalog, text):
    assert answer_to_expression(text, catalog) == ""


def test_message_that_quotes_much_stays_short(catalog):
    with pytest.raises(RuleError) as caught:
        Binder(CatalogColumns(catalog.schema)).condition(parse("x" * 4000 + " > 1"))
    assert len(str(caught.value)) < 600


@pytest.mark.parametrize("length", [10, 1000, 100_000])
@pytest.mark.parametrize(
    "piece", ["(", "not ", "-", "P(", "1+", "a and ", "[", "é", "9", "2**", "'"]
)
def test_endless_repetition_is_answered(catalog, piece, length):
    assert answer_to_expression(piece * length, catalog) == ""


@pytest.mark.parametrize(
    "piece",
    [
        "[",
        "{a: ",
        "- ",
        "? ",
        "&a ",
        "*a ",
        "!!x ",
        "a: &b [*b, *b]\n",
        "'",
        "\t",
        "# \n",
        "x: y\n",
    ],
)
def test_endless_yaml_is_answered(catalog, piece):
    for length in (100, 20_000):
        assert answer_to_rules(piece * length, catalog) == ""


def test_rule_file_may_hold_any_bytes(tmp_path: Path):
    rng = random.Random(5)
    path = tmp_path / "bytes.yaml"
    for _ in range(200):
        path.write_bytes(rng.randbytes(rng.choice([0, 1, 50, 3000])))
        with pytest.raises(TargetselError):
            Rules.read(path)
