"""Who trains, who selects, who tests: the folds of a protocol and the inner split that model selection uses.

A protocol makes outer folds (`train`, `test`); `with_inner_validation` then takes whole groups out of each
training part for early stopping and model selection, so that the test part is scored once. Published
protocols that select on the test part are available as `selection="test"`, and say so in their notes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from ..store.errors import BadInput, NotFound, nearest
from .folds import FOLDS, Fold, group_k_fold, leave_one_group_out, sempi_folds, table_folds, table_split
from .groups import Groups

__all__ = [
    "PROTOCOLS",
    "SELECTIONS",
    "Fold",
    "SplitPlan",
    "check_no_leak",
    "find_leaks",
    "group_k_fold",
    "leave_one_group_out",
    "plan_splits",
    "select_on_test",
    "sempi_folds",
    "table_folds",
    "table_split",
    "with_inner_validation",
]

PROTOCOLS = ("group-k-fold", "leave-one-group-out", "table-folds", "table-split", "sempi")
SELECTIONS = ("inner", "test")
# Share of the training rows that the inner validation split aims at.
VALIDATION_FRACTION = 0.2


@dataclass(frozen=True)
class SplitPlan:
    """All folds of a training run and what a reader of its report must know about them.

    Args:
        folds: in order.
        protocol: one of `PROTOCOLS`.
        selection: `inner` or `test`.
        notes: sentences for the report, e.g. that rows without a group are their own.
    """

    folds: tuple[Fold, ...]
    protocol: str
    selection: str
    notes: tuple[str, ...]


def with_inner_validation(fold: Fold, groups: Groups, fraction: float = VALIDATION_FRACTION, seed: int = 0) -> Fold:
    """Move whole groups from the training part to the validation part, about `fraction` of the rows.

    Groups are visited in seeded random order; one is taken if that brings the number of rows nearer to the
    aim. At least one group is taken and at least one stays.

    Args:
        fold: with a training part of at least two groups.
        groups: the group of each row.
        fraction: share of the training rows to aim at, 0 < fraction < 1.
        seed: of the order; the same seed gives the same split.

    Returns:
        The fold with a smaller training part; an existing validation part is kept and nothing is moved.

    Raises:
        BadInput: the training part has fewer than two groups, or the fraction is out of range.
    """
    if fold.validation.size:
        return fold
    if not 0 < fraction < 1:
        raise BadInput(
            f"A validation fraction of {fraction:g} was asked for.",
            "It is a share of the training rows.",
            "Give a number between 0 and 1.",
        )
    present, sizes = np.unique(groups.codes[fold.train], return_counts=True)
    if present.size < 2:
        raise BadInput(
            f"An inner validation split of fold {fold.name} was asked for, for early stopping and model selection.",
            f"Its training part has {fold.train.size} rows of {present.size} group, and a group is never split.",
            "Use more groups or fewer folds, or train without selection for a fixed number of epochs.",
        )
    aim = fraction * fold.train.size
    taken: list[int] = []
    rows = 0
    for index in np.random.default_rng(seed).permutation(present.size):
        if abs(rows + sizes[index] - aim) < abs(rows - aim) and len(taken) < present.size - 1:
            taken.append(int(index))
            rows += int(sizes[index])
    if not taken:  # every group is more than twice the aim
        taken = [int(np.argmin(sizes))]
    chosen = np.isin(groups.codes[fold.train], present[taken])
    return replace(fold, train=fold.train[~chosen], validation=fold.train[chosen])


def select_on_test(fold: Fold) -> Fold:
    """Let the test part also select, as some published protocols do: the score is then a best-epoch number."""
    return replace(fold, validation=fold.test)


def plan_splits(
    protocol: str,
    groups: Groups,
    *,
    folds: int = FOLDS,
    fold_column: Sequence[int | str | None] | None = None,
    split_column: Sequence[str | None] | None = None,
    seed: int | None = None,
    selection: str = "inner",
    validation_fraction: float = VALIDATION_FRACTION,
    validation_seed: int = 0,
) -> SplitPlan:
    """Make the folds of a protocol together with their validation parts and what to say about them.

    Args:
        protocol: one of `PROTOCOLS`.
        groups: the group of each row.
        folds: for `group-k-fold` and `sempi`.
        fold_column: of the clips table, for `table-folds`, (N,).
        split_column: of the clips table, for `table-split`, (N,).
        seed: for `group-k-fold`; None for the deterministic assignment.
        selection: `inner`: groups of the training part; `test`: the test part itself, for parity only.
        validation_fraction: share of the training rows for the inner split.
        validation_seed: of the inner split.

    Returns:
        The plan; its folds passed `check_no_leak`.

    Raises:
        NotFound: unknown protocol or selection.
        BadInput: as the protocol's own function, or a group is on both sides of a split.
    """
    for name, known in ((protocol, PROTOCOLS), (selection, SELECTIONS)):
        if name not in known:
            raise NotFound(f"`{name}` was asked for.", "There is none of this name.", nearest(name, list(known)))
    notes = list(groups.notes)
    if protocol == "group-k-fold":
        outer = group_k_fold(groups, folds, seed)
    elif protocol == "leave-one-group-out":
        outer = leave_one_group_out(groups)
    elif protocol == "table-folds":
        outer = table_folds(fold_column or [None] * groups.codes.size)
    elif protocol == "table-split":
        fold, unused = table_split(split_column or [None] * groups.codes.size)
        outer = [fold]
        if unused:
            notes.append(f"Rows without a split, which take no part: {unused}.")
    else:
        outer = sempi_folds(groups, folds)
        untested = len(groups.names) - folds * (len(groups.names) // folds)
        if untested:
            notes.append(f"The last {untested} groups are never tested, as published.")
    if selection == "test":
        done = [select_on_test(fold) for fold in outer]
        notes.append(
            "Models are selected on the test part (published protocol): scores are best-epoch scores, not test scores."
        )
    else:
        done = [with_inner_validation(fold, groups, validation_fraction, validation_seed) for fold in outer]
    plan = SplitPlan(tuple(done), protocol, selection, tuple(notes))
    check_no_leak(plan, groups)
    return plan


def find_leaks(plan: SplitPlan, groups: Groups) -> list[str]:
    """Say, one sentence each, which groups or rows are on two sides of a split.

    Validation equal to test is no finding where that was asked for.
    """
    findings = []
    for fold in plan.folds:
        pairs = [("train", "test"), ("train", "validation")]
        if plan.selection != "test":
            pairs.append(("validation", "test"))
        for first, second in pairs:
            one, other = getattr(fold, first), getattr(fold, second)
            rows = np.intersect1d(one, other).size
            if rows:
                findings.append(f"Fold {fold.name}: {rows} row(s) both in {first} and in {second}.")
            both = np.intersect1d(groups.codes[one], groups.codes[other])
            if both.size:
                named = ", ".join(repr(groups.names[code]) for code in both[:3])
                findings.append(f"Fold {fold.name}: {both.size} group(s) both in {first} and in {second}: {named}.")
    return findings


def check_no_leak(plan: SplitPlan, groups: Groups) -> None:
    """Refuse a plan in which a group or a row is on two sides of a split.

    Raises:
        BadInput: with the findings, at most five.
    """
    findings = find_leaks(plan, groups)
    if findings:
        raise BadInput(
            f"Folds by `{plan.protocol}` were asked for, none of which may split a group.",
            " ".join(findings[:5]),
            "Mend the columns group_id, fold and split of the clips table.",
        )
