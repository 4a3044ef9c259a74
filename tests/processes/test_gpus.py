"""Leases of GPUs: which devices, the locks behind them, and jobs side by side on one machine."""

from __future__ import annotations

import fcntl
import itertools
import logging
import os
import queue
import re
import signal
import stat
import threading
import time
from contextlib import ExitStack

import pytest
from other_process import WAIT_S, OtherProcess

from segflow.contracts.errors import ConfigurationError
from segflow.processes import gpus as module
from segflow.processes.gpus import count_gpus, leased_gpus

FIRST = "GPU-11111111-aaaa-bbbb-cccc-000000000000"
SECOND = "GPU-22222222-aaaa-bbbb-cccc-000000000000"


#: As the driver describes a GPU.
INFORMATION = (
    "Model: \t\t NVIDIA A100\nIRQ:   \t\t -1\nGPU UUID: \t {uuid}\nVideo BIOS: \t 92.00.36.00.02\n"
    "Bus Location: \t 0000:07:00.0\nDevice Minor: \t {minor}\nGPU Excluded:\t No\n"
)


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """A function that sets the environment of this process: variables, what nvidia-smi says, and the driver's files.

    `driver` holds the minor number and UUID of each GPU, in the order of the PCI bus; `minors` are those that the
    process may open.
    """
    programs, described, nodes = tmp_path / "bin", tmp_path / "proc", tmp_path / "dev"
    for folder in (programs, described, nodes):
        folder.mkdir()
    monkeypatch.setattr(module, "_DRIVER", described)
    monkeypatch.setattr(module, "_NODES", nodes)
    (nodes / "nvidiactl").touch()
    monkeypatch.setenv("PATH", str(programs))
    for name in ("SLURM_JOB_ID", "CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER"):
        monkeypatch.delenv(name, raising=False)

    def be(smi=None, driver=(), minors=(), **variables):
        for place, (minor, uuid) in enumerate(driver):
            file = described / f"0000:{place + 10:02x}:00.0" / "information"
            file.parent.mkdir()
            file.write_text(INFORMATION.format(uuid=uuid, minor=minor))
        for minor in minors:
            (nodes / f"nvidia{minor}").touch()
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        if smi is not None:
            program = programs / "nvidia-smi"
            program.write_text(f"#!/bin/sh\n{smi}\n")
            program.chmod(0o755)

    return be


@pytest.fixture
def leases(tmp_path):
    return tmp_path / "leases"


def listing(*uuids):
    lines = "".join(f"{index}, {uuid}\\n" for index, uuid in enumerate(uuids))
    return f'[ "$*" = "--query-gpu=index,uuid --format=csv,noheader" ] && printf "{lines}"'


def held(folder):
    """The devices that are locked."""
    return [lock.stem for lock in sorted(folder.glob("*.lock")) if is_locked(lock)]


def is_locked(path):
    with path.open() as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def refuse(folder, message, count=1, error=ConfigurationError):
    with pytest.raises(error, match=message), leased_gpus(count, folder=folder):
        pass


# Which devices.


@pytest.mark.parametrize(
    ("count", "environment", "expected"),
    [
        (0, {"CUDA_VISIBLE_DEVICES": "0,1"}, ("0", "1")),
        (0, {}, ()),
        (1, {"SLURM_JOB_ID": "7", "CUDA_VISIBLE_DEVICES": "3"}, ("3",)),
        (2, {"SLURM_JOB_ID": "7", "CUDA_VISIBLE_DEVICES": "2,3"}, ("2", "3")),
        (4, {"SLURM_JOB_ID": "7"}, ("0", "1", "2", "3")),
        (1, {"CUDA_VISIBLE_DEVICES": ""}, ()),
        (1, {"CUDA_VISIBLE_DEVICES": "-1"}, ()),
        (1, {"CUDA_VISIBLE_DEVICES": "NoDevFiles"}, ()),
    ],
)
def test_nothing_is_changed(machine, count, environment, expected, leases):
    """No GPU is asked for, SLURM gave just as many, or all are hidden."""
    machine(listing(FIRST, SECOND, f"{FIRST}-3", f"{FIRST}-4"), **environment)
    before = dict(os.environ)
    with leased_gpus(count, folder=leases) as gpus:
        assert gpus == expected
        assert dict(os.environ) == before
    assert not leases.exists()


@pytest.mark.parametrize(
    "smi", [None, "echo NVIDIA-SMI has failed; exit 9", "echo No devices were found", "exit 0"]
)
def test_a_machine_without_gpus(machine, smi, leases, warnings):
    machine(smi)
    with leased_gpus(1, folder=leases) as gpus:
        assert gpus == ()
        assert "CUDA_VISIBLE_DEVICES" not in os.environ
    assert not warnings()


@pytest.fixture
def warnings(caplog):
    """A function that gives the warnings so far; the command line turns propagation off, which caplog needs."""
    logger = logging.getLogger("segflow")
    logger.addHandler(caplog.handler)
    yield lambda: [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    logger.removeHandler(caplog.handler)


FAULTS = {
    None: r"No such file or directory: 'nvidia-smi'",
    "echo NVIDIA-SMI has failed; exit 9": "non-zero exit status 9",
    "echo No devices were found": "it lists none",
    "exec 2>&- >&-; while :; do :; done": "timed out after",
}


@pytest.mark.parametrize("smi", FAULTS)
def test_without_nvidia_smi_the_driver_names_the_gpus(machine, smi, leases, warnings, monkeypatch):
    """Minor numbers are in no order; the one in the middle belongs to another container."""
    monkeypatch.setattr(module, "_SMI_TIMEOUT_S", 0.3)
    driver = ((2, FIRST), (0, "GPU-99999999-aaaa-bbbb-cccc-000000000000"), (1, SECOND))
    machine(smi, driver=driver, minors=(1, 2))
    with leased_gpus(2, folder=leases) as gpus:
        assert gpus == ("0", "1")
        assert held(leases) == [FIRST, SECOND]
        assert os.environ["CUDA_DEVICE_ORDER"] == "PCI_BUS_ID"
    assert all(re.search(FAULTS[smi], text) for text in warnings())
    assert warnings()


@pytest.mark.parametrize(
    "driver",
    [(), ((0, "GPU-????????-????-????-????-????????????"), (1, SECOND)), ((0, FIRST),)],
    ids=["nothing", "a UUID that is not known yet", "too few"],
)
def test_gpus_that_nothing_lists_are_one_lease(machine, driver, leases, warnings):
    machine(driver=driver, minors=(0, 1))
    with leased_gpus(1, folder=leases) as gpus:
        assert gpus == ()
        assert not {"CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER"} & os.environ.keys()
        assert held(leases) == ["machine"]
    assert held(leases) == []
    assert [text for text in warnings() if "cannot be listed, so a job that asks for one holds all" in text]
    with leased_gpus(2, folder=leases):
        assert held(leases) == ["machine"]
    assert count_gpus() == 1


def test_devices_that_are_named_need_no_list(machine, leases, warnings):
    machine(minors=(0, 1), CUDA_VISIBLE_DEVICES="MIG-33333333-aaaa,1")
    with leased_gpus(2, folder=leases) as gpus:
        assert gpus == ("MIG-33333333-aaaa", "1")
    assert not warnings()


def test_all_gpus_of_the_machine(machine, leases):
    """Named by nvidia-smi's index, so CUDA must count like nvidia-smi."""
    machine(listing(FIRST, SECOND))
    with leased_gpus(2, folder=leases) as gpus:
        assert gpus == ("0", "1")
        assert os.environ["CUDA_VISIBLE_DEVICES"] == "0,1"
        assert os.environ["CUDA_DEVICE_ORDER"] == "PCI_BUS_ID"
        assert held(leases) == [FIRST, SECOND]
        refuse(leases, "this process holds the lock .*already", error=RuntimeError)
    assert held(leases) == []
    assert not {"CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER"} & os.environ.keys()


def fail_with_a_lease(folder):
    with leased_gpus(1, folder=folder) as gpus:
        assert gpus == ("1",)
        assert os.environ["CUDA_VISIBLE_DEVICES"] == "1"
        assert os.environ["CUDA_DEVICE_ORDER"] == "PCI_BUS_ID"
        raise ZeroDivisionError


def test_a_failure_returns_the_gpu_and_restores_the_environment(machine, leases):
    machine(listing(FIRST, SECOND), CUDA_VISIBLE_DEVICES="1,0", CUDA_DEVICE_ORDER="FASTEST_FIRST")
    with pytest.raises(ZeroDivisionError):
        fail_with_a_lease(leases)
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "1,0"
    assert os.environ["CUDA_DEVICE_ORDER"] == "FASTEST_FIRST"
    assert held(leases) == []


@pytest.mark.parametrize(
    ("visible", "key"),
    [
        ("1", SECOND),
        (" 1 ,0", SECOND),
        (SECOND, SECOND),
        (SECOND[:12], SECOND),
        ("GPU-99999999", "GPU-99999999"),
        ("MIG-33333333-aaaa", "MIG-33333333-aaaa"),
        ("MIG-GPU-55555555/1/0", "MIG-GPU-55555555_1_0"),
    ],
)
def test_every_name_of_a_device_leads_to_one_lock(machine, visible, key, leases):
    machine(listing(FIRST, SECOND), CUDA_VISIBLE_DEVICES=visible)
    with leased_gpus(1, folder=leases) as gpus:
        assert gpus == (visible.split(",")[0].strip(),)
        assert held(leases) == [key]
        assert os.environ.get("CUDA_DEVICE_ORDER") == ("PCI_BUS_ID" if gpus == ("1",) else None)


@pytest.mark.parametrize("visible", ["0,0", f"0,{FIRST}", "0,-1,1", "0,2,1", "0,,1"])
def test_a_device_counts_once_and_the_list_ends_where_cuda_ends_it(machine, visible, leases):
    machine(listing(FIRST, SECOND), CUDA_VISIBLE_DEVICES=visible)
    refuse(leases, "may use 1 here", count=2)


def test_more_gpus_than_there_are(machine, leases):
    machine(CUDA_VISIBLE_DEVICES="0,1")
    message = re.escape("asks for 3 GPUs (resources.gpus) and may use 2 here (GPU 0, GPU 1)")
    refuse(leases, f"{message}.*--resources gpu=", count=3)


# A folder that all users share.


def test_the_folder_and_its_files_are_for_everybody(machine, tmp_path, monkeypatch):
    machine(CUDA_VISIBLE_DEVICES="0")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    before = os.umask(0o077)
    try:
        with leased_gpus(1):
            pass
    finally:
        assert os.umask(before) == 0o077
    assert stat.S_IMODE((tmp_path / "segflow-gpus").stat().st_mode) == 0o1777
    assert stat.S_IMODE((tmp_path / "segflow-gpus" / "0.lock").stat().st_mode) == 0o666


def test_links_are_not_followed(machine, tmp_path, leases):
    machine(CUDA_VISIBLE_DEVICES="0")
    (tmp_path / "link").symlink_to(tmp_path)
    refuse(tmp_path / "link", "link cannot be used")
    leases.mkdir()
    (leases / "0.lock").symlink_to(tmp_path / "precious")
    refuse(leases, r"no GPU can be leased: .*0\.lock cannot be used")
    assert not (tmp_path / "precious").exists()


def test_nothing_is_written_to_a_lock(machine, tmp_path, leases):
    """It may be a second name of another file."""
    machine(CUDA_VISIBLE_DEVICES="0")
    precious = tmp_path / "precious"
    precious.write_text("kept")
    precious.chmod(0o600)
    leases.mkdir()
    (leases / "0.lock").hardlink_to(precious)
    with leased_gpus(1, folder=leases):
        assert precious.read_text() == "kept"
    assert stat.S_IMODE(precious.stat().st_mode) == 0o600


def test_a_folder_that_cannot_be_made(machine, tmp_path):
    machine(CUDA_VISIBLE_DEVICES="0")
    refuse(tmp_path / "missing" / "leases", "No such file or directory")


# Jobs side by side.

JOB = """
import logging, os, sys, time
from pathlib import Path
from segflow.processes import gpus as leases
folder, count, held_s, quiet_s = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4]
leases._QUIET_S = float(quiet_s)
logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
with leases.leased_gpus(count, folder=folder) as gpus:
    began = time.monotonic()
    assert os.environ["CUDA_VISIBLE_DEVICES"] == ",".join(gpus)
    if held_s == "fork":
        worker = os.fork()
        if worker == 0:
            time.sleep(60)  # until the test ends it
            os._exit(0)
        print("worker", worker)
    print("in", *gpus, flush=True)
    sys.stdin.readline() if held_s in ("told", "fork") else time.sleep(float(held_s))
    ended = time.monotonic()
    with (folder.parent / "times.txt").open("a") as file:
        file.write("".join(f"{gpu} {began} {ended}\\n" for gpu in gpus))
"""


@pytest.fixture
def start(tmp_path):
    """A function that starts a job on stand-in devices 0 and 1."""
    (tmp_path / "empty").mkdir()
    environment = {name: value for name, value in os.environ.items() if name != "SLURM_JOB_ID"}
    environment |= {"CUDA_VISIBLE_DEVICES": "0,1", "PATH": str(tmp_path / "empty")}
    with ExitStack() as stack:

        def begin(count=1, held="told", quiet_s=WAIT_S, **more):
            arguments = (tmp_path / "leases", count, held, quiet_s)
            return stack.enter_context(OtherProcess(JOB, *arguments, environment=environment | more))

        yield begin


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
    arrivals = queue.Queue()
    for job in [start() for _ in range(6)]:
        threading.Thread(target=lambda job=job: arrivals.put((job, job.said("in"))), daemon=True).start()
    inside = [arrivals.get(timeout=WAIT_S) for _ in range(2)]
    assert sorted(gpu for _, gpu in inside) == ["0", "1"]
    for leaving in (1, 0, 1, 0):
        assert arrivals.empty()
        leaver, gpu = inside.pop(leaving)
        assert leaver.leave() == 0
        inside.append(arrivals.get(timeout=WAIT_S))
        assert inside[-1][1] == gpu
    assert [job.leave() for job, _ in inside] == [0, 0]
    assert uses(tmp_path) == {"0": 3, "1": 3}


def test_jobs_of_one_slurm_allocation_share_its_gpus(start):
    """One SLURM job runs the whole workflow: its trainings must not all take the first device."""
    jobs = [start(SLURM_JOB_ID="7") for _ in range(2)]
    assert sorted(job.said("in") for job in jobs) == ["0", "1"]


def test_jobs_for_one_and_for_two_gpus_all_end(start, tmp_path):
    jobs = [start(count, held=0.05) for count in (2, 1, 2, 1, 2)]
    assert [job.process.wait(WAIT_S) for job in jobs] == [0] * len(jobs)
    assert sum(uses(tmp_path).values()) == 8


def test_a_killed_job_returns_its_gpus_although_its_worker_lives(start):
    job = start(2, held="fork")
    worker = int(job.said("worker"))
    assert job.said("in") == "0 1"
    waiting = start(2)
    job.kill()
    assert waiting.said("in") == "0 1"
    os.kill(worker, signal.SIGKILL)  # it lives


def test_a_waiting_job_says_once_what_it_waits_for_and_leases_are_logged(start):
    holder = start()
    assert holder.said("GPU") == "0 leased"
    waiting = start(2, quiet_s=0)
    assert waiting.said("waiting for 2 of GPU 0, GPU 1:") == f"process {holder.process.pid} holds GPU 0"
    time.sleep(1)
    holder.leave()
    assert holder.said("GPU") == "0 returned"
    assert [waiting.line(), waiting.line()] == ["GPU 0 leased", "GPU 1 leased"]
