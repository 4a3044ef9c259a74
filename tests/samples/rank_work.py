"""What test_parallel.py runs in the processes of a group, which import it from here."""

import os
import signal
import time
from pathlib import Path

import torch
import torch.distributed as dist
from tiny_problem import Reader, Store

from segflow.training import parallel
from segflow.training.batches import BatchMaker
from segflow.training.loop import train_in_group
from segflow.training.step import Learner
from segflow.training.transfer import load


def learn_all(group, progress, stop, jobs, folder):
    """Train every job, and save what each process has in the end."""
    for number in (signal.SIGINT, signal.SIGTERM):
        os.kill(os.getpid(), number)  # only the caller acts on these
    for name, job in jobs.items():
        state, learner = train_in_group(group, progress, stop, job, Reader(), Store())
        losses = [[r.train_loss, r.validation_loss, *r.pseudo_dice] for r in state.history]
        torch.save({"weights": learner.weights(), "losses": losses}, Path(folder, f"{name}_{group.rank}"))
    torch.save(_overflow_in_the_second(group, job), Path(folder, f"overflow_{group.rank}"))


def _overflow_in_the_second(group, job):
    """Two steps with scaled gradients, as on a GPU; in the first they overflow in one process only."""
    learner, maker = Learner(job, group), BatchMaker(job, Reader(), group)
    learner.scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    weight = next(learner.network.parameters())
    states = [weight.detach().clone()]
    hook = weight.register_hook(lambda gradient: gradient * (float("inf") if group.rank == 1 else 1.0))
    learner.learn(load(maker.make(0), torch.device("cpu")))
    states.append(weight.detach().clone())
    scale = learner.scaler.get_scale()
    hook.remove()
    learner.learn(load(maker.make(1), torch.device("cpu")))
    return {"weight": [*states, weight.detach()], "scale": scale}


def fail_in_the_second(group, progress, stop, error):
    """The second process closes its connections, and raises an error only after the first has noticed."""
    parallel._CAUSE_S = 2.0
    group.join()
    group.sum(torch.zeros(()))
    if group.rank == 1:
        dist.destroy_process_group()
        time.sleep(0.5)
        raise error
    group.sum(torch.zeros(()))


def leave_in_the_second(group, progress, stop):
    parallel._CAUSE_S = 0.1
    group.join()
    if group.rank == 0:
        group.sum(torch.zeros(()))


def die_in_the_second(group, progress, stop):
    group.join()
    group.sum(torch.zeros(()))
    if group.rank == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    group.sum(torch.zeros(()))


class Deadly:
    """Kills a process that unpickles it: before it meets the others."""

    def __reduce__(self):
        return _die, ()


def _die():
    os.kill(os.getpid(), signal.SIGKILL)


def report_and_sleep(group, progress, stop):
    os.write(1, f"{os.getpid()}\n".encode())
    progress.advance(1)
    time.sleep(60)
