"""The version of the platform: `shared/pyproject.toml` names it, everything else follows (a test compares them)."""

from importlib import metadata

VERSION = metadata.version("thorax-shared")
