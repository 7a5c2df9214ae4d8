"""The device by its name, and the number of threads for as long as it matters."""

from __future__ import annotations

import pytest
import torch

from cuebank.store import BadInput
from cuebank.trainers.device import check_device, cpu_threads


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
