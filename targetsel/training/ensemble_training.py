"""Training of an ensemble into a folder, from a cutout store and labels.

Until the end all state is kept in its folder `training`, from which an interrupted training
resumes. The result is the ensemble's own files, `training.json` with every epoch's figures, their
plot `training.png`, and `held_out.parquet` with the ids of the test sources.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from targetsel.errors import EnsembleError, counted
from targetsel.extras import installed
from targetsel.networks.inputs import AnyStore, InputsById
from targetsel.networks.network import Network, NetworkPlan
from targetsel.novelty.novelty import NoveltyReference
from targetsel.scoring.ensemble import FEWEST_HELD_OUT, Ensemble, fit_reference
from targetsel.sky.catalog import Catalog
from targetsel.spectra.decoder import Decoder
from targetsel.spectra.photoz import COLUMNS
from targetsel.tables.columns import weights_of
from targetsel.tables.files import written_beside
from targetsel.tables.ids import matched
from targetsel.tables.parquet import write_table
from targetsel.tables.reading import reading
from targetsel.training.card import describe, latent_rmse, validated
from targetsel.training.examples import Examples, PreparedCutouts, Split, held_out, thinned
from targetsel.training.labels import Labels, groups_of
from targetsel.training.members import Member, MemberProgress, TrainedMember, train_members
from targetsel.training.optimisation import check_unfinished, unfinished
from targetsel.training.plan import FEWEST_IN_BATCH, TrainingPlan, differences
from targetsel.weights.safetensors import write_safetensors

BEGIN_ANEW = "Delete its folder to begin anew."
HELD_OUT = "held_out.parquet"  # ids of the common test sources
RESULTS = (
    *("decoder.safetensors", "novelty.safetensors", "training.json", "training.png"),
    HELD_OUT,
)
LOSSES = {
    "mean": "root mean square error [standardised targets]",
    "covariance": "negative log likelihood of the targets",
}

# Messages of a training: lines of text, and progress of a member.
Report = Callable[[str | MemberProgress], None]


def of_epochs(report: Callable[[str], object]) -> Report:
    """Calls `report` with messages of a training, of the members' with those of whole epochs."""

    def told(message: str | MemberProgress) -> None:
        if isinstance(message, str) or message.progress.whole:
            report(str(message))

    return told


print_epochs = of_epochs(partial(print, flush=True))


def train_into(
    folder: Path,
    given: AnyStore,
    labels: Labels,
    plan: TrainingPlan,
    decoder: Decoder,
    report: Report = print_epochs,
) -> dict[str, Any]:
    """Train an ensemble on the sources that have inputs and labels, and write it to `folder`.

    If the folder holds an interrupted training of the same plan, labels and store, it is resumed;
    on a CPU the result is bit by bit the same. A script that calls this with several workers
    needs the line `if __name__ == "__main__":`.

    Parameters
    ----------
    given : CutoutStore, Embeddings or InputsById
    labels : Labels
        Labels of at least some of its sources, in the latents of `decoder`.
    plan : TrainingPlan
    report : callable
        Called with lines of text, and with every member's progress about once a second.

    Returns
    -------
    dict
        The ensemble's card.

    Raises
    ------
    EnsembleError
        If there are too few sources, the training diverges, or the folder holds another one.
    SpectrumError
        If labels and store have no source in common, or a latent is the same for all.
    CutoutError
        If the store does not suit the plan.
    OutputError
        If the folder holds a finished ensemble, or cannot be written.
    """
    folder, store = Path(folder), InputsById.of(given)
    check_unfinished(folder, "card.json", "finished ensemble")
    plan.inputs.check(store, "this training")
    _check_latents(labels, plan, decoder)
    joined = labels.in_store(store)
    _check_enough(len(joined), plan)
    results = [*RESULTS, *(f"member-{k}.safetensors" for k in range(plan.members))]
    with unfinished(folder, results, *store.paths) as work:
        _check_same(work / "plan.json", _identity(store, labels, plan, decoder))
        _train(folder, work, store, joined, plan, decoder, report)
        card: dict[str, Any] = json.loads((folder / "card.json").read_bytes())
    return card


def _train(
    folder: Path,
    work: Path,
    store: InputsById,
    labels: Labels,
    plan: TrainingPlan,
    decoder: Decoder,
    report: Report,
) -> None:
    """Train, assemble, test and write the ensemble."""
    lacks = "pixels" if store.embeddings is None else "a usable vector"
    if None not in (store.cutouts, store.embeddings):
        lacks = "pixels or a usable vector"
    report(f"{len(labels)} sources have {_seen(plan)} and labels")
    learnt = "latents and redshift" if plan.network.redshift is not None else "latents"
    report(f"to be learnt: {learnt}")
    for line in labels.selection.lines() if labels.selection else ():
        report(line)
    for reason, count in labels.left_out.items():
        if count:
            report(f"left out: {count} {reason}")
    if store.embeddings is not None:
        report(f"the networks see: {plan.inputs.described}")
    pixels = PreparedCutouts.of(
        work, store, labels.source_id, plan.inputs, position=labels.position
    )
    usable = np.flatnonzero(pixels.status == "ok")
    if len(usable) < len(labels):
        report(f"left out: {len(labels) - len(usable)} without {lacks}")
    known = labels.take(usable)
    seed, n_members = plan.split
    split = Split.of(known.source_id, known.group, n_members, seed)
    test = known.take(split.test)
    ordinary = thinned(test.source_id, test.weight if test.sampled is None else test.sampled)
    _check_test(len(test), len(ordinary))
    plan = plan.for_few(min(len(split.training(plan.fold_of(k))) for k in range(plan.members)))
    members = _members(work, pixels, usable, labels, split, plan)
    report(
        f"{len(split.test)} sources for the test; about {len(members[0].examples.training)} for "
        f"training and {len(members[0].examples.validation)} for validation of each of "
        f"{counted(plan.members, 'member')}"
    )
    trained = train_members(members, plan.workers if plan.device == "cpu" else 1, report)
    report("measuring errors on the test sources")
    ensemble = _assemble(trained, members, plan, decoder)
    left_out = labels.left_out | {f"without {lacks}": len(labels) - len(usable)}
    known = replace(known, left_out=left_out)
    ensemble.card = describe(folder.name, store, known, split, plan, ensemble)
    ensemble.novelty = fit_reference(ensemble, store, ordinary)
    ensemble, half = validated(ensemble, store, test)
    _write_history(folder, trained)
    write_table(pa.table({"source_id": test.source_id}), folder / HELD_OUT)
    ensemble.write(folder, half)


def _members(
    work: Path,
    pixels: PreparedCutouts,
    usable: np.ndarray,
    labels: Labels,
    split: Split,
    plan: TrainingPlan,
) -> list[Member]:
    """Inputs of each member's training; rows are indices into the pixels."""
    starts: list[Path] = []
    for number, network in enumerate(plan.start.networks if plan.start else ()):
        starts.append(work / f"start-{number}.safetensors")
        write_safetensors(network.state_dict(), starts[-1])
    targets, noise = labels.targets(plan.network.redshift)
    noises = noise if labels.noise.any() else None
    weight = None if (labels.weight == labels.weight[0]).all() else labels.weight
    members = []
    for k in range(plan.members):
        fold = plan.fold_of(k)
        training, validation = usable[split.training(fold)], usable[split.validation(fold)]
        _check_enough(len(training), plan)
        examples = Examples(pixels.read, targets, training, noises, validation, weight)
        checkpoint = work / f"member-{k}.checkpoint.safetensors"
        start = starts[plan.start_of(k)] if starts else None
        recipe = plan.recipe_of(k)
        members.append(Member(k, plan.network, recipe, examples, checkpoint, start, plan.device))
    return members


def _assemble(
    trained: list[TrainedMember],
    members: list[Member],
    plan: TrainingPlan,
    decoder: Decoder,
) -> Ensemble:
    """The ensemble of trained networks, without a card or a novelty reference."""
    networks = [each.network for each in trained]
    if plan.network.head == "mean":
        rmse = latent_rmse(networks, [each.examples for each in members])
        plan_with_errors = plan.network.model_copy(update={"latent_rmse": rmse})
        networks = [_with_plan(each, plan_with_errors) for each in networks]
    unknown = NoveltyReference.unknown(len(networks), networks[0].head.in_features)
    return Ensemble(networks, decoder, unknown, {})


def _with_plan(network: Network, plan: NetworkPlan) -> Network:
    """The same weights in a network of another plan of the same shape."""
    other = Network(plan)
    other.load_state_dict(network.state_dict())
    return other.eval()


def _write_history(folder: Path, trained: list[TrainedMember]) -> None:
    histories = [each.history for each in trained]
    with written_beside(folder / "training.json") as beside:
        beside.write_text(json.dumps({"members": histories}, indent=1) + "\n")
    if installed("plots"):
        draw_training(histories, folder / "training.png")


def draw_training(histories: list[list[dict[str, Any]]], path: Path) -> None:
    """Draw each member's losses epoch by epoch, one panel for each phase, as PNG."""
    from targetsel.plots import Figure, MaxNLocator

    phases = list(dict.fromkeys(row["phase"] for history in histories for row in history))
    figure = Figure(figsize=(5 * len(phases), 4), layout="constrained")
    panels = figure.subplots(1, len(phases), squeeze=False)[0]
    for axes, phase in zip(panels, phases, strict=True):
        for member, history in enumerate(histories):
            rows = [row for row in history if row["phase"] == phase]
            epochs, colour = [row["epoch"] for row in rows], f"C{member % 10}"
            training, validation = (
                [row[name] for row in rows] for name in ("loss", "validation_loss")
            )
            axes.plot(epochs, training, ":", color=colour, lw=1)
            axes.plot(epochs, validation, ".-", color=colour, lw=1, label=f"member {member}")
        title = f"{phase}: validation (dotted: training)"
        axes.set(xlabel="epoch", ylabel=LOSSES[phase], title=title)
        axes.title.set_fontsize(10)
        axes.set_ylim(*limits([row for h in histories for row in h if row["phase"] == phase]))
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    panels[0].legend(frameon=False, fontsize=8)
    with written_beside(path) as beside:
        figure.savefig(beside, format="png", dpi=110)


def limits(rows: list[dict[str, Any]]) -> tuple[float, float]:
    """Vertical limits of a panel; losses of the first epoch, often far above, may exceed them."""
    training = [row["loss"] for row in rows if row["epoch"] > 1]
    validation = [row["validation_loss"] for row in rows if row["validation_loss"] is not None]
    shown = training + validation or [row["loss"] for row in rows]
    margin = 0.05 * (max(shown) - min(shown)) or 0.5
    return min(shown) - margin, max(shown) + margin


# ---------------------------------------------------------------------- checks


def _check_latents(labels: Labels, plan: TrainingPlan, decoder: Decoder) -> None:
    for what, found in (("labels", labels.mean.shape[1]), ("network", plan.network.n_latents)):
        if found != decoder.n_latents:
            raise EnsembleError(
                f"training: the {what} have {found} latents, but the decoder has "
                f"{decoder.n_latents}. Use the decoder that they belong to."
            )
    if plan.network.redshift is not None and labels.redshift is None:
        raise EnsembleError(
            "training: the network predicts the redshift too, but no redshifts are known. Give a "
            f"catalog with a column '{COLUMNS[0]}' of true ones."
        )


def _seen(plan: TrainingPlan) -> str:
    """What the networks take of a source, in words before "and labels"."""
    kinds = {"cutouts": plan.inputs.cutouts, "embeddings": plan.inputs.vectors}
    return ", ".join(name for name, each in kinds.items() if each is not None)


def _check_enough(n: int, plan: TrainingPlan) -> None:
    fewest = min(plan.recipe.batch, FEWEST_IN_BATCH)
    if n < fewest:
        raise EnsembleError(
            f"{counted(n, 'source')} to train on; expected at least one batch of {fewest}. Give "
            f"more sources that have {_seen(plan)} and labels."
        )


def _check_test(n: int, n_ordinary: int) -> None:
    if n_ordinary < FEWEST_HELD_OUT:
        raise EnsembleError(
            f"{n} test sources, of which {n_ordinary} remain when they are thinned to their "
            f"weights; expected at least {FEWEST_HELD_OUT}. Give more groups of sources, or "
            "weights that differ less."
        )


def _identity(
    store: InputsById, labels: Labels, plan: TrainingPlan, decoder: Decoder
) -> dict[str, Any]:
    """Everything that the result depends on, as plain values."""
    digest = hashlib.sha256()
    for name, tensor in sorted(decoder.network.state_dict().items()):
        digest.update(name.encode() + tensor.numpy().tobytes())
    identity = plan.identity() | {
        "store": store.sha256,
        "labels": labels.sha256,
        "decoder": digest.hexdigest(),
    }
    plain: dict[str, Any] = json.loads(json.dumps(identity))
    return plain


def _check_same(path: Path, identity: dict[str, Any]) -> None:
    """Record the training's identity, or refuse to resume one of another identity."""
    if not path.exists():
        with written_beside(path) as beside:
            beside.write_text(json.dumps(identity, indent=1) + "\n")
        return
    with reading(path, EnsembleError, "the plan of a training", BEGIN_ANEW):
        before = dict(json.loads(path.read_text()))
    changed = differences(before, identity)
    if changed:
        entries = "; ".join(f"{name} was {was}, now {now}" for name, was, now in changed)
        raise EnsembleError(
            f"{path.parent}: holds a training of something else: {entries}. Give the same as "
            "before to resume it, choose another folder, or delete this one to begin anew."
        )


def refit_novelty(ensemble: Ensemble, store: AnyStore, path: Path, group: str | None = None) -> int:
    """Refit an ensemble's measure of novelty on the test sources of its training.

    Parameters
    ----------
    ensemble : Ensemble
        Its `novelty` is replaced.
    store : CutoutStore, Embeddings or InputsById
    path : Path
        Inputs and catalog of its training.
    group : str, optional
        Column of the groups that split the training; default as for `Labels.with_catalog`.

    Returns
    -------
    int
        Number of sources that it was fitted to.

    Raises
    ------
    CatalogError, EnsembleError
        If the catalog lacks the column, or is not that of the training.
    """
    if ensemble.inputs.vectors is not None and InputsById.of(store).embeddings is None:
        raise EnsembleError(
            f"the ensemble '{ensemble.name}' takes {ensemble.inputs.described}: its measure of "
            "novelty is that of its training. Train it again for another one."
        )
    catalog = Catalog.read(path)
    groups, weight = groups_of(catalog.table, group, path), weights_of(catalog.table, path)
    ids = catalog.source_id
    chosen = held_out(ensemble.card, store, ids, ids if groups is None else groups)
    if weight is not None:
        chosen = thinned(chosen, weight[matched(chosen, ids)])
    ensemble.novelty = fit_reference(ensemble, store, chosen)
    return len(chosen)
