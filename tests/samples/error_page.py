"""docs/reference/errors.md, made from the source: `python tests/samples/error_page.py` (as `make format` does)."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
PAGE = REPOSITORY / "docs" / "reference" / "errors.md"
SOURCE = REPOSITORY / "src" / "segflow"

#: Where a user meets the errors of modules; the longest name that fits counts.
GROUPS = {
    "Data set": (
        "contracts.folds", "contracts.labels", "fingerprint", "images.dataset", "images.case_files", "nnunet.folds",
        "commands.raw_cases", "commands.check", "commands.phantom",
    ),
    "Images": ("images",),
    "Configuration": ("workflow", "recipes", "contracts", "commands.why"),
    "Plans and weights": (
        "nnunet", "planning", "contracts.plan", "contracts.scores", "network.weights", "storage.weights",
        "commands.plan",
    ),
    "Running": (
        "augmentation", "losses", "network", "preprocessing", "processes", "storage", "training", "commands",
    ),
    "Predicting, scoring and choosing": (
        "evaluation", "metrics", "prediction", "selection", "reporting", "volumes", "storage.probabilities",
        "commands.predict",
        "commands.ensemble", "commands.evaluate", "commands.find_best", "commands.outcome", "commands.postprocess",
        "commands.select",
    ),
}  # fmt: skip
ERRORS = {
    "ConfigurationError", "DatasetError", "PlanError", "PredictionError", "SegflowError", "TrainingError", "error",
}  # fmt: skip
#: Of these, a ValueError is shown to the user: by a contract, or with case and file in front.
CHECKING = ("contracts", "recipes", "workflow", "images", "commands.arguments")
#: Functions that give an error's text.
WRITERS = {
    "_advice", "_died", "_differences", "_explain", "_faults", "_faults_of_order", "held_out_twice", "too_many_gpus",
}  # fmt: skip
#: Of fewer words nobody recognises a message.
GAP, LEAST_WORDS = "…", 3
HEAD = """# Errors

Every error that ends a command, by where it is met; … stands for names, files and numbers. A message says what is
wrong, where (case and file), and what to do. The exit status is 1, or 2 where the command line cannot be understood.
What is shown with a traceback is a fault of segflow: please report it.

This page is made from the source (`make format`); a test compares them.
"""


def errors() -> dict[str, dict[str, str]]:
    """Group to message to the module that has it."""
    found: dict[str, dict[str, str]] = {group: {} for group in GROUPS}
    for file in sorted(SOURCE.rglob("*.py")):
        module = ".".join(file.relative_to(SOURCE).with_suffix("").parts)
        for text in _messages(ast.parse(file.read_text(encoding="utf-8")), module):
            if sum(any(map(str.isalpha, word)) for word in text.split()) >= LEAST_WORDS:
                found[_group(module)].setdefault(text, module)
    return found


def page() -> str:
    """The whole page."""
    parts = [HEAD]
    for group, messages in errors().items():
        lines = [f"* {_escaped(text)} (`{module}`)" for text, module in sorted(messages.items())]
        parts.append(f"\n## {group}\n\n" + "\n".join(lines) + "\n")
    return "".join(parts)


def _group(module: str) -> str:
    fits = defaultdict(str)
    for group, names in GROUPS.items():
        for name in names:
            if f"{module}.".startswith((f"{name}.", f"{name}_")):
                fits[name] = group
    assert fits, f"{module}: add it to GROUPS, for docs/reference/errors.md"
    return fits[max(fits, key=len)]


def _messages(tree: ast.Module, module: str) -> Iterator[str]:
    names = ERRORS | ({"ValueError"} if module.startswith(CHECKING) else set())
    for node in ast.walk(tree):
        if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call) and node.exc.args:
            if ast.unparse(node.exc.func) in names:
                yield from _texts(node.exc.args[0])
        elif isinstance(node, ast.FunctionDef) and node.name in WRITERS:
            for inner in ast.walk(node):
                if isinstance(inner, ast.Return | ast.Yield) and inner.value is not None:
                    yield from _texts(inner.value)


def _texts(node: ast.expr) -> Iterator[str]:
    """The text of a string with gaps; both of a choice."""
    if isinstance(node, ast.IfExp):
        yield from (*_texts(node.body), *_texts(node.orelse))
    elif isinstance(node, ast.Call) and node.args and not isinstance(node.func, ast.Attribute):
        yield from (text for part in node.args for text in _texts(part))
    elif isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield " ".join(node.value.split())
    elif isinstance(node, ast.JoinedStr):
        parts = [part.value if isinstance(part, ast.Constant) else GAP for part in node.values]
        yield " ".join("".join(map(str, parts)).split())


def _escaped(text: str) -> str:
    """As Markdown shows it."""
    return "".join(f"\\{letter}" if letter in "\\`*_[]<>|" else letter for letter in text)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
