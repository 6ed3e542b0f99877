"""Pixels to predictions: decodes what was sent, runs the backbones, and knows no web framework."""
