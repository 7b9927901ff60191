"""What the tests of evaluations share."""

import pytest

from satxlate_jax.evaluation.report import Plots


@pytest.fixture
def undrawn(monkeypatch):
    """Reports without plots, which take longer than the scores, for tests that look at no picture."""
    monkeypatch.setattr(Plots, "draw", lambda *_: {})
