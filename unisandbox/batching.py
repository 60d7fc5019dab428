"""Batches on an accelerator: where one does not fit into memory, it is halved, and the rest goes on so."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

Item = TypeVar("Item")
Done = TypeVar("Done")


@dataclass(slots=True)
class Batches:
    """Runs work over items, ``size`` at once, and keeps the size that was found to fit."""

    who: str
    """Whose batches they are, for the warning."""
    size: int
    """How many items at once; halved, for good, when that was too much."""
    filled: bool = False
    """Fill a short batch up with copies of its last item. Matrices of another shape are rounded otherwise,
    in half precision enough for the same seed to choose another token: with this the shape stays the same."""

    def over(
        self,
        items: Sequence[Item],
        work: Callable[[Sequence[Item]], Sequence[Done]],
        alike: Callable[[Item], Hashable] = lambda item: None,
    ) -> Iterator[Done]:
        """Yield what ``work`` returns for each item, as batches are finished.

        ``work`` returns one result an item, in order. Only items that are ``alike`` share a batch. Raises
        MemoryError when a single item does not fit; any other exception of ``work`` passes through.
        """
        groups: dict[Hashable, list[Item]] = {}
        for item in items:
            groups.setdefault(alike(item), []).append(item)
        for left in groups.values():
            while left:
                batch = left[: self.size]
                if (done := self._tried(batch, work)) is not None:
                    yield from done
                    del left[: len(batch)]

    def _tried(
        self, batch: list[Item], work: Callable[[Sequence[Item]], Sequence[Done]]
    ) -> Sequence[Done] | None:
        """Return the results, or None after having found that so many are too many."""
        copies = self.size - len(batch) if self.filled else 0
        many = len(batch) + copies
        try:
            return work([*batch, *batch[-1:] * copies])[: len(batch)]
        except Exception as error:
            if not out_of_memory(error):
                raise
            if many == 1:
                reason = str(error).partition("\n")[0]
                raise MemoryError(f"a single request does not fit into memory: {reason}") from None
        # only out here: the exception holds the frames whose tensors fill the memory
        self._halve(many)
        return None

    def _halve(self, many: int) -> None:
        self.size = many // 2
        free()
        print(
            f"warning: {self.who}: out of memory with {many} requests at once; going on with {self.size}.",
            file=sys.stderr,
        )


def out_of_memory(error: BaseException) -> bool:
    """Whether an exception says that memory ran out: on CUDA and its like, on Apple's GPUs, or on a CPU."""
    import torch

    if isinstance(error, torch.OutOfMemoryError):
        return True
    told = str(error).lower()
    signs = ("out of memory", "can't allocate memory", "alloc_failed")
    return isinstance(error, RuntimeError) and any(sign in told for sign in signs)


def free() -> None:
    """Give memory that nothing uses any more back to the accelerator."""
    import torch

    gc.collect()
    if torch.accelerator.is_available():
        torch.get_device_module().empty_cache()
