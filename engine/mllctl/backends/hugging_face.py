"""Files of Hugging Face repositories: those that are here, and in one line why the others cannot be had.

    cached_file("laion/name", ("a.safetensors", "a.bin"))     the first that is in the cache; nobody is asked
    check_files(source, "laion/name", (...))                  refuses where a download could not begin

The libraries that download try for half a minute a file where there is no network, and keep to themselves what was
said. Here it is asked once. What is in the cache is taken as it is, and the network is not asked for a newer one.
"""

from collections.abc import Sequence
from pathlib import Path

from mllctl.errors import ModelNotLoadable

# What open_clip looks for, in this order, in a repository of which its table names no file.
WEIGHT_FILES = ("open_clip_model.safetensors", "open_clip_pytorch_model.bin")
TOKENIZER_FILES = ("tokenizer_config.json", "tokenizer.json")  # one of them is in any repository with a tokenizer

_TIMEOUT = 10  # seconds, as huggingface_hub waits for one answer


def weight_names(name: str) -> tuple[str, ...]:
    """Return the names that open_clip tries for a checkpoint of its table: safetensors wherever there are some."""
    if not name:
        return WEIGHT_FILES
    stem, _, ending = name.rpartition(".")
    return (f"{stem}.safetensors", name) if ending in ("bin", "pth") else (name,)


def cached_file(repository: str, names: Sequence[str]) -> Path | None:
    """Return the first of some files of a repository that is in Hugging Face's cache."""
    # Imported here: it takes 0.2 s, and demo models do without.
    from huggingface_hub.errors import HFValidationError

    try:
        return _find(repository, names)
    except HFValidationError:
        return None


def _find(repository: str, names: Sequence[str]) -> Path | None:
    from huggingface_hub import try_to_load_from_cache

    found = (try_to_load_from_cache(repository, name) for name in names)
    return next((Path(file) for file in found if isinstance(file, str)), None)


def check_files(source: str, repository: str, names: Sequence[str], instead: str = "local-dir:PATH") -> None:
    """See that one of some files of a repository is in the cache or can be downloaded.

    Args:
        source: the model that is asked for.
        repository: such as `laion/CLIP-ViT-B-32-laion2B-s34B-b79K`.
        names: files, of which one is enough.
        instead: what to type for a copy of the repository.

    Raises:
        ModelNotLoadable: saying what the network said, and what to type instead.
    """
    from huggingface_hub import get_hf_file_metadata, hf_hub_url
    from huggingface_hub.errors import (
        EntryNotFoundError,
        GatedRepoError,
        HfHubHTTPError,
        HFValidationError,
        OfflineModeIsEnabled,
        RepositoryNotFoundError,
    )

    # With its bases: what whichever HTTP library is used raises where there is no network.
    unreachable: tuple[type[Exception], ...] = (OSError, *HfHubHTTPError.__bases__)

    def refuse(reason: str) -> ModelNotLoadable:
        return ModelNotLoadable(source, f"{repository} {reason}; or copy its files here and type {instead}")

    try:
        if _find(repository, names):
            return
        for name in names:
            try:
                get_hf_file_metadata(hf_hub_url(repository, name), timeout=_TIMEOUT)
                return
            except EntryNotFoundError:
                continue
    except HFValidationError as error:
        raise refuse("is no name of a repository; check it") from error
    except OfflineModeIsEnabled as error:
        raise refuse("is not in Hugging Face's cache, and HF_HUB_OFFLINE is set; unset it") from error
    except GatedRepoError as error:
        raise refuse("wants its terms accepted; accept them on its page, log in with `hf auth login`") from error
    except RepositoryNotFoundError as error:
        raise refuse("is not at Hugging Face, or private; check the name, log in with `hf auth login`") from error
    except HfHubHTTPError:
        return  # the server is busy, or as ill: the download itself tries again
    except unreachable as error:
        said = next(iter(str(error).splitlines()), "") or type(error).__name__
        raise refuse(f"is not in Hugging Face's cache, and the network says: {said}; connect") from error
    raise refuse(f"has no {' or '.join(names)}; check the name")
