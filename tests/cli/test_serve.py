"""`oxillama serve`: what its options mean, and what it refuses before it starts."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from contextlib import suppress
from dataclasses import fields
from pathlib import Path

import pytest

from oxillama.asgi import Limits
from oxillama.cli import main
from oxillama.cli.serve import LIMITS
from oxillama.demo import demo_path
from oxillama.extras import install_line
from tests.cli.programs import LIMIT, command, environment, run
from tests.cli.serving import free_port, serving
from tests.patience import eventually

CHAT = {"messages": [{"role": "user", "content": "hi"}]}


def test_the_ready_line_is_json_and_all_there_is_on_stdout() -> None:
    with serving() as server:
        assert server.line == {
            "event": "ready",
            "url": f"http://127.0.0.1:{server.port}",
            "model": "demo",
            "pid": server.process.pid,
            "n_ctx": 512,
            "n_threads": 1,
            "page": True,
        }
        assert server.port > 0
        assert server.get("/readyz").status_code == 200
        assert [model["id"] for model in server.get("/v1/models").json()["data"]] == ["demo"]
        server.signal()
        assert server.process.communicate(timeout=LIMIT) == ("", "")
        assert server.exit_code() == 0


def test_the_options_reach_the_engine_and_the_app(tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    keys.write_text("first\n\nsecond\n", "utf-8")
    options = ["-m", str(demo_path()), "-c", "128", "-np", "3", "--alias", "small", "--no-page", "--max-depth", "2"]
    with serving(*options, "--api-key-file", str(keys), "--admin-token", "root") as server:
        assert (server.line["n_ctx"], server.line["page"]) == (128, False)
        assert server.get("/v1/models").status_code == 401
        key = {"authorization": "Bearer second"}
        models = server.get("/v1/models", headers=key).json()["data"]
        assert [model["id"] for model in models] == ["demo", "small"]
        assert server.get("/props", headers=key).json()["total_slots"] == 3
        assert server.get("/").status_code == server.get("/stats.json", headers=key).status_code == 404
        assert server.get("/admin/no-such-thing", headers={"authorization": "Bearer root"}).status_code == 404
        assert server.get("/admin/no-such-thing", headers=key).status_code == 403


def test_options_come_from_the_environment_and_typed_ones_replace_them() -> None:
    with serving("--demo", OXILLAMA_API_KEY="one,two", OXILLAMA_ALIAS="other", OXILLAMA_MAX_BATCH_SIZE="2") as server:
        assert server.get("/v1/models").status_code == 401
        found = server.get("/v1/models", headers={"x-api-key": "two"}).json()["data"]
        assert [model["id"] for model in found] == ["demo", "other"]
        assert server.get("/props", headers={"x-api-key": "one"}).json()["total_slots"] == 2
    with serving("--demo", "--api-key", "typed", OXILLAMA_API_KEY="one") as server:
        assert server.get("/v1/models", headers={"x-api-key": "one"}).status_code == 401
        assert server.get("/v1/models", headers={"x-api-key": "typed"}).status_code == 200


def test_the_log_has_a_line_per_request_if_asked_and_goes_to_stderr() -> None:
    with serving("--demo", "--log-level", "info") as server:
        server.get("/v1/models")
        server.signal()
        out, err = server.process.communicate(timeout=LIMIT)
    assert out == ""
    line = next(line for line in err.splitlines() if "oxillama.access" in line)
    assert json.loads(line.partition("oxillama.access: ")[2])["path"] == "/v1/models"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "expected one of MODEL"),
        (["--demo", "--lora", "a=nothing.gguf", "--port", "0"], "nothing.gguf"),
        (["--demo", "--lora", "a=x.gguf", "--lora", "a=y.gguf"], "found 'a' twice"),
        (["--demo", "--lora", "=x.gguf"], "expected NAME=PATH"),
        (["--demo", "--host", "0.0.0.0"], "0.0.0.0 can be reached from other machines"),
        (["--demo", "--host", "::"], ":: can be reached from other machines"),
        (["--demo", "--port", "65536"], "65536 is no port"),
        (["--demo", "--drain-timeout", "-1"], "expected seconds"),
        (["--demo", "--drain-delay", "nan"], "expected seconds"),
        (["--demo", "--log-level", "loud"], "invalid choice"),
        (["--demo", "--api-key", ""], "expected a key, found none"),
        (["--demo", "--api-key", " , "], "expected a key, found none"),
        (["--demo", "--api-key", "with space"], "printable ASCII without spaces"),
        (["--demo", "--max-depth", "0"], "max_depth"),
        (["--demo", "--queue-size", "0", "--port", "0"], "queue_size"),
        (["--demo", "-t", "0", "--port", "0"], "n_threads"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_wrong_use_exits_with_two(arguments: list[str], message: str) -> None:
    done = run("serve", *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert message in done.stderr


def test_an_empty_file_of_keys_is_no_open_door(tmp_path: Path) -> None:
    (tmp_path / "keys").write_text("\n \n", "utf-8")
    done = run("serve", "--demo", "--port", "0", "--api-key-file", str(tmp_path / "keys"))
    assert done.returncode == 2
    assert "no key in" in done.stderr
    assert run("serve", "--demo", "--port", "0", "--api-key-file", str(tmp_path / "none")).returncode == 1


def test_an_address_beyond_this_machine_needs_a_key_or_a_word() -> None:
    with serving("--demo", "--host", "0.0.0.0", "--insecure-no-key") as server:
        assert server.url.startswith("http://127.0.0.1:")
        assert server.get("/v1/models").status_code == 200
    with serving("--demo", "--host", "0.0.0.0", "--api-key", "secret") as server:
        assert server.get("/v1/models").status_code == 401


def test_a_port_in_use_is_told_before_the_model_is_read(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        done = run("serve", str(tmp_path / "missing.gguf"), "--port", str(port))
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"oxillama: cannot listen on 127.0.0.1 port {port}: Address already in use\n"


def test_a_model_that_cannot_be_opened_exits_with_one(tmp_path: Path) -> None:
    (tmp_path / "bad.gguf").write_bytes(b"not a model")
    for name in ("bad.gguf", "missing.gguf"):
        done = run("serve", str(tmp_path / name), "--port", "0")
        assert (done.returncode, done.stdout) == (1, "")
        assert name in done.stderr
        assert "Traceback" not in done.stderr


@pytest.mark.parametrize("missing", ["uvicorn", "starlette", "msgspec"])
def test_without_the_extra_it_says_what_to_install(missing: str) -> None:
    code = f"import sys; sys.modules[{missing!r}] = None; from oxillama.cli import main; sys.exit(main(sys.argv[1:]))"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code, "serve", "--demo", "--port", "0"],
        env=environment(), capture_output=True, text=True, timeout=LIMIT,
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr == f"oxillama: serve needs {missing}: {install_line('server')}\n"


def test_the_other_commands_do_without_the_extra() -> None:
    code = (
        "import sys; sys.modules.update(uvicorn=None, starlette=None, msgspec=None, prometheus_client=None)\n"
        "from oxillama.cli import main; sys.exit(main(sys.argv[1:]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "tokenize", "--demo", "--ids", "-p", "a"],
        env=environment(), capture_output=True, text=True, timeout=LIMIT,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def test_every_limit_of_the_app_is_an_option() -> None:
    assert list(LIMITS) == [field.name for field in fields(Limits)]


def test_the_options_say_the_limits_own_defaults(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["serve", "--help"])
    shown = capsys.readouterr().out
    for field in fields(Limits):
        text, default = LIMITS[field.name][2], str(field.default)
        named = {
            "None": ("no limit", "none"),
            str(16 << 20): ("16 MiB",),
            str(128 << 20): ("128 MiB",),
            str(64 << 20): ("64 MiB",),
            "0.0": ("0",),
        }
        expected = named.get(default, (default,))
        assert text.endswith(tuple(f"(default: {word})" for word in expected)), field.name
        assert f"--{field.name.replace('_', '-')}" in shown


def test_without_keys_only_this_machine_s_names_and_pages_are_served() -> None:
    evil, cross = {"host": "evil.example"}, {"origin": "http://evil.example", "sec-fetch-site": "cross-site"}
    with serving() as server:
        for headers in (evil, cross):
            assert server.get("/v1/models", headers=headers).status_code == 403
        assert server.get("/v1/models", headers={"host": "localhost"}).status_code == 200
        assert server.get("/v1/models").status_code == 200
    with serving("--demo", "--trusted-host", "evil.example") as server:
        assert server.get("/v1/models", headers=evil).status_code == 200
        assert server.get("/v1/models", headers={"host": "other.example"}).status_code == 403
        for own in ("localhost", "127.0.0.1"):
            assert server.get("/v1/models", headers={"host": own}).status_code == 200
    with serving("--demo", "--api-key", "k") as server:
        assert server.get("/v1/models", headers={**evil, "x-api-key": "k"}).status_code == 200


def test_how_far_a_client_may_put_itself_before_others_is_an_option() -> None:
    body = {"prompt": "a", "max_tokens": 1}
    with serving("--demo", "--max-priority", "2") as server:
        assert server.post("/v1/completions", {**body, "priority": -2}).status_code == 200
        assert server.post("/v1/completions", {**body, "priority": -3}).status_code == 400


def test_keys_of_the_file_and_of_the_environment_add_up(tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    keys.write_bytes(b"\xef\xbb\xbf# of the web team, since May\r\nfirst\r\n\r\n  # another\r\n second \r\n")
    with serving("--demo", "--api-key-file", str(keys), OXILLAMA_API_KEY="third") as server:
        for key, status in (("first", 200), ("second", 200), ("third", 200), ("#", 401), ("# another", 401)):
            assert server.get("/v1/models", headers={"x-api-key": key}).status_code == status


@pytest.mark.parametrize(
    ("content", "place"),
    [
        ("key-1\nke\u200by-2\n".encode(), "line 2: the key must be"),
        (b"\n\nsecret key\n", "line 3: the key must be"),
        (b"key-1\nsecret\xff\n", "line 2: the key must be"),
        (b"secret\0\n", "line 1: the key must be"),
        ("\N{LEFT DOUBLE QUOTATION MARK}secret\N{RIGHT DOUBLE QUOTATION MARK}".encode(), "line 1: the key must be"),
        ("secret\n".encode("utf-16"), "line 1: the key must be"),
        (b"# only a comment\n", "no key in"),
    ],
)
def test_a_key_that_no_header_carries_is_told_by_its_place(tmp_path: Path, content: bytes, place: str) -> None:
    (tmp_path / "team-keys.txt").write_bytes(content)
    done = run("serve", "--demo", "--port", "0", "--api-key-file", str(tmp_path / "team-keys.txt"))
    assert (done.returncode, done.stdout) == (2, "")
    assert place in done.stderr
    assert "team-keys.txt" in done.stderr
    assert "secret" not in done.stderr
    assert "Traceback" not in done.stderr


def test_so_are_those_that_come_one_by_one() -> None:
    done = run("serve", "--demo", "--port", "0", "--api-key", "good,secret\u200b")
    assert done.returncode == 2
    assert "--api-key (or OXILLAMA_API_KEY): key 2" in done.stderr
    assert "secret" not in done.stderr


@pytest.mark.parametrize("closed", [(2,), (0, 1, 2)])
def test_it_serves_without_standard_streams(closed: tuple[int, ...], tmp_path: Path) -> None:
    port, program = (
        free_port(),
        (
            "import os, sys\n"
            f"for number in {closed}: os.close(number)\n"
            "os.execv(sys.executable, [sys.executable, *sys.argv[1:]])"
        ),
    )
    arguments = command("serve", "--demo", "-t", "1", "--port", str(port), "--log-level", "info")[1:]
    with subprocess.Popen([sys.executable, "-c", program, *arguments], env=environment()) as process:
        try:
            eventually(lambda: process.poll() is not None or answers_at(port), seconds=60)
            assert process.poll() is None
            process.terminate()
            assert process.wait(LIMIT) == 0
        finally:
            process.kill()


def answers_at(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=LIMIT) as connection:
        connection.sendall(b"GET /readyz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
        return connection.recv(12) == b"HTTP/1.1 200"
    return False


def test_another_chat_template_is_handed_to_the_engine() -> None:
    template = "{% for message in messages %}[{{ message.role }}] {{ message.content }}\n{% endfor %}"
    with serving("--demo", "--chat-template", template) as server:
        assert server.post("/apply-template", CHAT).json()["prompt"] == "[user] hi\n"
