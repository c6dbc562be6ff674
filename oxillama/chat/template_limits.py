"""How large a chat template may be: its text, its syntax tree, and the code it becomes.

Templates come with model files, so from strangers. Each is looked at before the next step makes something larger of it.
"""

from __future__ import annotations

from jinja2 import nodes
from jinja2.exceptions import SecurityError

# The largest template of a known model has 17,000 characters, 1,400 nodes, and code of 60,000 characters.
MAX_SOURCE_CHARACTERS = 128 << 10
MAX_NODES = 10_000
MAX_CODE_CHARACTERS = 1 << 20


def check_source(source: str) -> None:
    if len(source) > MAX_SOURCE_CHARACTERS:
        raise SecurityError(f"it has {len(source)} characters, at most {MAX_SOURCE_CHARACTERS} are compiled")


def check_tree(tree: nodes.Node) -> None:
    count, pending = 0, [tree]
    while pending:
        count += 1
        if count > MAX_NODES:
            raise SecurityError(f"it has more than {MAX_NODES} parts (texts, expressions, statements)")
        pending.extend(pending.pop().iter_child_nodes())


def check_code(num_characters: int) -> None:
    """The code of a block may repeat every name around it, so it is counted while it is written."""
    if num_characters > MAX_CODE_CHARACTERS:
        raise SecurityError(f"its code has more than {MAX_CODE_CHARACTERS} characters")
