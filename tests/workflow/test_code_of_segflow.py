"""The code of segflow itself: closures hold all that a command uses, and no import escapes them."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from segflow.commands.main import VERBS
from segflow.workflow.code import closure, code_of, installed

COMMANDS = sorted(f"segflow.commands.{module}" for module, _ in VERBS.values())
SOURCES = sorted(installed().root.rglob("*.py"))
DISPATCHER = "segflow.commands.main"

# What modules do when they are imported or run: nothing that changes another module's results.
DO_MORE = {
    "segflow.__main__: sys.exit(main())",
    f"{DISPATCHER}: os.environ.setdefault('GOMP_SPINCOUNT', '20000')",
    f"{DISPATCHER}: os.environ.setdefault('OPENBLAS_NUM_THREADS', '1')",
}

# What can import by a computed name. A module is looked for where it is imported, so that no alias hides it.
IMPORTING_MODULES = {"builtins", "imp", "importlib", "pkgutil", "runpy", "zipimport"}
IMPORTING_NAMES = {"__builtins__", "__import__", "__loader__", "eval", "exec"}
HARMLESS = ("importlib.metadata", "importlib.resources")


@pytest.mark.parametrize("module", COMMANDS)
def test_the_dispatcher_is_in_no_closure(module):
    assert not {DISPATCHER, "segflow.__main__"} & closure(module).keys()


def test_what_draws_beside_results_is_in_no_closure():
    drawing = {"segflow.commands.watching", "segflow.reporting.progress"}
    assert drawing < closure("segflow.commands.watching").keys()
    for module in COMMANDS:
        assert not drawing & closure(module).keys(), module


def test_code_of_a_verb():
    names = [text.partition("@")[0] for text in code_of("segflow.commands.report")]
    assert names == sorted(names)
    assert {
        "segflow.commands.report",
        "segflow.reporting.page",
        "segflow.reporting/report.html.jinja",
    } <= {*names}
    assert not any(name.startswith("segflow.training") for name in names)


def test_only_the_dispatcher_imports_by_a_computed_name():
    assert {_module(file) for file in SOURCES if list(_dynamic(ast.parse(file.read_text())))} == {DISPATCHER}


@pytest.mark.parametrize(
    "text",
    [
        "import importlib",
        "import importlib.util as u",
        "from importlib import import_module as get",
        "import runpy",
        "from pkgutil import walk_packages",
        "__import__('x')",
        "run = exec",
        "eval('x')",
    ],
)
def test_the_search_finds(text):
    assert list(_dynamic(ast.parse(text)))


@pytest.mark.parametrize("text", ["from importlib.metadata import version", "network.eval()", "import os"])
def test_the_search_lets_pass(text):
    assert not list(_dynamic(ast.parse(text)))


def test_own_modules_are_imported_by_from():
    """`import segflow.a.b` would also make `segflow.c` usable, which no import statement names."""
    for file in SOURCES:
        nodes = [node for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.Import)]
        names = [alias.name for node in nodes for alias in node.names]
        assert not [name for name in names if name.partition(".")[0] == "segflow"], file


def test_docstrings_are_not_used():
    """They are left out of the digests."""
    for file in SOURCES:
        nodes = ast.walk(ast.parse(file.read_text()))
        assert "__doc__" not in {getattr(node, "id", getattr(node, "attr", "")) for node in nodes}, file


def test_importing_a_module_does_nothing_else():
    found = {
        f"{_module(file)}: {ast.unparse(node)}"
        for file in SOURCES
        for node in ast.parse(file.read_text()).body
        if not _only_defines(node)
    }
    assert found <= DO_MORE


def test_closures_hold_all_that_is_used(tmp_path):
    """Every command can be imported with the modules of its closure alone.

    A package's `__init__` is executed too, and with it the siblings it passes on. Here the siblings outside
    the closure are replaced by modules of which each name is a placeholder, and no module of the closure may
    hold one. That is enough: a module that gives no name, and does nothing when it is imported (tests above),
    cannot take part. Imports within functions don't run here, but are read from the text like all others.
    """
    closures = {module: [name for name in closure(module) if "/" not in name] for module in COMMANDS}
    (tmp_path / "closures.json").write_text(json.dumps(closures))
    (tmp_path / "alone.py").write_text(ALONE)
    environment = {**os.environ, "PYTHONPATH": str(installed().root.parent)}
    command = [sys.executable, tmp_path / "alone.py", tmp_path / "closures.json"]
    result = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    leaks = json.loads(result.stdout)
    assert "segflow.losses.compound: soft_dice_loss" in leaks.pop("without dice")
    assert leaks == {module: [] for module in COMMANDS}


ALONE = """
import importlib, importlib.machinery, json, sys, types
from pathlib import Path


class Placeholder:
    pass


class Nothing(types.ModuleType):
    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return Placeholder()


class Replace:
    # Finds modules outside the closure. Packages are real: they pass names on.
    def find_spec(self, name, path, target=None):
        if not name.startswith("segflow.") or name in self.closure:
            return None
        if any((Path(folder) / name.rpartition(".")[2]).is_dir() for folder in path):
            return None
        return importlib.machinery.ModuleSpec(name, self)

    def create_module(self, spec):
        return Nothing(spec.name)

    def exec_module(self, module):
        pass


def leaks(command, closure):
    for name in [name for name in sys.modules if name.partition(".")[0] == "segflow"]:
        del sys.modules[name]
    replace.closure = closure
    importlib.import_module(command)
    used = [(name, sys.modules[name]) for name in closure if name in sys.modules]
    return [
        f"{name}: {key}"
        for name, module in used
        for key, value in vars(module).items()
        if isinstance(value, (Placeholder, Nothing))
    ]


replace = Replace()
sys.meta_path.insert(0, replace)
closures = json.loads(Path(sys.argv[1]).read_text())
found = {command: leaks(command, closure) for command, closure in closures.items()}
train = [name for name in closures["segflow.commands.train"] if name != "segflow.losses.dice"]
found["without dice"] = leaks("segflow.commands.train", train)  # the search does find what it looks for
print(json.dumps(found))
"""


def _module(file: Path) -> str:
    path = file.parent if file.stem == "__init__" else file.with_suffix("")
    return ".".join(path.relative_to(installed().root.parent).parts)


def _dynamic(tree: ast.Module) -> Iterator[ast.AST]:
    for node in ast.walk(tree):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        modules = {name.partition(".")[0] for name in names if not name.startswith(HARMLESS)}
        if modules & IMPORTING_MODULES or (isinstance(node, ast.Name) and node.id in IMPORTING_NAMES):
            yield node


def _only_defines(node: ast.stmt) -> bool:
    """An import, a definition, an assignment to names, a docstring, or a block for type checkers."""
    if isinstance(node, (ast.Assign, ast.AnnAssign)):
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        names = [
            name
            for target in targets
            for name in (target.elts if isinstance(target, ast.Tuple) else [target])
        ]
        return all(isinstance(name, ast.Name) for name in names)
    if isinstance(node, ast.If):
        return (
            ast.unparse(node.test) == "TYPE_CHECKING"
            and not node.orelse
            and all(map(_only_defines, node.body))
        )
    if isinstance(node, ast.Expr):
        return isinstance(node.value, ast.Constant)
    return isinstance(node, (ast.Import, ast.ImportFrom, ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef))
