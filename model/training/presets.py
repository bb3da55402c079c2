"""What can be trained, by name: frozen recipes, everything that decides a checkpoint."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from model.errors import ModelNotFoundError

if TYPE_CHECKING:  # listing recipes must not load torch
    from model.training.precision import Precision

PartitionKind = Literal["semantic", "random"]
ReadsKind = Literal["discovered", "self"]


@dataclass(frozen=True)
class Preset:
    """A recipe. Sizes in elements, lengths and budgets in tokens, dial shares as fractions.

    A run has two phases. The first `discovery_tokens` train the plain model; then the reads are
    discovered from its attention: at most `relevant_share` of the keys of a mean row, with the
    positions in `allowances` where a head takes them (see `AttentionStatistics.choose`). From there
    on the dial is sampled per sequence: 0 with probability `share_zero`, 1 with `share_one`,
    uniform in between. A twin never samples.
    """

    name: str
    description: str
    d_model: int = 144
    n_layers: int = 3
    n_heads: int = 9
    n_kv_heads: int = 9
    d_head: int = 16
    d_mlp: int = 384
    n_ctx: int = 256
    total_tokens: int = 20_500_000
    discovery_tokens: int = 2_000_000
    batch_tokens: int = 2048
    length: int = 64
    long_every: int = 8
    learning_rate: float = 4e-3
    final_rate: float = 0.02
    warmup_steps: int = 200
    weight_decay: float = 0.1
    sample_dial: bool = True
    share_zero: float = 0.4
    share_one: float = 0.4
    gain: float = 4.0
    relevant_share: float = 0.27
    allowances: tuple[str, ...] = ("previous", "sink")
    rest: float = 0.5
    sink_worth: float = 0.6
    partition: PartitionKind = "semantic"
    reads: ReadsKind = "discovered"
    precision: Precision = "bf16"
    threads: int = 1
    seed: int = 1

    @property
    def steps(self) -> int:
        return self.total_tokens // self.batch_tokens

    @property
    def discovery_steps(self) -> int:
        return self.discovery_tokens // self.batch_tokens

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    def with_changes(self, changes: Mapping[str, Any]) -> Preset:
        return replace(self, **changes)


_BUNDLED = Preset("bundled", "Dial-trained on the WordNet glosses; the model that ships.")
PRESETS = {
    preset.name: preset
    for preset in (
        _BUNDLED,
        replace(
            _BUNDLED,
            name="twin",
            description="The distributed twin: same size, data and tokens; the dial never moves.",
            sample_dial=False,
        ),
        replace(
            _BUNDLED,
            name="random-blocks",
            description="Control: the same recipe on a random partition of equal sizes.",
            partition="random",
        ),
        replace(
            _BUNDLED,
            name="self-only",
            description="Floor: at dial 1 every head sees its own position and nothing else.",
            reads="self",
        ),
        replace(
            _BUNDLED,
            name="trial",
            description="About one epoch of the bundled recipe: a few minutes on one core.",
            total_tokens=3_072_000,
            discovery_tokens=600_000,
        ),
    )
}


def preset(name: str) -> Preset:
    """The preset of that name; ModelNotFoundError lists the names there are."""
    if name not in PRESETS:
        raise ModelNotFoundError(
            "Preset", name, "no such recipe", f"Choose one of {', '.join(PRESETS)}"
        )
    return PRESETS[name]
