"""Outer folds: which rows are tested together, by each protocol; none splits a group unless the table itself does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..store.errors import BadInput, nearest
from .groups import Groups, Ints

# The published number of folds.
FOLDS = 5
SPLIT_NAMES = {"train": "train", "val": "validation", "validation": "validation", "dev": "validation", "test": "test"}


@dataclass(frozen=True)
class Fold:
    """Row numbers of one fold, each ascending; the three parts share no row and no group unless the
    protocol's notes say so.

    Args:
        train: (N_train,) int64.
        validation: for selection, (N_validation,); empty until an inner split is made.
        test: (N_test,).
        name: of the fold, as in the report and in predictions.csv.
    """

    train: Ints
    validation: Ints
    test: Ints
    name: str


def _fold(test: npt.NDArray[np.bool_], name: str) -> Fold:
    """Make an outer fold from a mask of its test rows (N,)."""
    return Fold(np.flatnonzero(~test), np.empty(0, dtype=np.int64), np.flatnonzero(test), name)


def group_k_fold(groups: Groups, folds: int = FOLDS, seed: int | None = None) -> list[Fold]:
    """Split groups into folds of about equally many rows with scikit-learn's `GroupKFold`; each group is tested once.

    Args:
        groups: the group of each row.
        folds: how many, 2..number of groups.
        seed: None: the largest group goes to the smallest fold, again and again (deterministic);
            a number: groups are shuffled with it, then cut into folds of equally many groups.

    Returns:
        Folds named `0`, `1`, … without validation part.

    Raises:
        BadInput: fewer than two folds, or more folds than groups.
    """
    count = len(groups.names)
    if not 2 <= folds <= count:
        raise BadInput(
            f"{folds} folds that never split a group were asked for.",
            f"There are {count} groups in {groups.codes.size} rows.",
            f"Ask for 2..{count} folds." if count > 1 else "Give the clips table at least two values of group_id.",
        )
    from sklearn.model_selection import GroupKFold  # 0.7 s to import: only where it is needed

    splitter = GroupKFold(folds) if seed is None else GroupKFold(folds, shuffle=True, random_state=seed)
    return [
        Fold(train.astype(np.int64), np.empty(0, dtype=np.int64), test.astype(np.int64), str(number))
        for number, (train, test) in enumerate(splitter.split(groups.codes, groups=groups.codes))
    ]


def leave_one_group_out(groups: Groups) -> list[Fold]:
    """Test each group once, training on all others; folds carry the groups' names.

    Raises:
        BadInput: there is only one group.
    """
    if len(groups.names) < 2:
        raise BadInput(
            "Leaving one group out was asked for.",
            f"There is only one group, {groups.names[0]!r}.",
            "Give the clips table at least two values of group_id.",
        )
    return [_fold(groups.codes == number, name) for number, name in enumerate(groups.names)]


def sempi_folds(groups: Groups, folds: int = FOLDS) -> list[Fold]:
    """Split as SEMPI does: groups in code-point order, fold k tests ⌊groups / folds⌋ of them from the k-th
    such block.

    The last groups are never tested when the division leaves a rest: with its 14 meetings and 5 folds, the
    last four.

    Raises:
        BadInput: fewer than two folds, or fewer groups than folds.
    """
    block = len(groups.names) // folds if folds >= 2 else 0
    if block < 1:
        raise BadInput(
            f"SEMPI's protocol with {folds} folds was asked for.",
            f"There are {len(groups.names)} groups.",
            "It takes at least 2 folds, and at least as many groups as folds.",
        )
    return [_fold(groups.codes // block == number, str(number)) for number in range(folds)]


def table_folds(folds: Sequence[int | str | None]) -> list[Fold]:
    """Test each value of the clips table's `fold` column once.

    Args:
        folds: the value of each row, (N,).

    Returns:
        Folds named by their values, numbers before text, each in ascending order.

    Raises:
        BadInput: a row has no fold, or there are fewer than two.
    """
    blank = sum(value is None for value in folds)
    names = sorted({value for value in folds if value is not None}, key=lambda v: (isinstance(v, str), v))
    if blank or len(names) < 2:
        raise BadInput(
            "The folds of the clips table were asked for.",
            f"{blank} of {len(folds)} rows have no fold, and there are {len(names)} different ones.",
            "Fill the column `fold` with at least two values, or use --protocol group-k-fold.",
        )
    keys = np.array([names.index(value) for value in folds if value is not None])
    return [_fold(keys == number, str(name)) for number, name in enumerate(names)]


def table_split(splits: Sequence[str | None]) -> tuple[Fold, int]:
    """Use the clips table's `split` column: `train`, `val` (or `validation`, `dev`), `test`.

    Args:
        splits: the value of each row, (N,); None for rows that take no part.

    Returns:
        One fold named `test`, its validation part empty if no row says so; and how many rows take no part.

    Raises:
        BadInput: an unknown value, or no train or no test row.
    """
    unknown = sorted({value for value in splits if value is not None and value not in SPLIT_NAMES})
    if unknown:
        raise BadInput(
            "The split of the clips table was asked for.",
            f"The column `split` has {unknown[0]!r}.",
            nearest(unknown[0], list(SPLIT_NAMES)),
        )
    parts = {
        part: np.array(
            [i for i, value in enumerate(splits) if value is not None and SPLIT_NAMES[value] == part], dtype=np.int64
        )
        for part in ("train", "validation", "test")
    }
    if not parts["train"].size or not parts["test"].size:
        raise BadInput(
            "The split of the clips table was asked for.",
            f"The column `split` has {parts['train'].size} train and {parts['test'].size} test rows.",
            "Mark rows of both parts, or use --protocol group-k-fold.",
        )
    return Fold(**parts, name="test"), sum(value is None for value in splits)
