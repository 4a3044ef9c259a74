"""Jobs of the workflow that share their start: each is a fork of one process that has imported segflow and torch.

The jobs of a tiny experiment spend most of their time on that. `Jobs` starts a server, and makes a folder with a
command `segflow` that lets the server do its work. Tests that strike a job start the workflow without this.
"""

from __future__ import annotations

import atexit
import importlib
import json
import os
import pkgutil
import runpy
import select
import shlex
import signal
import socket
import subprocess
import sys
import threading
import traceback
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NoReturn

import psutil

#: Imported anew in each job, as it sets environment variables.
_LATE = {"segflow.__main__", "segflow.commands.main"}
#: The command `segflow ADDRESS WORDS`: it hands over its streams, and ends with the status of the job.
_ASK = """
import json, os, socket, sys
server = socket.socket(socket.AF_UNIX)
server.connect(sys.argv[1])
socket.send_fds(server, [b" "], [0, 1, 2])
server.sendall(json.dumps([sys.argv[2:], os.getcwd(), dict(os.environ)]).encode())
server.shutdown(socket.SHUT_WR)
sys.exit(int(server.recv(16)))
"""
#: A Python that takes itself for another: Snakemake looks for `segflow` beside it.
_AS_OTHER = """
import runpy, sys
sys.executable, module = sys.argv[1:3]
del sys.argv[1:3]
runpy.run_module(module, run_name='__main__', alter_sys=True)
"""


class Jobs:
    """A server, which ends with this process.

    Attributes:
        python: A Python for calls `python -m MODULE` of Snakemake, or of what calls it, whose jobs the server does.
    """

    def __init__(self) -> None:
        self._folder = TemporaryDirectory()
        folder = Path(self._folder.name)
        address = str(folder / "server")
        self.python = folder / "python"
        ask = shlex.join([sys.executable, "-I", "-S", "-c", _ASK, address])
        other = shlex.join([sys.executable, "-c", _AS_OTHER, str(self.python)])
        plain = shlex.quote(sys.executable)
        for file, text in (
            (folder / "segflow", f'exec {ask} "$@"'),
            (self.python, f'test "$1" = -m || exec {plain} "$@"\nshift\nexec {other} "$@"'),
        ):
            file.write_text(f"#!/bin/sh\n{text}\n")
            file.chmod(0o755)
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(address)
            listener.listen()
            self._process = subprocess.Popen(
                [sys.executable, __file__, str(listener.fileno())],
                env=os.environ | {"OPENBLAS_NUM_THREADS": "1"},  # as segflow sets it
                stdin=subprocess.PIPE,
                pass_fds=[listener.fileno()],
            )


shared_jobs = cache(Jobs)


def serve(listener: socket.socket) -> None:
    """Run a job per connection, until the end of standard input."""
    import segflow  # noqa: PLC0415  in the server's process alone

    for module in pkgutil.walk_packages(segflow.__path__, "segflow."):
        if module.name not in _LATE:
            importlib.import_module(module.name)
    for name in ("torch._dynamo", "shared_code", "frozen"):  # the first is imported by an optimiser
        importlib.import_module(name)
    assert psutil.Process().num_threads() == 1, "a process with threads must not be forked"
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    while sys.stdin not in select.select([listener, sys.stdin], [], [])[0]:
        connection, _ = listener.accept()
        with connection:
            if os.fork() == 0:
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                listener.close()
                _answer(connection)


def _answer(connection: socket.socket) -> NoReturn:
    """Fork the job, which goes on as a process of its own, and tell its exit status."""
    _, streams, *_ = socket.recv_fds(connection, 1, 3)
    with connection.makefile() as file:
        words, folder, environment = json.load(file)
    if job := os.fork():
        status = os.waitstatus_to_exitcode(os.waitpid(job, 0)[1])
        connection.sendall(str(status if status >= 0 else 128 - status).encode())
        os._exit(0)
    connection.close()
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    from shared_code import use  # noqa: PLC0415  as in `serve`

    use(environment["PYTHONPATH"])
    sys.argv = ["segflow", *words]
    _end(_status())


def _status() -> int:
    """Run `segflow`, as `python -m segflow` would."""
    try:
        runpy.run_module("segflow", run_name="__main__", alter_sys=True)
    except SystemExit as end:
        return int(end.code or 0)
    except BaseException:  # noqa: BLE001  as the interpreter does
        traceback.print_exc()
        return 1
    return 0


def _end(status: int) -> NoReturn:
    """As an interpreter ends, but without taking the libraries apart, which is slow in a fork."""
    threading._shutdown()
    atexit._run_exitfuncs()
    sys.stdout.flush()
    os._exit(status)


if __name__ == "__main__":
    serve(socket.socket(fileno=int(sys.argv[1])))
