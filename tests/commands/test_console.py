"""The progress bar."""

from __future__ import annotations

import io
import re

import pytest
from rich.console import Console
from rich.table import Table

from segflow.commands import console
from segflow.commands.console import console as progress_console
from segflow.commands.console import progress_bar


@pytest.fixture
def screen(monkeypatch):
    """A terminal of 80 columns, and the last line that it shows."""
    shown = io.StringIO()
    monkeypatch.delenv("COLUMNS", raising=False)
    terminal = Console(file=shown, width=80, force_terminal=True, color_system=None)
    monkeypatch.setattr(console, "console", terminal)

    def last():
        plain = re.sub(r"\x1b\[[?0-9;]*[A-Za-z]", "", shown.getvalue())
        return [line for line in re.split(r"[\r\n]", plain) if line.strip()][-1]

    last.terminal = terminal
    return last


NOTE = "epoch 12/1000 loss -0.168 dice 0.000 0.111 0.222 0.333 0.444"


@pytest.mark.parametrize("name", ["3d_fullres", "3d_cascade_fullres"])
def test_80_columns_have_room_for_epoch_loss_and_time_left(name, screen):
    with progress_bar(f"train {name} fold 0", 5, per_step=3, item="samples") as bar:
        for _ in range(4):
            bar.advance(note=NOTE)
    line = screen()
    assert re.fullmatch(rf"train {name} fold 0 \S+ +0:00:0\d left +epoch 12/1000 loss -0.168.*…", line), line
    assert len(line) <= 80


def test_a_wide_screen_has_counts_as_well(screen):
    screen.terminal.width = 140
    with progress_bar("train 3d_fullres fold 0", 4, per_step=3, item="samples") as bar:
        for _ in range(4):
            bar.advance(note=NOTE)
    pattern = rf"train 3d_fullres fold 0 \S{{16}} 4/4 0:00:00 taken +[\d.]+ samples/s {NOTE} *"
    assert re.fullmatch(pattern, screen())


@pytest.mark.parametrize("text", ["fold [/x]", "a [bold] :smile:"])
def test_text_of_the_user_is_shown_as_it_is(text, screen, capsys):
    with progress_bar(text, 1) as bar:
        bar.advance(note=text)
    assert screen().count(text) == 2
    table = Table("x", title=text)
    table.add_row(text)
    for target in (console.answers, progress_console):
        target.print(table, text)
    captured = capsys.readouterr()
    assert captured.out.count(text) == captured.err.count(text) == 3


def test_without_items_no_throughput(screen):
    with progress_bar("check", 2) as bar:
        bar.advance(2)
    assert "/s" not in screen()


def test_throughput_counts_items_and_not_what_was_done_before(monkeypatch, screen):
    """Twelve steps were done by an interrupted training; then one a second."""
    screen.terminal.width = 140
    now = [100.0]
    progress = console.Progress

    def timed(*columns, **options):
        return progress(*columns, **options, get_time=lambda: now[0])

    monkeypatch.setattr(console, "Progress", timed)
    with progress_bar("train", 20, per_step=3, item="samples") as bar:
        bar.advance(12)
        for _ in range(4):
            now[0] += 1
            bar.advance()
    assert "3.0 samples/s" in screen()
