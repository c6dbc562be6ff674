"""Records llama.cpp's logits for the tiny models of families that have no other truth:
`python -m tools.record_logits --python PYTHON`, where PYTHON has llama-cpp-python. Run it when a model is added."""

from __future__ import annotations

import argparse
import json
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import numpy.typing as npt

from oxillama.testing.described_models import DescribedModel
from tests.network.models.described import MODELS, PROMPT, RECORDED, prompt_length
from tests.network.models.described_dense import DENSE, DENSE_RECORDED

SCRIPT = """
import json, sys
import numpy as np
from llama_cpp import Llama
path, out, ids = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
n = len(ids) + 8
llm = Llama(path, n_ctx=n, n_batch=n, n_ubatch=512, logits_all=True, verbose=False, type_k=0, type_v=0)
llm.eval(ids)
np.save(out, llm.scores[len(ids) - 1])
"""


def logits(python: str, name: str, model: DescribedModel) -> npt.NDArray[np.float32]:
    """float32 [n_vocab] of the prompt's last token."""
    with TemporaryDirectory() as folder:
        path, out = Path(folder) / "model.gguf", Path(folder) / "logits.npy"
        model.write(path)
        ids = json.dumps(PROMPT[: prompt_length(name)])
        subprocess.run([python, "-c", SCRIPT, path, out, ids], check=True)
        return np.asarray(np.load(out), np.float32)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tools.record_logits", description=__doc__)
    parser.add_argument("--python", required=True, help="an interpreter with llama-cpp-python")
    options = parser.parse_args()
    for models, recorded in ((MODELS, RECORDED), (DENSE, DENSE_RECORDED)):
        found = {name: logits(options.python, name, model) for name, model in models.items()}
        np.savez_compressed(recorded, **found)  # type: ignore[arg-type, unused-ignore]
        print(f"{recorded}: {len(found)} models, {recorded.stat().st_size} bytes")


if __name__ == "__main__":
    main()
