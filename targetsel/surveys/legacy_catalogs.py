"""Tables of the NOIRLab Astro Data Lab: the Legacy Surveys DR10, and the redshifts of DESI DR1."""

from __future__ import annotations

import pyarrow as pa

from targetsel.surveys.catalog_columns import Columns, Flux, Plain, Scale
from targetsel.surveys.http import Web
from targetsel.surveys.tap import TapArchive

DATA_LAB = "https://datalab.noirlab.edu/tap"
TRACTOR = Columns(
    (
        Plain("ls_id", "source_id", pa.int64(), "", "meta.id;meta.main", "Legacy Surveys ls_id"),
        Plain("ra", "ra", pa.float64(), "deg", "pos.eq.ra;meta.main"),
        Plain("dec", "dec", pa.float64(), "deg", "pos.eq.dec;meta.main"),
        *(
            Flux(f"flux_{b}", f"flux_ivar_{b}", f"flux_{b}_ls", Scale.NANOMAGGY,
                 f"model flux in {b}, not corrected for extinction")
            for b in ("g", "r", "i", "z", "w1", "w2")
        ),
        Plain("type", "morphology", pa.string(), "", "src.morph.type", "PSF, REX, EXP, DEV or SER"),
        Plain("shape_r", "half_light_radius", pa.float32(), "arcsec", "phys.angSize"),
        Plain("ebv", "ebv", pa.float32(), "mag", "phot.color.excess", "E(B-V), SFD98"),
        Plain("maskbits", "maskbits", pa.int32(), "", "meta.code.qual"),
    )
)  # fmt: skip
ZPIX = Columns(
    (
        Plain("targetid", "source_id", pa.int64(), "", "meta.id;meta.main", "DESI TARGETID"),
        Plain("mean_fiber_ra", "ra", pa.float64(), "deg", "pos.eq.ra;meta.main"),
        Plain("mean_fiber_dec", "dec", pa.float64(), "deg", "pos.eq.dec;meta.main"),
        Plain("z", "redshift", pa.float64(), "", "src.redshift"),
        Plain("zerr", "redshift_err", pa.float32(), "", "stat.error;src.redshift"),
        Plain("zwarn", "redshift_warning", pa.int64(), "", "meta.code.qual", "0 is good"),
        Plain("spectype", "spectral_class", pa.string(), "", "src.class"),
    )
)


def legacy(web: Web, url: str = DATA_LAB) -> TapArchive:
    """Tractor sources of the Legacy Surveys DR10, each once."""
    return TapArchive(web, url, "legacy", TRACTOR, "ls_dr10.tractor", "brick_primary = 1")


def desi(web: Web, url: str = DATA_LAB) -> TapArchive:
    """Targets of DESI DR1 with a spectrum, each once."""
    return TapArchive(web, url, "desi", ZPIX, "desi_dr1.zpix", "zcat_primary = true")
