"""The listed mistakes fit the code, and name tests that there are. `make mutations` makes them."""

from __future__ import annotations

import pytest

from tools.mutations.mistakes import REPOSITORY, Mistake, read_mistakes

MISTAKES = read_mistakes()


@pytest.mark.parametrize("mistake", MISTAKES, ids=[mistake.name for mistake in MISTAKES])
def test_a_mistake_can_be_made(mistake: Mistake) -> None:
    right = (REPOSITORY / mistake.file).read_text()
    assert mistake.applied_to(right) != right
    file, _, name = mistake.test.partition("::")
    test = (REPOSITORY / file).read_text()
    assert not name or f"def {name}(" in test
    if mistake.file.endswith(".pyx"):
        built = [f"oxillama/_core/{module.replace('.', '/')}.pyx" for module in mistake.modules]
        assert mistake.file in built


def test_a_text_that_is_not_there_or_twice_is_refused() -> None:
    mistake = Mistake(name="m", file="f", before="a", after="b", test="t", modules=[])
    assert mistake.applied_to("xax") == "xbx"
    for text in ("", "aa"):
        with pytest.raises(ValueError, match="expected once"):
            mistake.applied_to(text)
