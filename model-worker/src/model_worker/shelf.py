"""The bundles this worker can serve: found on disk, loaded when the first job needs them, two at most."""

from collections import OrderedDict
from pathlib import Path

import structlog

from model_worker.backbone import CPU, Backbone
from thorax.bundle import Bundle, find_bundles
from thorax.errors import Code, CodedError

LOADED_AT_MOST = 2
_log = structlog.get_logger(__name__)


class Shelf:
    """Bundles by digest, and for the loaded ones the sessions of the chosen backbones."""

    def __init__(self, models: Path, backbones: str, *, cpu_fallback: bool) -> None:
        self._models, self._cpu_fallback = models, cpu_fallback
        self._chosen = None if backbones == "all" else tuple(name.strip() for name in backbones.split(","))
        self._found: dict[str, Bundle] = {}
        self._loaded: OrderedDict[str, dict[str, Backbone]] = OrderedDict()
        self.look()

    def look(self) -> None:
        """Find the bundles that are on disk now."""
        self._found = find_bundles(self._models)

    @property
    def digests(self) -> tuple[str, ...]:
        """The bundles that can be served."""
        return tuple(self._found)

    @property
    def backbones(self) -> tuple[str, ...]:
        """The backbones served, over all bundles."""
        names = dict.fromkeys(name for bundle in self._found.values() for name in self._share(bundle))
        return tuple(names)

    @property
    def on_gpu(self) -> bool:
        """Whether a loaded backbone runs on something better than the CPU."""
        return any(b.provider != CPU for sessions in self._loaded.values() for b in sessions.values())

    @property
    def provider(self) -> str:
        """The provider that serves, for readiness and logs."""
        return next((b.provider for sessions in self._loaded.values() for b in sessions.values()), CPU)

    def _share(self, bundle: Bundle) -> tuple[str, ...]:
        return tuple(name for name in bundle.names if self._chosen is None or name in self._chosen)

    def bundle(self, digest: str) -> Bundle:
        """A bundle by digest; CodedError(BUNDLE_MISSING) if it is not on disk."""
        if digest not in self._found:
            self.look()
        if digest not in self._found:
            raise CodedError(Code.BUNDLE_MISSING, f"Bundle {digest[:12]} is not in {self._models}.")
        return self._found[digest]

    def sessions(self, digest: str) -> dict[str, Backbone]:
        """The loaded backbones of a bundle, by name; loads them first if need be, unloads the oldest after."""
        if digest not in self._loaded:
            bundle = self.bundle(digest)
            _log.info("bundle_loading", bundle=bundle.manifest.name, backbones=self._share(bundle))
            self._loaded[digest] = {
                name: Backbone(bundle, bundle.backbone(name), cpu_fallback=self._cpu_fallback)
                for name in self._share(bundle)
            }
            while len(self._loaded) > LOADED_AT_MOST:
                self._loaded.popitem(last=False)
        self._loaded.move_to_end(digest)
        return self._loaded[digest]
