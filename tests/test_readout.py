"""The readout of many units: exact where it must be, honest where there is nothing to read."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from model.errors import UnitError
from model.locality.readout import readout


def halves(count: int) -> torch.Tensor:
    return torch.arange(count) % 2 == 0


def test_a_localist_unit_does_as_well_alone(rng):
    classes = torch.tensor(rng.integers(0, 3, 400))
    activations = torch.tensor(rng.normal(size=(400, 6)))
    activations[:, 4] = (classes == 1).double()
    found = readout(activations, classes, 2, halves(400))
    assert int(found.unit[1]) == 4
    assert float(found.single[1]) == 1.0
    assert float(found.all[1]) > 0.98


def test_a_distributed_code_is_read_together_and_by_no_unit(rng):
    # The category is the sign of a sum of sixteen: one of them tells it little.
    activations = torch.tensor(rng.normal(size=(2000, 16)))
    classes = (activations.sum(dim=1) > 0).long()
    found = readout(activations, classes, 2, halves(2000))
    assert found.all.min() > 0.99
    assert found.single.max() < 0.7


def test_what_is_not_there_is_not_read(rng):
    activations = torch.tensor(rng.normal(size=(1000, 50)))
    classes = torch.tensor(rng.integers(0, 2, 1000))
    found = readout(activations, classes, 2, halves(1000))
    assert (found.all - 0.5).abs().max() < 0.1
    assert (found.single - 0.5).abs().max() < 0.1


def test_it_is_the_ridge_solution_of_the_normal_equations(rng):
    x, classes = rng.normal(size=(60, 5)) * 3 + 1, rng.integers(0, 2, 60)
    fitted = halves(60)
    part = x[fitted.numpy()]
    mean, scale = part.mean(axis=0), part.std(axis=0)
    a = np.vstack([(part - mean) / scale, np.sqrt(0.5 * 30) * np.eye(5)])
    y = (classes[fitted.numpy()] == 1).astype(float)
    b = np.linalg.lstsq(a, np.concatenate([y - y.mean(), np.zeros(5)]), rcond=None)[0]
    score = ((x[~fitted.numpy()] - mean) / scale) @ b
    on, off = (score[classes[~fitted.numpy()] == c] for c in (1, 0))
    slow = np.mean(on[:, None] > off[None, :])
    found = readout(torch.tensor(x), torch.tensor(classes), 2, fitted, ridge=0.5)
    assert float(found.all[1]) == pytest.approx(slow, abs=1e-12)


def test_absent_categories_and_silent_units(rng):
    activations = torch.tensor(rng.normal(size=(40, 3)))
    activations[:, 1] = 0.1
    classes = torch.tensor(rng.integers(0, 2, 40))
    classes[1::2] = 0  # category 1 only where it is fitted, category 2 nowhere
    found = readout(activations, classes, 3, halves(40))
    assert found.all.isnan().tolist()[1:] == [True, True]
    assert found.single.isnan().tolist()[1:] == [True, True]


def test_parts_and_ridge_are_checked():
    x, classes = torch.zeros(4, 2), torch.tensor([0, 1, 0, 1])
    for fitted in (torch.ones(4, dtype=torch.bool), torch.zeros(4, dtype=torch.bool), halves(3)):
        with pytest.raises(UnitError, match="some of the tokens"):
            readout(x, classes, 2, fitted)
    with pytest.raises(UnitError, match="above 0"):
        readout(x, classes, 2, halves(4), ridge=0.0)
