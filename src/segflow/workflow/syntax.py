"""What a Python file says, apart from comments, docstrings and layout."""

from __future__ import annotations

import ast
from collections.abc import Callable
from pathlib import Path

from segflow.contracts.errors import ConfigurationError

__all__ = ["absolute", "bound_by", "is_quiet", "parse", "write_tree"]

# Fields of the tree that say nothing about what the code does.
_IGNORED = frozenset({"ctx", "kind", "type_comment", "type_ignores"})
_DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)

_COLLECTIONS = (ast.Tuple, ast.List, ast.Set, ast.Dict, ast.expr_context)
_LITERALS = (ast.Constant, ast.UnaryOp, ast.unaryop, *_COLLECTIONS)


def parse(file: Path) -> ast.Module:
    """The syntax tree of a file.

    Raises:
        ConfigurationError: It is not valid Python.

    Source: ours.
    """
    try:
        return ast.parse(file.read_bytes(), filename=str(file))
    except (SyntaxError, ValueError) as problem:  # the latter for a zero byte, before Python 3.12
        line = getattr(problem, "lineno", None) or 1
        reason = getattr(problem, "msg", problem)
        raise ConfigurationError(f"{file}, line {line}: not valid Python: {reason}") from None


def write_tree(value: object, out: Callable[[str], None]) -> None:
    """Write a tree as text that is the same under every version of Python.

    `ast.dump` and `repr` are not: the first changed its mind about empty lists, the second about which
    characters can be printed.
    """
    if isinstance(value, ast.Constant):
        out(f"{type(value.value).__name__}:{value.value!a},")
    elif isinstance(value, ast.AST):
        out(f"{type(value).__name__}(")
        for name in value._fields:
            part = getattr(value, name, None)
            if name == "body" and isinstance(value, _DOCUMENTED):
                part = value.body[any(map(is_text, value.body[:1])) :]
            if part is not None and part != [] and name not in _IGNORED:
                out(f"{name}=")
                write_tree(part, out)
        out("),")
    elif isinstance(value, list):
        out("[")
        for item in value:
            write_tree(item, out)
        out("],")
    else:
        out(f"{value!a},")


def is_text(statement: ast.stmt) -> bool:
    if not isinstance(statement, ast.Expr) or not isinstance(statement.value, ast.Constant):
        return False
    return isinstance(statement.value.value, str)


def absolute(statement: ast.ImportFrom, package: str) -> str:
    """The module that is imported from, with the dots of a relative import resolved."""
    if not statement.level:
        return statement.module or ""
    above = package.split(".")
    above = above[: len(above) - statement.level + 1]
    return ".".join([*above, statement.module or ""]).rstrip(".") if above else ""


def bound_by(statement: ast.stmt) -> set[str]:
    """Names that a quiet statement binds, but for `__all__` and those from `__future__`."""
    if isinstance(statement, ast.Import):
        return {alias.asname or alias.name.partition(".")[0] for alias in statement.names}
    if isinstance(statement, ast.ImportFrom) and statement.module != "__future__":
        return {alias.asname or alias.name for alias in statement.names}
    return {name for name in assigned_by(statement) if name != "__all__"}


def assigned_by(statement: ast.stmt) -> list[str]:
    targets: list[ast.expr] = []
    if isinstance(statement, ast.Assign):
        targets = statement.targets
    elif isinstance(statement, (ast.AnnAssign, ast.AugAssign)):
        targets = [statement.target]
    return [target.id if isinstance(target, ast.Name) else "*" for target in targets]


def is_quiet(statement: ast.stmt) -> bool:
    """An import, a docstring, `__all__`, or a constant that is given a name."""
    if isinstance(statement, (ast.Import, ast.ImportFrom)) or is_text(statement):
        return True
    names = assigned_by(statement)
    if names == ["__all__"]:
        return True
    if not names or "*" in names or not isinstance(statement, (ast.Assign, ast.AnnAssign)):
        return False
    return statement.value is None or all(isinstance(node, _LITERALS) for node in ast.walk(statement.value))
