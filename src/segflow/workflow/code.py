"""Which code a rule runs: one digest per module that its command imports, directly or through others.

Snakemake gets the digests as parameters of a rule. So a changed module re-runs the stages that import it and
no other, and the reason that Snakemake prints names the module.

Files are parsed, never imported, and of a file the syntax tree counts: a comment, a docstring or a line break
re-runs nothing. A name that cannot be followed counts with all that it may stand for. An import by a computed
name cannot be seen; a test keeps such imports out of segflow.

What a Python file says, apart from comments, docstrings and layout.
"""

from __future__ import annotations

import ast
import hashlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path

from segflow.contracts.errors import ConfigurationError

__all__ = [
    "CodeBase",
    "absolute",
    "bound_by",
    "closure",
    "code_of",
    "installed",
    "is_quiet",
    "parse",
    "write_tree",
]

# Fields of the tree that say nothing about what the code does.
_IGNORED = frozenset({"ctx", "kind", "type_comment", "type_ignores"})
_DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)

_COLLECTIONS = (ast.Tuple, ast.List, ast.Set, ast.Dict, ast.expr_context)
_LITERALS = (ast.Constant, ast.UnaryOp, ast.unaryop, *_COLLECTIONS)


def parse(file: Path) -> ast.Module:
    """The syntax tree of a file.

    Raises:
        ConfigurationError: It is not valid Python.
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


_DIGITS = 12
#: Modules that write pictures and logs beside results. What they import decides no result (decision 0009).
_ASIDE = ("commands.watching",)
#: An import: the module, and the name taken from it; `_ITSELF` if the module is bound, "*" for all names.
_Import = tuple[str, str]
_ITSELF = ""


@dataclass(frozen=True)
class _Source:
    """One parsed file.

    Attributes:
        digest: Of its syntax tree.
        imports: All imports of the package's own modules, wherever they stand.
        table: Names that its top level binds by such imports.
        bound: All names that its top level binds; with "*" if they cannot be told.
        is_quiet: It holds nothing but imports and constants.
    """

    digest: str
    imports: frozenset[_Import]
    table: dict[str, tuple[_Import, ...]]
    bound: frozenset[str]
    is_quiet: bool

    @property
    def is_pure(self) -> bool:
        """It only passes on names of the package's own modules."""
        return self.is_quiet and self.bound == self.table.keys()


@dataclass(frozen=True)
class CodeBase:
    """A package's files. They are listed and parsed once, and then serve any number of closures.

    Attributes:
        root: The package's folder; its name is the package's name.
    """

    root: Path
    _sources: dict[str, _Source] = field(default_factory=dict, init=False, repr=False, compare=False)
    _edges: dict[str, set[str]] = field(default_factory=dict, init=False, repr=False, compare=False)

    def code_of(self, module: str) -> tuple[str, ...]:
        """The closure of a module as text, for the parameters of a rule.

        Args:
            module: Its full name, such as "segflow.commands.train".

        Returns:
            "module@digest" or "package/file@digest" with 12 digits each, sorted.

        Raises:
            ConfigurationError: There is no such module, or a file is not valid Python.
        """
        return tuple(f"{name}@{digest[:_DIGITS]}" for name, digest in self.closure(module).items())

    def closure(self, module: str) -> dict[str, str]:
        """What a module imports, directly or through others, with itself.

        An `__init__` file that only passes names on does not count: the modules that define the names do. Nor does what
        only draws beside the results.

        Args:
            module: Its full name.

        Returns:
            Digest by module, and by data file that lies beside one of them, sorted by name.

        Raises:
            ConfigurationError: There is no such module, or a file is not valid Python.
        """
        if module not in self._files:
            raise ConfigurationError(f"{module} is not a module of {self.root}")
        reached: set[str] = set()
        waiting = {module}
        aside = {f"{self.root.name}.{name}" for name in _ASIDE}
        while waiting:
            reached |= waiting
            waiting = set().union(*map(self._imported_by, waiting)) - reached - aside
        digests = {name: self._source(name).digest for name in reached}
        for folder in {self._files[name].parent for name in reached}:
            for name, file in self._data.get(folder, {}).items():
                digests[name] = hashlib.sha256(file.read_bytes()).hexdigest()
        return dict(sorted(digests.items()))

    @cached_property
    def _files(self) -> dict[str, Path]:
        """File by module. A folder stands after the folder that holds it, and wins, as in Python."""
        return {
            self._dotted(file.parent if file.stem == "__init__" else file.with_suffix("")): file
            for file in self._listing
            if file.suffix == ".py"
        }

    @cached_property
    def _data(self) -> dict[Path, dict[str, Path]]:
        """Data files by the folder of modules that they belong to: the nearest one above them."""
        modules = {file.parent for file in self._files.values()}
        found: dict[Path, dict[str, Path]] = {}
        for file in self._listing:
            if file.suffix in {".py", ".pyc"} or file.name == "py.typed" or file.name.endswith("~"):
                continue
            folder = next((above for above in file.parents if above in modules), self.root)
            name = f"{self._dotted(folder)}/{file.relative_to(folder).as_posix()}"
            found.setdefault(folder, {})[name] = file
        return found

    @cached_property
    def _listing(self) -> list[Path]:
        found = []
        for folder, below, files in os.walk(self.root):
            below[:] = sorted(name for name in below if name != "__pycache__" and not name.startswith("."))
            found += [Path(folder, name) for name in sorted(files) if not name.startswith(".")]
        return found

    def _dotted(self, path: Path) -> str:
        return ".".join((self.root.name, *path.relative_to(self.root).parts))

    @cached_property
    def _packages(self) -> set[str]:
        return {module for module, file in self._files.items() if file.stem == "__init__"}

    def _source(self, module: str) -> _Source:
        if module not in self._sources:
            self._sources[module] = self._read(module)
        return self._sources[module]

    def _read(self, module: str) -> _Source:
        tree = parse(self._files[module])
        package = module if module in self._packages else _parent(module)
        parts: list[str] = []
        write_tree(tree, parts.append)
        table: dict[str, tuple[_Import, ...]] = {}
        bound: set[str] = set()
        for statement in tree.body:
            bound |= bound_by(statement)
            for name, target in self._imports_of(statement, package):
                table[name] = (*table.get(name, ()), target)
        imports = {target for node in ast.walk(tree) for _, target in self._imports_of(node, package)}
        return _Source(
            digest=hashlib.sha256("".join(parts).encode("ascii")).hexdigest(),
            imports=frozenset(imports),
            table={name: targets for name, targets in table.items() if name != "*"},
            bound=frozenset(bound),
            is_quiet=all(map(is_quiet, tree.body)),
        )

    def _imports_of(self, statement: ast.AST, package: str) -> Iterator[tuple[str, _Import]]:
        """Imports of the package's own modules, each with the name that it binds."""
        if isinstance(statement, ast.Import):
            for alias in statement.names:
                if self._is_own(alias.name):
                    yield alias.asname or self.root.name, (alias.name, _ITSELF)
        elif isinstance(statement, ast.ImportFrom):
            base = absolute(statement, package)
            if self._is_own(base):
                for alias in statement.names:
                    yield alias.asname or alias.name, (base, alias.name)

    def _is_own(self, module: str) -> bool:
        return module == self.root.name or module.startswith(f"{self.root.name}.")

    def _imported_by(self, module: str) -> set[str]:
        if module not in self._edges:
            found = self._on_the_way_to(module)
            for base, name in self._source(module).imports:
                found |= self._resolve(base, name, set())
            self._edges[module] = found
        return self._edges[module]

    def _on_the_way_to(self, module: str) -> set[str]:
        """Packages above a module that do more, when they are executed, than to import and define constants."""
        names = module.split(".")
        above = (".".join(names[:n]) for n in range(1, len(names)))
        return {name for name in above if name in self._files and not self._source(name).is_quiet}

    def _resolve(self, base: str, name: str, seen: set[_Import]) -> set[str]:
        """The modules that `from base import name` takes its object from."""
        if (base, name) in seen:
            return set()
        seen.add((base, name))
        inside = {f"{base}.{name}"} & self._files.keys()
        found = self._on_the_way_to(base) | inside
        if name == _ITSELF or base not in self._packages:
            return found | ({base} & self._files.keys())  # none for a folder without __init__
        source = self._source(base)
        if name == "*":  # __all__ may name modules too
            return found | {base} | {module for module in self._files if _parent(module) == base}
        if source.is_pure and name in source.table:
            return found.union(*(self._resolve(*target, seen) for target in source.table[name]))
        is_module = inside and source.is_quiet and not source.bound & {name, "*"}
        return found if is_module else found | {base}


@cache
def installed() -> CodeBase:
    """The code of segflow itself, as this process found it."""
    return CodeBase(Path(__file__).resolve().parents[1])


def code_of(module: str) -> tuple[str, ...]:
    """What decides the result of a module of segflow, for the parameters of a rule.

    Args:
        module: Its full name, such as "segflow.commands.train".

    Returns:
        "module@digest" with 12 digits each, sorted; see `CodeBase.code_of`.

    Raises:
        ConfigurationError: There is no such module, or a file is not valid Python.
    """
    return installed().code_of(module)


def closure(module: str) -> dict[str, str]:
    """Digest by module of segflow that a module imports; see `CodeBase.closure`."""
    return installed().closure(module)


def _parent(module: str) -> str:
    return module.rpartition(".")[0]
