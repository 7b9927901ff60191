"""Measurements for developers: `satxlate bench NAME`."""
