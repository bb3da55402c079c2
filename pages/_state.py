"""What a person chose on the Dial page, by name; the session keeps choices and nothing else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import streamlit as st

from pages.components import dial_state, set_dial_state
from workbench import links
from workbench.canvas import DialEvent
from workbench.choices import Choices
from workbench.examples import EXAMPLES
from workbench.links import Link
from workbench.models import ModelCard, same_model

CANVAS = "dial_canvas"
MODEL, DEVICE = "dial_model", "dial_device"
SCHEDULE, BETA, WEIGHTS = "dial_schedule", "dial_beta", "dial_weights"
GAIN, TEMPERATURE = "dial_gain", "dial_temperature"
PROMPT, TEXT, EXAMPLE = "dial_prompt", "dial_text", "dial_example"
LINK_TEXT, PROBLEMS = "dial_link_text", "dial_problems"
_WRITTEN, _EDITION, _PAINTED = "dial_written_link", "dial_edition", "dial_painted"
_KEPT = "dial_kept"
# What pages share; a widget's own value is gone once another page is shown.
_SHARED = (MODEL, DEVICE, SCHEDULE, BETA, GAIN, TEMPERATURE, PROMPT, EXAMPLE, LINK_TEXT)
_DEFAULT = DialEvent(dial=Link().dial)


def event() -> DialEvent:
    """The person's choices on the canvas."""
    return dial_state(CANVAS, _DEFAULT)


def adopt_link(cards: Sequence[ModelCard]) -> None:
    """Take the choices of the address bar, where it holds another link than the page last wrote.

    The page begins this way, and so does a step back or forward in the browser. What cannot be
    taken is kept as a message until the person dismisses it.
    """
    parameters = st.query_params.to_dict()
    if st.session_state.get(_WRITTEN) == parameters:
        return
    first = _WRITTEN not in st.session_state
    st.session_state[_WRITTEN] = parameters
    link, problems = links.read(parameters)
    problems = list(problems)
    card = _card_of(link, cards, problems)
    if card is not None and not card.error:
        link, misfits = links.fitted(link, card.n_layers, card.n_heads)
        problems += misfits
    if parameters or first:
        st.session_state[MODEL] = card.name if card is not None else None
        set_choices(link.choices)
        event()
        set_dial_state(
            CANVAS,
            dial=link.dial,
            layer=link.layer,
            head=link.head,
            mode="single" if link.dial_b is None else "split",
            dial_b=1.0 if link.dial_b is None else link.dial_b,
            pinned_row=None,
        )
        _take_text(link, first, problems)
    st.session_state[PROBLEMS] = problems
    _keep()


def write_link(card: ModelCard, chosen: DialEvent, choices: Choices) -> dict[str, str]:
    """Put the present choices into the address bar; the query parameters that stand there."""
    written = links.write(
        Link(
            card.name,
            card.short_hash,
            chosen.layer,
            chosen.head,
            chosen.dial,
            chosen.dial_b if chosen.mode == "split" else None,
            choices,
            st.session_state.get(EXAMPLE) or "",
            st.session_state[TEXT] if st.session_state.get(LINK_TEXT) else None,
        )
    )
    if written != st.query_params.to_dict():
        st.query_params.from_dict(written)
    st.session_state[_WRITTEN] = written
    return written


def turn_to(page: str) -> None:
    """Give the widgets of a page that was just turned to what earlier pages left in them.

    Every page begins with it. Said anew, since a widget takes over what is assigned, and not what
    another page's widget held.
    """
    last, kept = st.session_state.get(_KEPT, (page, {}))
    if last != page:
        for key, value in kept.items():
            st.session_state[key] = value
    st.session_state[_KEPT] = (page, kept)
    _keep()


def _keep() -> None:
    """Remember what the widgets of the present page hold."""
    _, kept = st.session_state.get(_KEPT, ("", {}))
    kept |= {key: st.session_state[key] for key in _SHARED if key in st.session_state}


def choices_now(n_layers: int, n_heads: int) -> Choices:
    """Schedule, gain and temperature as the sidebar has them; DialError where they cannot be."""
    kind = st.session_state[SCHEDULE]
    weights = None
    if kind == "hand":
        weights = st.session_state.get(f"{WEIGHTS}_edited")
        if weights is None or not Choices(kind, weights=weights).fits(n_layers, n_heads):
            weights = _ones(n_layers, n_heads)
    return Choices(
        kind, st.session_state[BETA], weights, st.session_state[GAIN], st.session_state[TEMPERATURE]
    )


def set_choices(choices: Choices) -> None:
    """Show these in the sidebar; before its widgets are drawn."""
    st.session_state[SCHEDULE] = choices.kind
    st.session_state[BETA] = float(choices.beta)
    st.session_state[GAIN] = float(choices.gain)
    st.session_state[TEMPERATURE] = float(choices.temperature)
    st.session_state[WEIGHTS] = choices.weights
    st.session_state[f"{WEIGHTS}_edited"] = choices.weights
    st.session_state[_EDITION] = st.session_state.get(_EDITION, 0) + 1


def reset() -> None:
    """The dial, its schedule, gain and temperature as a new page has them; text and model stay."""
    set_choices(Choices())
    set_dial_state(CANVAS, dial=_DEFAULT.dial, mode=_DEFAULT.mode, dial_b=_DEFAULT.dial_b)


def weights_for(n_layers: int, n_heads: int) -> tuple[str, Mapping[str, list[Any]]]:
    """Key and content of the table of hand-set weights: a row a head, a column a layer."""
    weights = st.session_state.get(WEIGHTS)
    if weights is None or not Choices("hand", weights=weights).fits(n_layers, n_heads):
        weights = _ones(n_layers, n_heads)
    table: dict[str, list[Any]] = {"head": list(range(n_heads))}
    table.update({f"layer {index}": list(row) for index, row in enumerate(weights)})
    return f"{WEIGHTS}_{st.session_state[_EDITION]}_{n_layers}x{n_heads}", table


def keep_weights(table: Mapping[str, Any], n_layers: int) -> None:
    """Remember an edited table of weights; an emptied cell counts as 1."""
    rows = tuple(
        tuple(1.0 if cell is None else float(cell) for cell in table[f"layer {index}"])
        for index in range(n_layers)
    )
    st.session_state[f"{WEIGHTS}_edited"] = rows


def take_prompt() -> None:
    """The typed text becomes the text that is shown."""
    text = st.session_state[PROMPT]
    st.session_state[TEXT] = text
    st.session_state[EXAMPLE] = next((e.name for e in EXAMPLES if e.text == text), None)


def take_example() -> None:
    """The chosen example becomes the text; choosing it again leaves the text as it is."""
    for each in EXAMPLES:
        if each.name == st.session_state.get(EXAMPLE):
            st.session_state[PROMPT] = st.session_state[TEXT] = each.text


def is_first_paint() -> bool:
    """Whether this session's canvas is drawn for the first time; true once."""
    first = _PAINTED not in st.session_state
    st.session_state[_PAINTED] = True
    return first


def dismiss() -> None:
    """Forget the messages about a link."""
    st.session_state[PROBLEMS] = []


def _card_of(link: Link, cards: Sequence[ModelCard], problems: list[str]) -> ModelCard | None:
    """The model that a link names; without a name, the first that can be opened."""
    if not link.model:
        return next((card for card in cards if not card.error), None)
    for card in cards:
        if card.name == link.model:
            changed = link.model_hash and not card.error and same_model(card, link.model_hash)
            if changed:
                problems.append(changed)
            return card
    problems.append(
        f"The link is to the model {link.model[:64]!r}, and there is none of that name here. "
        "Nothing is shown in its stead: choose a model on the left."
    )
    return None


def _take_text(link: Link, first: bool, problems: list[str]) -> None:
    chosen = next((each for each in EXAMPLES if each.name == link.example), None)
    if link.example and chosen is None:
        problems.append(f"The link's example {link.example[:40]!r} is unknown here.")
    if chosen is None and link.prompt is None and not first:
        return
    if chosen is None and link.prompt is None:
        chosen = EXAMPLES[0]
    text = chosen.text if chosen is not None else link.prompt
    st.session_state[PROMPT] = st.session_state[TEXT] = text
    st.session_state[LINK_TEXT] = chosen is None
    st.session_state[EXAMPLE] = chosen.name if chosen is not None else None


def _ones(n_layers: int, n_heads: int) -> tuple[tuple[float, ...], ...]:
    return ((1.0,) * n_heads,) * n_layers
