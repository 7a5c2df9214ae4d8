"""Where weights are looked for, what they are called, and what is said when they cannot be had."""

from __future__ import annotations

import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from cuebank.extractors import hub
from cuebank.extractors.base import ExtractorSettings
from cuebank.extractors.errors import WeightsError
from cuebank.extractors.registry import card
from cuebank.extractors.weights import locate

BASE = card("hubert-base")


def located(weights: str | None, name: str = "hubert-base", seed: int = 0) -> Any:
    return locate(card(name), ExtractorSettings(weights=weights, seed=seed))


def folder_with(folder: Path, *names: str) -> Path:
    folder.mkdir(parents=True)
    for name in names:
        (folder / name).write_bytes(name.encode())
    return folder


@pytest.fixture
def hub_stub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> SimpleNamespace:
    """A hub without a network: what the model has, what is cached, and how long the hub takes to answer."""
    import huggingface_hub

    stub = SimpleNamespace(files=("config.json", "pytorch_model.bin"), cached=(), delay=0.0, asked=[], error=None)

    class Api:
        def model_info(self, name: str, revision: str | None, timeout: float) -> Any:
            stub.asked.append((name, revision))
            time.sleep(stub.delay)
            if stub.error:
                raise stub.error
            sha = revision if revision and len(revision) == 40 else "f" * 40
            return SimpleNamespace(sha=sha, siblings=[SimpleNamespace(rfilename=name) for name in stub.files])

    def place(name: str, file: str, revision: str | None) -> str:
        path = tmp_path / "hub" / name.replace("/", "--") / "snapshots" / str(revision) / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
        return str(path)

    monkeypatch.setattr(huggingface_hub, "HfApi", Api)
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", lambda name, file, revision: place(name, file, revision))
    monkeypatch.setattr(
        huggingface_hub,
        "try_to_load_from_cache",
        lambda name, file, revision: place(name, file, revision or "main") if file in stub.cached else None,
    )
    return stub


def test_random_weights_are_named_by_their_seed_and_have_no_checksum() -> None:
    found = located("random", seed=7)
    assert found.tag == "random-7"
    assert found.file is None
    assert found.recipe() == {
        "source": "random",
        "seed": 7,
        "rule": "pcg64-uniform-1",
        "sha256": None,
        "licence": "none needed",
    }


def test_a_file_is_named_by_its_stem_and_described_without_its_folder(tmp_path: Path) -> None:
    path = tmp_path / "My HuBERT (v2).pt"
    path.write_bytes(b"content")
    found = located(str(path))
    assert found.tag == "my-hubert-v2"
    recipe = found.recipe()
    assert recipe["source"] == "My HuBERT (v2).pt"
    assert recipe["sha256"] == "ed7002b439e9ac845f22357d822bac1444730fbdb6016d3ec9432297b9ec9f73"
    assert str(tmp_path) not in str(recipe)


def test_a_folder_gives_its_better_file_and_no_path(tmp_path: Path) -> None:
    folder = folder_with(tmp_path / "deep" / "hubert-x", "pytorch_model.bin", "model.safetensors", "config.json")
    found = located(str(folder))
    assert found.file == folder / "model.safetensors"
    assert (found.tag, found.source) == ("hubert-x", "hubert-x/model.safetensors")


def test_a_folder_without_weights_says_what_it_has(tmp_path: Path) -> None:
    folder = folder_with(tmp_path / "f", "hubert.pt", "notes.txt")
    with pytest.raises(WeightsError, match=r"neither model\.safetensors nor pytorch_model\.bin; it has hubert\.pt"):
        located(str(folder))


@pytest.mark.parametrize("weights", ["absent/hubert.pt", "./absent", "/no/such/file.safetensors", "absent", "a b/c"])
def test_a_path_that_is_not_there_is_not_looked_up_on_the_hub(weights: str, hub_stub: SimpleNamespace) -> None:
    with pytest.raises(WeightsError, match="no such file or folder"):
        located(weights)
    assert not hub_stub.asked


def test_without_weights_the_cards_own_are_taken_at_their_pinned_commit(hub_stub: SimpleNamespace) -> None:
    found = located(None)
    assert hub_stub.asked == [(BASE.weights, BASE.revision)]
    assert (found.tag, found.licence) == ("ls960", "Apache-2.0")
    assert found.source == f"{BASE.weights}@{BASE.revision}/pytorch_model.bin"


def test_another_hub_model_or_revision_has_a_name_of_its_own_and_is_pinned(hub_stub: SimpleNamespace) -> None:
    hub_stub.files = ("config.json", "pytorch_model.bin", "model.safetensors")
    found = located("someone/My-Hubert")
    assert found.tag == "my-hubert"
    assert found.source == f"someone/My-Hubert@{'f' * 40}/model.safetensors"
    assert located(f"{BASE.weights}@main").tag == "hubert-base-ls960-main"


def test_a_pinned_commit_in_the_cache_needs_no_hub(hub_stub: SimpleNamespace) -> None:
    hub_stub.cached = ("config.json", "pytorch_model.bin")
    assert located(None).tag == "ls960"
    assert not hub_stub.asked


def test_a_branch_in_the_cache_serves_where_the_hub_does_not_answer(hub_stub: SimpleNamespace) -> None:
    hub_stub.cached = ("config.json", "model.safetensors")
    hub_stub.error = OSError("no network")
    assert located("someone/model").file is not None
    assert hub_stub.asked


def test_when_the_hub_does_not_answer_the_message_says_what_to_download_and_where_to_put_it(
    hub_stub: SimpleNamespace,
) -> None:
    hub_stub.error = OSError("Name or service not known")
    with pytest.raises(WeightsError) as caught:
        located(None)
    assert "Name or service not known" in caught.value.found
    assert f"hf download {BASE.weights} --revision {BASE.revision} --local-dir hubert-base-ls960" in caught.value.todo
    assert "--weights hubert-base-ls960" in caught.value.todo
    assert "--weights random" in caught.value.todo


def test_a_hub_that_hangs_is_given_up_after_the_limit(
    hub_stub: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub, "LOOKUP_S", 0.2)
    hub_stub.delay = 3.0
    started = time.monotonic()
    with pytest.raises(WeightsError, match="no answer within"):
        located(None)
    assert time.monotonic() - started < 2.0


def test_a_hub_model_without_weights_that_we_read_is_an_error(hub_stub: SimpleNamespace) -> None:
    hub_stub.files = ("config.json", "flax_model.msgpack")
    with pytest.raises(WeightsError, match=r"it has none of model\.safetensors, pytorch_model\.bin"):
        located(None)


def test_tiny_cards_have_no_published_weights_and_say_so() -> None:
    with pytest.raises(WeightsError, match="--weights random"):
        located(None, "hubert-tiny")
