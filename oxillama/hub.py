"""GGUF files of Hugging Face repositories, fetched by huggingface_hub into its own cache and by its own rules.

HF_TOKEN, HF_ENDPOINT, HF_HOME and HF_HUB_OFFLINE work as everywhere. What the library raises comes out as a
ModelLoadError that says what to do."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from oxillama.errors import InvalidRequestError, ModelLoadError

REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
SHARD = re.compile(r"(?P<stem>.+)-(?P<number>\d{5})-of-(?P<count>\d{5})\.gguf")
# What is taken where a repository has many types and nobody said which.
USUAL = "q4_k_m"
SHOWN_FILES = 12


def fetch(repository: str, filename: str | None = None, *, revision: str | None = None) -> Path:
    """The path of a model's file on this machine, downloaded unless the cache has it.

    filename: its name in the repository, or a part of it that only one file has (`Q8_0`), or a pattern with `*`. None:
    the only file, or else the one of type Q4_K_M. All files of a split model are fetched; the path is the first one's.
    revision: branch, tag or commit; None: the main branch.

    Raises ModelLoadError, saying what there is, where nothing can be found, reached or read; InvalidRequestError for
    what is no repository."""
    if not isinstance(repository, str) or not REPOSITORY.fullmatch(repository):
        raise InvalidRequestError(
            f"repository is {repository!r}, expected owner/name of a Hugging Face repository", param="repository"
        )
    name = filename
    if name is None or not name.endswith(".gguf") or "*" in name:
        name = choose(repository, names_of(repository, revision), filename)
    first, *others = parts_of(name)
    path = _download(repository, first, revision)
    for other in others:
        _download(repository, other, revision)
    return path


def parts_of(name: str) -> list[str]:
    """All files of a split model, by the name of any of them; of another file itself."""
    match = SHARD.fullmatch(name)
    if match is None:
        return [name]
    count = int(match["count"])
    return [f"{match['stem']}-{number:05d}-of-{count:05d}.gguf" for number in range(1, count + 1)]


def choose(repository: str, names: list[str], wanted: str | None) -> str:
    """The one file that is meant; a ModelLoadError lists them where that is not one."""
    models = sorted({parts_of(name)[0] for name in names if name.endswith(".gguf") and "mmproj" not in name.lower()})
    if not models:
        raise ModelLoadError(f"{repository} has no GGUF file; look for a repository of the same model with GGUF files")
    if wanted is None:
        found = models if len(models) == 1 else [name for name in models if USUAL in name.lower()]
    elif "*" in wanted:
        found = [name for name in models if fnmatch.fnmatch(name.lower(), wanted.lower())]
    else:
        found = [name for name in models if wanted.lower() in name.lower()]
    if len(found) == 1:
        return found[0]
    shown = ", ".join((found or models)[:SHOWN_FILES]) + (" ..." if len(found or models) > SHOWN_FILES else "")
    if wanted is None:
        raise ModelLoadError(f"{repository} has {len(models)} GGUF files; say which one: {shown}")
    how_many = "several files" if found else "no file"
    raise ModelLoadError(f"{repository} has {how_many} that {wanted!r} names; expected one of {shown}")


def names_of(repository: str, revision: str | None) -> list[str]:
    """The names of a repository's files; offline, of those in the cache."""
    import huggingface_hub
    from huggingface_hub import constants

    with _told(repository, None, revision):
        if constants.HF_HUB_OFFLINE:
            folder = Path(huggingface_hub.snapshot_download(repository, revision=revision, local_files_only=True))
            return [path.relative_to(folder).as_posix() for path in folder.rglob("*.gguf")]
        return list(huggingface_hub.HfApi().list_repo_files(repository, revision=revision))


def _download(repository: str, name: str, revision: str | None) -> Path:
    import huggingface_hub

    with _told(repository, name, revision):
        return Path(huggingface_hub.hf_hub_download(repository, name, revision=revision))


@contextmanager
def _told(repository: str, name: str | None, revision: str | None) -> Iterator[None]:
    from huggingface_hub import constants, errors

    what = repository if name is None else f"{name} of {repository}"
    try:
        yield
    except errors.GatedRepoError as error:
        raise ModelLoadError(
            f"{repository} is only for those who accepted its terms; do so at {constants.ENDPOINT}/{repository} and "
            "set HF_TOKEN"
        ) from error
    except errors.RepositoryNotFoundError as error:
        raise ModelLoadError(
            f"{constants.ENDPOINT} has no repository {repository}, or it is private; check the name, or set HF_TOKEN"
        ) from error
    except errors.RevisionNotFoundError as error:
        raise ModelLoadError(f"{repository} has no revision {revision!r}; expected a branch, tag or commit") from error
    except errors.LocalEntryNotFoundError as error:
        raise ModelLoadError(_unreachable(what, error.__cause__ or error)) from error
    except errors.EntryNotFoundError as error:
        names = "" if name is None else _others(repository, name, revision)
        raise ModelLoadError(f"{repository} has no file {name!r}{names}") from error
    except ModelLoadError:
        raise
    except OSError as error:
        if error.errno is None:  # of the library, not of the system: nobody answered, or not as expected
            raise ModelLoadError(_unreachable(what, error)) from error
        raise
    # The library's transport differs from version to version, and so does what it raises when nobody answers.
    except Exception as error:
        raise ModelLoadError(_unreachable(what, error)) from error


def _unreachable(what: str, error: BaseException) -> str:
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        return f"{what} is not in the cache {constants.HF_HUB_CACHE}, and HF_HUB_OFFLINE is set; fetch it once online"
    why = " ".join(str(error).split()) or type(error).__name__
    return f"cannot get {what} from {constants.ENDPOINT}: {why[:200]}; check the network, or HF_ENDPOINT"


def _others(repository: str, name: str, revision: str | None) -> str:
    """What a repository has instead; said if it can be had, since the error is told already."""
    try:
        choose(repository, names_of(repository, revision), name)
    except ModelLoadError as error:
        return "; " + str(error).rpartition("; ")[2] if "expected one of" in str(error) else ""
    return ""
