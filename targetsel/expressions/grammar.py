"""The grammar of conditions and arithmetic, for rules and for the formulas of line tables.

An expression such as ``P(ew_halpha > 50 Angstrom and ew_oiii > 10) >= 0.8`` becomes a tree in
which every node knows its location in the file. Nothing is looked up or evaluated here: the
functions that may be called are given (see `functions`), and what a name or a unit means depends
on the catalog.

    or    = and {("or" | "|") and}          and  = not {("and" | "&") not}
    not   = ("not" | "~") not | comparison
    comparison = side [op side {op side} | "between" sum "and" sum
                       | "in" "[" literal {"," literal} "]" | "is" ["not"] "missing"]
    side  = TEXT | "true" | "false" | sum   literal = TEXT | "true" | "false" | ["-"] NUMBER [unit]
    sum   = product {("+" | "-") product}   product = unary {("*" | "/") unary}
    unary = ("-" | "+") unary | power       power   = atom ["**" unary]
    atom  = NUMBER [unit] | name | function "(" [or {"," or}] ")" | "(" or ")"
            | ("in_moc" | "within") "(" FILE {"," or} ")"
            | function "(" WORD {"," WORD} {"," name "=" (WORD | or)} ")"

``&`` binds like ``and``, looser than comparisons, unlike in Python. TEXT stands in quotes, single
or double, and has no order: it is compared by ``==``, ``!=`` and ``in``, and so are true and false.
WORD is a name or a TEXT; which functions take words and arguments by name, `Function` says.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np

from targetsel.documents.source_location import SourceLocation
from targetsel.errors import counted, did_you_mean, unknown
from targetsel.expressions.functions import ARITHMETIC, Function, apply
from targetsel.expressions.tokens import (
    COMPARISONS,
    DIRECTION,
    KEYWORDS,
    NO_COMPARISON,
    NUMBER,
    TRUTHS,
    VALUES,
    Token,
    after_blanks,
    token_at,
    value_of,
)
from targetsel.expressions.units import SPELLINGS, UNITS

MAX_CHARACTERS = 4096
MAX_DEPTH = 32
MAX_NODES = 256

# --- the tree ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Node:
    """A piece of an expression; two nodes are equal wherever they are written."""

    place: SourceLocation = field(compare=False, repr=False)

    @property
    def children(self) -> tuple[Node, ...]:
        """The nodes directly below this one, from left to right."""
        return ()


@dataclass(frozen=True)
class NumberNode(Node):
    value: int | float
    unit: str = ""

    def __str__(self) -> str:
        return f"{self.value!r} {self.unit}".strip()


@dataclass(frozen=True)
class NameNode(Node):
    name: str

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True)
class TextNode(Node):
    """A text in quotes: a value of a column, or the name of a file."""

    value: str

    def __str__(self) -> str:
        return quoted(self.value)


@dataclass(frozen=True)
class TruthNode(Node):
    """true or false."""

    value: bool

    def __str__(self) -> str:
        return str(self.value).lower()


@dataclass(frozen=True)
class Branch(Node):
    """A node with others below it.

    ``word`` is the function, operator or keyword: ``P``, ``+``, ``negative``, ``not``, ``and``,
    ``or``, ``compare``, ``between``, ``in``, ``is missing``, ``is not missing``. ``operators``
    are those of a chained comparison, ``symbol`` what the user wrote for ``and`` or ``or``. An
    argument that is given by name has the name and a sign as its word: ``airmass=``.
    """

    word: str
    parts: tuple[Node, ...]
    operators: tuple[str, ...] = ()
    symbol: str = field(default="", compare=False)

    @property
    def children(self) -> tuple[Node, ...]:
        return self.parts

    @property
    def is_call(self) -> bool:
        """Whether the word is the name of a function."""
        return self.word.isidentifier() and self.word not in (*KEYWORDS, "compare", "negative")

    def __str__(self) -> str:
        parts = [str(part) for part in self.parts]
        if self.is_call:
            return f"{self.word}({', '.join(map(unwrapped, self.parts))})"
        if self.word == "compare":
            words = [parts[0]]
            for operator, part in zip(self.operators, parts[1:], strict=True):
                words += [operator, part]
            return f"({' '.join(words)})"
        if self.word == "between":
            return f"({parts[0]} between {parts[1]} and {parts[2]})"
        if self.word == "in":
            return f"({parts[0]} in [{', '.join(parts[1:])}])"
        if self.word.startswith("is "):
            return f"({parts[0]} {self.word})"
        if self.word.endswith("="):
            return f"{self.word}{unwrapped(self.parts[0])}"
        if self.word in ("not", "negative"):
            return f"({'not ' if self.word == 'not' else '-'}{parts[0]})"
        return f"({f' {self.word} '.join(parts)})"


def quoted(text: str) -> str:
    """A text in the quotes that it does not hold itself."""
    quote = '"' if "'" in text else "'"
    return f"{quote}{text}{quote}"


def unwrapped(node: Node) -> str:
    """The node as text, without the parentheses that a larger expression would need."""
    text = str(node)
    return text[1:-1] if text.startswith("(") else text


def in_brief(node: Node) -> str:
    """The node as text for a message, cut where it is long."""
    text = unwrapped(node)
    return text if len(text) <= 40 else f"{text[:37]}..."


def walk(node: Node) -> Iterator[Node]:
    """The node and all nodes below it, from left to right."""
    yield node
    for child in node.children:
        yield from walk(child)


# --- grammar -----------------------------------------------------------------------------------


def parse(
    text: str,
    place: SourceLocation | None = None,
    functions: Mapping[str, Function] = ARITHMETIC,
) -> Node:
    """The syntax tree of one expression.

    Parameters
    ----------
    text : str
    place : SourceLocation, optional
        Location of the first character of `text` in the file.
    functions : mapping of name to Function
        Functions that may be called.

    Raises
    ------
    TargetselError
        If the text is not an expression; it points at the first character that does not fit.
    """
    place = place or SourceLocation(source=text)
    if len(text) > MAX_CHARACTERS:
        raise place.error(
            f"expression is longer than {MAX_CHARACTERS} characters; name parts under `define:`"
        )
    if not text.strip():
        raise place.error("expected an expression, such as rmag < 22.5")
    return _Parser(text, place, functions).whole()


def names(node: Node) -> list[str]:
    """The names in an expression, from left to right, each as often as it is written."""
    return [part.name for part in walk(node) if isinstance(part, NameNode)]


def evaluate(node: Node, values: Mapping[str, np.ndarray]) -> np.ndarray:
    """The value of an expression of numbers and names alone, NaN where it is missing.

    Parameters
    ----------
    node : Node
    values : mapping of name to ndarray
        Values of every name in the formula, of shapes that broadcast.
    """
    if isinstance(node, NumberNode):
        return np.asarray(node.value, dtype=np.float64)
    if isinstance(node, NameNode):
        return values[node.name]
    assert isinstance(node, Branch)
    return apply(node.word, *(evaluate(part, values) for part in node.parts))


class _Parser:
    """Recursive descent, one method per line of the grammar; tokens are read as they are needed,
    so that the first fault from the left is the one reported."""

    def __init__(self, text: str, place: SourceLocation, functions: Mapping[str, Function]) -> None:
        self.functions = functions
        self.text = text
        self.origin = place
        self.depth = 0
        self.nodes = 0
        self.naming = False  # whether the name of an argument stands here
        self.token = self._read(0, after_number=False)

    def _read(self, start: int, after_number: bool) -> Token:
        start = after_blanks(self.text, start)
        token = token_at(self.text, start, after_number)
        if isinstance(token, str) or (token.kind == "=" and not self.naming):
            message = token if isinstance(token, str) else NO_COMPARISON
            raise self.origin.moved(start).error(message)
        return token

    @property
    def place(self) -> SourceLocation:
        return self.origin.moved(self.token.start)

    def _advance(self) -> Token:
        token = self.token
        self.token = self._read(token.start + len(token.text), token.kind == "number")
        return token

    def _expect(self, kind: str, message: str) -> Token:
        if self.token.kind != kind:
            raise self.place.error(message)
        return self._advance()

    def _counted(self, node: Node) -> Node:
        self.nodes += 1
        if self.nodes > MAX_NODES:
            raise node.place.error(
                f"expression has more than {MAX_NODES} parts; split it into several conditions"
            )
        return node

    def _branch(
        self,
        place: SourceLocation,
        word: str,
        *parts: Node,
        operators: tuple[str, ...] = (),
        symbol: str = "",
    ) -> Node:
        return self._counted(Branch(place, word, parts, operators, symbol))

    def _deeper(self, rule: str) -> Node:
        """The result of the grammar's `rule`, one level of nesting further down."""
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise self.place.error(
                f"expression is nested deeper than {MAX_DEPTH} levels; "
                "name the inner part under `define:`"
            )
        node: Node = getattr(self, rule)()
        self.depth -= 1
        return node

    def whole(self) -> Node:
        node = self._or()
        if self.token.kind != "end":
            raise self._stray()
        return node

    def _stray(self) -> Exception:
        """The error for a token that cannot follow what was read."""
        if self.token.kind in ("text", "truth"):
            return self.place.error(
                f"{self.token.text} cannot stand here; compare a column with it, e.g. "
                f"{_EXAMPLES[self.token.kind]} == {self.token.text}"
            )
        if self.token.kind == ")":
            return self.place.error("this ')' has no '('; remove it or open one before it")
        if self.token.kind in COMPARISONS:
            return self.place.error("a comparison ends here already; join two with and")
        if self.token.kind == "not":
            return self.place.error("'not' stands before a condition; write not (x in [...])")
        if self.token.kind == "end":
            return self.place.error("the expression ends too early; expected a number or a name")
        return self.place.error(
            f"unexpected '{self.token.text}'; expected an operator such as and, or, <, +"
        )

    def _or(self) -> Node:
        return self._junction("or", "|", self._and)

    def _and(self) -> Node:
        return self._junction("and", "&", self._not)

    def _junction(self, word: str, symbol: str, inner: Callable[[], Node]) -> Node:
        place = self.place
        parts = [inner()]
        written = ""
        while self.token.kind in (word, symbol):
            written = written or self.token.text
            self._advance()
            parts.append(inner())
        return parts[0] if len(parts) == 1 else self._branch(place, word, *parts, symbol=written)

    def _not(self) -> Node:
        if self.token.kind not in ("not", "~"):
            return self._comparison()
        place = self.place
        self._advance()
        return self._branch(place, "not", self._deeper("_not"))

    def _comparison(self) -> Node:
        place = self.place
        left = self._side()
        if self.token.kind in COMPARISONS:
            return self._chain(place, left)
        if isinstance(left, TextNode | TruthNode):
            kind = "text" if isinstance(left, TextNode) else "truth"
            raise place.error(
                f"{left} cannot stand alone; compare a column with it, e.g. "
                f"{_EXAMPLES[kind]} == {left}"
            )
        if self.token.kind == "between":
            self._advance()
            low = self._sum()
            self._expect("and", "expected 'and', as in x between 1 and 2")
            return self._branch(place, "between", left, low, self._sum())
        if self.token.kind == "in":
            self._advance()
            return self._branch(place, "in", left, *self._literals())
        if self.token.kind == "is":
            self._advance()
            word = "is missing"
            if self.token.kind == "not":
                self._advance()
                word = "is not missing"
            if self.token.kind == "truth":
                raise self.place.error(f"write == {self.token.text}, as in flag == true")
            self._expect("missing", "expected 'missing', as in x is missing")
            return self._branch(place, word, left)
        return left

    def _side(self) -> Node:
        """A side of a comparison."""
        return self._word() or self._sum()

    def _word(self) -> Node | None:
        """A text, or true or false, if one stands here."""
        place = self.place
        if self.token.kind == "text":
            return self._counted(TextNode(place, self._advance().text[1:-1]))
        if self.token.kind == "truth":
            return self._counted(TruthNode(place, TRUTHS[self._advance().text]))
        return None

    def _chain(self, place: SourceLocation, left: Node) -> Node:
        parts = [left]
        operators: list[str] = []
        while self.token.kind in COMPARISONS:
            operator = self.token.kind
            if operators and DIRECTION.get(operator, operator) != DIRECTION.get(operators[-1]):
                raise self.place.error(
                    "chained comparisons must point the same way, e.g. 17 < rmag < 22.5"
                )
            self._advance()
            operators.append(operator)
            parts.append(self._side())
            for part in parts[-2:]:
                if operator in DIRECTION and isinstance(part, TextNode | TruthNode):
                    raise part.place.error(_has_no_order(part))
        return self._branch(place, "compare", *parts, operators=tuple(operators))

    def _literals(self) -> list[Node]:
        example = "as in field in [1, 2, 5] or type in ['SER', 'DEV']"
        self._expect("[", f"expected '[', {example}")
        literals = [self._literal(example)]
        while self.token.kind == ",":
            self._advance()
            literals.append(self._literal(example))
            if _kind_of_literal(literals[-1]) != _kind_of_literal(literals[0]):
                raise literals[-1].place.error(
                    f"a list holds values of one kind, and {literals[0]} is "
                    f"{_kind_of_literal(literals[0])}, {literals[-1]} is "
                    f"{_kind_of_literal(literals[-1])}; write text in quotes, numbers without"
                )
        self._expect("]", f"expected ']', {example}")
        return literals

    def _literal(self, example: str) -> Node:
        if (word := self._word()) is not None:
            return word
        place = self.place
        negative = self.token.kind == "-"
        if negative:
            self._advance()
        if self.token.kind == "name" and not negative:
            raise self.place.error(
                f"expected a number or text, {example}; text stands in quotes: '{self.token.text}'"
            )
        if self.token.kind != "number":
            raise self.place.error(f"expected a number or text, {example}")
        number = self._number()
        return self._branch(place, "negative", number) if negative else number

    def _sum(self) -> Node:
        return self._operations(("+", "-"), self._product)

    def _product(self) -> Node:
        return self._operations(("*", "/"), self._unary)

    def _operations(self, operators: tuple[str, ...], inner: Callable[[], Node]) -> Node:
        place = self.place
        node = inner()
        while self.token.kind in operators:
            operator = self._advance().kind
            node = self._branch(place, operator, node, inner())
        return node

    def _unary(self) -> Node:
        if self.token.kind not in ("-", "+"):
            return self._power()
        place = self.place
        if self._advance().kind == "+":
            return self._deeper("_unary")
        return self._branch(place, "negative", self._deeper("_unary"))

    def _power(self) -> Node:
        place = self.place
        base = self._atom()
        if self.token.kind != "**":
            return base
        self._advance()
        return self._branch(place, "**", base, self._deeper("_unary"))

    def _atom(self) -> Node:
        if self.token.kind == "number":
            return self._number()
        if self.token.kind == "name":
            return self._name()
        if self.token.kind == "(":
            opened = self.place
            self._advance()
            node = self._deeper("_or")
            self._close(opened)
            return node
        if self.token.kind in ("text", "truth", ")", "end", "not"):
            if self.token.kind == ")":
                raise self.place.error("expected a number or a name before ')'")
            raise self._stray()
        raise self.place.error(f"expected a number or a name before '{self.token.text}'")

    def _close(self, opened: SourceLocation) -> None:
        if self.token.kind == "end":
            raise self.place.error(
                f"expected ')'; the '(' opened at column {opened.column} is never closed"
            )
        if self.token.kind != ")":
            raise self._stray()
        self._advance()

    def _number(self) -> Node:
        place = self.place
        written = self._advance().text
        value = value_of(written)
        if value >= 2**64 if isinstance(value, int) else math.isinf(value):
            shown = written if len(written) <= 40 else f"{written[:37]}..."
            raise place.error(
                f"the number {shown} is too large; whole numbers must be below 2**64, others "
                "below 1.8e308"
            )
        unit = ""
        if self.token.kind == "unit":
            unit = SPELLINGS[self._advance().text]
        elif self.token.kind == "name":
            hint = did_you_mean(self.token.text, UNITS)
            raise self.place.error(
                f"unknown unit '{self.token.text}'."
                + (hint or " After a number stands a unit, such as mag, or an operator.")
            )
        return self._counted(NumberNode(place, value, unit))

    def _name(self) -> Node:
        place = self.place
        name = self.token.text
        after = self.text[self.token.start + len(name) :].lstrip()
        if after.startswith("(") and name not in self.functions:
            raise place.error(unknown("function", name, self.functions))
        self._advance()
        if self.token.kind != "(":
            if name.lower() in VALUES:
                raise place.error(f"'{name}' is not a column: {VALUES[name.lower()]}")
            return self._counted(NameNode(place, name))
        opened = self.place
        self._advance()
        arguments = [] if self.token.kind == ")" else [self._argument(name, 0)]
        while self.token.kind == ",":
            self._advance()
            arguments.append(self._argument(name, len(arguments)))
        self._close(opened)
        fewest, most = self.functions[name].arguments
        if not fewest <= len(arguments) <= most:
            count = f"{fewest} to " * (fewest != most) + counted(most, "argument")
            raise place.error(f"{name}() takes {count}, not {len(arguments)}")
        return self._branch(place, name, *arguments)

    def _argument(self, name: str, number: int) -> Node:
        """One argument of a function, after `number` others."""
        function, place = self.functions[name], self.place
        if function.takes_file and number == 0:
            if self.token.kind != "text":
                example = function.example
                raise place.error(f"{name}() takes a file's name in quotes, e.g. {example}")
            return self._counted(TextNode(place.moved(1), self._advance().text[1:-1]))
        after = self.token.start + len(self.token.text)
        if function.named and self.token.kind == "name" and _NAMING.match(self.text, after):
            return self._named_argument(function)
        if number < function.words:
            return self._plain_word(function)
        if function.named:
            known = "=, ".join(function.named)
            raise place.error(f"expected one of {known}= with its value, e.g. {function.example}")
        return self._deeper("_or")

    def _named_argument(self, function: Function) -> Node:
        place, name = self.place, self.token.text
        if name not in function.named:
            raise place.error(unknown("argument", name, function.named))
        self.naming = True
        self._advance()
        self.naming = False
        self._advance()
        value = self._plain_word(function) if function.named[name] else self._deeper("_or")
        return self._branch(place, f"{name}=", value)

    def _plain_word(self, function: Function) -> Node:
        """A word, or a text in quotes."""
        place = self.place
        if self.token.kind not in ("text", "name"):
            taken = f"{function.name}() takes a name or a text in quotes here, e.g. "
            raise place.error(taken + function.example)
        is_text = self.token.kind == "text"
        word = self._advance().text
        if self.token.kind not in (",", ")", "end"):
            hint = "; a name of several words stands in quotes" * (not is_text)
            raise self.place.error(f"expected ',' or ')' after {word}{hint}")
        value = word[1:-1] if is_text else word
        return self._counted(TextNode(place.moved(int(is_text)), value))


_NAMING = re.compile(r"\s*=(?!=)")  # what follows the name of an argument
# A column of each kind, for errors.
_EXAMPLES = {"text": "type", "truth": "flag"}


def _has_no_order(part: TextNode | TruthNode) -> str:
    if isinstance(part, TruthNode):
        return f"{part} has no order; compare a flag with == or !=, e.g. flag == {part}"
    if NUMBER.fullmatch(part.value.strip()):
        return f"cannot compare a number with text {part}; remove the quotes"
    return f"text has no order; compare it with == or !=, or write in [{part}]"


def _kind_of_literal(literal: Node) -> str:
    if isinstance(literal, TextNode):
        return "text"
    return "true or false" if isinstance(literal, TruthNode) else "a number"
