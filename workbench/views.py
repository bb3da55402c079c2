"""What a page shows of a prompt at a dial: the canvas's view, and a summary of every head."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from model.errors import DialError
from workbench.canvas import DialView
from workbench.inference import Prompt, relevance_of, run, subject_of

if TYPE_CHECKING:
    from model.locality.dial import Dial
    from model.transformer.checkpoint import LoadedModel

# Metric of the layers × heads map -> measure.
GRID = {
    "entropy": "entropy_normalised",
    "fidelity": "fidelity",
    "semantic_share": "semantic_share",
    "self_share": "self_share",
    "previous_share": "previous_share",
    "sink_share": "sink_share",
    "other_share": "other_share",
}


@dataclass(frozen=True)
class HeadSummary:
    """One head at one dial: means over the rows that see at least two keys.

    reads: what the head may read, as a sentence. measures: `MEASURES` by name, entropy_bits in
    bits, the rest in [0, 1]. class_mass: mean mass on the keys of each class, in the order of the
    partition's class names.
    """

    layer: int
    head: int
    reads: str
    measures: dict[str, float]
    class_mass: tuple[float, ...]


def dial_view(
    model: LoadedModel, prompt: Prompt, dial: Dial, layer: int, name: str = ""
) -> DialView:
    """One layer of the prompt at one dial value; DialError on a layer that the model lacks.

    `name`: what the model is called on the page; its own name where it is empty.
    """
    config, partition = model.config, model.partition
    if isinstance(dial.value, tuple):
        raise DialError("Dial", dial.value, "a view shows one value", "Choose one number")
    if not 0 <= layer < config.n_layers:
        raise DialError(
            "Layer", layer, f"must lie in [0, {config.n_layers - 1}]", "Choose a layer it has"
        )
    found, relevance = run(model, prompt, dial), relevance_of(model, prompt)
    return DialView(
        subject=subject_of(model, prompt),
        model_name=name or str(model.provenance.get("name", "")),
        model_hash=model.content_hash,
        tokens=prompt.tokens,
        reasons=prompt.reasons,
        classes=prompt.classes,
        class_names=partition.class_names,
        class_titles=(*(block.title for block in partition), "no block", "begin of text"),
        layer=layer,
        n_layers=config.n_layers,
        scores=found.scores[layer],
        relevance=relevance.raw(layer)[0].cpu().numpy(),
        relation=relevance.relation[0].cpu().numpy(),
        weights=dial.schedule.weights_for(config.n_layers, config.n_heads)[layer].numpy(),
        dial=dial.value,
        gain=float(dial.gain),
        temperature=float(dial.temperature),
        exact=layer == 0,
        pattern=found.pattern[layer],
        entropy_bits=found.head_means("entropy_bits")[layer],
        fidelity=found.head_means("fidelity")[layer],
        grid={metric: found.head_means(measure) for metric, measure in GRID.items()},
        head_notes=tuple(model.reads.describe(layer, head) for head in range(config.n_heads)),
        schedule=dial.schedule.kind,
    )


def head_summary(model: LoadedModel, prompt: Prompt, dial: Dial) -> tuple[HeadSummary, ...]:
    """Every head of every layer at this dial, layer by layer."""
    found = run(model, prompt, dial)
    means = {name: found.head_means(name) for name in found.measures}
    class_of_key = np.eye(model.partition.n_classes)[prompt.classes]  # [key, class]
    masses = found.pattern[:, :, 1:].mean(axis=2, dtype=np.float64) @ class_of_key
    return tuple(
        HeadSummary(
            layer,
            head,
            model.reads.describe(layer, head),
            {name: float(value[layer, head]) for name, value in means.items()},
            tuple(masses[layer, head].tolist()),
        )
        for layer in range(model.config.n_layers)
        for head in range(model.config.n_heads)
    )
