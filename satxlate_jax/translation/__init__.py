"""Translate an observed tile to another satellite's, with a trained run."""
