"""Answers of archives in which anything may be wrong."""

import io
import json
import random
import re

import pytest
from astropy.table import Table

from targetsel.errors import TargetselError
from targetsel.surveys import http
from targetsel.surveys.archives import Cone
from targetsel.surveys.desi import SparclSpectra
from targetsel.surveys.http import Answer, Unanswered, Web
from targetsel.surveys.legacy import LegacyImages
from targetsel.surveys.ps1 import COLUMNS, PanStarrsImages, PanStarrsObjects
from targetsel.surveys.sdss import SdssSpectra, SkyServer
from targetsel.surveys.spectra import WantedSpectrum
from targetsel.surveys.virtual_observatory import SiaImages

CONE = Cone(150.1, 2.2, 0.1)
WORDS = (b"null", b"1e999", b"NaN", b"[]", b"{}", b'"x"', b"-1", b"9" * 30, b"true", b"", b"<html>",
         b"\x00", b"\xff\xfe", b"1.5", b"#", b"\n", b",")  # fmt: skip


class OneAnswer(Web):
    """Gives one answer to every question."""

    def __init__(self, content):
        super().__init__()
        self.content = content

    def get(self, url, params=None):
        return Answer(url, 200, self.content)

    def post(self, url, json, params=None):
        return Answer(url, 200, self.content)


def mast():
    rows = [[2**60 + k] + [1] * (len(COLUMNS.theirs) - 1) for k in range(3)]
    return json.dumps({"info": [{"name": n} for n in COLUMNS.theirs], "data": rows}).encode()


def skyserver():
    names = SkyServer.columns.theirs
    rows = [",".join([str(2**60 + k)] + ["1.5"] * (len(names) - 1)) for k in range(3)]
    return "\n".join(["#Table1", ",".join(names), *rows, ""]).encode()


def sparcl():
    arrays = {"wavelength": [4e3, 4001.0, 4002.0], "flux": [1.0, 2.0, 3.0], "ivar": [1.0] * 3}
    record = {"sparcl_id": "u", "specid": 5, "specprimary": True, "redshift": 0.1, "mask": [0] * 3}
    return json.dumps([{"status": {}}, arrays | record]).encode()


def file_list():
    names = "projcell subcell ra dec filter mjd type filename shortname badflag"
    file = "/rings.v3.skycell/1405/053/rings.v3.skycell.1405.053.stk.g.unconv.fits"
    return f"{names}\n1405 053 150.1 2.2 g 0.0 stack {file} x 0\n".encode()


def image_list():
    row = {"access_url": "http://127.0.0.1/x", "access_format": "image/fits", "calib_level": 3}
    row |= {"s_ra": 150.1, "s_dec": 2.2, "em_min": 4e-7, "em_max": 5e-7}
    stream = io.BytesIO()
    Table([row | {"dataproduct_type": "image"}]).write(stream, format="votable")
    return stream.getvalue()


ANSWERS = {
    "MAST's catalog": (mast, lambda web: PanStarrsObjects(web).cone(CONE)),
    "SkyServer": (skyserver, lambda web: SkyServer(web).cone(CONE)),
    "SkyServer's SQL": (skyserver, lambda web: SkyServer(web).query("SELECT 1")),
    "SPARCL": (sparcl, lambda web: SparclSpectra(web).fetch([WantedSpectrum(1, {"targetid": 5})])),
    "file list": (file_list, lambda web: PanStarrsImages(web, ("g",), 8).fetch(150.1, 2.2)),
    "SIA2": (
        image_list,
        lambda web: SiaImages(web, ("g",), 8, "http://127.0.0.1/sia2", 0.25).fetch(150.1, 2.2),
    ),
    "viewer": (
        lambda: b"SIMPLE  =                    T" + bytes(2850),
        lambda web: LegacyImages(web, ("g",), 8).fetch(150.1, 2.2),
    ),
    "spectrum": (
        lambda: b"SIMPLE  =                    T" + bytes(2850),
        lambda web: SdssSpectra(web).fetch(
            [WantedSpectrum(1, {"plate": 266, "mjd": 51602, "fiber": 3})]
        ),
    ),
}


def mutated(content, seed):
    """The content with one or two of its words replaced, or a part cut out."""
    chance = random.Random(seed)
    for _ in range(chance.randint(1, 2)):
        words = [found.span() for found in re.finditer(rb"[0-9.]+|\"[^\"]*\"|[a-z]+", content)]
        start, end = chance.choice(words or [(0, 0)])
        if chance.random() < 0.3 or not words:
            start = chance.randrange(len(content))
            end = start + chance.randint(0, 40)
        content = content[:start] + chance.choice(WORDS) + content[end:]
    return content


@pytest.mark.parametrize("name", ANSWERS)
def test_mutated_answer_is_understood_or_refused(name, monkeypatch):
    monkeypatch.setattr(http, "PAUSE", 0.0)
    make, ask = ANSWERS[name]
    content, reasons = make(), []
    for seed in range(60):
        try:
            ask(OneAnswer(mutated(content, seed)))
        except (TargetselError, Unanswered) as error:
            reasons.append(str(error))
    assert len(reasons) > 10
    assert not [reason for reason in reasons if len(reason.splitlines()) != 1]
