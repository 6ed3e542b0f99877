"""Predictions to the ensemble's word and its heatmaps; and the sweeper, which lets nothing be forgotten."""
