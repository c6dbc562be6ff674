from __future__ import annotations

from pathlib import Path

from oxillama.gguf import GGUFFile


def test_every_fixture_opens(fixtures_dir: Path) -> None:
    paths = sorted(fixtures_dir.rglob("*.gguf"))
    assert paths
    for path in paths:
        with GGUFFile(path) as file:
            assert isinstance(file.metadata["general.architecture"], str)
            for key in file.metadata:
                assert file.metadata[key] is not None
            for info in file.tensors.values():
                assert info.is_known
                assert info.data.nbytes == info.n_bytes
