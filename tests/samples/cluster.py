"""A real SLURM of one node on this machine, for as long as a `with` block runs.

Everything lies in one temporary folder, and every daemon is ended by its recorded process id. The one thing
outside is a pair of links in SLURM's configuration folder, where its commands look when a job has no SLURM_CONF.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import psutil

PACKAGES = ("munge", "slurmctld", "slurmd", "slurm-client")
PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch")
MAY_INSTALL = "SEGFLOW_INSTALL_SLURM"
CONFIGURATION = Path("/etc/slurm")
CONFIGURATION_FILES = ("slurm.conf", "gres.conf")
PARTITION = "cpu"
GPUS = 2
GPU_TYPE = "standin"

#: In a cluster's folder: the process that is to take it down.
OWNER = "owner"

#: More CPUs than the machine may have, so that a job with eight threads can start: nothing binds jobs to CPUs here.
CPUS = 8
START_SECONDS = 30
STOP_SECONDS = 20
NULL_DEVICE = os.makedev(1, 3)

SETTINGS = """\
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
AuthType=auth/munge
AuthInfo=socket={state}/munge.socket
SlurmUser=root
SlurmdUser=root
StateSaveLocation={state}/ctld
SlurmdSpoolDir={state}/spool
SlurmctldPidFile={state}/slurmctld.pid
SlurmdPidFile={state}/slurmd.pid
SlurmctldLogFile={state}/slurmctld.log
SlurmdLogFile={state}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
ReturnToService=2
SchedulerParameters=bf_interval=2,sched_interval=2
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
GresTypes=gpu
# As on many clusters, finished jobs stay visible to squeue for five minutes, and a job that reaches its time limit
# has half a minute to save its work.
MinJobAge=300
KillWait=30
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SlurmdParameters=config_overrides
NodeName={host} NodeAddr=127.0.0.1 CPUs={cpus} CoresPerSocket={cpus} RealMemory={memory_mb} Gres=gpu:{gpu_type}:{gpus}
PartitionName={partition} Nodes={host} Default=YES MaxTime=INFINITE State=UP DefMemPerCPU=100
"""


class NoClusterError(Exception):
    """Why no cluster can be started here; the reason why tests are skipped."""


@contextmanager
def one_node_cluster() -> Iterator[float]:
    """Start a cluster, and stop it and its jobs after the block. Gives the seconds that the start has taken.

    Raises:
        NoClusterError: It cannot or must not be started here.
    """
    _prepare()
    state = Path(tempfile.mkdtemp(prefix="slurm-"))  # short: sockets have a limit of 107 characters
    (state / OWNER).write_text(str(os.getpid()))
    began = time.monotonic()
    try:
        _configure(state)
        _start(state)
        yield time.monotonic() - began
    finally:
        _stop(state)
        shutil.rmtree(state)


def _prepare() -> None:
    """Refuse with a reason; install what is missing, if that is allowed."""
    if sys.platform != "linux" or os.geteuid() != 0:
        raise NoClusterError("a cluster needs Linux and root: its daemons start jobs as their users")
    if find_spec("snakemake_executor_plugin_slurm") is None:
        raise NoClusterError("the SLURM plugin of Snakemake is missing: pip install -e '.[slurm]'")
    _clear_up()
    try:
        socket.gethostbyname(socket.gethostname())
    except OSError:
        raise NoClusterError("this machine's own name does not resolve; SLURM needs it") from None
    if any(_path_of(program) is None for program in PROGRAMS):
        _install()


def _path_of(program: str) -> str | None:
    """Where a program is; not every root has the folders of daemons on the PATH."""
    return shutil.which(program, path=os.pathsep.join([os.environ["PATH"], "/usr/sbin", "/sbin"]))


def _clear_up() -> None:
    """End what a killed test run left behind; refuse if there is any other configuration."""
    for link in filter(os.path.lexists, _links()):
        owner = Path(os.path.realpath(link)).with_name(OWNER)
        if not owner.exists():
            raise NoClusterError(f"{link} exists: this machine belongs to a cluster, which is left alone")
        if _program_of(int(owner.read_text())) is not None:
            raise NoClusterError(f"process {owner.read_text()} runs these tests on this machine already")
        _stop(owner.parent)
        shutil.rmtree(owner.parent)


def _install() -> None:
    command = f"apt-get install --no-install-recommends {' '.join(PACKAGES)}"
    if os.environ.get(MAY_INSTALL) != "1":
        raise NoClusterError(f"packages are missing: {command}, or let the tests do it with {MAY_INSTALL}=1")
    if shutil.which("apt-get") is None:
        raise NoClusterError(f"{MAY_INSTALL}=1, but there is no apt-get to install packages with")
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for step in ("apt-get -q update", command.replace("install", "-q -y install", 1)):
        done = subprocess.run(step.split(), env=environment, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            said = (done.stderr.strip() or done.stdout.strip()).splitlines()[-1:]
            raise NoClusterError(f"{step} failed: {' '.join(said)}")


def _configure(state: Path) -> None:
    for folder in ("ctld", "spool"):
        (state / folder).mkdir()
    try:
        for number in range(GPUS):  # gres insists on character devices; clones of /dev/null do
            os.mknod(state / f"gpu{number}", 0o666 | stat.S_IFCHR, NULL_DEVICE)
    except OSError as problem:
        raise NoClusterError(f"stand-ins for GPUs cannot be made: {problem}") from None
    host = socket.gethostname()
    memory_mb = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**20
    settings = SETTINGS.format(
        state=state,
        host=host,
        cpus=CPUS,
        gpus=GPUS,
        gpu_type=GPU_TYPE,
        partition=PARTITION,
        memory_mb=max(memory_mb, 64_000),  # which nothing enforces: jobs of real data ask for more
    )
    (state / "slurm.conf").write_text(settings)
    gpus = f"NodeName={host} Name=gpu Type={GPU_TYPE} File={state}/gpu[0-{GPUS - 1}]\n"
    (state / "gres.conf").write_text(gpus)
    (state / "munge.key").write_bytes(os.urandom(128))
    (state / "munge.key").chmod(0o400)


def _start(state: Path) -> None:
    CONFIGURATION.mkdir(exist_ok=True)
    for link in _links():
        link.symlink_to(state / link.name)
    munge = [f"--{name}={state}/munge.{name.split('-')[0]}" for name in ("key-file", "pid-file", "log-file")]
    munge += [f"--seed-file={state}/munge.seed", f"--socket={state}/munge.socket"]
    for program, *options in (["munged", "--force", *munge], ["slurmctld"], ["slurmd"]):
        done = subprocess.run(
            [_path_of(program) or program, *options], capture_output=True, text=True, check=False
        )
        if done.returncode != 0:
            raise RuntimeError(f"{program} does not start: {done.stdout}{done.stderr}")
    if not _soon(lambda: _answer("sinfo", "--noheader", "--format=%t") == "idle", START_SECONDS):
        logs = "\n".join(file.read_text() for file in state.glob("slurm*.log"))
        raise RuntimeError(f"the node is not idle after {START_SECONDS} s\n{logs}")


def _stop(state: Path) -> None:
    """End jobs, then daemons; the links go last, because all commands need them."""
    if (state / "slurmctld.pid").exists():
        subprocess.run(["scancel", "--user", "root"], capture_output=True, check=False)
        _soon(lambda: not _answer("squeue", "--noheader"), START_SECONDS)
    for name, program in (("slurmd", "slurmd"), ("slurmctld", "slurmctld"), ("munge", "munged")):
        file = state / f"{name}.pid"
        if file.exists():
            _end(int(file.read_text()), program)
    for link in _links():
        if link.is_symlink() and link.readlink() == state / link.name:
            link.unlink()


def _end(process: int, program: str) -> None:
    """End a process, unless its number has become that of another program."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        if _program_of(process) == program:
            os.kill(process, number)
            _soon(lambda: _program_of(process) is None, STOP_SECONDS)


def _program_of(process: int) -> str | None:
    """What a process runs; None if there is no such process any more."""
    try:
        found = psutil.Process(process)
        return None if found.status() == psutil.STATUS_ZOMBIE else found.name()
    except psutil.NoSuchProcess:
        return None


def _links() -> list[Path]:
    return [CONFIGURATION / name for name in CONFIGURATION_FILES]


def _answer(*command: str) -> str:
    """What a command of SLURM prints, or nothing where it fails: the daemons may not be ready."""
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()


def _soon(condition: Callable[[], bool], seconds: float) -> bool:
    """Whether the condition becomes true within that time."""
    end = time.monotonic() + seconds
    while not (met := condition()) and time.monotonic() < end:
        time.sleep(0.2)
    return met
