"""Other Python processes that a test talks to, line by line."""

from __future__ import annotations

import queue
import subprocess
import sys
import threading

WAIT_S = 60.0  # for what happens within a second on a quiet machine


class OtherProcess:
    """A process that runs some code. It is killed at the end of the block."""

    def __init__(self, code, *arguments, environment=None):
        command = [sys.executable, "-c", code, *map(str, arguments)]
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=environment,
        )
        self._lines = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        with self.process.stdout as lines:
            for line in lines:
                self._lines.put(line.rstrip("\n"))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.kill()
        self.process.stdin.close()

    def line(self, wait_s=WAIT_S):
        """The next line that it prints; None if there is none in time."""
        try:
            return self._lines.get(timeout=wait_s)
        except queue.Empty:
            return None

    def said(self, beginning):
        """The rest of the next line that begins with a text; other lines are skipped."""
        while not (line := self.line() or "no line in time").startswith(beginning):
            assert line != "no line in time", beginning
        return line.removeprefix(beginning).strip()

    def leave(self):
        """Send a line, which it waits for; its exit status."""
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return self.process.wait(WAIT_S)

    def kill(self):
        self.process.kill()
        self.process.wait()
