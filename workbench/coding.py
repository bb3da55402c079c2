"""What the units of a model code: one layer of one model at one dial, measured on a set of texts.

The measures are `model.locality.units`', lesions `model.locality.lesions`'. Results are kept in
bounded memos by model, texts, site and dial. Units are oriented so that their tail is above 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from workbench.choices import GAIN
from workbench.coding_passes import Asked, forget_passes, passes, site_of, starts_of, texts_within
from workbench.coding_texts import TextSet, forget_texts, text_set
from workbench.inference import device_of, one_at_a_time, read_only
from workbench.memo import Memo
from workbench.models import open_model

if TYPE_CHECKING:
    import torch

    from model.transformer.checkpoint import LoadedModel

DIALS = (0.0, 0.25, 0.5, 0.75, 1.0)
STRONGEST = 20  # tokens that precision looks at
MEASURES = ("auc", "d_prime", "hit_rate", "false_alarm_rate", "ccmas", "precision")
SHUFFLE_SEED = 0
LAYER_TOKENS = 1_000  # that a lesion of every unit of a layer is measured on
_CODING_BYTES, _CHANGE_BYTES = 160 * 2**20, 32 * 2**20


@dataclass(frozen=True)
class Coding:
    """The answer for one model; tokens are those of `texts.place`, arrays are read-only.

    measures: each of `MEASURES` and "threshold", float64 [unit, category]. best: category of the
    largest AUC, [unit]. chance: the largest AUC of each unit once categories are shuffled among the
    tokens, [unit]. single_unit, single, together: per category, the best unit of the even texts,
    its AUC on the odd texts, and that of a linear readout of all units. activations: float32
    [token, unit], oriented. means: what a lesion sets units to, not oriented.
    """

    name: str
    model_hash: str
    device: str
    asked: Asked
    texts: TextSet
    measures: dict[str, np.ndarray]
    best: np.ndarray
    chance: np.ndarray
    single_unit: np.ndarray
    single: np.ndarray
    together: np.ndarray
    activations: np.ndarray
    means: np.ndarray

    @property
    def n_units(self) -> int:
        return len(self.best)

    @property
    def best_auc(self) -> np.ndarray:
        """The largest AUC of each unit, [unit]."""
        return np.nan_to_num(self.measures["auc"], nan=-1.0).max(axis=1)

    @property
    def nbytes(self) -> int:
        return self.activations.nbytes + sum(each.nbytes for each in self.measures.values())

    @property
    def about(self) -> dict[str, Any]:
        """What was asked, for the files that people take away."""
        return {
            "model": self.name,
            "model_hash": self.model_hash,
            "layer": self.asked.layer,
            "units": self.asked.kind,
            "dial": self.asked.dial,
            "gain": GAIN,
            "schedule": "uniform",
            "texts": self.texts.key,
            "tokens": self.texts.n_tokens,
        }


@dataclass(frozen=True)
class Lesion:
    """Mean change of cost without a unit, bits a token: at own tokens, and at all others.

    NaN where there are none. n_own, n_others: tokens, each one with a next token to predict.
    """

    unit: int
    category: int
    own: float
    others: float
    n_own: int
    n_others: int


_codings: Memo[Coding] = Memo(_CODING_BYTES, lambda each: each.nbytes)
_changes: Memo[np.ndarray] = Memo(_CHANGE_BYTES, lambda each: each.nbytes)


def measured(
    names: Sequence[str], device: str, asked: Asked, own: str = ""
) -> list[tuple[LoadedModel, Coding]]:
    """Each named model with what its units code, on the same tokens and categories, the first's.

    Errors as in `open_model`, `text_set` and `coding_of`.
    """
    models = [open_model(name, device) for name in names]
    texts = text_set(models[0], own)
    return [
        (model, coding_of(model, name, texts, asked))
        for model, name in zip(models, names, strict=True)
    ]


def coding_of(model: LoadedModel, name: str, texts: TextSet, asked: Asked) -> Coding:
    """Measure every unit of a layer; UnitError on a layer or kind of unit that the model lacks.

    TextError when the model cuts the texts into other tokens.
    """
    key = (model.content_hash, device_of(model), name, texts.key, asked)
    return _codings.get(key) or _codings.put(key, _measure(model, name, texts, asked))


def lesions_of(
    model: LoadedModel,
    coding: Coding,
    units: Sequence[int],
    categories: Sequence[int],
    most_tokens: int | None = None,
) -> list[Lesion]:
    """Each unit set to its mean, its effect on the category beside it and on all other tokens.

    most_tokens: only texts from the first on, until they hold so many; None takes all.
    """
    texts = coding.texts
    last = np.array([len(ids) for ids in texts.ids])[texts.place[:, 0]] - 1
    read = texts.place[:, 0] < texts_within(texts, most_tokens)
    asked = read & (texts.place[:, 1] < last)  # the last token of a text has no next one
    changes = _changes_of(model, coding, list(dict.fromkeys(units)), most_tokens)
    found = []
    for unit, category in zip(units, categories, strict=True):
        own = asked & (texts.category == category)
        others = asked & (texts.category != category)
        at = changes[unit]
        found.append(
            Lesion(
                unit,
                category,
                float(at[own].mean(dtype=np.float64)) if own.any() else float("nan"),
                float(at[others].mean(dtype=np.float64)) if others.any() else float("nan"),
                int(own.sum()),
                int(others.sum()),
            )
        )
    return found


def lesion_seconds(model: LoadedModel, layer: int, units: int, tokens: int) -> float:
    """About how long lesions take on one core, at 2e10 operations a second: an order of magnitude.

    Every lesion passes through the later layers and the output layer.
    """
    config = model.config
    later = config.n_layers - 1 - layer
    layer_weights = config.d_model * (4 * config.n_heads * config.d_head + 3 * config.d_mlp)
    weights = config.d_model * config.d_vocab + later * layer_weights
    return 2.0 * units * tokens * weights / 2e10


def forget_codings() -> None:
    """Empty the memos."""
    _codings.clear()
    _changes.clear()
    forget_passes()
    forget_texts()


def _measure(model: LoadedModel, name: str, texts: TextSet, asked: Asked) -> Coding:
    import torch

    from model.locality.readout import readout
    from model.locality.units import auc, measure_units, orientation

    site_of(asked).check(model.config)
    raw = torch.empty(texts.n_tokens, site_of(asked).check(model.config))
    starts = starts_of(texts)
    for numbers, reading, _ in passes(model, texts, asked, len(texts.ids)):
        for row, number in enumerate(numbers):
            count = len(texts.ids[number]) - 1
            kept = reading.activations[row, 1 : 1 + count].cpu()
            raw[starts[number] : starts[number] + count] = kept
    signs = orientation(raw)
    activations = raw * signs
    categories, n = torch.tensor(texts.category), len(texts.names)
    found = measure_units(activations, categories, n, STRONGEST)
    order = torch.randperm(len(categories), generator=torch.Generator().manual_seed(SHUFFLE_SEED))
    shuffled = auc(activations, categories[order], n).nan_to_num(nan=-1.0).amax(dim=1)
    even = torch.tensor(texts.place[:, 0] % 2 == 0)
    many = readout(activations, categories, n, even)
    return Coding(
        name,
        model.content_hash,
        device_of(model),
        asked,
        texts,
        {key: _array(getattr(found, key)) for key in (*MEASURES, "threshold")},
        _array(found.best),
        _array(shuffled),
        _array(many.unit),
        _array(many.single),
        _array(many.all),
        _array(activations),
        _array(raw.double().mean(dim=0)),
    )


def _changes_of(
    model: LoadedModel, coding: Coding, units: Sequence[int], most_tokens: int | None
) -> dict[int, np.ndarray]:
    """Change of cost at every token, bits, [token] a unit; 0 where nothing was read."""
    key = (coding.model_hash, coding.device, coding.texts.key, coding.asked, most_tokens)
    found = {unit: _changes.get((*key, unit)) for unit in units}
    missing = [unit for unit, known in found.items() if known is None]
    if missing:
        fresh = _lesion(model, coding, missing, most_tokens)
        for unit, change in zip(missing, fresh, strict=True):
            found[unit] = _changes.put((*key, unit), read_only(change))
    return {unit: change for unit, change in found.items() if change is not None}


def _lesion(
    model: LoadedModel, coding: Coding, units: Sequence[int], most_tokens: int | None
) -> np.ndarray:
    """Change of cost, bits: float32 [unit, token]."""
    import torch

    from model.locality.lesions import lesioned_nats

    texts, starts = coding.texts, starts_of(coding.texts)
    change = np.zeros((len(units), texts.n_tokens), dtype=np.float32)
    values = torch.tensor(coding.means[list(units)], dtype=torch.float32)
    for numbers, reading, relevance in passes(
        model, texts, coding.asked, texts_within(texts, most_tokens)
    ):
        where = (torch.arange(reading.tokens.shape[1]) > 0).expand(reading.tokens.shape)
        place = reading.tokens.device
        with one_at_a_time:  # another's hooked pass would catch what runs here
            nats = lesioned_nats(
                model.decoder, reading, relevance, units, values.to(place), where.to(place)
            )
        bits = ((nats - reading.nats) / np.log(2.0)).cpu().numpy()
        for row, number in enumerate(numbers):
            count = len(texts.ids[number]) - 2  # tokens with a next one, begin-of-text left out
            change[:, starts[number] : starts[number] + count] = bits[:, row, 1 : 1 + count]
    return change


def _array(value: torch.Tensor) -> np.ndarray:
    return read_only(value.cpu().numpy())
