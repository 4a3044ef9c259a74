"""Rules of the source that no linter knows: documented sources, small files, no unsafe loading, no paths."""

from __future__ import annotations

import ast
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
PACKAGE = REPOSITORY / "src" / "segflow"
MODULES = sorted(PACKAGE.rglob("*.py"))
MOST_LINES = 400
UNPICKLERS = {"load", "loads", "dump", "dumps", "Pickler", "Unpickler"}
OTHERS_PATHS = re.compile(r"""(?:^|[\s"'`=:(,\[]|file://)/(?:home|Users|root|work|opt|mnt|srv)/\w""")


def names(paths: list[Path]) -> list[str]:
    return [str(path.relative_to(REPOSITORY)) for path in paths]


@pytest.mark.parametrize("module", MODULES, ids=names(MODULES))
def test_public_functions_are_documented(module):
    for function in _public_functions(ast.parse(module.read_text())):
        assert ast.get_docstring(function), f"{function.name} has no docstring"


@pytest.mark.parametrize("module", MODULES, ids=names(MODULES))
def test_nothing_is_unpickled(module):
    faults = [f"line {node.lineno}: {ast.unparse(node)}" for node in _unsafe(ast.parse(module.read_text()))]
    assert not faults


def test_files_are_small():
    files = [file for file in _tracked_files() if file.suffix in {".py", ".smk"} or file.name == "Snakefile"]
    lengths = {str(file.relative_to(REPOSITORY)): len(file.read_text().splitlines()) for file in files}
    assert not {name: lines for name, lines in lengths.items() if lines > MOST_LINES}


def test_no_path_of_somebodys_machine():
    found = [
        f"{file.relative_to(REPOSITORY)}:{number}: {line.strip()}"
        for file in _tracked_files()
        if file != Path(__file__)
        for number, line in enumerate(_text(file).splitlines(), start=1)
        if OTHERS_PATHS.search(line)
    ]
    assert not found


@pytest.mark.parametrize(
    "unsafe",
    [
        "pickle.load(file)",
        "torch.load(path)",
        "torch.load(path, weights_only=False)",
        "np.load(path, allow_pickle=True)",
        "from pickle import loads",
    ],
)
def test_the_search_finds(unsafe):
    assert list(_unsafe(ast.parse(unsafe)))


@pytest.mark.parametrize(
    "safe", ["torch.load(path, weights_only=True)", "np.load(path)", "pickle.UnpicklingError"]
)
def test_the_search_lets_pass(safe):
    assert not list(_unsafe(ast.parse(safe)))


@pytest.mark.parametrize("line", ["cd /home/somebody", 'x = "/work/x"', "file:///opt/x", "/mnt/data"])
def test_a_machines_path_is_recognised(line):
    assert OTHERS_PATHS.search(line)


@pytest.mark.parametrize("line", ["f'{results}/work/x'", "benchmarks/work/x", "https://example.org/home/x"])
def test_other_paths_pass(line):
    assert not OTHERS_PATHS.search(line)


def _public_functions(module: ast.Module) -> Iterator[ast.FunctionDef]:
    public: set[str] = set()
    for node in module.body:
        if isinstance(node, ast.Assign) and any(ast.unparse(t) == "__all__" for t in node.targets):
            public = set(ast.literal_eval(node.value))
    return (node for node in module.body if isinstance(node, ast.FunctionDef) and node.name in public)


def _unsafe(module: ast.Module) -> Iterator[ast.stmt | ast.expr]:
    for node in ast.walk(module):
        if isinstance(node, ast.Attribute):
            if ast.unparse(node.value) == "pickle" and node.attr in UNPICKLERS:
                yield node
        elif isinstance(node, ast.ImportFrom):
            if node.module == "pickle" and UNPICKLERS & {alias.name for alias in node.names}:
                yield node
        elif isinstance(node, ast.Call) and _loads_objects(node):
            yield node


def _loads_objects(call: ast.Call) -> bool:
    options = {option.arg: ast.unparse(option.value) for option in call.keywords}
    function = ast.unparse(call.func)
    if function == "torch.load":
        return options.get("weights_only") != "True"
    return function in {"np.load", "numpy.load"} and options.get("allow_pickle", "False") != "False"


def _tracked_files() -> list[Path]:
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    listing = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    if listing.returncode != 0:
        pytest.skip("not a git checkout, so nothing says which files are the project's")
    files = (REPOSITORY / name for name in listing.stdout.split("\0") if name)
    return [file for file in files if file.is_file()]


def _text(file: Path) -> str:
    try:
        return file.read_text()
    except UnicodeDecodeError:
        return ""
