"""Models of Hugging Face repositories, against a stand-in hub: what is fetched, kept, and said of what cannot be."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from oxillama.demo import demo_path
from oxillama.errors import InvalidRequestError, ModelLoadError
from oxillama.hub import choose, fetch, parts_of
from tests.cli.programs import LIMIT, command, environment
from tests.hub_server import COMMIT, Hub, serving_hub


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    folder = tmp_path_factory.mktemp("repositories")
    (folder / "readme").write_text("# A model")
    demo, readme = Path(str(demo_path())), folder / "readme"
    types = ("Q8_0", "Q4_K_M", "Q4_K_S")
    repositories = {
        "oxi/one": {"README.md": readme, "demo-Q8_0.gguf": demo},
        "oxi/many": {f"model-{name}.gguf": demo for name in types} | {"mmproj-Q8_0.gguf": demo},
        "oxi/unusual": {"a-F16.gguf": demo, "a-F32.gguf": demo},
        "oxi/none": {"README.md": readme, "model.safetensors": readme},
        "oxi/split": dict.fromkeys(parts_of("big-00001-of-00002.gguf"), demo),
        "oxi/gated": {"demo.gguf": demo},
    }
    with serving_hub(repositories, gated=frozenset({"oxi/gated"})) as served:
        yield served


def pull(hub: Hub, cache: Path, *words: str, offline: bool = False) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command("pull", *words),
        env=environment(**hub.environment(cache, offline=offline)),
        capture_output=True,
        text=True,
        timeout=LIMIT,
    )


def test_the_only_file_is_fetched_once_and_then_there_without_a_network(hub: Hub, tmp_path: Path) -> None:
    done = pull(hub, tmp_path, "oxi/one")
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    path = Path(done.stdout.removesuffix("\n"))
    assert path.read_bytes() == Path(str(demo_path())).read_bytes()
    assert path.name == "demo-Q8_0.gguf"
    fetched = len([request for request in hub.requests if request.startswith("GET") and "/resolve/" in request])
    assert pull(hub, tmp_path, "oxi/one").stdout == done.stdout
    assert len([line for line in hub.requests if line.startswith("GET") and "/resolve/" in line]) == fetched
    # By its name, by a part of it, and without one.
    for words in (["demo-Q8_0.gguf"], ["q8_0"], []):
        assert pull(hub, tmp_path, "oxi/one", *words, offline=True).stdout == done.stdout
    missing = pull(hub, tmp_path, "oxi/many", offline=True)
    assert missing.returncode == 1
    assert "HF_HUB_OFFLINE is set" in missing.stderr


def test_an_engine_opens_what_it_has_fetched(hub: Hub, tmp_path: Path) -> None:
    code = (
        "from oxillama import Engine\n"
        f"with Engine.from_pretrained('oxi/many', 'Q8_0', revision='{COMMIT}', n_threads=1) as engine:\n"
        "    print(engine.name, engine.generate('a', max_tokens=1).usage.completion_tokens)"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        env=environment(**hub.environment(tmp_path)), capture_output=True, text=True, timeout=LIMIT,
    )  # fmt: skip
    assert done.stdout == "model-Q8_0 1\n", done.stderr


def test_all_files_of_a_split_model_come(hub: Hub, tmp_path: Path) -> None:
    done = pull(hub, tmp_path, "oxi/split")
    first = Path(done.stdout.removesuffix("\n"))
    assert [first.name, *sorted(path.name for path in first.parent.iterdir())] == [
        "big-00001-of-00002.gguf",
        *parts_of("big-00001-of-00002.gguf"),
    ]


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["oxi/nobody"], 1, "has no repository oxi/nobody, or it is private; check the name, or set HF_TOKEN"),
        (["oxi/gated"], 1, "oxi/gated is only for those who accepted its terms"),
        (["oxi/none"], 1, "oxi/none has no GGUF file"),
        (["oxi/unusual"], 1, "oxi/unusual has 2 GGUF files; say which one: a-F16.gguf, a-F32.gguf"),
        (["oxi/one", "missing.gguf"], 1, "oxi/one has no file 'missing.gguf'; expected one of demo-Q8_0.gguf"),
        (["oxi/many", "q4"], 1, "several files that 'q4' names; expected one of model-Q4_K_M.gguf, model-Q4_K_S.gguf"),
        (["oxi/one", "--revision", "v9"], 1, "oxi/one has no revision 'v9'; expected a branch, tag or commit"),
        (["just-a-name"], 2, "repository is 'just-a-name', expected owner/name"),
        ([], 2, "expected REPO and perhaps FILE"),
        (["a/b", "c", "d"], 2, "found 3 words"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_cannot_be_had_is_said_in_one_line(
    words: list[str], code: int, message: str, hub: Hub, tmp_path: Path
) -> None:
    done = pull(hub, tmp_path, *words)
    assert (done.returncode, done.stdout) == (code, "")
    assert message in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.slow  # the library tries again for a while
def test_a_hub_that_nobody_answers_for(tmp_path: Path) -> None:
    done = pull(Hub({}, url="http://127.0.0.1:1"), tmp_path, "oxi/one", "demo.gguf")
    assert done.returncode == 1
    assert done.stderr.startswith("oxillama: cannot get demo.gguf of oxi/one from http://127.0.0.1:1: ")
    assert done.stderr.endswith("; check the network, or HF_ENDPOINT\n")
    assert done.stderr.count("\n") == 1


def test_the_usual_type_is_taken_where_nobody_says_which() -> None:
    names = ["m-Q8_0.gguf", "m-Q4_K_M.gguf", "mmproj-m-Q4_K_M.gguf", "README.md"]
    assert choose("a/b", names, None) == "m-Q4_K_M.gguf"
    assert choose("a/b", names, "*q8*.gguf") == "m-Q8_0.gguf"
    assert choose("a/b", parts_of("m-00002-of-00003.gguf"), None) == "m-00001-of-00003.gguf"
    with pytest.raises(ModelLoadError, match=r"expected one of m-Q4_K_M\.gguf, m-Q8_0\.gguf"):
        choose("a/b", names, "Q5_K")


@pytest.mark.parametrize("repository", ["", "a", "a/b/c", "/a", "a/", "-a/b", "../a", "a b/c", "a/b\n"])
def test_what_is_no_repository(repository: str) -> None:
    with pytest.raises(InvalidRequestError, match="expected owner/name") as caught:
        fetch(repository)
    assert caught.value.param == "repository"
