from __future__ import annotations

from tools.demo_model.pirate import as_pirate


def test_stories_change_their_voice() -> None:
    told = as_pirate("Once there was a little fox. The fox said: Hello, my friend. The end.")
    assert told == "Once there was a wee fox, arr! The fox roared: Ahoy, me mate, arr! Yo ho ho!"
