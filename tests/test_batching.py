"""Batches: everything comes out once, whatever fits; and what was found to fit is kept."""

from collections.abc import Sequence

import pytest
import torch

from unisandbox.batching import Batches, out_of_memory


class Machine:
    """Doubles numbers; more than ``room`` at once is more than it has memory for."""

    def __init__(self, room: int, error: Exception | None = None) -> None:
        self.room = room
        self.error = error or torch.OutOfMemoryError("CUDA out of memory.\nTried to allocate 2 GiB.")
        self.asked: list[list[int]] = []

    def __call__(self, numbers: Sequence[int]) -> list[int]:
        self.asked.append(list(numbers))
        if len(numbers) > self.room:
            raise self.error
        return [2 * number for number in numbers]


def test_all_items_come_out_in_order() -> None:
    machine = Machine(room=100)
    assert list(Batches("it", 4).over(range(10), machine)) == [2 * number for number in range(10)]
    assert [len(batch) for batch in machine.asked] == [4, 4, 2]


def test_out_of_memory_halves_the_batch_for_good(capsys: pytest.CaptureFixture[str]) -> None:
    machine, batches = Machine(room=3), Batches("it", 16)
    assert list(batches.over(range(10), machine)) == [2 * number for number in range(10)]
    assert [len(batch) for batch in machine.asked] == [10, 5, 2, 2, 2, 2, 2]
    assert batches.size == 2
    assert "warning: it: out of memory with 10 requests at once; going on with 5." in capsys.readouterr().err
    assert list(batches.over(range(4), machine)) == [0, 2, 4, 6]
    assert [len(batch) for batch in machine.asked[-2:]] == [2, 2]


def test_what_was_done_before_memory_ran_out_is_not_done_again() -> None:
    machine = Machine(room=8)
    done = Batches("it", 8).over(range(20), machine)
    first = [next(done) for _ in range(8)]
    machine.room = 4
    assert first + list(done) == [2 * number for number in range(20)]
    assert [batch[0] for batch in machine.asked] == [0, 8, 8, 12, 16]


def test_one_that_does_not_fit_alone_is_an_error_of_that_item() -> None:
    with pytest.raises(
        MemoryError, match=r"^a single request does not fit into memory: CUDA out of memory\.$"
    ):
        list(Batches("it", 2).over([1, 2], Machine(room=0)))


def test_other_faults_pass_through() -> None:
    machine, batches = Machine(room=1, error=RuntimeError("shapes do not match")), Batches("it", 2)
    with pytest.raises(RuntimeError, match="shapes do not match"):
        list(batches.over([1, 2], machine))
    assert batches.size == 2


def test_filled_batches_have_one_size_and_copies_do_not_come_out() -> None:
    machine = Machine(room=3)
    batches = Batches("it", 6, filled=True)
    assert list(batches.over([1, 2], machine)) == [2, 4]
    assert machine.asked == [[1, 2, 2, 2, 2, 2], [1, 2, 2]]


def test_only_those_alike_share_a_batch() -> None:
    machine = Machine(room=9)
    done = list(Batches("it", 2).over(range(6), machine, alike=lambda number: number % 2))
    assert machine.asked == [[0, 2], [4], [1, 3], [5]]
    assert sorted(done) == [0, 2, 4, 6, 8, 10]


@pytest.mark.parametrize(
    ("error", "is_one"),
    [
        (torch.OutOfMemoryError("CUDA out of memory."), True),
        (RuntimeError("MPS backend out of memory (MPS allocated: 9 GB)"), True),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried 9 bytes"), True),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"), True),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), False),
        (ValueError("the story is about being out of memory"), False),
    ],
)
def test_what_says_that_memory_ran_out(error: Exception, is_one: bool) -> None:
    assert out_of_memory(error) is is_one


def test_a_real_allocation_that_cannot_be_had_is_one() -> None:
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**60, dtype=torch.uint8)
    assert out_of_memory(caught.value)
