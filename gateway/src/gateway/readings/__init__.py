"""How a tenant reads probabilities: its operating point, thresholds and prevalences."""
