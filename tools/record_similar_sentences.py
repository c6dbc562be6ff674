"""Records what sentence-transformers' vectors of the tests' sentences are worth:
`PYTHON -m tools.record_similar_sentences FOLDER`, where PYTHON has sentence-transformers, PYTHONPATH names this folder,
and FOLDER has the weights of all-MiniLM-L6-v2 that the fixtures' GGUF file was made of, in the form that it reads."""

from __future__ import annotations

import json
import sys

import numpy as np

from tests.similar_sentences import RECORDED, Collection


def main(folder: str) -> None:
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(folder, device="cpu")
    scores = Collection().scores(lambda texts: np.asarray(model.encode(texts), np.float32))
    told = {"model": "all-MiniLM-L6-v2", "command": "python -m tools.record_similar_sentences FOLDER", **scores}
    RECORDED.write_text(json.dumps(told, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main(sys.argv[1])
