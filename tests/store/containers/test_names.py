"""Names of bundles: what no name can say is refused, before it makes a commit invisible."""

from __future__ import annotations

import pytest

from cuebank.store import Conflict, Corrupt
from cuebank.store.containers.names import by_rank, check_neighbours, next_stem

TAIL = "-0123456789ab-89abcdef"


def test_the_highest_generation_leaves_no_room_for_another_commit():
    last = f"{10**18 - 1}{TAIL}"
    assert by_rank([last]) == [last]
    with pytest.raises(Corrupt, match=str(10**18 - 1)):
        next_stem([last])
    assert next_stem([f"{10**18 - 2}{TAIL}"]).startswith(f"{10**18 - 1}-")


def test_what_has_come_between_neighbours_is_a_conflict_and_what_does_not_count_is_none():
    names = [f"{i:08d}{TAIL}" for i in range(5)]
    check_neighbours(names, [], [])
    check_neighbours(names, names[1:3], [])
    check_neighbours(names, [names[1], names[3]], [names[2]])
    with pytest.raises(Conflict, match=names[2]):
        check_neighbours(names, [names[1], names[3]], [])
