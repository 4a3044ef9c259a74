"""Which GPUs a job leases, and the locks behind it."""

from __future__ import annotations

import fcntl
import os
import re
import stat

import pytest

from segflow.contracts.errors import ConfigurationError
from segflow.processes.gpus import leased_gpus

FIRST = "GPU-11111111-aaaa-bbbb-cccc-000000000000"
SECOND = "GPU-22222222-aaaa-bbbb-cccc-000000000000"


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """A function that sets the environment of this process: variables, and what nvidia-smi says."""
    programs = tmp_path / "bin"
    programs.mkdir()
    monkeypatch.setenv("PATH", str(programs))
    for name in ("SLURM_JOB_ID", "CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER"):
        monkeypatch.delenv(name, raising=False)

    def be(smi=None, **variables):
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        if smi is not None:
            program = programs / "nvidia-smi"
            program.write_text(f"#!/bin/sh\n{smi}\n")
            program.chmod(0o755)

    return be


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


def refuse(folder, message, count=1):
    with pytest.raises(ConfigurationError, match=message), leased_gpus(count, folder=folder):
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
def test_nothing_is_changed(machine, count, environment, expected, tmp_path):
    """No GPU is asked for, SLURM gave just as many, or all are hidden."""
    machine(listing(FIRST, SECOND, f"{FIRST}-3", f"{FIRST}-4"), **environment)
    before = dict(os.environ)
    with leased_gpus(count, folder=tmp_path / "leases") as gpus:
        assert gpus == expected
        assert dict(os.environ) == before
    assert not (tmp_path / "leases").exists()


@pytest.mark.parametrize(
    "smi", [None, "echo NVIDIA-SMI has failed; exit 9", "echo No devices were found", "exit 0"]
)
def test_a_machine_without_gpus(machine, smi, tmp_path):
    machine(smi)
    with leased_gpus(1, folder=tmp_path / "leases") as gpus:
        assert gpus == ()
        assert "CUDA_VISIBLE_DEVICES" not in os.environ


def test_all_gpus_of_the_machine(machine, tmp_path):
    """Named by nvidia-smi's index, so CUDA must count like nvidia-smi."""
    machine(listing(FIRST, SECOND))
    with leased_gpus(2, folder=tmp_path / "leases") as gpus:
        assert gpus == ("0", "1")
        assert os.environ["CUDA_VISIBLE_DEVICES"] == "0,1"
        assert os.environ["CUDA_DEVICE_ORDER"] == "PCI_BUS_ID"
        assert held(tmp_path / "leases") == [FIRST, SECOND]
    assert held(tmp_path / "leases") == []
    assert "CUDA_VISIBLE_DEVICES" not in os.environ
    assert "CUDA_DEVICE_ORDER" not in os.environ


def fail_with_a_lease(folder):
    with leased_gpus(1, folder=folder) as gpus:
        assert gpus == ("1",)
        assert os.environ["CUDA_VISIBLE_DEVICES"] == "1"
        assert os.environ["CUDA_DEVICE_ORDER"] == "PCI_BUS_ID"
        raise ZeroDivisionError


def test_a_failure_returns_the_gpu_and_restores_the_environment(machine, tmp_path):
    machine(listing(FIRST, SECOND), CUDA_VISIBLE_DEVICES="1,0", CUDA_DEVICE_ORDER="FASTEST_FIRST")
    with pytest.raises(ZeroDivisionError):
        fail_with_a_lease(tmp_path / "leases")
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "1,0"
    assert os.environ["CUDA_DEVICE_ORDER"] == "FASTEST_FIRST"
    assert held(tmp_path / "leases") == []


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
def test_every_name_of_a_device_leads_to_one_lock(machine, visible, key, tmp_path):
    machine(listing(FIRST, SECOND), CUDA_VISIBLE_DEVICES=visible)
    with leased_gpus(1, folder=tmp_path / "leases") as gpus:
        assert gpus == (visible.split(",")[0].strip(),)
        assert held(tmp_path / "leases") == [key]
        assert os.environ.get("CUDA_DEVICE_ORDER") == ("PCI_BUS_ID" if gpus == ("1",) else None)


@pytest.mark.parametrize("visible", ["0,0", f"0,{FIRST}", "0,-1,1", "0,2,1", "0,,1"])
def test_a_device_counts_once_and_the_list_ends_where_cuda_ends_it(machine, visible, tmp_path):
    machine(listing(FIRST, SECOND), CUDA_VISIBLE_DEVICES=visible)
    refuse(tmp_path, "may use 1 here", count=2)


def test_more_gpus_than_there_are(machine, tmp_path):
    machine(CUDA_VISIBLE_DEVICES="0,1")
    message = re.escape("asks for 3 GPUs (resources.gpus) and may use 2 here (GPU 0, GPU 1)")
    refuse(tmp_path, f"{message}.*--resources gpu=", count=3)


# A folder that is everybody's.


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


def test_a_link_in_place_of_a_lock_is_refused(machine, tmp_path):
    machine(CUDA_VISIBLE_DEVICES="0")
    (tmp_path / "leases").mkdir()
    (tmp_path / "leases" / "0.lock").symlink_to(tmp_path / "precious")
    refuse(tmp_path / "leases", r"no GPU can be leased: .*0\.lock cannot be used")
    assert not (tmp_path / "precious").exists()


def test_nothing_is_written_to_a_lock(machine, tmp_path):
    """It may be a second name of another file."""
    machine(CUDA_VISIBLE_DEVICES="0")
    (tmp_path / "precious").write_text("kept")
    (tmp_path / "precious").chmod(0o600)
    (tmp_path / "leases").mkdir()
    (tmp_path / "leases" / "0.lock").hardlink_to(tmp_path / "precious")
    with leased_gpus(1, folder=tmp_path / "leases"):
        assert (tmp_path / "precious").read_text() == "kept"
    assert stat.S_IMODE((tmp_path / "precious").stat().st_mode) == 0o600


def test_a_link_in_place_of_the_folder_is_refused(machine, tmp_path):
    machine(CUDA_VISIBLE_DEVICES="0")
    (tmp_path / "leases").symlink_to(tmp_path)
    refuse(tmp_path / "leases", "leases cannot be used")


def test_a_folder_that_cannot_be_made(machine, tmp_path):
    machine(CUDA_VISIBLE_DEVICES="0")
    refuse(tmp_path / "missing" / "leases", "No such file or directory")
