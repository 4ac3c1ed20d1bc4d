"""A hub for a process that lives long: always the newest generation, without waiting for any writer."""

from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType

from mllctl.hub.manifest import NAME
from mllctl.hub.reading import Hub


class HubReader(AbstractContextManager["HubReader"]):
    """Opens a hub again when another process has committed.

        with HubReader(path) as reader:
            while ...:
                selection = select_models(reader.newest(), classes)

    A hub that `newest` returned is one generation: ask again for each question, not within one. It is closed when a
    newer one is opened, so one thread at a time may use a reader.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self._hub: Hub | None = None
        self._seen: tuple[int, int, int] | None = None

    def newest(self) -> Hub:
        """Return the newest generation; the cost is one `stat` where nothing was committed since.

        Raises:
            HubNotFound, HubDamaged, HubTooNew, HubTooOld: as their names say. The generation that was open stays so.
        """
        seen = self._look()
        if self._hub is None or seen != self._seen:
            opened = Hub.open(self.path)
            self.close()
            # A commit between the look and the opening only makes the next call open it once more.
            self._hub, self._seen = opened, seen
        return self._hub

    def close(self) -> None:
        """Let go of the files."""
        if self._hub is not None:
            self._hub.close()
            self._hub = None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _look(self) -> tuple[int, int, int] | None:
        """Tell manifests apart: each is a new file."""
        try:
            facts = (self.path / NAME).stat()
        except (FileNotFoundError, NotADirectoryError):
            return None  # Hub.open says what is wrong
        return facts.st_ino, facts.st_mtime_ns, facts.st_size
