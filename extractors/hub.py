"""Fetch published weights from the Hugging Face hub, by exact commit, without ever waiting long for an answer."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..store.errors import MissingExtra
from .errors import WeightsError

LOOKUP_S = 10.0  # at most, for the hub to say what there is; the download itself may take as long as it takes
CONFIGS = ("config.json", "preprocessor_config.json", "generation_config.json")
WEIGHTS = ("model.safetensors", "pytorch_model.bin")  # the better one first
TOKENIZERS = ("tokenizer.json", "vocab.json", "merges.txt")  # of networks that read text
FILES = (*CONFIGS, *WEIGHTS, *TOKENIZERS)
_COMMIT = re.compile(r"[0-9a-f]{40}")


def fetch(name: str, revision: str | None, backbone: str) -> tuple[Path, str]:
    """Return the folder of a model from the cache or the hub, and its commit.

    Args:
        name: `owner/name`.
        revision: a commit, branch or tag; None: the newest.
        backbone: name of the card, for the messages.

    Raises:
        WeightsError: if it cannot be had, within about 10 s; says what to download, and where to put it.
        MissingExtra: if huggingface_hub is not installed.
    """
    try:
        import huggingface_hub
    except ModuleNotFoundError as error:
        if error.name != "huggingface_hub":
            raise  # it is there, but broken: its own message says how
        raise MissingExtra(f"The hub model `{name}`", "hf", "huggingface_hub") from error
    # A commit never changes, so the cache alone can answer for it; a branch is looked up where there is a network.
    cached = _cached(huggingface_hub, name, revision)
    if cached is not None and revision is not None and _COMMIT.fullmatch(revision):
        return cached, revision
    try:
        info = _within(LOOKUP_S, lambda: huggingface_hub.HfApi().model_info(name, revision=revision, timeout=LOOKUP_S))
        present = {item.rfilename for item in info.siblings or ()}
        wanted = [file for file in FILES if file in present]
        if "model.safetensors" in wanted and "pytorch_model.bin" in wanted:
            wanted.remove("pytorch_model.bin")
        paths = [huggingface_hub.hf_hub_download(name, file, revision=info.sha) for file in wanted]
    # The hub's client raises errors of its own, of its http library, and of the operating system.
    except Exception as error:
        if cached is not None:
            return cached, cached.name
        raise _not_to_be_had(name, revision, backbone, error) from error
    if not any(Path(path).name in WEIGHTS for path in paths):
        raise _not_to_be_had(name, revision, backbone, FileNotFoundError(f"it has none of {', '.join(WEIGHTS)}"))
    return Path(paths[0]).parent, str(info.sha)


def at_hand(name: str, revision: str | None) -> bool | None:
    """Tell whether published weights lie in the local cache; None where the hub's client is not installed.

    Nothing is looked up on the network.
    """
    try:
        import huggingface_hub
    except ModuleNotFoundError:
        return None
    return _cached(huggingface_hub, name, revision) is not None


def _cached(hub: Any, name: str, revision: str | None) -> Path | None:
    """The complete folder of a model in the local cache, or None."""
    for weights in WEIGHTS:
        found = [hub.try_to_load_from_cache(name, file, revision=revision) for file in ("config.json", weights)]
        if all(isinstance(path, str) for path in found):
            return Path(found[0]).parent
    return None


def _within(seconds: float, ask: Callable[[], Any]) -> Any:
    """Call `ask` in a thread of its own: name servers and proxies can hang longer than any time limit of the client."""
    answer: dict[str, Any] = {}

    def run() -> None:
        try:
            answer["value"] = ask()
        except BaseException as error:  # noqa: BLE001 - carried over to the caller's thread
            answer["error"] = error

    thread = threading.Thread(target=run, name="hub lookup", daemon=True)
    thread.start()
    thread.join(seconds)
    if thread.is_alive():
        raise TimeoutError(f"no answer within {seconds:.0f} s")
    if "error" in answer:
        raise answer["error"]
    return answer["value"]


def _not_to_be_had(name: str, revision: str | None, backbone: str, error: Exception) -> WeightsError:
    reason = (str(error).strip() or type(error).__name__).splitlines()[0][:200]
    pinned = f" --revision {revision}" if revision else ""
    which, folder = f"{name}@{revision}" if revision else name, name.split("/")[1]
    return WeightsError(
        f"The weights `{which}` for {backbone} were looked up on the Hugging Face hub.",
        f"They cannot be had: {reason}.",
        f"On a machine with access, run `hf download {name}{pinned} --local-dir {folder}`, copy that folder here, "
        f"and add --weights {folder}; or add --weights random to try the way without meaningful features.",
    )
