from oxillama._core.constraint import Constraint
from oxillama._core.output.thinking import ThinkingMarks
from oxillama._core.output.vocab import TokenTable

class ThinkingBudget(Constraint):
    """Closes thinking after ``budget`` tokens of it, at the end of a character. ``inner``, which is used up: what every
    token must agree with besides; where it forbids the closing marker, it goes before. ``is_open``: the prompt has
    opened thinking. Raises ValueError for a closer beyond the vocabulary."""

    def __init__(
        self,
        marks: ThinkingMarks,
        table: TokenTable,
        n_vocab: int,
        budget: int,
        *,
        is_open: bool,
        inner: Constraint | None = None,
    ) -> None: ...
