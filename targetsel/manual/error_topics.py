"""Topics of the page of errors, by the activity that an error ends, and their modules.

Each topic has headings, and each heading the modules, or rooms of modules, whose messages stand
under it. The longest name that fits a module counts.
"""

from __future__ import annotations

TOPICS: dict[str, dict[str, str]] = {
    "Giving a command or calling a function": {
        "Options and arguments": "cli cli.usage api api.given api.reading",
        "The name of a file": "errors",
        "A package that is not installed": "extras",
    },
    "Reading a catalog or another table": {
        "Ids, positions and rows of a catalog": "sky.catalog sky.positions tables.ids",
        "Columns that a file must have": "tables.columns tables.any_form tables.rows",
        "Magnitudes and fluxes": "photometry",
        "CSV, VOTable and other formats": "tables.formats tables.reading",
        "FITS": "tables.fits tables.fits_tables",
        "Folders of Parquet files": "tables.folders",
        "HATS catalogs, in pixels of the sky": (
            "tables.hats tables.hats_pixels tables.hats_properties sky.partitions"
        ),
    },
    "Writing a result": {
        "Where it goes, and whether it can be written": "tables.files sky.chunks report.canvas",
        "FITS, VOTable, ECSV and CSV": "tables.writing",
    },
    "Files in object stores and on web servers": {
        "Addresses, credentials and connections": "remote",
    },
    "Packing and reading cutouts": {
        "A folder of images": "imaging imaging.folder imaging.image_names imaging.survey_images",
        "One image": "imaging.image_file",
        "Packing into a store": "imaging.packing",
        "Reading a store": "imaging.store imaging.picture imaging.cutout imaging.stretch",
    },
    "Writing rules": {
        "The file, its keys and its YAML": (
            "documents rules rules.rule_file rules.rules rules.plan rules.starting "
            "rules.formatting rules.locking"
        ),
        "Expressions: words, brackets and numbers": "expressions",
        "Columns, units and comparisons": ("rules.binding rules.columns rules.text_and_flags"),
        "Warnings of lint": "rules.lint rules.possible",
        "Functions such as P() and within()": "rules.functions",
        "Functions of nights": "rules.nights",
        "Bits of classes": "rules.bits",
        "Footprints and files that rules name": "sky",
    },
    "Scoring": {
        "The catalog beside its cutouts": (
            "api.scoring api.images cli.score scoring.stream scored.columns"
        ),
        "The ensemble": "scoring networks novelty",
        "Weights of networks": "weights",
        "The published networks": "scoring.published",
        "A scored file, read again": "scored tables.many_files",
        "A scored file that another program wrote": "scored.restoring",
        "Surprise": "scoring.surprise",
    },
    "Catalogs in many partitions": {
        "The job and its folder": "jobs partitions api.partitions",
        "Processes and clusters": "jobs.launch",
    },
    "Calibrating, and labelled sources": {
        "Labelled sources": "scored.labelled_sources scored.truth",
        "The calibration": "calibration cli.calibrate",
        "Evaluating predictions": "report report.claims report.evaluation cli.predictions",
    },
    "Selecting, and asking why": {
        "The selection": "selection api.selecting",
        "Spectra that sources have already": "scored.known_match scored.known_spectra",
        "Cells": "feature_cells",
        "The target list": "selection.target_list",
        "Guaranteed purity": "selection.guarantees",
        "Claims about spectra": "selection.claims",
        "Density, differences, budgets": "selection.reports cli.reports api.reports",
        "Maps of the sky": "sky.sky_maps",
        "Images made fainter or worse": "injection api.injection cli.injection",
        "Cuts on the catalog alone": "selection.plain_cuts selection.plain_quantities",
        "Pictures and contact sheets": "report.source report.sheet report.companions plots",
        "Pages of inspection, and notes": "inspection api.inspection cli.inspection",
    },
    "Exporting to an assignment tool": {
        "The list and the tool": "handoff api.handoff",
        "Settings of a tool": "handoff.settings",
        "DESI": "handoff.desi",
        "PFS": "handoff.pfs",
        "SDSS-V, 4MOST and WEAVE": "handoff.sdss_v handoff.fourmost handoff.weave",
        "Slit masks and NIRSpec": "handoff.gemini handoff.nirspec handoff.text_lists",
        "TOM Toolkit": "handoff.tom",
        "A plain table": "handoff.table",
        "What the tool assigned": "handoff.assignment",
        "Simulated pointings": "handoff.simulation handoff.densest",
        "What came of a list": "feedback api.outcomes report.outcomes report.outcome_redshifts "
        "report.outcome_success",
        "Learning from outcomes": "feedback.relearning scoring.recalibrating "
        "calibration.recalibration api.relearning",
    },
    "Fetching from archives": {
        "Any archive": "surveys api.archives cli.fetch tables.journal",
        "Catalogs": "surveys.archives surveys.catalogs",
        "Cutouts and images on disk": "surveys.cutouts surveys.local",
        "Spectra": "surveys.spectra surveys.desi surveys.sdss",
    },
    "Reading and measuring spectra": {
        "Files of spectra": "spectra.arrays spectra.reading spectra.encoding",
        "Files of SDSS and DESI": "spectra.formats",
        "Redshifts of spectra": "spectra.redshifts",
        "Wavelength, flux and noise": "spectra.spectrum spectra.grid spectra.rest_frame",
        "Line tables of your own": "spectra.lines",
        "Widths in a catalog's convention": "spectra.lines.width_maps",
        "Decoders": "spectra",
    },
    "Training": {
        "The plan": "training training.plan training.files api.training api.published cli.ensemble",
        "Embeddings": "embeddings networks.vector_plan networks.inputs",
        "Labels, and spectra to train on": "training.labels training.training_spectra",
        "A training set from archives": "training.from_archives",
        "Checkpoints, and training that was stopped": "training.optimisation training.members",
    },
    "Predicting an observation": {
        "The spectrograph": "spectrographs observing",
        "Redshifts": "observing.redshift",
        "Redshifts from elsewhere": "redshifts",
        "Sites": "nights.sites",
        "Nights and what is up": "nights nights.visibility nights.adding",
        "Plans of nights": "nights.plan nights.listed handoff.pointings cli.nights",
    },
    "Priors for a fitter": {
        "Writing priors": "priors",
        "Redshifts in a fitter's form": "priors.fitters priors.eazy",
        "Comparing priors with spectra": "priors.update priors.likelihood",
    },
    "The simulated sky": {
        "The demonstration and mock surveys": "mock",
    },
}


def place_of(module: str) -> tuple[str, str]:
    """The topic and the heading for a module's messages."""
    parts = module.removesuffix(".__init__").split(".")
    for n in range(len(parts), 0, -1):
        if place := _PLACES.get(".".join(parts[:n])):
            return place
    raise KeyError(module)


_PLACES = {
    name: (topic, heading)
    for topic, headings in TOPICS.items()
    for heading, names in headings.items()
    for name in names.split()
}
