"""Reading a file in a process of its own, which may crash, hang or run out of memory."""

from __future__ import annotations

import multiprocessing
import resource
import time

from segflow.contracts.errors import SegflowError
from segflow.images.cases import read_image

TIME_LIMIT_S = 5
MEMORY_LIMIT = 8_000_000_000


def outcome_of(file):
    """What is said of a file that is refused, or "read" if it is not."""
    processes = multiprocessing.get_context("forkserver")
    processes.set_forkserver_preload(["segflow.images.cases"])
    ours, theirs = processes.Pipe(duplex=False)
    process = processes.Process(target=_read, args=(file, theirs))
    process.start()
    theirs.close()
    try:
        assert ours.poll(TIME_LIMIT_S + 5), "it hangs"  # the first process takes a while to start
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
