"""What may be changed in a module, one change at a time: the operators of mutmut, and a few more.

mutmut's own runner leaves out what stands outside of functions, and functions with decorators: here those are limits, tables,
patterns and properties. So its operators are applied to the tree of the whole module.
"""

from __future__ import annotations

import ast
import difflib
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import libcst as cst
from libcst.metadata import MetadataWrapper, PositionProvider
from mutmut.mutation.mutators import mutation_operators

WORDS_OF_A_MESSAGE = 4  # a text of so many words is for people; that there is one at all is changed, its wording is not
ENCODINGS = ("utf-8", "ascii")  # which go by those names in any case


class Change(NamedTuple):
    """One change of a module: in which function or class, on which lines, and which node becomes which."""

    where: str
    lines: range
    old: cst.CSTNode
    new: cst.CSTNode


class Mutant(NamedTuple):
    """A changed module; ``removed`` and ``added`` are the lines that differ, without indentation."""

    where: str
    removed: tuple[str, ...]
    added: tuple[str, ...]
    source: str


def _one_less(node: cst.Integer) -> Iterator[cst.BaseExpression]:
    value = node.evaluated_value - 1
    if value >= 0:
        yield node.with_changes(value=str(value))
    else:
        yield cst.UnaryOperation(cst.Minus(), cst.Integer(str(-value)), lpar=[cst.LeftParen()], rpar=[cst.RightParen()])


def _negated(node: cst.If | cst.While | cst.CompIf) -> Iterator[cst.CSTNode]:
    if isinstance(node.test, cst.UnaryOperation) and isinstance(node.test.operator, cst.Not):
        return  # mutmut takes the ``not`` away
    test = node.test.with_changes(lpar=[cst.LeftParen(), *node.test.lpar], rpar=[*node.test.rpar, cst.RightParen()])
    yield node.with_changes(test=cst.UnaryOperation(cst.Not(), test))


def _dropped(node: cst.SimpleStatementLine) -> Iterator[cst.CSTNode]:
    """Calls, raises and ``del``, with nothing in their place."""
    statement = node.body[0]
    if isinstance(statement, (cst.Raise, cst.Del)) or (isinstance(statement, cst.Expr) and isinstance(statement.value, cst.Call)):
        yield node.with_changes(body=[cst.Pass()])


def _uncaught(node: cst.ExceptHandler) -> Iterator[cst.CSTNode]:
    """Each class of errors, caught no more."""
    if isinstance(node.type, cst.Tuple):
        for index in range(len(node.type.elements)):
            kept = [*node.type.elements[:index], *node.type.elements[index + 1 :]]
            kept = [element.with_changes(comma=cst.Comma(cst.SimpleWhitespace(""), cst.SimpleWhitespace(" "))) for element in kept]
            yield node.with_changes(type=node.type.with_changes(elements=kept))
    elif node.type is not None:
        yield node.with_changes(type=cst.Tuple([]))


OPERATORS: list[tuple[Any, Any]] = [
    *mutation_operators,
    (cst.Integer, _one_less),
    ((cst.If, cst.While, cst.CompIf), _negated),
    (cst.SimpleStatementLine, _dropped),
    (cst.ExceptHandler, _uncaught),
]


def _is_passed_by(node: cst.CSTNode) -> bool:
    """What nothing evaluates, or no test can be asked about: imports, annotations, docstrings, and the words of messages."""
    if isinstance(node, (cst.Annotation, cst.Import, cst.ImportFrom)):
        return True
    if isinstance(node, cst.Expr):
        return isinstance(node.value, (cst.SimpleString, cst.ConcatenatedString))
    if isinstance(node, (cst.SimpleString, cst.ConcatenatedString)):
        value = node.evaluated_value
        return value in ENCODINGS or (isinstance(value, str) and len(value.split()) >= WORDS_OF_A_MESSAGE)
    # A condition for type checkers alone.
    return isinstance(node, cst.If) and isinstance(node.test, cst.Name) and node.test.value == "TYPE_CHECKING"


class Module:
    """A module to be changed."""

    def __init__(self, source: str) -> None:
        wrapper = MetadataWrapper(cst.parse_module(source), unsafe_skip_copy=True)
        self.tree = wrapper.module
        self.source = source
        self._positions = wrapper.resolve(PositionProvider)
        self._meaning = ast.dump(ast.parse(source))

    def changes(self) -> list[Change]:
        """All changes, in the order of the text."""
        return list(self._changes(self.tree, "", range(0)))

    def _changes(self, node: cst.CSTNode, where: str, lines: range) -> Iterator[Change]:
        if _is_passed_by(node):
            return
        if isinstance(node, (cst.FunctionDef, cst.ClassDef)):
            where = f"{where}.{node.name.value}".lstrip(".")
        if isinstance(node, (cst.BaseSmallStatement, cst.SimpleStatementLine, cst.BaseCompoundStatement)):
            position = self._positions[node]
            lines = range(position.start.line, position.end.line + 1)
        for kinds, operator in OPERATORS:
            if isinstance(node, kinds):
                for new in operator(node):
                    yield Change(where, lines, node, new)
        for child in node.children:
            yield from self._changes(child, where, lines)

    def changed(self, change: Change) -> Mutant | None:
        """The module with a change in it, or None where that is no other program, or none at all."""
        source = self.tree.deep_replace(change.old, change.new).code
        try:
            compile(source, "mutant", "exec", dont_inherit=True)
        except (SyntaxError, ValueError):
            return None
        if ast.dump(ast.parse(source)) == self._meaning:
            return None
        removed, added = _differing(self.source.splitlines(), source.splitlines())
        return Mutant(change.where, removed, added, source)


def _differing(old: Iterable[str], new: Iterable[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The lines that one text has and the other has not."""
    lines = list(difflib.unified_diff(list(old), list(new), n=0, lineterm=""))[2:]
    return tuple(line[1:].strip() for line in lines if line[0] == "-"), tuple(line[1:].strip() for line in lines if line[0] == "+")
