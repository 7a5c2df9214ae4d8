"""What a report says about where it was computed."""

from __future__ import annotations

import json

import numpy as np
import torch

import cuebank
from cuebank.trainers.environment import commit, environment


def test_versions_device_and_threads_are_those_of_this_process():
    found = environment("cpu")
    assert found["cuebank"] == cuebank.__version__
    assert (found["torch"], found["numpy"]) == (torch.__version__, np.__version__)
    assert (found["device"], found["threads"]) == ("cpu", torch.get_num_threads())
    json.dumps(found, allow_nan=False)


def test_commit_is_read_from_a_branch_from_packed_refs_or_from_a_detached_head(tmp_path):
    git, sha = tmp_path / ".git", "a" * 40
    assert commit(tmp_path) is None
    (git / "refs" / "heads").mkdir(parents=True)
    (git / "HEAD").write_text("ref: refs/heads/main\n")
    assert commit(tmp_path) is None
    (git / "packed-refs").write_text(f"# pack-refs\n{'b' * 40} refs/heads/maintenance\n{sha} refs/heads/main\n")
    assert commit(tmp_path) == sha
    (git / "refs" / "heads" / "main").write_text("c" * 40 + "\n")
    assert commit(tmp_path) == "c" * 40
    (git / "HEAD").write_text("d" * 40 + "\n")
    assert commit(tmp_path) == "d" * 40
