"""The bundles that this worker can serve: found on disk, and loaded before a job needs them."""

import ctypes
import threading
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from time import monotonic

import structlog

from model_worker.backbone import Backbone
from model_worker.fastest import fastest
from thorax.bundle import Bundle, Engine, find_bundles
from thorax.errors import Code, CodedError

TRY_AGAIN_S = 60.0
_log = structlog.get_logger(__name__)


class BundleCache:
    """Bundles by digest, and for `at_most` of them the loaded sessions of the chosen backbones.

    Work is done on one thread, while another loads what is wanted next. Nothing is unloaded before what takes its
    place is loaded, and a bundle in use stays with whoever uses it.
    """

    def __init__(
        self,
        models: Path,
        backbones: str,
        *,
        cpu_fallback: bool,
        at_most: int = 3,
        engine: Engine | None = None,
    ) -> None:
        self._models, self._cpu_fallback, self._at_most, self._engine = models, cpu_fallback, at_most, engine
        self._chosen = None if backbones == "all" else tuple(name.strip() for name in backbones.split(","))
        self._found: dict[str, Bundle] = {}
        self._loaded: OrderedDict[str, dict[str, Backbone]] = OrderedDict()
        self._guard = threading.Lock()  # of the order in `_loaded`
        self._loading: dict[str, threading.Lock] = {}
        self._refused: dict[str, float] = {}
        self._wanted: tuple[str, ...] = ()
        self._shadow: str | None = None
        self._loader: threading.Thread | None = None
        self._broken: set[str] = set()  # as the log has it
        self.refresh()

    def refresh(self) -> None:
        """Find the bundles that are on disk now, and say once of each that is broken what is wrong with it."""
        broken: set[str] = set()
        self._found = find_bundles(self._models, lambda error: broken.add(error.detail))
        for detail in sorted(broken - self._broken):
            _log.error("bundle_refused", error=detail)
        self._broken = broken

    def preload(self, wanted: Sequence[str], shadow: str | None) -> None:
        """Load these in the background, in order; they are unloaded last. `shadow` serves no client."""
        self._wanted, self._shadow = (*wanted, shadow) if shadow else tuple(wanted), shadow
        if self._missing() and not (self._loader and self._loader.is_alive()):
            self._loader = threading.Thread(target=self._load_wanted, name="loader", daemon=True)
            self._loader.start()

    @property
    def digests(self) -> tuple[str, ...]:
        """The bundles that can be served; a shadow only once it is loaded, since real work must not wait for it."""
        return tuple(d for d in self._found if d != self._shadow or d in self._loaded)

    @property
    def loaded(self) -> tuple[str, ...]:
        """The bundles in memory, served without delay."""
        with self._guard:
            return tuple(self._loaded)

    @property
    def backbones(self) -> tuple[str, ...]:
        """The backbones served, over all bundles."""
        names = dict.fromkeys(name for bundle in self._found.values() for name in self._share(bundle))
        return tuple(names)

    @property
    def on_gpu(self) -> bool:
        """Whether a loaded backbone runs on something better than the CPU."""
        with self._guard:
            return any(b.on_gpu for sessions in self._loaded.values() for b in sessions.values())

    def _share(self, bundle: Bundle) -> tuple[str, ...]:
        return tuple(name for name in bundle.names if self._chosen is None or name in self._chosen)

    def bundle(self, digest: str) -> Bundle:
        """A bundle by digest; CodedError(BUNDLE_MISSING) if it is not on disk."""
        if digest not in self._found:
            self.refresh()
        if digest not in self._found:
            raise CodedError(Code.BUNDLE_MISSING, f"Bundle {digest[:12]} is not in {self._models}.")
        return self._found[digest]

    def sessions(self, digest: str) -> dict[str, Backbone]:
        """The loaded backbones of a bundle, by name; loads them first if need be. CodedError(BUNDLE_INVALID)."""
        with self._loading.setdefault(digest, threading.Lock()):
            found = self._loaded.get(digest) or self._load(self.bundle(digest))
        with self._guard:
            self._loaded[digest] = found
            self._loaded.move_to_end(digest)
            while len(self._loaded) > self._at_most:
                spare = [d for d in self._loaded if d != digest]
                del self._loaded[next((d for d in spare if d not in self._wanted), spare[0])]
        return found

    def _load(self, bundle: Bundle) -> dict[str, Backbone]:
        share = self._share(bundle)
        _log.info("bundle_loading", bundle=bundle.manifest.name, backbones=share)
        engine = self._engine or fastest(bundle)
        found = {
            spec.name: Backbone(bundle, spec, cpu_fallback=self._cpu_fallback, engine=engine)
            for spec in bundle.manifest.backbones
            if spec.name in share
        }
        ctypes.CDLL(None).malloc_trim(0)  # what loading has left behind: 140 MB of five networks
        return found

    def _missing(self) -> list[str]:
        soon = [d for d in self._wanted[: self._at_most] if d in self._found and d not in self._loaded]
        return [d for d in soon if monotonic() - self._refused.get(d, -TRY_AGAIN_S) >= TRY_AGAIN_S]

    def _load_wanted(self) -> None:
        while missing := self._missing():
            try:
                self.sessions(missing[0])
            except Exception as error:  # it must not end the thread; jobs pinned to it will say the same
                self._refused[missing[0]] = monotonic()
                what = error.detail if isinstance(error, CodedError) else type(error).__name__
                _log.error("bundle_refused", digest=missing[0][:12], error=what)
