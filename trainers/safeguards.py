"""What every training run is checked for before its report is given out, see `checks` and `control`."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from ..store import FeatureStore
from .checks import Check, check_duplicates, check_groups, check_padding, check_scores, check_selection
from .control import run_control
from .heads._base import Head
from .report import Report
from .trained import Trained


def safeguarded(
    report: Report,
    trained: Trained,
    models: Sequence[Head],
    store: FeatureStore,
    device: str,
    fused: bool,
    control: bool,
) -> Report:
    """Return the report with the checks and the control; what they find is a warning too.

    Args:
        report: of the runs.
        trained: the runs.
        models: of the runs, with the states that were kept.
        store: that was trained from, open.
        device, fused: as the runs were trained.
        control: also train once on shuffled labels.
    """
    data, runs = trained.data, trained.runs
    checks = [
        check_groups(data, runs),
        check_selection(data, runs),
        check_duplicates(data, store),
        check_scores(report, models, runs, trained.outcomes, trained.config),
        check_padding(data, models[0], runs[0], store),
    ]
    warnings = [check.said for check in checks if not check.ok and not _told(check, report)]
    more: dict[str, object] = {"checks": [check.to_json() for check in checks]}
    if control:
        folds = len(data.plan.folds)
        found = run_control(trained.card, trained.head_config, data, runs[:folds], trained.config, device, fused)
        more["control"] = {**found.to_json(), "said": found.sentence()}
        warnings += [] if found.ok else [found.sentence()]
    return dataclasses.replace(report, extra={**report.extra, **more}, warnings=[*report.warnings, *warnings])


def _told(check: Check, report: Report) -> bool:
    """Whether the report says so already: a protocol that selects on the test part has its own note."""
    return check.name == "selection" and report.selection == "test"
