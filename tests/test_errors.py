"""What an exception carries arrives in another process, as executors and worker pools send it."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable

import pytest

from oxillama import (
    Completion,
    ContextLengthError,
    DeadlineExceeded,
    Engine,
    EngineClosedError,
    InvalidRequestError,
    NumericalError,
    OxillamaError,
    QueueFullError,
    RequestCancelled,
)

ERRORS = [
    EngineClosedError("closed"),
    InvalidRequestError("message", param="top_k", code="code"),
    ContextLengthError("message", n_prompt_tokens=9, n_ctx=8),
    QueueFullError("message", retry_after=1.5),
    RequestCancelled(),
    DeadlineExceeded("late"),
    NumericalError("NaN"),
]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, lambda error: pickle.loads(pickle.dumps(error))])
def test_a_copy_says_all_that_the_error_said(
    error: OxillamaError, copied: Callable[[OxillamaError], OxillamaError]
) -> None:
    found = copied(error)
    assert type(found) is type(error)
    assert (str(found), found.args, vars(found)) == (str(error), error.args, vars(error))


def test_a_partial_completion_is_sent_along(demo: Engine) -> None:
    with pytest.raises(DeadlineExceeded) as caught:
        demo.generate("Once upon a time", deadline=0)
    partial = pickle.loads(pickle.dumps(caught.value)).partial
    assert isinstance(partial, Completion)
    assert partial == caught.value.partial
