"""What every head must do, run over all files of the heads folder.

A head that needs something of its own (rows that have a label each, certain roles or widths, a setting) says so in one
line of `CASES`; every other head is tried on pooled vectors and on the rows of clips, with the inputs of `DIMS`.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import FrozenInstanceError, dataclass, field, fields, is_dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.functional import pad

from cuebank.store import NotFound
from cuebank.trainers import heads
from cuebank.trainers.heads._base import Head, HeadCard
from cuebank.trainers.options import configure

DIMS = {"video": 7, "audio": 5, "openface": 9, "gait": 3}
B, T = 6, 11


@dataclass(frozen=True)
class Case:
    """What a head is tried on.

    Args:
        unit: `clip`: one label for all rows of an item, each role on a clock of its own. `row`: a label for each row,
            all roles on one clock.
        dims: columns of its inputs.
        settings: in place of its defaults.
    """

    unit: str = "clip"
    dims: Mapping[str, int] = field(default_factory=lambda: DIMS)
    settings: Mapping[str, Any] = field(default_factory=dict)


# head, and a name for the variant -> what it is tried on; heads that are not here are tried on `Case()`.
CASES = {
    "asd": Case("row", {"audio": 16, "visual": 16}),
    "asd, as TalkNet": Case("row", {"audio": 16, "video": 16}, {"backend": "talknet", "losses": "plain"}),
    "asd-context": Case("row", {"audio": 16, "visual": 16}, {"losses": "plain", "layers": 2}),
    "asd-context, as ASC": Case(
        "row", {"audio": 5, "visual": 7}, {"backend": "asc", "hidden_size": 8, "moments": 3, "stride": 2}
    ),
    "temporal-gnn": Case("row"),
    "temporal-gnn, with boxes": Case("row", {"visual": 5, "audio": 3, "boxes": 4}),
    "perceiver, tokens of all inputs": Case(settings={"tokens": "joined", "time_encoding": "slots"}),
    "perceiver, as ViPER": Case(
        settings={"size": "viper", "latents": 5, "latent_dim": 16, "layers": 2, "place": "rows"}
    ),
    "perceiver, in seconds": Case(settings={"time_encoding": "seconds", "slots": 4}),
    "partial": Case(
        dims={"video": 832, "text": 48, "audio": 5, "openface": 9},  # what is inside the tiny backbones
        settings={"text_layers": 1, "text_dropout": 0.0, "video_norm": "running"},
    ),
}
CASES = {key: case for key, case in CASES.items() if key.split(",")[0] in heads.names()}
CASES |= {name: Case() for name in heads.names() if not any(key.split(",")[0] == name for key in CASES)}
CASES.setdefault("perceiver", Case())


@dataclass(frozen=True)
class Tried:
    """A head and its case."""

    card: HeadCard
    case: Case

    def build(self, outputs: int = 1, seed: int = 0) -> Head:
        torch.manual_seed(seed)
        return self.card.build(self.case.dims, outputs, self.card.config(**self.case.settings))

    def batch(self, dtype: torch.dtype = torch.float32, seed: int = 0) -> Batch:
        make = rows_of_clips if self.case.unit == "clip" else rows_with_labels
        return make(self.case.dims, dtype, torch.Generator().manual_seed(seed), self.card.scope)


@dataclass(frozen=True)
class Batch:
    """Items as the trainer hands them to a head that takes rows."""

    features: Mapping[str, Tensor]
    masks: Mapping[str, Tensor]
    times: Mapping[str, Tensor]
    entities: Tensor | None = None

    def through(self, model: Head, **more: Any) -> Tensor:
        """Return the outputs that have a label: (B, outputs), or those of the real rows, (n, outputs)."""
        found = model(self.features, self.masks, self.times, self.entities, **more)
        return found if self.entities is None else found[self.entities >= 0]

    def of(self, items: Tensor | slice) -> Batch:
        """Return some items."""
        return Batch(
            {role: x[items] for role, x in self.features.items()},
            {role: x[items] for role, x in self.masks.items()},
            {role: x[items] for role, x in self.times.items()},
            None if self.entities is None else self.entities[items],
        )

    def with_rubbish(self, value: float) -> Batch:
        """Return the same with something else in the rows that are not there."""
        masked = {role: torch.where(self.masks[role][..., None], x, value) for role, x in self.features.items()}
        return replace(self, features=masked)

    def longer(self, extra: int) -> Batch:
        """Return the same with more rows behind each item's end."""
        return Batch(
            {role: pad(x, (0, 0, 0, extra)) for role, x in self.features.items()},
            {role: pad(x, (0, extra)) for role, x in self.masks.items()},
            {role: pad(x, (0, extra)) for role, x in self.times.items()},
            None if self.entities is None else pad(self.entities, (0, extra), value=-1),
        )


def rows_of_clips(dims: Mapping[str, int], dtype: torch.dtype, rng: torch.Generator, scope: str) -> Batch:
    """Each role has 1 to T rows, at times of its own, and one that is not valid among them."""
    features, masks, times = {}, {}, {}
    for role, dim in dims.items():
        count = torch.randint(1, T + 1, (B, 1), generator=rng)
        there = torch.arange(T) < count
        features[role] = torch.randn(B, T, dim, generator=rng, dtype=dtype)
        times[role] = torch.rand(B, T, generator=rng, dtype=torch.float64).cumsum(1) * there
        masks[role] = there & ((torch.arange(T) != 1) | (count == 2))
    return Batch(features, masks, times)


def rows_with_labels(dims: Mapping[str, int], dtype: torch.dtype, rng: torch.Generator, scope: str) -> Batch:
    """All roles have the same 2 to T rows, sorted by time, then entity; a role lacks one of them."""
    there = torch.arange(T) < torch.randint(2, T + 1, (B, 1), generator=rng)
    clock = (torch.randint(0, 3, (B, T), generator=rng).cumsum(1).double() * 0.25) * there
    entity = torch.zeros(B, T, dtype=torch.int64)
    if scope == "clip":
        first = torch.ones(B, T, dtype=torch.bool)
        first[:, 1:] = clock[:, 1:] != clock[:, :-1]
        for t in range(1, T):  # simultaneous rows are of different entities
            entity[:, t] = torch.where(first[:, t], torch.randint(0, 3, (B,), generator=rng), entity[:, t - 1] + 1)
    features = {role: torch.randn(B, T, dim, generator=rng, dtype=dtype) for role, dim in dims.items()}
    masks = {role: there.clone() for role in dims}
    masks[next(iter(dims))][:, 1] = False
    return Batch(features, masks, dict.fromkeys(dims, clock), torch.where(there, entity, -1))


@pytest.fixture(params=sorted(CASES))
def tried(request: pytest.FixtureRequest) -> Tried:
    return Tried(heads.head(request.param.split(",")[0]), CASES[request.param])


@pytest.fixture(params=heads.names())
def card(request: pytest.FixtureRequest) -> HeadCard:
    return heads.head(request.param)


PRECISIONS = pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-10)])


@PRECISIONS
def test_what_stands_in_padded_rows_and_how_many_there_are_changes_nothing(
    tried: Tried, dtype: torch.dtype, tolerance: float
) -> None:
    model, batch = tried.build().to(dtype).eval(), tried.batch(dtype)
    wanted = batch.through(model)
    assert bool(wanted.isfinite().all())
    rubbish = batch.with_rubbish(torch.nan)
    torch.testing.assert_close(rubbish.through(model), wanted, atol=tolerance, rtol=0)
    torch.testing.assert_close(rubbish.longer(4).with_rubbish(1e30).through(model), wanted, atol=tolerance, rtol=0)


@PRECISIONS
def test_batch_order_and_batch_size_change_nothing(tried: Tried, dtype: torch.dtype, tolerance: float) -> None:
    model, batch = tried.build(outputs=3).to(dtype).eval(), tried.batch(dtype)
    alone = [batch.of(slice(i, i + 1)).through(model) for i in range(B)]
    wanted = batch.through(model)
    assert wanted.shape[-1] == 3
    torch.testing.assert_close(torch.cat(alone), wanted, atol=tolerance, rtol=0)
    order = torch.randperm(B, generator=torch.Generator().manual_seed(1))
    turned = torch.cat([alone[i] for i in order])
    torch.testing.assert_close(batch.of(order).through(model), turned, atol=tolerance, rtol=0)
    halves = [batch.of(slice(0, 2)).through(model), batch.of(slice(2, B)).through(model)]
    torch.testing.assert_close(torch.cat(halves), wanted, atol=tolerance, rtol=0)


def test_every_input_matters(tried: Tried) -> None:
    model, batch = tried.build().double().eval(), tried.batch(torch.float64)
    wanted = batch.through(model)
    for role, x in batch.features.items():
        changed = {**batch.features, role: torch.where(batch.masks[role][..., None], x + 1, x)}
        assert not torch.allclose(replace(batch, features=changed).through(model), wanted, atol=1e-6), role


def test_one_step_lowers_the_loss_and_reaches_every_parameter(tried: Tried) -> None:
    model, batch = tried.build().eval(), tried.batch()  # without dropout: both losses are of one function
    outputs = batch.through(model)
    target = torch.randn(outputs.shape, generator=torch.Generator().manual_seed(2))
    loss = (outputs - target).square().mean()
    loss.backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name
    with torch.no_grad():
        for parameter in model.parameters():
            parameter -= 0.01 * parameter.grad
    assert (batch.through(model) - target).square().mean() < loss


def test_state_goes_through_safetensors_into_a_new_head_exactly(tried: Tried, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    model, other, batch = tried.build().eval(), tried.build(seed=1).eval(), tried.batch()
    assert not torch.equal(batch.through(model), batch.through(other))
    save_file({name: value.contiguous() for name, value in model.state_dict().items()}, tmp_path / "head.safetensors")
    other.load_state_dict(load_file(tmp_path / "head.safetensors"))
    assert torch.equal(batch.through(model), batch.through(other))


def test_evaluation_is_repeatable_and_training_drops_values_where_the_head_says_so(tried: Tried) -> None:
    model, batch = tried.build().eval(), tried.batch()
    wanted = batch.through(model)
    assert torch.equal(batch.through(model), wanted)
    sites = model.dropout_sites()
    assert all(width >= 1 and 0 < p < 1 for width, p in sites.values())
    model.train()
    if sites:
        ones = {site: torch.ones(B, width) for site, (width, _) in sites.items()}
        torch.testing.assert_close(batch.through(model, dropout=ones), wanted)


def test_pooled_inputs_without_a_mask_are_taken_as_they_are(tried: Tried) -> None:
    if tried.case.unit == "row" or tried.case.settings.get("time_encoding") == "seconds":
        pytest.skip("this head needs rows with times")
    model, batch = tried.build().eval(), tried.batch()
    single = {role: values[:, :1] for role, values in batch.features.items()}
    there = {role: torch.ones(B, 1, dtype=torch.bool) for role in single}
    pooled = {role: values[:, 0] for role, values in single.items()}
    torch.testing.assert_close(model(pooled), model(single, there), atol=1e-6, rtol=0)


def test_a_stackable_head_with_a_leading_axis_is_its_copies(tried: Tried) -> None:
    models = [tried.build(seed=seed).eval() for seed in range(3)]
    if not models[0].stackable:
        pytest.skip("this head is not stackable")
    stack = copy.deepcopy(models[0])
    for name, _ in models[0].named_parameters():
        owner, _, leaf = name.rpartition(".")
        stacked = torch.stack([model.get_parameter(name) for model in models]).detach()
        setattr(stack.get_submodule(owner), leaf, torch.nn.Parameter(stacked))
    rng = torch.Generator().manual_seed(3)
    features = {role: torch.randn(3, B, dim, generator=rng) for role, dim in tried.case.dims.items()}
    wanted = torch.stack([model({r: x[i] for r, x in features.items()}) for i, model in enumerate(models)])
    torch.testing.assert_close(stack(features), wanted, atol=1e-6, rtol=0)


def test_the_card_describes_the_head(card: HeadCard) -> None:
    assert card.name in heads.names()
    assert card.title
    assert is_dataclass(card.config)
    config = card.config()
    with pytest.raises(FrozenInstanceError):
        setattr(config, fields(card.config)[0].name, None)
    assert card.to_json()["settings"] == {f.name: getattr(config, f.name) for f in fields(card.config)}
    case = next(case for key, case in CASES.items() if key.split(",")[0] == card.name)
    model = Tried(card, case).build()
    assert (card.takes, card.scope) == (model.takes, model.scope)
    assert case.unit == "clip" or card.takes == "rows"


def test_every_setting_can_be_given_as_a_word(card: HeadCard) -> None:
    config = card.config()
    words = {f.name: str(getattr(config, f.name)).lower() for f in fields(card.config)}
    assert configure(card.config, words, "A head") == config


def test_names_come_from_the_files_and_unknown_ones_are_answered_with_the_nearest() -> None:
    folder = Path(heads.__file__).parent
    assert heads.names() == sorted(p.stem.replace("_", "-") for p in folder.glob("*.py") if not p.stem.startswith("_"))
    assert [one.name for one in heads.heads()] == heads.names()
    with pytest.raises(NotFound, match="Did you mean `mlp`"):
        heads.head("mpl")
    with pytest.raises(NotFound):
        heads.head("../mlp")


def test_listing_the_names_loads_no_head_and_no_torch() -> None:
    import subprocess
    import sys

    code = "import sys; from cuebank.trainers import heads; heads.names(); print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert "cuebank.trainers.heads" in loaded
    assert not {"torch", "transformers", "sklearn"} & set(loaded)
    assert not [name for name in loaded if name.startswith("cuebank.trainers.heads.")]
