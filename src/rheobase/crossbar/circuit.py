"""From cells to tiles of bounded size with wires, and back: what conductances come to as seen from outside.

Cells `[planes, columns, inputs]` are laid out as one array: a row per input, and side by side the columns of
each output, one per plane. It is cut into tiles of at most so many rows and columns, of sizes as equal as can
be. Each tile is a network of its own (see `wires`); what its rows' tiles send to an output is summed
digitally, or after their converters (see `periphery`).

Not modelled: wires between tiles, and drivers shared by them.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from rheobase.crossbar.wires import Wires, approximate, transfer

WireModel = Literal["exact", "approximate"]
#: A tile of n columns and m rows takes 16 m n^2 bytes for its exact solution: 2 GB at this size.
LARGEST_TILE = 512


def pieces(size: int, limit: int) -> list[int]:
    """Sizes of as few pieces as possible of at most `limit`, as equal as can be.

    >>> pieces(784, 128)
    [112, 112, 112, 112, 112, 112, 112]
    """
    number = -(-size // limit)
    return [size // number + (k < size % number) for k in range(number)]


class Tiles:
    """The circuit of an array: conductances in S `[planes, columns, inputs]` to those that act.

    Args:
        wires: Resistances of the segments.
        rows, columns: Largest size of a tile.
        model: "exact", or "approximate" (see `rheobase.crossbar.wires.approximate`).

    Raises:
        ValueError: On resistances that are negative, or tiles that are too large.

    >>> cells = torch.full((2, 3, 5), 1e-3)
    >>> Tiles(Wires(1.0, 1.0), 4, 4)(cells).shape
    torch.Size([2, 3, 5])
    """

    def __init__(self, wires: Wires, rows: int, columns: int, model: WireModel = "exact") -> None:
        self.wires, self.rows, self.columns, self.model = wires.check(), rows, columns, model
        if not (0 < rows <= LARGEST_TILE and 0 < columns <= LARGEST_TILE):
            raise ValueError(
                f"tile: got {rows} rows and {columns} columns, wanted 1 to {LARGEST_TILE} of each; cut the "
                "array into smaller tiles"
            )
        self._seen: tuple[Tensor, Tensor] | None = None

    def __call__(self, siemens: Tensor) -> Tensor:
        """The conductances that act, in S, `[planes, columns, inputs]`."""
        if torch.is_grad_enabled() and siemens.requires_grad:
            return self._solve(siemens)
        # Evaluation reads the same cells for one batch after another.
        if self._seen is None or not torch.equal(self._seen[0], siemens):
            self._seen = siemens.detach().clone(), self._solve(siemens)
        return self._seen[1]

    def _solve(self, siemens: Tensor) -> Tensor:
        solver = transfer if self.model == "exact" else approximate
        array = layout(siemens)
        rows, columns = pieces(array.shape[0], self.rows), pieces(array.shape[1], self.columns)
        solved = [
            torch.cat([solver(tile, self.wires) for tile in torch.split(band, columns, 1)], 1)
            for band in torch.split(array, rows)
        ]
        planes, outputs, inputs = siemens.shape
        return torch.cat(solved).view(inputs, outputs, planes).permute(2, 1, 0)


def layout(cells: Tensor) -> Tensor:
    """Cells as they lie in the array, `[inputs, columns * planes]`."""
    return cells.permute(2, 1, 0).flatten(1)
