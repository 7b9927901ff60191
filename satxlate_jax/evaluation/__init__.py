"""Scores of translations per band, compared with baselines, as tables and figures."""
