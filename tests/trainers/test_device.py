"""The device by its name, and the number of threads for as long as it matters."""

from __future__ import annotations

import pytest
import torch

from cuebank.store import BadInput
from cuebank.trainers.device import check_device, cpu_threads, threads_for


def test_a_device_that_is_there_is_returned() -> None:
    assert check_device("cpu") == "cpu"


@pytest.mark.parametrize("name", ["cuda:99", "nowhere", ""])
def test_a_device_that_is_not_there_is_refused_in_one_line(name: str) -> None:
    with pytest.raises(BadInput, match="--device cpu") as error:
        check_device(name)
    assert "\n" not in str(error.value)


def test_threads_are_set_inside_and_given_back_also_after_an_error() -> None:
    before = torch.get_num_threads()
    inside = []

    def failing() -> None:
        with cpu_threads(before + 1):
            inside.append(torch.get_num_threads())
            raise BadInput("a", "b", "c")

    with pytest.raises(BadInput):
        failing()
    assert inside == [before + 1]
    assert torch.get_num_threads() == before
    with cpu_threads(None):
        assert torch.get_num_threads() == before


def test_small_steps_are_computed_by_one_thread_and_large_ones_by_as_many_as_there_are() -> None:
    with cpu_threads(4):
        published, at_64, huge = threads_for(5 * 8 * 106_209), threads_for(5 * 64 * 106_209), threads_for(10**12)
    assert (published, at_64, huge) == (1, 2, 4)
    with cpu_threads(1):
        assert threads_for(10**12) == 1
