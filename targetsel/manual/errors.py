"""Errors: those that people meet first, the classes with what to do, and every message."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from targetsel import errors
from targetsel.errors import TargetselError
from targetsel.manual.entries import Entry, anchor, code, definitions, first_sentence, plain
from targetsel.manual.error_topics import TOPICS, place_of
from targetsel.manual.messages import ANY, REMARK, Message, matching, messages
from targetsel.manual.usual_errors import USUAL, UsualError

EXECUTED = "---\nfile_format: mystnb\nkernelspec:\n  name: python3\n---"
ABOUT = (
    "A command that meets something that you can mend prints one line on standard error and ends "
    "with status 2. The line gives the place, the value, what was expected and, where there is "
    "one, the next step. In Python the same line is the text of an exception; all of them are "
    "`targetsel.TargetselError`. Any other exception is a bug of targetsel's.\n\n"
    "To find an error here, paste its line behind `targetsel docs`, in quotes; this works "
    "offline."
)
USUAL_ABOUT = (
    "Ten errors on the way to a first list. Each was brought about in the folder of the "
    "[demonstration](../tutorials/first-list.md) when this page was built."
)
CLASSES_ABOUT = (
    "In Python, `except targetsel.CatalogError` catches errors of one class. The class says what "
    "kind of file or wish an error is about."
)
MESSAGES_ABOUT = (
    "Words in `<angle brackets>` are filled in. A class behind messages is that of their exception."
)
OF_ANY = (
    "The base of all errors. Messages under this name come with the class that suits the file "
    "that is read: a damaged catalog is a `CatalogError`, a damaged cutout store a `CutoutError`."
)
DEPENDS = "the class that suits the file"
OF_REMARKS = (
    "A warning of `targetsel rules lint`: the rules can be used as they are, and may not say what "
    "you meant. Only `lint` prints it, and ends with status 1 if it finds nothing worse."
)


# --- classes -------------------------------------------------------------------------------------


def classes() -> Iterator[Entry]:
    """One entry for each class of errors: when it is raised, what it usually means, what to do."""
    for name, found in vars(errors).items():
        if isinstance(found, type) and issubclass(found, TargetselError):
            about, *rest = (" ".join(each.split()) for each in plain(found.__doc__).split("\n\n"))
            if name == ANY:
                text = f"{about} {OF_ANY}"
            else:
                usually, step = rest
                text = f"{about}\n\n{usually}\n\n**What to do.** {step}"
            yield Entry("error", name, first_sentence(found.__doc__), text, group="Classes")


# --- printed errors ------------------------------------------------------------------------------


def like(line: str) -> list[Entry]:
    """Entries for the messages that a printed line of error may be, the likeliest first."""
    return [_entry(each) for each in matching(line)]


def _entry(message: Message) -> Entry:
    topic, heading = place_of(message.module)
    belongs = f"It belongs to: {topic} - {heading}."
    parts = [code(message.text)]
    if message.error == REMARK:
        parts += [OF_REMARKS, belongs]
        return Entry("warning", message.text, OF_REMARKS, "\n\n".join(parts))
    about = {each.name: each for each in classes()}[message.error]
    for each in USUAL:
        if message.text.startswith(each.text):
            parts += [f"**Why.** {each.cause}", f"**The way out.** {each.way_out}"]
    parts += [f"{message.error}: {about.text}", belongs]
    return Entry("error message", message.text, about.summary, "\n\n".join(parts))


# --- the page ------------------------------------------------------------------------------------


def write(folder: Path) -> None:
    """Write the page of errors."""
    parts = [EXECUTED, "# Errors", ABOUT, "(errors-usual)=\n## The usual ones", USUAL_ABOUT]
    parts += [part for each in USUAL for part in _usual(each)]
    parts += ["(errors-classes)=\n## The classes", CLASSES_ABOUT]
    for each in classes():
        parts += [f"({each.anchor})=\n### {code(each.name)}", each.text]
    parts += ["(errors-messages)=\n## All messages, by what you were doing", MESSAGES_ABOUT]
    parts += _topics()
    (folder / "errors.md").write_text("\n\n".join(parts) + "\n", encoding="utf-8")


def _usual(usual: UsualError) -> Iterator[str]:
    yield f"({anchor('errors', usual.title)})=\n### {usual.title}"
    for name, content in usual.files.items():
        yield f"```{{code-cell}}\n%%writefile {name}\n{content}```"
    yield f"```{{code-cell}}\n:tags: [wrapped]\n\n!{usual.command} || true\n```"
    yield definitions([("Why", usual.cause), ("The way out", usual.way_out)])


def _topics() -> Iterator[str]:
    """All messages: a section for each topic, with headings, and their classes behind them."""
    found: dict[tuple[str, str], dict[str, list[str]]] = {}
    for message in messages():
        texts = found.setdefault(place_of(message.module), {}).setdefault(message.error, [])
        texts.append(message.text)
    for topic, headings in TOPICS.items():
        yield f"({anchor('errors', topic)})=\n### {topic}"
        for heading in headings:
            yield f"({anchor('errors', topic, heading)})=\n#### {heading}"
            for error, texts in found[topic, heading].items():
                yield f"As {kind_of(error)}:"
                yield "\n".join(f"- {code(text)}" for text in dict.fromkeys(texts))


def kind_of(error: str) -> str:
    """Name of a class above its texts on the page."""
    if error == REMARK:
        return "a warning of `targetsel rules lint`"
    return DEPENDS if error == ANY else f"[{code(error)}]({anchor_of(error)})"


def anchor_of(error: str) -> str:
    """The place of a class on the page."""
    return f"#{anchor('error', error)}"
