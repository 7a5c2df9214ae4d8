"""The report as JSON for programs and as text for people."""

from __future__ import annotations

import json

from cuebank.extractors.report import MAX_SHOWN, Estimate, ExtractReport, Failed, printable

FAILED = [Failed("clip\x1b[2J", "p1", "No sound.")]


def report(**more: object) -> ExtractReport:
    fields = {"store": "f.zarr", "feature_sets": ["a.b@last"], "done": 3, "skipped": 2, "failed": [], "seconds": 61.0}
    return ExtractReport(**{**fields, **more})


def test_the_json_has_the_fields_that_programs_rely_on() -> None:
    found = json.loads(json.dumps(report(failed=FAILED).to_json()))
    assert found["done"] == 3
    assert found["skipped"] == 2
    assert found["failed"] == [{"clip_id": "clip\x1b[2J", "entity_id": "p1", "reason": "No sound."}]
    assert found["store"] == "f.zarr"
    assert found["feature_sets"] == ["a.b@last"]
    assert "dry_run" not in found


def test_the_text_lists_failures_with_reasons_and_no_control_characters() -> None:
    text = report(failed=FAILED).to_text()
    assert "clip\\x1b[2J / p1: No sound." in text
    assert "\x1b" not in text
    assert "1 min 01 s" in text
    assert "tries what failed again" in text


def test_many_failures_are_counted_and_say_where_the_rest_is() -> None:
    text = report(failed=[Failed(f"c{i}", None, "x") for i in range(50)]).to_text()
    assert text.count(": x") == MAX_SHOWN
    assert "and 30 more: cuebank store ls f.zarr" in text


def test_an_interrupted_run_says_how_to_go_on() -> None:
    assert "Interrupted with 7 clips left. The same command goes on" in report(interrupted=True, left=7).to_text()


def test_a_dry_run_shows_the_estimate_and_that_nothing_was_written() -> None:
    one = report(done=0, estimate=Estimate(5, 1.5, 270_000, 2_500_000_000, 7320, "as measured"))
    text = one.to_text()
    for part in ("5 clips", "1.50 h", "270,000 rows", "2.50 GB", "2 h 02 min", "as measured", "nothing was written"):
        assert part in text
    assert one.to_json()["dry_run"]["bytes"] == 2_500_000_000


def test_printable_text_is_left_alone() -> None:
    assert printable("Ä ok 日本") == "Ä ok 日本"
    assert printable("a\nb\tc") == "a\\nb\\tc"
