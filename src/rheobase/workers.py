"""Several processes at one job, as `torchrun` starts them: who this one is, and what they tell each other.

    torchrun --standalone --nproc-per-node 2 -m rheobase train mnist

`torchrun` (PyTorch's elastic launcher) starts the processes, watches them, and starts all of them again when
one dies. It tells each its rank and how many there are in the environment; `together` joins them by gloo.
A process that was not started by it is alone, and all of what is here is then free.

    Li et al., "PyTorch Distributed: experiences on accelerating data parallel training", VLDB 2020

Not modelled: processes that come and go within a training (a change of their number starts from the last
checkpoint), devices other than the CPU.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed import Store, TCPStore  # type: ignore[attr-defined]  # public, but not in its __all__
from torch.distributed.rendezvous import rendezvous

#: How long a process looks for the others when it starts, and how long it waits for them later: the first
#: evaluates while the others wait, which may take minutes.
MEETING, WAITING = timedelta(seconds=60), timedelta(minutes=60)
#: Where the first process's port is told, and how long to wait for an answer there before looking again.
_PORT, _TRY = "rheobase/port", timedelta(seconds=2)


@dataclass(frozen=True)
class Workers:
    """The processes of a job, seen from one of them.

    >>> alone = Workers()
    >>> alone.first, alone.share(5)
    (True, slice(0, 5, None))
    >>> [Workers(rank, 2).share(5) for rank in (0, 1)]
    [slice(0, 3, None), slice(3, 5, None)]
    """

    rank: int = 0
    size: int = 1

    @classmethod
    def here(cls) -> Workers:
        """Those of the job that this process is in."""
        if dist.is_available() and dist.is_initialized():
            return cls(dist.get_rank(), dist.get_world_size())
        return cls()

    @property
    def first(self) -> bool:
        """Whether this is the process that writes and speaks."""
        return self.rank == 0

    def share(self, number: int) -> slice:
        """Which of `number` things are this one's: blocks of nearly one size, in the order of ranks."""
        small, left = divmod(number, self.size)
        start = self.rank * small + min(self.rank, left)
        return slice(start, start + small + (self.rank < left))

    def add(self, tensors: Sequence[Tensor]) -> None:
        """Replace each tensor by its sum over all processes, in one message per type of number."""
        if self.size == 1:
            return
        kinds = dict.fromkeys(tensor.dtype for tensor in tensors)
        for kind in kinds:
            group = [tensor for tensor in tensors if tensor.dtype == kind]
            flat = torch.cat([tensor.flatten() for tensor in group])
            dist.all_reduce(flat)
            parts = torch.split_with_sizes(flat, [tensor.numel() for tensor in group])
            for tensor, part in zip(group, parts, strict=True):
                tensor.copy_(part.view_as(tensor))

    def gather(self, own: Tensor, number: int) -> Tensor:
        """All of `number` things `[number, ...]`, of which `own` are this one's `share`."""
        if self.size == 1:
            return own
        whole = torch.zeros(number, *own.shape[1:], dtype=own.dtype)
        whole[self.share(number)] = own
        dist.all_reduce(whole)  # a sum with zeros, which is exact
        return whole

    def tell(self, tensors: Sequence[Tensor]) -> None:
        """Replace each tensor by that of the first process."""
        if self.size > 1:
            for tensor in tensors:
                dist.broadcast(tensor, src=0)

    def wait(self) -> None:
        """Go on when all have come here."""
        if self.size > 1:
            dist.barrier()


@contextmanager
def together(environment: Mapping[str, str] = os.environ) -> Iterator[Workers]:
    """Within it, this process is joined to the others of its job, if the environment says that there are any.

    Raises:
        ConnectionError: If they cannot be reached.
    """
    size = environment.get("WORLD_SIZE", "1")
    if not size.isdigit() or int(size) < 1:
        raise ValueError(f"WORLD_SIZE: got {size!r} in the environment, wanted the number of processes")
    if int(size) == 1 or dist.is_initialized():
        yield Workers.here()
        return
    place = f"{environment.get('MASTER_ADDR', '?')}:{environment.get('MASTER_PORT', '?')}"
    try:
        store, rank, number = _meet(environment)
        dist.init_process_group("gloo", store=store, rank=rank, world_size=number, timeout=WAITING)
    except (RuntimeError, ValueError) as error:  # torch's DistError is a RuntimeError
        raise ConnectionError(
            f"could not join the {size} processes of this job at {place} within {MEETING.seconds} s "
            f"({str(error).splitlines()[0]}); start them with torchrun, and see that the address of the "
            "first machine (MASTER_ADDR, MASTER_PORT) can be reached from this one"
        ) from error
    try:
        yield Workers.here()
    finally:
        dist.destroy_process_group()


def _meet(environment: Mapping[str, str]) -> tuple[Store, int, int]:
    """Where the processes leave messages for each other while they join, this one's rank, and their number.

    torchrun lends a store that outlives a start: what dead processes left there would be taken for the
    living's. So the first process opens one of its own, and only its port is told there; that of a dead one
    answers no more.
    """
    lent, rank, number = next(rendezvous("env://", timeout=MEETING))
    if environment.get("TORCHELASTIC_USE_AGENT_STORE") != "True":
        return lent, rank, number
    address = environment["MASTER_ADDR"]
    if rank == 0:
        own = TCPStore(address, 0, number, is_master=True, timeout=MEETING, wait_for_workers=False)
        lent.set(_PORT, str(own.port))
        return own, rank, number
    end = time.monotonic() + MEETING.total_seconds()
    while True:
        port = int(lent.get(_PORT))
        try:
            return TCPStore(address, port, number, timeout=_TRY), rank, number
        except RuntimeError:
            if time.monotonic() > end:
                raise


def restarted(environment: Mapping[str, str] = os.environ) -> bool:
    """Whether torchrun started this job again after a process had died.

    >>> restarted({"TORCHELASTIC_RESTART_COUNT": "1"}), restarted({})
    (True, False)
    """
    return int(environment.get("TORCHELASTIC_RESTART_COUNT", "0")) > 0


def may_restart(environment: Mapping[str, str] = os.environ) -> bool:
    """Whether torchrun would start this job again if a process died."""
    return int(environment.get("TORCHELASTIC_MAX_RESTARTS", "0")) > 0
