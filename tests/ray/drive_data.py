"""A thousand rows through two actors of a local Ray: MODEL. Prints the texts in their order as JSON."""

from __future__ import annotations

import json
import sys

import ray

from oxillama.ray.data import Predictor

NUM_ROWS = 1000


def main(model: str) -> None:
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    ray.data.DataContext.get_current().enable_progress_bars = False
    rows = [{"prompt": "Once upon a time", "seed": seed} for seed in range(NUM_ROWS)]
    predicted = ray.data.from_items(rows, override_num_blocks=10).map_batches(
        Predictor,
        fn_constructor_kwargs={
            "path": model,
            "params": {"max_tokens": 4},
            "seed_column": "seed",
            "engine_options": {"n_threads": 1},
        },
        batch_size=100,
        concurrency=2,
        num_cpus=0.5,
    )
    found = {int(row["seed"]): row["text"] for row in predicted.take_all()}
    print(json.dumps([found[seed] for seed in range(NUM_ROWS)]))
    ray.shutdown()


if __name__ == "__main__":
    main(sys.argv[1])
