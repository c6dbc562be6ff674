"""Small tasks for lm-eval, made of a few sentences: one of each kind of request."""

from __future__ import annotations

from typing import Any

# One context for several answers, long enough for blocks of the prefix cache.
STORY = (
    "Once upon a time there was a little dog who lived in a small house near the sea. Every day he went out to play "
    "with his friends, and every evening he came home, ate his dinner and went to sleep in his warm bed."
)
QUESTIONS = [
    {"question": "Where did the dog live?", "choices": ["in a house", "on the moon", "under water"], "label": 0},
    {"question": "What did he do every day?", "choices": ["he slept", "he played"], "label": 1},
    {"question": "When did he come home?", "choices": ["evening", "noon", "never", "in the evening"], "label": 3},
]
TEXTS = [
    {"text": STORY},
    {"text": "The cat sat on the mat. It was happy."},
    {"text": " ".join([STORY] * 4)},
]
BEGINNINGS = [{"text": "Once upon a time"}, {"text": "The little dog"}, {"text": "One day, a girl named Lily"}]

Task = dict[str, Any]


def tasks() -> list[Any]:
    """The tasks as lm-eval's own objects."""
    from lm_eval.api.task import ConfigurableTask

    return [ConfigurableTask(config=config) for config in (choosing(), reading(), writing())]


def choosing() -> Task:
    return {
        "task": "choosing",
        "custom_dataset": lambda **_: _split(QUESTIONS),
        "test_split": "test",
        "output_type": "multiple_choice",
        "doc_to_text": STORY + "\nQuestion: {{question}}\nAnswer:",
        "doc_to_choice": "choices",
        "doc_to_target": "label",
        "metric_list": [{"metric": "acc"}, {"metric": "acc_norm"}],
    }


def reading() -> Task:
    return {
        "task": "reading",
        "custom_dataset": lambda **_: _split(TEXTS),
        "test_split": "test",
        "output_type": "loglikelihood_rolling",
        "doc_to_text": "",
        "doc_to_target": "{{text}}",
        "metric_list": [{"metric": "word_perplexity"}, {"metric": "bits_per_byte"}],
    }


def writing() -> Task:
    return {
        "task": "writing",
        "custom_dataset": lambda **_: _split(BEGINNINGS),
        "test_split": "test",
        "output_type": "generate_until",
        "doc_to_text": "{{text}}",
        "doc_to_target": "the end",
        "generation_kwargs": {"until": [".", "\n"], "max_gen_toks": 24, "do_sample": False},
        "metric_list": [{"metric": "exact_match"}],
    }


def _split(rows: list[Task]) -> dict[str, Any]:
    from datasets import Dataset

    return {"test": Dataset.from_list(rows)}
