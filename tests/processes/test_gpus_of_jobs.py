"""Jobs side by side on one machine: a GPU for one of them at a time, none idle while a job waits."""

from __future__ import annotations

import itertools
import os
import queue
import signal
import subprocess
import sys
import threading
import time

import pytest

WAIT_S = 60  # for what happens within a second on a quiet machine


JOB = """
import logging, os, sys, time
from pathlib import Path
from segflow.processes import gpus as leases
folder, count, held_s, patience_s = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4]
leases._QUIET_S = float(patience_s)
logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
with leases.leased_gpus(count, folder=folder) as gpus:
    began = time.monotonic()
    assert os.environ["CUDA_VISIBLE_DEVICES"] == ",".join(gpus)
    if held_s == "fork":
        worker = os.fork()
        if worker == 0:
            time.sleep(600)  # until the test ends it
        print("worker", worker)
    print("in", *gpus, flush=True)
    sys.stdin.readline() if held_s in ("told", "fork") else time.sleep(float(held_s))
    ended = time.monotonic()
    with (folder.parent / "times.txt").open("a") as file:
        file.write("".join(f"{gpu} {began} {ended}\\n" for gpu in gpus))
"""


class Job:
    """Another process that holds a lease, and perhaps a worker of it."""

    worker = None

    def __init__(self, folder, count, held, patience_s, environment):
        arguments = [sys.executable, "-c", JOB, str(folder), str(count), str(held), str(patience_s)]
        self.process = subprocess.Popen(
            arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )
        self.lines = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        with self.process.stdout as lines:
            for line in lines:
                self.lines.put(line.strip())

    def said(self, text):
        """The rest of its next line that begins with a text."""
        while True:
            line = self.lines.get(timeout=WAIT_S)
            if line.startswith(text):
                return line.removeprefix(text).strip()

    def leave(self):
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        assert self.process.wait(WAIT_S) == 0


@pytest.fixture
def start(tmp_path):
    """A function that starts a job on stand-in devices 0 and 1."""
    jobs = []
    (tmp_path / "empty").mkdir()
    environment = {name: value for name, value in os.environ.items() if name != "SLURM_JOB_ID"}
    environment |= {"CUDA_VISIBLE_DEVICES": "0,1", "PATH": str(tmp_path / "empty")}

    def begin(count=1, held="told", patience_s=WAIT_S, **more):
        jobs.append(Job(tmp_path / "leases", count, held, patience_s, environment | more))
        return jobs[-1]

    yield begin
    for job in jobs:
        job.process.kill()
        job.process.wait()
        job.process.stdin.close()
        if job.worker is not None:
            os.kill(job.worker, signal.SIGKILL)


def uses(tmp_path):
    """How often each device was used, never by two jobs at a time."""
    by_gpu = {}
    for line in (tmp_path / "times.txt").read_text().splitlines():
        gpu, began, ended = line.split()
        by_gpu.setdefault(gpu, []).append((float(began), float(ended)))
    for times in by_gpu.values():
        assert all(first[1] <= second[0] for first, second in itertools.pairwise(sorted(times)))
    return {gpu: len(times) for gpu, times in by_gpu.items()}


def test_six_jobs_share_two_gpus(start, tmp_path):
    """A GPU that is given back goes to a waiting job, while the other one is still held."""
    jobs = [start() for _ in range(6)]
    arrivals = queue.Queue()
    for job in jobs:
        threading.Thread(target=lambda job=job: arrivals.put((job, job.said("in"))), daemon=True).start()
    inside = [arrivals.get(timeout=WAIT_S) for _ in range(2)]
    assert sorted(gpu for _, gpu in inside) == ["0", "1"]
    for leaving in (1, 0, 1, 0):
        assert arrivals.empty()
        leaver, gpu = inside.pop(leaving)
        leaver.leave()
        inside.append(arrivals.get(timeout=WAIT_S))
        assert inside[-1][1] == gpu
    for job, _ in inside:
        job.leave()
    assert uses(tmp_path) == {"0": 3, "1": 3}


def test_an_allocation_with_several_gpus_shares_them_out(start):
    """One SLURM job runs the whole workflow: its trainings must not all take the first device."""
    first, second = (start(SLURM_JOB_ID="7") for _ in range(2))
    assert sorted((first.said("in"), second.said("in"))) == ["0", "1"]
    first.leave()
    second.leave()


def test_jobs_for_one_and_for_two_gpus_all_end(start, tmp_path):
    jobs = [start(count, held=0.05) for count in (2, 1, 2, 1, 2, 1, 2)]
    assert [job.process.wait(WAIT_S) for job in jobs] == [0] * len(jobs)
    assert sum(uses(tmp_path).values()) == 11


def test_a_killed_job_returns_its_gpus_although_its_worker_lives(start):
    job = start(2, held="fork")
    job.worker = int(job.said("worker"))
    assert job.said("in") == "0 1"
    waiting = start(2)
    job.process.kill()
    job.process.wait(WAIT_S)
    assert waiting.said("in") == "0 1"
    os.kill(job.worker, 0)  # it lives
    waiting.leave()


def test_who_waits_says_for_what_once_and_changes_of_hands_are_logged(start):
    holder = start()
    assert holder.said("GPU") == "0 leased"
    waiting = start(2, patience_s=0)
    assert waiting.said("waiting for 2 of GPU 0, GPU 1:") == f"process {holder.process.pid} holds GPU 0"
    time.sleep(1)
    holder.leave()
    assert holder.said("GPU") == "0 returned"
    assert waiting.lines.get(timeout=WAIT_S) == "GPU 0 leased"
    assert waiting.lines.get(timeout=WAIT_S) == "GPU 1 leased"
    waiting.leave()
