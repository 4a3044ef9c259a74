"""What test_parallel.py runs in the processes of a team: they import it from here."""

import os
import signal
import time
from pathlib import Path

import numpy as np
import torch
from tiny_problem import Reader, Store

from segflow.training.job import batch_maker, make_learner
from segflow.training.loop import _train


def learn_all(team, progress, stop, jobs, folder):
    """Train every job, and leave what each process has in the end."""
    for number in (signal.SIGINT, signal.SIGTERM):
        os.kill(os.getpid(), number)  # the caller's business
    for name, job in jobs.items():
        memory, learner = _train(team, progress, stop, job, Reader(), Store())
        losses = [
            [record.train_loss, record.validation_loss, *record.pseudo_dice] for record in memory.history
        ]
        done = {"weights": learner.network.state_dict(), "losses": losses}
        torch.save(done, Path(folder, f"{name}_{team.rank}"))
    torch.save(_overflow_in_the_second(team, job), Path(folder, f"overflow_{team.rank}"))


def _overflow_in_the_second(team, job):
    """Two steps with scaled gradients, as on a GPU; in the first they overflow in one process only."""
    learner, maker = make_learner(job, team), batch_maker(job, Reader(), team)
    learner.scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    # Not torch's fused one, which is for the CPU: with momentum it cannot leave out its first step.
    learner.optimizer = torch.optim.SGD(learner.network.parameters(), lr=0.01, momentum=0.99, nesterov=True)
    weight = next(learner.network.parameters())
    states = [weight.detach().clone()]
    hook = weight.register_hook(lambda gradient: gradient * (float("inf") if team.rank == 1 else 1.0))
    learner.learn(maker.make(0))
    states.append(weight.detach().clone())
    scale = learner.scaler.get_scale()
    hook.remove()
    learner.learn(maker.make(1))
    return {"weight": [*states, weight.detach()], "scale": scale}


def divide_in_the_second(team, progress, stop):
    team.any(False)
    if team.rank == 1:
        raise ZeroDivisionError("the reason")
    team.any(False)


def die_in_the_second(team, progress, stop):
    team.any(False)
    if team.rank == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    team.any(False)


def die_before_meeting():
    """Called when the arguments are unpickled."""
    os.kill(os.getpid(), signal.SIGKILL)


class Deadly:
    def __reduce__(self):
        return die_before_meeting, ()


def tell_and_sleep(team, progress, stop):
    progress.advance(1, note=str(os.getpid()))
    Path(os.environ["SEGFLOW_TEST_FOLDER"], str(os.getpid())).touch()
    time.sleep(60)


class Broken(Reader):
    """Its intensities are no numbers."""

    def read(self, identifier):
        case = super().read(identifier)
        case.image.setflags(write=True)
        case.image[:] = np.nan
        return case
