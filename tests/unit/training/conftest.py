"""Finds the training package, which the platform's environment need not have installed."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "training" / "src"))
