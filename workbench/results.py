"""What the Dial page shows beside the canvas, as tables: the whole dial, next tokens, every head.

Each function takes results of one prompt at one dial and makes the table that is drawn and saved.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from model.errors import TextError
from workbench.choices import Choices
from workbench.curves import DialCurves, dial_curves
from workbench.inference import NextToken, Prompt, dial_of, next_tokens, prepare, run
from workbench.tables import Column, Table
from workbench.views import HeadSummary, dial_view, head_summary

if TYPE_CHECKING:
    from model.transformer.checkpoint import LoadedModel
    from workbench.canvas import DialView
    from workbench.examples import StoredExample

LN2 = float(np.log(2.0))
MASS = "mass_of_"  # key of the column of a class, before its name
# Measure -> title and unit, in the order in which tables show them.
WORDS: dict[str, tuple[str, str]] = {
    "entropy_bits": ("entropy", "bits"),
    "entropy_normalised": ("entropy / log₂ n", "fraction"),
    "fidelity": ("fidelity", "fraction"),
    "relevant_share": ("keys relevant", "fraction"),
    "semantic_share": ("by block", "fraction"),
    "self_share": ("itself", "fraction"),
    "previous_share": ("previous", "fraction"),
    "sink_share": ("sink", "fraction"),
    "other_share": ("elsewhere", "fraction"),
    "fallback_share": ("rows on fallback", "fraction"),
}


@dataclass(frozen=True)
class Answer:
    """Python's answer to one question: this prompt, this model, this dial, this layer.

    nats: per predicted token at the dial; nats_zero: at dial 0, NaN where it was not computed.
    zero: log probability of the next token at dial 0, nats, by token id; None likewise.
    """

    view: DialView
    prompt: Prompt
    choices: Choices
    heads: tuple[HeadSummary, ...]
    tokens: tuple[NextToken, ...]
    nats: float
    nats_zero: float
    zero: Mapping[int, float] | None

    @property
    def about(self) -> dict[str, Any]:
        """What was asked, for the files that people take away."""
        return {
            "model": self.view.model_name,
            "model_hash": self.view.model_hash,
            "prompt_id": self.view.subject,
            "dial": self.view.dial,
            "schedule": self.choices.kind,
            "beta": self.choices.beta if self.choices.kind == "progressive" else None,
            "gain": self.choices.gain,
            "temperature": self.choices.temperature,
        }


def answer(
    model: LoadedModel, name: str, text: str, dial: float, layer: int, choices: Choices
) -> Answer:
    """Run the prompt at the dial and at dial 0; errors as in `prepare`, `run` and `dial_view`."""
    prompt = prepare(model, text)
    setting = dial_of(dial, choices)
    plain = run(model, prompt, dial_of(0.0, choices))
    found = run(model, prompt, setting)
    tokens = next_tokens(model, prompt, setting)
    return Answer(
        dial_view(model, prompt, setting, min(layer, model.config.n_layers - 1), name),
        prompt,
        choices,
        head_summary(model, prompt, setting),
        tokens,
        float(found.surprisal_bits[1:].mean()) * LN2,
        float(plain.surprisal_bits[1:].mean()) * LN2,
        {each.token_id: float(plain.log_probabilities[each.token_id]) for each in tokens},
    )


def stored_answer(stored: StoredExample) -> Answer:
    """A stored example as an answer; without next tokens at dial 0."""
    curves, view = stored.curves, stored.view
    at = int(np.searchsorted(curves.dials, view.dial))
    return Answer(
        view,
        stored.prompt,
        Choices(),
        stored.heads,
        stored.next_tokens,
        float(curves.nats[at]),
        float(curves.nats[0]),
        None,
    )


def curves_of(model: LoadedModel, found: Answer) -> DialCurves:
    """The whole dial for the answer's prompt and choices."""
    return dial_curves(model, found.prompt.ids, found.prompt.classes.tolist(), found.choices)


def curves_table(
    curves: DialCurves,
    found: Answer,
    place: tuple[int, int] | None = None,
    name: str = "whole-dial",
) -> Table:
    """A row a dial value, the answer's own among them; of one head, or the mean of all heads.

    The answer's row holds what its own pass measured, not a value between two others.
    """
    dials = curves.dials.tolist()
    at = int(np.searchsorted(curves.dials, found.view.dial))
    own = at == len(dials) or dials[at] != found.view.dial
    if own:
        dials.insert(at, found.view.dial)
    columns = [Column("dial", "dial", "", tuple(dials))]
    for key, (title, unit) in WORDS.items():
        values = curves.mean(key) if place is None else curves.head(key, *place)
        measured = [each.measures[key] for each in found.heads if place in (None, _place(each))]
        columns.append(Column(key, title, unit, _with(values, at, own, float(np.mean(measured)))))
    nats = _with(curves.nats, at, own, found.nats)
    columns += [
        Column("bits_per_token", "cost", "bits/token", tuple(each / LN2 for each in nats)),
        Column("nats_per_token", "cost", "nats/token", nats),
        Column("perplexity", "perplexity", "", tuple(perplexity(each) for each in nats)),
    ]
    where = "mean of all heads" if place is None else f"layer {place[0]}, head {place[1]}"
    asked = {**found.about, "heads": where, "predicted_tokens": curves.tokens}
    return Table(name, f"Over the whole dial: {where}", tuple(columns), asked)


def beside_table(model: LoadedModel, found: Answer, other: LoadedModel, name: str) -> Table:
    """Cost of the answer's text over the dial, in its model and in another one called `name`.

    TextError when the two models cut the text into different tokens.
    """
    ours = curves_of(model, found)
    prompt = prepare(other, found.prompt.text)
    if prompt.ids != found.prompt.ids:
        raise TextError(
            "Comparison",
            name,
            "cuts this text into other tokens, so that costs a token do not compare",
            "Choose a model with the same tokenizer",
        )
    theirs = dial_curves(other, prompt.ids, prompt.classes.tolist(), found.choices)
    bits, other_bits = ours.nats / LN2, theirs.nats / LN2
    columns = (
        Column("dial", "dial", "", tuple(ours.dials.tolist())),
        Column(
            "bits_per_token", f"cost of {found.view.model_name}", "bits/token", tuple(bits.tolist())
        ),
        Column("other_bits_per_token", f"cost of {name}", "bits/token", tuple(other_bits.tolist())),
        Column("difference", "difference", "bits/token", tuple((bits - other_bits).tolist())),
    )
    asked = {**found.about, "other_model": name, "other_model_hash": other.content_hash}
    return Table("beside-another", f"Cost beside {name}", columns, asked)


def perplexity(nats: float) -> float:
    """exp of the cost per token, at most 1e304."""
    return float(np.exp(min(nats, 700.0)))


def next_table(found: Answer) -> Table:
    """The likeliest next tokens at the dial, beside the plain model's view of the same ones."""
    tokens = found.tokens
    columns = [
        Column("rank", "rank", "", tuple(each.rank for each in tokens)),
        Column("token", "token", "", tuple(_label(each, tokens) for each in tokens)),
        Column("token_id", "id", "", tuple(each.token_id for each in tokens)),
        Column("probability", "probability", "fraction", tuple(e.probability for e in tokens)),
        Column("surprisal", "surprisal", "bits", tuple(each.surprisal_bits for each in tokens)),
    ]
    if found.zero is not None:
        zero = [found.zero[each.token_id] for each in tokens]
        change = [each.surprisal_bits + z / LN2 for each, z in zip(tokens, zero, strict=True)]
        columns += [
            Column("probability_dial_0", "at dial 0", "fraction", tuple(np.exp(zero).tolist())),
            Column("change", "change in surprisal", "bits", tuple(change)),
        ]
    return Table("next-token", "Next token", tuple(columns), found.about)


def heads_table(found: Answer, layer: int | None = None) -> Table:
    """A row a head, of one layer or of all: what it reads, its measures, and its mass by class."""
    heads = [each for each in found.heads if layer in (None, each.layer)]
    columns = [
        Column("layer", "layer", "", tuple(each.layer for each in heads)),
        Column("head", "head", "", tuple(each.head for each in heads)),
        Column("reads", "reads", "", tuple(each.reads for each in heads)),
    ]
    for key, (title, unit) in WORDS.items():
        columns.append(Column(key, title, unit, tuple(each.measures[key] for each in heads)))
    for index in present_classes(found):
        mass = tuple(each.class_mass[index] for each in heads)
        name = found.view.class_names[index]
        columns.append(Column(f"{MASS}{name}", name, "mean mass", mass))
    where = "all layers" if layer is None else f"layer {layer}"
    return Table("heads", f"Heads of {where}", tuple(columns), found.about)


def present_classes(found: Answer) -> list[int]:
    """Classes that some token of the prompt has, in the order of the partition."""
    return sorted(set(found.prompt.classes.tolist()))


def _label(token: NextToken, beside: Sequence[NextToken]) -> str:
    """The token in quotes; with its id where two of them look the same."""
    alike = sum(each.token == token.token for each in beside) > 1
    return f"“{token.token}” #{token.token_id}" if alike else f"“{token.token}”"


def _place(head: HeadSummary) -> tuple[int, int]:
    return head.layer, head.head


def _with(values: np.ndarray, at: int, own: bool, value: float) -> tuple[float, ...]:
    cells = values.tolist()
    if own:
        cells.insert(at, value)
    return tuple(cells)
