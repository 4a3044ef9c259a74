"""Rules of the source that no linter knows: documented functions, small files, no unsafe loading, no paths."""

from __future__ import annotations

import ast
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
MODULES = sorted((REPOSITORY / "src" / "segflow").rglob("*.py"))
MOST_LINES = 400
UNPICKLERS = {"load", "loads", "dump", "dumps", "Pickler", "Unpickler"}
MACHINE_PATH = re.compile(r"""(?:^|[\s"'`=:(,\[]|file://)/(?:home|Users|root|work|opt|mnt|srv)/\w""")


@pytest.fixture(scope="module")
def tracked() -> dict[str, str]:
    """The lines of the project's files by name; files that are no text have none."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    listing = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    if listing.returncode != 0:
        pytest.skip("not a git checkout, so nothing says which files are the project's")
    names = [name for name in listing.stdout.split("\0") if (REPOSITORY / name).is_file()]
    return {name: (REPOSITORY / name).read_text(errors="replace").splitlines() for name in names}


def test_public_functions_are_documented():
    for module in MODULES:
        tree = ast.parse(module.read_text())
        public = set()
        for node in tree.body:
            if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
                public = set(ast.literal_eval(node.value))
        for node in tree.body:
            if isinstance(node, ast.FunctionDef) and node.name in public:
                assert ast.get_docstring(node), f"{module}: {node.name} has no docstring"


def test_files_are_small(tracked):
    lengths = {
        name: len(lines) for name, lines in tracked.items() if name.endswith((".py", ".smk", "Snakefile"))
    }
    assert lengths
    assert not {name: lines for name, lines in lengths.items() if lines > MOST_LINES}


def test_no_path_of_a_particular_machine(tracked):
    this = str(Path(__file__).relative_to(REPOSITORY))
    assert not [
        f"{name}:{number}: {line.strip()}"
        for name, lines in tracked.items()
        for number, line in enumerate(lines, start=1)
        if name != this and MACHINE_PATH.search(line)
    ]


@pytest.mark.parametrize(
    ("line", "found"),
    [
        *[(line, True) for line in ("cd /home/me", 'x = "/work/x"', "file:///opt/x", "/mnt/data")],
        *[
            (line, False)
            for line in ("f'{results}/work/x'", "benchmarks/work/x", "https://example.org/home/x")
        ],
    ],
)
def test_which_paths_are_a_machine_s(line, found):
    assert bool(MACHINE_PATH.search(line)) == found


def test_nothing_is_unpickled():
    found = {str(module): list(_unsafe(module.read_text())) for module in MODULES}
    assert not {module: faults for module, faults in found.items() if faults}


@pytest.mark.parametrize(
    ("source", "safe"),
    [
        ("pickle.load(file)", False),
        ("torch.load(path)", False),
        ("torch.load(path, weights_only=False)", False),
        ("np.load(path, allow_pickle=True)", False),
        ("from pickle import loads", False),
        ("torch.load(path, weights_only=True)", True),
        ("np.load(path)", True),
        ("pickle.UnpicklingError", True),
    ],
)
def test_what_counts_as_unpickling(source, safe):
    assert bool(list(_unsafe(source))) != safe


def _unsafe(source: str) -> Iterator[str]:
    """The expressions of a module that may unpickle, with their lines."""
    for node in ast.walk(ast.parse(source)):
        if (
            (
                isinstance(node, ast.Attribute)
                and ast.unparse(node.value) == "pickle"
                and node.attr in UNPICKLERS
            )
            or (
                isinstance(node, ast.ImportFrom)
                and node.module == "pickle"
                and UNPICKLERS & {alias.name for alias in node.names}
            )
            or (isinstance(node, ast.Call) and _loads_objects(node))
        ):
            yield f"line {node.lineno}: {ast.unparse(node)}"


def _loads_objects(call: ast.Call) -> bool:
    options = {option.arg: ast.unparse(option.value) for option in call.keywords}
    function = ast.unparse(call.func)
    if function == "torch.load":
        return options.get("weights_only") != "True"
    return function in {"np.load", "numpy.load"} and options.get("allow_pickle", "False") != "False"
