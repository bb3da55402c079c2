"""What the Coding page's tabs share: which models, what was measured, tables without a figure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import streamlit as st

from pages import _say
from pages._shown import downloads
from workbench.coding import Asked, Coding
from workbench.models import ModelCard
from workbench.tables import Table

if TYPE_CHECKING:
    from workbench.coding import LoadedModel

LEFT, RIGHT = "coding_left", "coding_right"
LAYER, KIND, DIAL, OWN = "coding_layer", "coding_kind", "coding_dial", "coding_own"
UNIT, MODEL = "coding_unit", "coding_model"
KINDS = {"mlp": "hidden units of the MLP", "residual": "dimensions of the residual stream"}
NOBODY = "none"

# Without formulas in TeX: they bring scripts that delay the first paint.
ABOUT = """
**Units.** Hidden units of a layer's MLP, or dimensions of the residual stream after the layer. The
sign of a hidden unit means nothing to the model, so that each is turned to have its tail above 0.

**Categories** are the blocks of the first model's partition. A token has the block of the word so
far; tokens of no block count as "others" for every category. Begin-of-text is left out.

**AUC**: the chance that a token of the category drives the unit more than another token does; ties
count a half. 0.5 tells nothing, 1 tells all, 0 tells all by silence.

**Hit and false-alarm rate**: shares of the category's tokens, and of all others, on which the unit
is above the middle between its two means. **d′** is the distance of the two rates in standard
deviations, log-linearly corrected so that a rate of 0 or 1 stays finite.

**CCMAS**: (mean of the category − mean of the other categories) / their sum, of the activity above
0. **Precision**: the category's share of the unit's 20 strongest tokens. Both are shown because
they mislead.

**Lesion**: the unit is set to its mean at every token but begin-of-text, and the cost of the next
tokens measured. Positive: the model predicts worse without the unit. Zero would also take away an
offset that later layers have grown used to.

All of this is of these texts, at this dial: uniform over layers and heads, gain 4.
"""


@dataclass(frozen=True)
class Here:
    """What the tabs show: each model with what its units code."""

    found: Sequence[tuple[LoadedModel, Coding]]
    asked: Asked
    own: str
    device: str

    @property
    def codings(self) -> list[Coding]:
        return [coding for _, coding in self.found]

    @property
    def names(self) -> list[str]:
        return [coding.name for coding in self.codings]


def models_choice(cards: Sequence[ModelCard]) -> list[ModelCard]:
    """One or two chosen models that can be opened; none where there is none."""
    known = {card.name: card for card in cards if not card.error}
    if not known:
        return []
    names = list(known)
    if st.session_state.get(LEFT) not in known:
        st.session_state[LEFT] = "bundled" if "bundled" in known else names[0]
    left = st.selectbox("Model", names, key=LEFT, persist_state="session")
    others = [NOBODY, *(name for name in names if name != left)]
    if st.session_state.get(RIGHT) not in others:
        st.session_state[RIGHT] = "twin" if "twin" in others else NOBODY
    right = st.selectbox(
        "Beside it", others, key=RIGHT, persist_state="session",
        help="The twin has the same size, data and recipe, but its dial never moved in training.",
    )  # fmt: skip
    broken = [card.name for card in cards if card.error]
    if broken:
        st.caption(_say.plain(f"Cannot be opened, and not listed: {', '.join(broken)}."))
    return [known[name] for name in (left, right) if name in known]


def model_of(here: Here, key: str) -> tuple[LoadedModel, Coding]:
    """Which of the models a tab is about."""
    if len(here.found) == 1:
        return here.found[0]
    if st.session_state.get(key) not in here.names:
        st.session_state[key] = here.names[0]
    name = st.segmented_control(
        "Of which model", here.names, key=key, required=True, persist_state="session"
    )
    return here.found[here.names.index(name) if name in here.names else 0]


def numbers(table: Table) -> None:
    """A table without a figure, and its numbers as files."""
    st.dataframe(table.frame(), hide_index=True, key=f"table_{table.name}", alt=table.title)
    with st.container(horizontal=True):
        downloads(table, "above")


def contexts(table: Table, answers: bool) -> None:
    """Tokens in their text, strongest first; with their categories only where answers are due."""
    rows = {
        "before": list(map(_say.plain, table.column("before").cells)),
        "token": [f"**{_say.plain(each) or '␣'}**" for each in table.column("token").cells],
        "after": list(map(_say.plain, table.column("after").cells)),
        "activation": [f"{value:.3f}" for value in table.column("activation").cells],
    }
    if answers:
        rows["category"] = list(map(_say.plain, table.column("category").cells))
    st.table(rows, hide_index=True, border="horizontal", alt=table.title)
