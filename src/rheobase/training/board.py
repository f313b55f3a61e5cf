"""TensorBoard: scalars as they are logged, histograms of weights and gradients per epoch.

A run that goes on starts a new event file, and tells TensorBoard to drop what came after the checkpoint
(`purge_step`).
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from types import TracebackType
from typing import TYPE_CHECKING

from torch import Tensor, nn
from typing_extensions import Self

from rheobase.layers.connection import plain_name
from rheobase.training.folder import RunFolder, writing
from rheobase.training.histograms import histogram

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter


class Board:
    """TensorBoard's event files of a run, from `step` on."""

    def __init__(self, folder: RunFolder, step: int) -> None:
        # Imported here: it takes a while, and only training needs it.
        from torch.utils.tensorboard import SummaryWriter

        self._folder = folder
        with writing(folder):
            self._writer: SummaryWriter = SummaryWriter(
                str(folder.tensorboard), purge_step=step + 1 if step else None, max_queue=1000
            )

    def scalars(self, values: Mapping[str, float], step: int) -> None:
        """Numbers at a step."""
        for name, value in values.items():
            self._writer.add_scalar(name, value, step, new_style=True)

    def histograms(self, network: nn.Module, step: int) -> None:
        """All weights, and the gradients of the last batch."""
        for own, parameter in network.named_parameters():
            name = plain_name(own)
            self._histogram(f"weights/{name}", parameter, step)
            if parameter.grad is not None:
                self._histogram(f"gradients/{name}", parameter.grad, step)

    def _histogram(self, name: str, values: Tensor, step: int) -> None:
        if not values.numel() or not bool(values.isfinite().all()):
            return
        counts, edges = histogram(values)
        flat = values.detach().flatten()
        self._writer.add_histogram_raw(
            name,
            min=float(flat.min()),
            max=float(flat.max()),
            num=flat.numel(),
            sum=float(flat.sum()),
            sum_squares=float(flat.square().sum()),
            bucket_limits=edges[1:].tolist(),
            bucket_counts=counts.tolist(),
            global_step=step,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # On the way out of an error, that error is the one to tell.
        with contextlib.suppress(OSError) if error else writing(self._folder):
            self._writer.close()


class NoBoard(Board):
    """Shows nothing: the board of a process that is not the first of its job."""

    def __init__(self) -> None:
        pass

    def scalars(self, values: Mapping[str, float], step: int) -> None:
        """Drop numbers."""

    def histograms(self, network: nn.Module, step: int) -> None:
        """Drop weights and gradients."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass
