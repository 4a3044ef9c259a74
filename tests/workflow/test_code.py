"""A rule's code: what counts as a change of a file, and which files a command imports."""

from __future__ import annotations

import ast
import itertools
import textwrap
from collections.abc import Callable

import pytest

from segflow.contracts.errors import ConfigurationError
from segflow.workflow.code import CodeBase, installed

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


Write = Callable[[dict[str, str]], CodeBase]


@pytest.fixture
def write(tmp_path) -> Write:
    """A function that writes the files of a package `own`; `__init__.py` is made where it is missing."""
    numbers = itertools.count()

    def write_files(files: dict[str, str]) -> CodeBase:
        root = tmp_path / str(next(numbers)) / "own"
        for name, text in files.items():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_text(textwrap.dedent(text))
            for folder in (above for above in (root / name).parents if above.is_relative_to(root)):
                (folder / "__init__.py").touch()
        return CodeBase(root)

    return write_files


@pytest.fixture
def losses(write) -> Callable[[str], set[str]]:
    """A function that gives the closure of `own.command` with a text, beside a package with re-exports."""

    def imported(text: str) -> set[str]:
        return _names(write(_LOSSES | {"command.py": text}), "own.command")

    return imported


_LOSSES = {
    "losses/__init__.py": """
        '''Losses.'''
        from __future__ import annotations
        from own.losses.compound import build as build_loss
        from .dice import dice_loss
        __all__ = ["build_loss", "dice_loss"]
    """,
    "losses/compound.py": "from own.losses.dice import dice_loss\ndef build(): return dice_loss",
    "losses/dice.py": "def dice_loss(): pass",
    "losses/entropy.py": "def entropy(): pass",
    "all/__init__.py": "from own.losses import build_loss, dice_loss as overlap\nfrom own.losses import entropy",
    "plain.py": "from own.losses.dice import dice_loss as name",
    "constants/__init__.py": "import json\nLIMIT: int = -1\nNAMES = {'a': (1, 2)}",
    "constants/inside.py": "x = 1",
    "busy/__init__.py": "from own import plain\ndef start(): pass",
    "busy/inside.py": "x = 1",
}


class TestDigest:
    @pytest.mark.parametrize(
        ("old", "new"),
        [
            ("  # for pi", ""),
            ('"""A module."""', '"""Another text."""'),
            ('"""A module."""', ""),
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
    def test_layout_and_documentation_do_not_count(self, write, old, new):
        assert old in CODE
        assert _digest(write, CODE.replace(old, new)) == _digest(write, CODE)

    @pytest.mark.parametrize(
        ("old", "new"),
        [
            ("radius: float", "radius: int"),
            ("-> float", "-> int"),
            ("*, scale=1", "scale=1"),
            ("scale=1", "scale=2"),
            ("scale=1", "scale=1.0"),
            ("scale=1", "scale=True"),
            ("scale=1", "scale=None"),
            ("scale=1", "scale"),
            ("** 2", "* 2"),
            ("radius ** 2 * scale", "radius ** (2 * scale)"),
            ("math.pi)", "math.e)"),
            ("import math", "import math as m"),
            ("return x", "pass"),
            ("return x", "yield x"),
            (".{2}f", ".{3}f"),
            ("{math.pi:", "{math.pi!r:"),
            ('!"', '"'),
            ("name: str =", "name ="),
            ("def empty", "async def empty"),
            ("class Circle", "@final\nclass Circle"),
            ("        return x", "        'another text'\n        return x"),
        ],
    )
    def test_everything_else_counts(self, write, old, new):
        assert old in CODE
        assert _digest(write, CODE.replace(old, new)) != _digest(write, CODE)

    def test_equal_looking_expressions_differ(self, write):
        texts = [
            "1",
            "True",
            "1.0",
            "1j",
            "'1'",
            "b'1'",
            "f'1'",
            "None",
            "...",
            "''",
            "b''",
            "-1",
            "(1,)",
            "[1]",
        ]
        texts += [
            "x[1:]",
            "x[:1]",
            "x[::1]",
            "x[1]",
            "{1}",
            "{1: 1}",
            "{**x}",
            "f(x)",
            "f(*x)",
            "f(**x)",
            "f(x=x)",
        ]
        texts += ["[i for i in x]", "{i for i in x}", "(i for i in x)", "lambda a: a", "lambda a, /: a"]
        texts += [
            "lambda *, a: a",
            "lambda *, a, b=1: a",
            "lambda *, a=1, b: a",
            "[[], x]",
            "[[x]]",
            "[[], [x]]",
        ]
        assert len({_digest(write, f"y = {text}") for text in texts}) == len(texts)

    def test_other_characters_do_not_hide_a_change(self, write):
        assert _digest(write, "x = 'ä'") != _digest(write, "x = 'ö'")
        assert _digest(write, "ä = 1") != _digest(write, "ö = 1")

    def test_known_value(self, write):
        """Any Python from 3.11 to 3.13 gives this digest; another value re-runs every finished experiment."""
        assert _digest(write, CODE).startswith("1f7aeadc3958")

    def test_every_token_of_a_real_file_counts(self, write):
        tree = ast.parse((installed().root / "losses" / "dice.py").read_text())
        digests = [_digest(write, ast.unparse(tree))]
        for node in ast.walk(tree):
            for field in {"id", "attr", "arg", "name"} & set(node._fields):
                if isinstance(text := getattr(node, field), str):
                    setattr(node, field, f"{text}_")
                    digests.append(_digest(write, ast.unparse(tree)))
                    setattr(node, field, text)
        assert len(set(digests)) == len(digests) > 50


class TestClosure:
    @pytest.mark.parametrize(
        "text",
        [
            "import own.losses.dice",
            "import own.losses.dice as d",
            "from own.losses.dice import dice_loss",
            "from own.losses import dice",
            "from .losses.dice import dice_loss",
            "from .losses import dice",
            "def late():\n    from own.losses.dice import dice_loss",
            "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from own.losses.dice import dice_loss",
            "try:\n    from own.losses.dice import dice_loss\nexcept ImportError:\n    pass",
            "from own.losses.dice import *",
        ],
    )
    def test_forms_of_import(self, losses, text):
        assert losses(text) == {"own.command", "own.losses.dice"}

    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("from own.losses import dice_loss", {"losses.dice"}),
            ("from own.losses import dice_loss as renamed", {"losses.dice"}),
            ("from own.losses import build_loss", {"losses.compound", "losses.dice"}),
            ("from .losses import build_loss", {"losses.compound", "losses.dice"}),
            ("from own.all import build_loss", {"losses.compound", "losses.dice"}),
            ("from own.all import overlap", {"losses.dice"}),
            ("from own.all import entropy", {"losses.entropy"}),
            ("from own.plain import name", {"plain", "losses.dice"}),
        ],
    )
    def test_a_passed_on_name_counts_where_it_is_defined(self, losses, text, expected):
        assert losses(text) == {"own.command", *(f"own.{name}" for name in expected)}

    @pytest.mark.parametrize(
        "text",
        [
            "from own.losses import unknown",
            "from own.losses import build",  # it is passed on under another name
            "from own.losses import __all__",
            "from own import losses",
            "import own.losses",
            "from . import losses",
        ],
    )
    def test_a_name_that_cannot_be_followed_counts_with_all(self, losses, text):
        assert losses(text) == {"own.command", "own.losses", "own.losses.compound", "own.losses.dice"}

    def test_star_import_of_a_package_counts_its_modules(self, losses):
        found = losses("from own.losses import *")
        assert found == {
            "own.command",
            "own.losses",
            "own.losses.compound",
            "own.losses.dice",
            "own.losses.entropy",
        }

    def test_packages_on_the_way_count_if_they_do_something(self, losses):
        assert losses("from own.constants.inside import x") == {"own.command", "own.constants.inside"}
        assert losses("from own.constants import inside") == {"own.command", "own.constants.inside"}
        assert losses("from own.constants import LIMIT") == {"own.command", "own.constants"}
        busy = {"own.command", "own.busy", "own.busy.inside", "own.plain", "own.losses.dice"}
        assert losses("from own.busy.inside import x") == busy
        assert losses("from own.busy import inside") == busy
        assert losses("from own.busy import start") == busy - {"own.busy.inside"}

    @pytest.mark.parametrize(
        "statement",
        [
            "print()",
            "X = make()",
            "if x:\n    X = 1",
            "os.environ['x'] = '1'",
            "X += 1",
            "X = [i for i in ()]",
        ],
    )
    def test_a_package_that_does_something_counts(self, write, statement):
        code = write({"__init__.py": statement, "command.py": "x = 1"})
        assert _names(code, "own.command") == {"own", "own.command"}

    def test_a_name_bound_beside_a_module_counts_as_both(self, write):
        files = {"a/__init__.py": "from own.b import x", "a/x.py": "", "b.py": "x = 1"}
        code = write({**files, "command.py": "from own.a import x"})
        assert _names(code, "own.command") == {"own.command", "own.a.x", "own.b"}

    def test_circles_end(self, write):
        files = {
            "a.py": "from own.b import x",
            "b.py": "from own.a import y",
            "c/__init__.py": "from own.c import z",
        }
        code = write({**files, "command.py": "from own import a\nfrom own.c import z"})
        assert _names(code, "own.command") == {"own.command", "own.a", "own.b"}

    def test_others_modules_do_not_count(self, write):
        code = write(
            {"command.py": "import json, owner\nfrom own_too.x import y\nfrom own import nothing_such"}
        )
        assert _names(code, "own.command") == {"own", "own.command"}

    def test_folders_without_init(self, write):
        code = write({"a/b.py": "", "command.py": "from own.a import b"})
        (code.root / "a" / "__init__.py").unlink()
        assert _names(code, "own.command") == {"own.command", "own.a.b"}

    def test_data_files_beside_a_module_count(self, write):
        texts = {
            "a/x.py": "",
            "a/page.jinja": "1",
            "a/py.typed": "",
            "a/.hidden": "",
            "a/b/y.py": "",
            "a/b/z.txt": "",
        }
        code = write({**texts, "command.py": "from own.a import x"})
        (code.root / "a" / "style").mkdir()
        (code.root / "a" / "style" / "page.css").write_text("2")
        digests = code.closure("own.command")
        assert digests.keys() == {"own.command", "own.a.x", "own.a/page.jinja", "own.a/style/page.css"}
        (code.root / "a" / "page.jinja").write_text("3")
        after = CodeBase(code.root).closure("own.command")
        assert {name for name in digests if digests[name] != after[name]} == {"own.a/page.jinja"}

    def test_text_for_a_rule(self, write):
        code = write({"b.py": "", "command.py": "from own import b"})
        digests = code.closure("own.command")
        assert code.code_of("own.command") == tuple(
            f"{name}@{digests[name][:12]}" for name in ("own.b", "own.command")
        )

    @pytest.mark.parametrize(("text", "line"), [("x = 1\nx = = 2\n", 2), ("x = '\0'", 1), ("def f(:", 1)])
    def test_a_file_that_is_not_python_is_named(self, write, text, line):
        code = write({"broken.py": text, "command.py": "def late():\n    from own import broken"})
        with pytest.raises(ConfigurationError, match=rf"broken\.py, line {line}: not valid Python"):
            code.closure("own.command")

    def test_an_unknown_module_is_named(self, write):
        with pytest.raises(ConfigurationError, match=r"own\.nothing is not a module of .*own"):
            write({"command.py": ""}).code_of("own.nothing")


def _digest(write: Write, text: str) -> str:
    return write({"module.py": text}).closure("own.module")["own.module"]


def _names(code: CodeBase, module: str) -> set[str]:
    return {name for name in code.closure(module) if "/" not in name}
