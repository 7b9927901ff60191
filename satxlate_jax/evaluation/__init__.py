"""How good each band of a translation is, beside baselines, as tables and pictures."""
