"""Errors: the classes of the error tree with what to do, and every message of the package."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from targetsel import errors
from targetsel.errors import TargetselError
from targetsel.manual.entries import Entry, anchor, code, first_sentence, plain
from targetsel.manual.messages import ANY, Message, matching, messages

ABOUT = (
    "A command that meets something that you can mend prints one line on standard error and ends "
    "with status 2. The line gives the place, the value, what was expected and, where there is "
    "one, the next step. In Python the same line is the text of an exception; all of them are "
    "`targetsel.TargetselError`. Any other exception is a bug of targetsel's.\n\n"
    "Below stand all messages, by class and by what they are about. Words in `<angle brackets>` "
    "are filled in. `targetsel docs` with a whole line of error, in quotes, finds its message "
    "here."
)
OF_ANY = (
    "The base of all errors. Messages under this name come with the class that suits the file "
    "that is read: a damaged catalog is a `CatalogError`, a damaged cutout store a `CutoutError`."
)


def classes() -> Iterator[Entry]:
    """One entry for each class of errors."""
    for name, found in vars(errors).items():
        if isinstance(found, type) and issubclass(found, TargetselError):
            about, _, advice = plain(found.__doc__).partition("\n\n")
            advice = " ".join(advice.split())
            step = f"**What to do.** {advice}" if advice else ""
            text = f"{about} {OF_ANY}" if name == ANY else f"{about}\n\n{step}"
            yield Entry("error", name, first_sentence(found.__doc__), text, group="Classes")


def like(line: str) -> list[Entry]:
    """Entries for the messages that a printed line of error may be, the likeliest first."""
    return [_entry(each) for each in matching(line)]


def _entry(message: Message) -> Entry:
    about = {each.name: each for each in classes()}[message.error]
    text = "\n\n".join(
        [code(message.text), f"{message.error}: {about.text}", f"It is about: {message.subject}"]
    )
    return Entry("error message", message.text, about.summary, text)


def write(folder: Path) -> None:
    """Write the page of errors."""
    parts = ["# Errors", ABOUT]
    for each in classes():
        parts += [f"({each.anchor})=\n## {code(each.name)}", each.text]
        subjects: dict[tuple[str, str], list[str]] = {}
        for message in messages():
            if message.error == each.name:
                subjects.setdefault((message.subject, message.module), []).append(message.text)
        for (subject, module), texts in subjects.items():
            heading = re.split("[:;] ", subject.rstrip("."))[0]
            parts.append(f"({anchor('errors', each.name, module)})=\n### {heading}")
            parts.append("\n".join(f"- {code(text)}" for text in dict.fromkeys(texts)))
    (folder / "errors.md").write_text("\n\n".join(parts) + "\n", encoding="utf-8")
