"""Everything that can go wrong in a way a caller may want to handle.

    MllctlError                 exit code 1
    ├── HubError                the hub as a whole
    │   ├── HubNotFound
    │   ├── HubExists
    │   ├── HubReadOnly
    │   ├── HubBusy
    │   ├── HubDamaged
    │   ├── HubTooNew
    │   └── HubTooOld
    ├── NotInHub                a model, domain or synset the hub does not hold
    ├── NotPublished            a model, data set or source that imported results do not have
    ├── ResultsMixed            results of several sources, which are never pooled
    ├── StageMissing            a stage before this one has not been run, or is older than its input
    ├── SourceUnreadable        a folder, manifest or class file that cannot be used at all
    ├── ModelNotLoadable
    ├── NoFaiss
    ├── ExtraMissing            an optional library is not installed
    ├── LanguageModelFailed     the server of a language model, which has no answer for any class
    ├── NoCaptions              a class of which a language model wrote nothing
    ├── QueryRefused            SQL that fails or is not allowed
    └── InvalidTask             exit code 2: classes or options that make no task

A wrong argument to a Python function is a ValueError. Each message says what is wrong and what
to type next; the facts stay on the error as attributes.
"""

from collections.abc import Sequence
from pathlib import Path


class MllctlError(Exception):
    """Any error of ours."""

    exit_code = 1


class HubError(MllctlError):
    """Something is wrong with the hub as a whole."""

    def __init__(self, message: str, path: Path) -> None:
        super().__init__(message)
        self.path = path


class HubNotFound(HubError):
    """There is no hub at the path the caller gave."""

    def __init__(self, path: Path) -> None:
        wrong = "it is a file, and a hub is a folder; " if path.is_file() else ""
        folder = "DIR" if wrong else path
        super().__init__(f"no hub at {path}; {wrong}create one with `mllctl init {folder}`", path)


class HubExists(HubError):
    """The path for a new hub is taken."""

    def __init__(self, path: Path) -> None:
        hub = (path / "manifest.json").is_file()
        wrong = f"{path} is a hub already; name it with --hub {path}, or" if hub else f"{path} already holds files;"
        super().__init__(f"{wrong} choose an empty or new folder", path)


class HubReadOnly(HubError):
    """The bundled demo hub, which has no features and lies among installed files, was to be changed."""

    def __init__(self, path: Path) -> None:
        super().__init__(
            "the bundled demo hub is read-only; build one of your own with `mllctl demo build DIR` "
            "or `mllctl init DIR`, then name it with --hub DIR",
            path,
        )


class HubBusy(HubError):
    """Another process is changing this hub."""

    def __init__(self, path: Path) -> None:
        super().__init__(f"another process is changing {path}; wait for it, readers are not affected", path)


class HubDamaged(HubError):
    """A file that the manifest names is missing or is not what was written."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"hub {path} is damaged: {reason}; restore it from a copy or build it again", path)
        self.reason = reason


class HubTooNew(HubError):
    """The hub was written under a later schema version than this mllctl knows."""

    def __init__(self, path: Path, version: int, known: int) -> None:
        super().__init__(f"hub {path} has schema version {version}, this mllctl reads {known}; upgrade mllctl", path)
        self.version = version
        self.known = known


class HubTooOld(HubError):
    """The hub was written under an earlier schema version."""

    def __init__(self, path: Path, version: int, known: int) -> None:
        cure = f"run `mllctl hub upgrade --hub {path}`"
        super().__init__(f"hub {path} has schema version {version}, this mllctl reads {known}; {cure}", path)
        self.version = version
        self.known = known


class NotInHub(MllctlError):
    """A model, domain or synset was named that the hub does not hold."""

    def __init__(self, kind: str, name: str, close: Sequence[str] = (), cure: str = "") -> None:
        nearest = f"did you mean {' or '.join(close)}? {cure}".strip() if close else cure
        super().__init__(f"no {kind} {name!r} in this hub{nearest and '; ' + nearest}")
        self.kind = kind
        self.name = name


class NotPublished(MllctlError):
    """A model, data set, source, metric or protocol was named that imported results do not have."""

    def __init__(self, kind: str, name: str, close: Sequence[str] = ()) -> None:
        nearest = f"; did you mean {' or '.join(map(repr, close))}?" if close else ""
        super().__init__(f"no {kind} {name!r} in these results{nearest}")
        self.kind = kind
        self.name = name


class ResultsMixed(MllctlError):
    """One table was asked of results of several sources, metrics or protocols; they are never pooled."""

    def __init__(self, kind: str, found: Sequence[str], of: str = "") -> None:
        names = ", ".join(map(repr, found))
        told = f"--{kind} {found[0]!r}, in Python {kind}={found[0]!r}"
        super().__init__(f"results{of} are of {len(found)} {kind}s: {names}; name one, such as {told}")
        self.kind = kind
        self.found = tuple(found)


class StageMissing(MllctlError):
    """A stage before this one has not been run, or its result is older than what it was made from."""

    def __init__(self, message: str, command: str) -> None:
        super().__init__(f"{message}; run `{command}`")
        self.command = command


class SourceUnreadable(MllctlError):
    """A folder, manifest or file cannot be used at all."""

    def __init__(self, path: Path | str, reason: str) -> None:
        super().__init__(f"{path}: {reason}")
        self.path = path
        self.reason = reason


class ModelNotLoadable(MllctlError):
    """A model cannot be built or its weights cannot be found."""

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(f"cannot load model {name!r}: {reason}")
        self.name = name
        self.reason = reason


class NoFaiss(MllctlError):
    """Neither faiss-cpu nor faiss-gpu is installed."""

    def __init__(self) -> None:
        super().__init__("mllctl needs FAISS; pip install 'mllctl[cpu]' or, with an NVIDIA GPU, 'mllctl[gpu]'")


class ExtraMissing(MllctlError):
    """A library that only some commands need is not installed."""

    def __init__(self, extra: str, purpose: str) -> None:
        super().__init__(f"mllctl needs the {extra!r} extra to {purpose}; pip install 'mllctl[{extra}]'")
        self.extra = extra


class LanguageModelFailed(MllctlError):
    """The server of a language model cannot be reached, refuses, or does not know the model."""

    def __init__(self, model: str, server: str, reason: str) -> None:
        super().__init__(f"{model} at {server}: {reason}")
        self.model = model
        self.server = server
        self.reason = reason


class NoCaptions(MllctlError):
    """A language model refuses a class, or its answers are of no use."""

    def __init__(self, class_: str, reason: str) -> None:
        super().__init__(f"no captions of {class_!r}: {reason}; try another --model or write them by hand")
        self.class_ = class_
        self.reason = reason


class QueryRefused(MllctlError):
    """A query fails or asks for what is not allowed."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"query refused: {reason}")
        self.reason = reason


class InvalidTask(MllctlError):
    """The classes or options that were given make no task."""

    exit_code = 2
