"""Reading a file in a process of its own, which may crash, hang or run out of memory."""

from __future__ import annotations

import multiprocessing
import os
import resource
import signal
import time

import numpy as np

from segflow.contracts.errors import SegflowError
from segflow.images import itk
from segflow.images.cases import read_image

TIME_LIMIT_S = 5
MEMORY_LIMIT = 8_000_000_000


def outcome_of(file):
    """What is said of a file that is refused, or "read" if it is not."""
    processes = multiprocessing.get_context("spawn")  # the server of forks is that of snakemake_calls.py
    ours, theirs = processes.Pipe(duplex=False)
    process = processes.Process(target=_read, args=(file, theirs))
    process.start()
    theirs.close()
    try:
        assert ours.poll(TIME_LIMIT_S + 5), "it hangs"  # a process takes a while to start
        taken_s, outcome = ours.recv()
        assert taken_s < TIME_LIMIT_S
        return outcome
    finally:
        process.kill()
        process.join()


def _read(file, connection):
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_LIMIT, MEMORY_LIMIT))
    start = time.monotonic()
    try:
        read_image([file], case="a")
        outcome = "read"
    except SegflowError as problem:
        outcome = str(problem)
    connection.send((time.monotonic() - start, outcome))


def crash(file):
    """What a library does to its process when a file has damaged its memory."""
    os.abort()


def crash_later(file):
    """Works once in a process, and breaks it for what is read next."""
    if hasattr(crash_later, "was_called"):
        os.abort()
    crash_later.was_called = True
    return file.name


def hang(file):
    """An endless loop that is deaf to signals."""
    signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    while True:
        time.sleep(1)


def size_of(file):
    """The process that answers, and what the file's voxels sum up to."""
    return os.getpid(), int(itk._read_voxels(file).sum())


def fail(file):
    """An error that is passed on."""
    raise ValueError(f"{file.name} is odd")


def big_array(file):
    """More than what is sent at once, and not in order."""
    return np.arange(60_000_000, dtype=">u2").reshape(3, 400, 50_000).swapaxes(0, 2)
