"""A stage's code: what counts as a change of a file, and that closures hold all that a verb uses."""

from __future__ import annotations

import ast
import itertools
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import segflow
from segflow.commands.main import COMMANDS
from segflow.contracts.errors import ConfigurationError
from segflow.workflow.code import closure, code_of, digest_of_code

ROOT = Path(segflow.__file__).parent
TREES = {file: ast.parse(file.read_text()) for file in sorted(ROOT.rglob("*.py"))}
MODULES = sorted(f"segflow.commands.{module}" for module in COMMANDS.values())
DISPATCHER = "segflow.commands.main"

# What modules do when they are imported or run: nothing that changes another module's results.
DO_MORE = {
    "segflow.__main__: sys.exit(main())",
    f"{DISPATCHER}: os.environ.setdefault('GOMP_SPINCOUNT', '20000')",
    f"{DISPATCHER}: os.environ['OPENBLAS_NUM_THREADS'] = '1'",
}

# What can import by a computed name. A module is looked for where it is imported, so that no alias hides it.
IMPORTING_MODULES = {"builtins", "imp", "importlib", "pkgutil", "runpy", "zipimport"}
IMPORTING_NAMES = {"__builtins__", "__import__", "__loader__", "eval", "exec"}
HARMLESS = ("importlib.metadata", "importlib.resources")

CODE = '''
"""A module."""
import math  # for pi

def area(radius: float, *, scale=1) -> float:
    """A circle."""
    def inner(x):
        """Deep inside."""
        return x
    return inner(math.pi) * radius ** 2 * scale

class Circle:
    """Round."""
    name: str = f"circle {math.pi:.{2}f}!"

    def empty(self):
        """Nothing else."""
'''

numbers = itertools.count()


@pytest.fixture
def digest(tmp_path) -> Callable[[str], str]:
    def of_text(text: str) -> str:
        file = tmp_path / f"{next(numbers)}.py"
        file.write_text(text)
        return digest_of_code(file)

    return of_text


@pytest.fixture
def package(tmp_path, monkeypatch) -> Callable[[dict[str, str]], str]:
    """A function that writes a package and gives its name; `OWN` in the texts stands for the name."""

    def write(files: dict[str, str]) -> str:
        name = f"own{next(numbers)}"
        for file, text in {"__init__.py": "", **files}.items():
            path = tmp_path / name / name / file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text.replace("OWN", name))
        monkeypatch.syspath_prepend(tmp_path / name)
        return name

    return write


# What counts as a change of a file.


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("  # for pi", ""),
        ('"""A module."""', '"""Another text."""'),
        ('    """A circle."""\n', ""),
        ('        """Deep inside."""\n', ""),
        ('"""Round."""', '"""Square."""'),
        ('"""Nothing else."""', "'''Nothing more.'''"),
        ("return x", "return (\n            x\n        )"),
        ("import math", "\n\n\nimport math"),
        ("(radius: float, *, scale=1)", "(\n    radius: float,\n    *,\n    scale=1,\n)"),
        ("1)", "0x1)"),
        ("{math.pi:.{2}f}!", '" f"{math.pi:.{2}f}!'),
    ],
)
def test_layout_and_documentation_do_not_count(digest, old, new):
    assert old in CODE
    assert digest(CODE.replace(old, new)) == digest(CODE)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("radius: float", "radius: int"),
        ("scale=1", "scale"),
        ("radius ** 2 * scale", "radius ** (2 * scale)"),
        ("import math", "import math as m"),
        ("return x", "yield x"),
        (".{2}f", ".{3}f"),
        ("{math.pi:", "{math.pi!r:"),
        ("name: str =", "name ="),
        ("def empty", "async def empty"),
        ("class Circle", "@final\nclass Circle"),
        ("        return x", "        'another text'\n        return x"),
    ],
)
def test_everything_else_counts(digest, old, new):
    assert old in CODE
    assert digest(CODE.replace(old, new)) != digest(CODE)


def test_expressions_that_look_alike_differ(digest):
    texts = "1|True|1.0|1j|'1'|b'1'|f'1'|None|...|''|b''|-1|(1,)|[1]|x[1:]|x[:1]|x[::1]|x[1]|{1}|{1: 1}|{**x}"
    texts += (
        "|f(x)|f(*x)|f(**x)|f(x=x)|[i for i in x]|{i for i in x}|(i for i in x)|lambda a: a|lambda a, /: a"
    )
    texts += "|lambda *, a: a|lambda *, a, b=1: a|lambda *, a=1, b: a|[[], x]|[[x]]|[[], [x]]|'ä'|'ö'|ä|ö"
    expressions = texts.split("|")
    assert len({digest(f"y = {text}") for text in expressions}) == len(expressions)


def test_known_value(digest):
    """Any Python from 3.11 to 3.13 gives this digest; another value re-runs every finished experiment."""
    assert digest(CODE) == "f8a0cdeb9099"


def test_every_name_in_a_real_file_counts(digest):
    tree = ast.parse((ROOT / "losses" / "dice.py").read_text())
    digests = [digest(ast.unparse(tree))]
    for node in ast.walk(tree):
        for field in {"id", "attr", "arg", "name"} & set(node._fields):
            if isinstance(text := getattr(node, field), str):
                setattr(node, field, f"{text}_")
                digests.append(digest(ast.unparse(tree)))
                setattr(node, field, text)
    assert len(set(digests)) == len(digests) > 50


@pytest.mark.parametrize("text", ["x = 1\nx = = 2\n", "x = 1\ndef f(:"])
def test_a_file_that_is_not_python_is_named(package, text):
    own = package({"broken.py": text, "command.py": "def late():\n    from OWN import broken"})
    with pytest.raises(ConfigurationError, match=r"broken\.py, line 2: not valid Python"):
        closure(f"{own}.command")


# What a module imports.


@pytest.mark.parametrize(
    "text",
    [
        "from OWN.losses.dice import dice_loss",
        "from OWN.losses import dice",
        "from .losses.dice import dice_loss",
        "def late():\n    from OWN.losses.dice import dice_loss",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from OWN.losses.dice import dice_loss",
        "try:\n    from OWN.losses.dice import dice_loss\nexcept ImportError:\n    pass",
        "from OWN.plain import dice_loss",
    ],
)
def test_forms_of_import(package, text):
    files = {"losses/__init__.py": "", "losses/dice.py": "import json", "losses/other.py": ""}
    own = package(files | {"plain.py": "from OWN.losses.dice import dice_loss", "command.py": text})
    found = closure(f"{own}.command").keys() - {f"{own}.plain"}
    assert found == {f"{own}.command", f"{own}.losses.dice"}


def test_data_files_beside_a_module_count(package):
    files = {"a/__init__.py": "", "a/x.py": "", "a/page.jinja": "1", "a/py.typed": "", "a/.hidden": ""}
    files |= {"a/b/__init__.py": "", "a/b/y.py": "", "a/b/z.txt": "", "command.py": "from OWN.a import x"}
    one, other = package(files), package(files | {"a/page.jinja": "2"})
    first, second = closure(f"{one}.command"), closure(f"{other}.command")
    assert first.keys() == {f"{one}.command", f"{one}.a.x", f"{one}.a/page.jinja"}
    assert first[f"{one}.a/page.jinja"] != second[f"{other}.a/page.jinja"]


def test_code_of_a_verb():
    digests = closure("segflow.commands.report")
    assert code_of("segflow.commands.report") == tuple(f"{name}@{digests[name]}" for name in sorted(digests))
    assert {"segflow.reporting.page.render", "segflow.reporting.page/report.html.jinja"} <= digests.keys()
    assert not any(name.startswith("segflow.training") for name in digests)


def test_what_a_rule_does_not_use_counts_for_nothing(package):
    """And neither does what only that imports."""
    files = {
        "a.py": "from OWN import b, c",
        "b.py": "from OWN import d",
        "c.py": "from OWN import e",
        "d.py": "",
    }
    own = package(files | {"e.py": "from OWN import a"})
    assert closure(f"{own}.a", without=f"{own}.b").keys() == {f"{own}.{name}" for name in "ace"}
    measured = {"segflow.metrics.surface", "segflow.metrics.lesions"}
    assert measured <= closure("segflow.commands.evaluate").keys()
    pruned = closure("segflow.commands.evaluate", without="segflow.evaluation.beyond_dice").keys()
    assert not measured & pruned
    assert "segflow.metrics.overlap" in pruned


@pytest.mark.parametrize("module", MODULES)
def test_what_is_in_no_closure(module):
    """The dispatcher, and what draws beside results."""
    drawing = {"segflow.commands.watching", "segflow.reporting.progress"}
    assert not {DISPATCHER, "segflow.__main__", *drawing} & closure(module).keys()
    assert drawing < closure("segflow.commands.watching").keys()


# No import escapes the closures of segflow.


def test_init_files_hold_docstrings_only():
    """They are executed on the way to a module of their folder, but are in no closure for that."""
    for file in ROOT.glob("*/**/__init__.py"):
        assert all(is_text(node) for node in TREES[file].body), file


def test_nothing_imports_by_a_computed_name():
    assert {module_of(file) for file, tree in TREES.items() if imports_by_computed_name(tree)} == set()


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("import importlib", True),
        ("import importlib.util as u", True),
        ("from importlib import import_module as get", True),
        ("from pkgutil import walk_packages", True),
        ("__import__('x')", True),
        ("run = exec", True),
        ("from importlib.metadata import version", False),
        ("network.eval()", False),
        ("import os", False),
    ],
)
def test_what_counts_as_importing_by_a_computed_name(text, found):
    assert imports_by_computed_name(ast.parse(text)) == found


def test_own_modules_are_imported_by_from():
    """`import segflow.a.b` would also make `segflow.c` usable, which no import statement names."""
    for file, tree in TREES.items():
        imports = [node for node in ast.walk(tree) if isinstance(node, ast.Import)]
        assert not [a for node in imports for a in node.names if a.name.partition(".")[0] == "segflow"], file


def test_docstrings_are_not_used():
    """They are left out of the digests."""
    for file, tree in TREES.items():
        names = {getattr(node, "id", getattr(node, "attr", "")) for node in ast.walk(tree)}
        assert "__doc__" not in names, file


def test_importing_a_module_does_nothing_else():
    found = {
        f"{module_of(file)}: {ast.unparse(node)}"
        for file, tree in TREES.items()
        for node in tree.body
        if not only_defines(node)
    }
    assert found <= DO_MORE


NOTE_IMPORTS = """
import builtins, importlib, json, sys
noted, plain = set(), builtins.__import__


def noting(name, globals=None, locals=None, fromlist=(), level=0):
    importer = (globals or {}).get("__name__", "")
    noted.update((importer, one) for one in (name, *(f"{name}.{part}" for part in fromlist or ())))
    return plain(name, globals, locals, fromlist, level)


builtins.__import__ = noting
for module in sys.argv[1:]:
    importlib.import_module(module)
print(json.dumps(sorted(noted)))
"""


def test_closures_hold_all_that_is_used():
    """What any module of a closure imports when it is executed is in the closure as well.

    Imports within functions don't run here, but grimp reads them from the text like all others.
    """
    closures = [{name for name in closure(command) if "/" not in name} for command in MODULES]
    command = [sys.executable, "-c", NOTE_IMPORTS, *sorted(set.union(*closures))]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    modules = {module_of(file) for file in TREES if file.stem != "__init__"}
    used = [(importer, name) for importer, name in json.loads(done.stdout) if name in modules]
    assert ("segflow.losses.compound", "segflow.losses.dice") in used
    for names in closures:
        assert not [(importer, name) for importer, name in used if importer in names and name not in names]


def module_of(file: Path) -> str:
    path = file.parent if file.stem == "__init__" else file.with_suffix("")
    return ".".join(path.relative_to(ROOT.parent).parts)


def imports_by_computed_name(tree: ast.Module) -> bool:
    names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    modules: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            modules |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            modules |= {f"{node.module}.{alias.name}" for alias in node.names}
    packages = {module.partition(".")[0] for module in modules if not module.startswith(HARMLESS)}
    return bool(names & IMPORTING_NAMES or packages & IMPORTING_MODULES)


def is_text(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def only_defines(node: ast.stmt) -> bool:
    """An import, a definition, an assignment to names, a docstring, or a block for type checkers."""
    if isinstance(node, (ast.Assign, ast.AnnAssign)):
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        flat = [one for target in targets for one in getattr(target, "elts", [target])]
        return all(isinstance(name, ast.Name) for name in flat)
    if isinstance(node, ast.If):
        test = ast.unparse(node.test)
        for_types = test == "TYPE_CHECKING" and not node.orelse and all(map(only_defines, node.body))
        return for_types or test == "__name__ == '__main__'"  # the latter is not executed then
    definitions = (ast.Import, ast.ImportFrom, ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    return is_text(node) or isinstance(node, definitions)
