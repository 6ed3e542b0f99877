"""Prints a bundle's prevalences and operating points: python docs/examples/operating_points.py [models/default]."""

import sys
from pathlib import Path

from thorax.bundle import load_bundle
from thorax.findings import FINDINGS
from thorax.operating_points import FindingPoints, Rate


def row(label: str, points: FindingPoints) -> str:
    """One finding's row of the table in docs/reference/what-the-numbers-mean.md."""
    likely, unlikely = points.likely, points.unlikely
    upper = [rate(one) for one in (likely.sensitivity, likely.specificity, likely.ppv)]
    lower = [rate(one) for one in (unlikely.sensitivity, unlikely.npv)]
    edges = f"{likely.threshold:.4f}", f"{unlikely.threshold:.4f}"
    cells = [label, f"{points.prevalence:.1%}", edges[0], *upper, edges[1], *lower]
    return f"| {' | '.join(cells)} |"


def rate(found: Rate | None) -> str:
    """A rate, or a dash where there is none."""
    return f"{found.value:.2f}" if found else "–"


if __name__ == "__main__":
    manifest = load_bundle(Path(sys.argv[1] if len(sys.argv) > 1 else "models/default")).manifest
    for finding, points in zip(FINDINGS, manifest.operating_points or (), strict=True):
        print(row(finding.label, points))
