"""How a feature set is described in a container: as attributes with a checksum, the same in both."""

from __future__ import annotations

from typing import Any

from ..errors import BadInput, CuebankError
from ..files import corrupt, crc32c, render_json
from ..recipe import FeatureSpec
from .zarr_metadata import FORMAT, READABLE

MAX_DIM = 2**31


def feature_set_attributes(spec: FeatureSpec, version: int = FORMAT) -> dict[str, Any]:
    """Return the attributes of a feature set's group; the checksum covers what the fingerprint does not."""
    described = spec.to_json()
    return {
        "format": version,
        "kind": "feature-set",
        "spec": described,
        "crc32c": crc32c(render_json(described)),
    }


def parse_feature_set(name: str, document: dict[str, Any], where: str) -> FeatureSpec:
    """Return the description in a feature set's zarr.json.

    Raises:
        Corrupt: if it is damaged, or describes another feature set.
    """
    try:
        own = document["attributes"]["cuebank"]
        described = own["spec"]
        if own["kind"] != "feature-set" or own["format"] not in READABLE:
            raise corrupt(where, "It is not described as a feature set of a known format.")
        if own["crc32c"] != crc32c(render_json(described)):
            raise corrupt(where, "Its description does not agree with its checksum.")
        spec = FeatureSpec.from_json(described)
        if spec.fingerprint != described["fingerprint"]:
            raise corrupt(where, "Its fingerprint is not that of its description.")
    except (KeyError, TypeError, ValueError, OverflowError, RecursionError) as error:
        if isinstance(error, CuebankError) and not isinstance(error, BadInput):
            raise
        raise corrupt(where, f"Its zarr.json does not describe a feature set: {error}.") from error
    if spec.name != name or spec.dim > MAX_DIM:
        raise corrupt(where, f"Its description is that of `{spec.name[:80]}` with {spec.dim} columns.")
    return spec
