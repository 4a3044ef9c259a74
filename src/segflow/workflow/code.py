"""Which code decides a stage's result: a digest of each module that its command imports, directly or through others.

Snakemake gets the digests as parameters of a rule. So a changed module re-runs the stages that import it and no other,
and the reason that Snakemake prints names the module. Files are parsed, never imported: grimp finds the imports, also
those within functions, and of each file the syntax tree counts, so that a comment, a docstring or a line break re-runs
nothing. `__init__` files hold docstrings only. An import by a computed name cannot be seen; tests see to both.
"""

from __future__ import annotations

import ast
import hashlib
from functools import cache
from importlib.resources import files
from pathlib import Path

import grimp
from grimp.exceptions import SourceSyntaxError

from segflow.contracts.errors import ConfigurationError

__all__ = ["closure", "code_of", "digest_of_code"]

_DIGITS = 12
#: What draws pictures and writes logs beside a training decides no result, nor does what it imports (decision 0009).
_BESIDE_RESULTS = "segflow.commands.watching"
_NO_DATA = {"", ".py", ".pyc", ".typed"}
#: Fields of the syntax tree that say nothing about what the code does.
_IGNORED = {"ctx", "kind", "type_comment", "type_ignores"}
_DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


def closure(module: str, *, without: str = "") -> dict[str, str]:
    """What a module imports, directly or through others, with itself and the data files beside these modules.

    Args:
        module: Its full name, such as "segflow.commands.train".
        without: A module whose import counts for nothing, as its code decides no result here.

    Returns:
        Digest by module and by data file ("segflow.reporting.page/report.html.jinja"), sorted by name.

    Raises:
        ConfigurationError: A file is not valid Python.
    """
    found = {}
    try:
        for name in _upstream(_graph(module.partition(".")[0]), module, without):
            file = _file(name)
            folder = name if file.stem == "__init__" else name.rpartition(".")[0]
            found[name] = digest_of_code(file)
            found |= {f"{folder}/{data.name}": digest_of_code(data) for data in _data_files(file.parent)}
    except (SourceSyntaxError, SyntaxError) as problem:
        place = f"{problem.filename}, line {problem.lineno or 1}"
        raise ConfigurationError(f"{place}: not valid Python") from None
    return dict(sorted(found.items()))


def _upstream(graph: grimp.ImportGraph, module: str, without: str) -> set[str]:
    found, left = {module}, {module}
    while left:
        left = graph.find_modules_directly_imported_by(left.pop()) - found - {without} | left
        found |= left
    return found


def code_of(module: str, *, without: str = "") -> tuple[str, ...]:
    """The closure of a module for the parameters of a rule: "module@digest", sorted; see `closure`."""
    return tuple(f"{name}@{digest}" for name, digest in closure(module, without=without).items())


@cache
def _graph(package: str) -> grimp.ImportGraph:
    graph = grimp.build_graph(package, cache_dir=None)
    if _BESIDE_RESULTS in graph.modules:
        for importer in graph.find_modules_that_directly_import(_BESIDE_RESULTS):
            graph.remove_import(importer=importer, imported=_BESIDE_RESULTS)
    return graph


def _file(module: str) -> Path:
    package, *parts = module.split(".")
    path = Path(str(files(package))).joinpath(*parts)
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


@cache
def _data_files(folder: Path) -> tuple[Path, ...]:
    return tuple(file for file in folder.iterdir() if file.suffix not in _NO_DATA and file.name[0] != ".")


@cache
def digest_of_code(file: Path) -> str:
    """Digest of a file: of a module's syntax tree without docstrings, of a data file's content."""
    content = file.read_bytes()
    if file.suffix == ".py":
        content = _text(ast.parse(content, filename=str(file))).encode("ascii")
    return hashlib.sha256(content).hexdigest()[:_DIGITS]


def _text(node: object) -> str:
    """A syntax tree as text that is the same under every version of Python, as that of `ast.dump` is not."""
    if isinstance(node, list):
        return f"[{','.join(map(_text, node))}]"
    if isinstance(node, ast.Constant):
        return f"{type(node.value).__name__}:{node.value!a}"
    if not isinstance(node, ast.AST):
        return ascii(node)
    fields = {name: value for name, value in ast.iter_fields(node) if name not in _IGNORED}
    if isinstance(node, _DOCUMENTED) and ast.get_docstring(node, clean=False) is not None:
        fields["body"] = node.body[1:]
    shown = ",".join(f"{name}={_text(value)}" for name, value in fields.items() if value not in (None, []))
    return f"{type(node).__name__}({shown})"
