"""Finds out how a model writes calls and reasoning, from what its chat template makes of some small conversations.

Values that occur nowhere else stand in for names, keys and arguments; what the template puts between them are the
markers. Texts are compared tag by tag, so that no marker ends inside a tag."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from functools import lru_cache
from typing import Any

from oxillama.chat.reasoning import KNOWN_TAGS
from oxillama.tools.syntax import ReplySyntax, escaped
from oxillama.tools.table import SYNTAXES, known_syntax
from oxillama.tools.trial import ANSWER, ASK, FIRST, IDS, ONE, THOUGHT, TWO, Trial, TrialCall, is_tag, tags_of


@lru_cache(maxsize=128)
def probe(template: str) -> ReplySyntax:
    """How a reply under this template is written. Takes some ten renderings the first time; never raises."""
    known = known_syntax(template)
    trial = Trial(template)
    thinking = _thinking(trial)
    if known is not None:
        given = {one: value for one, value in thinking.items() if not getattr(known, one)}
        known_thinking = bool(known.think_close or known.answer_open)
        return replace(known, declares=trial.declares, **({} if known_thinking else given))
    calls = _calls(trial, thinking.get("think_close", ""))
    return ReplySyntax(**({"name": "none"} | calls | thinking), text_arguments=trial.joined)


def tool_syntax_of(template: str) -> ReplySyntax:
    """The same, with the generic way to call where the template shows none."""
    found = probe(template)
    if found.calls:
        return found
    # It may tell of tools all the same.
    return replace(found, **{**SYNTAXES["generic"].to_dict(), "declares": found.declares})


# --- reasoning


def _thinking(trial: Trial) -> dict[str, Any]:
    found: dict[str, Any] = {}
    answered = trial.said({"role": "assistant", "content": ANSWER})
    before, _, after = answered.partition(ANSWER)
    thought = ""
    for message in (
        {"role": "assistant", "content": ANSWER, "reasoning_content": THOUGHT},
        {
            "role": "assistant",
            "content": "",
            "reasoning_content": THOUGHT,
            "tool_calls": [ONE.message(joined=trial.joined)],
        },
        {"role": "assistant", "content": ANSWER, "reasoning": THOUGHT, "thinking": THOUGHT},
    ):
        text = trial.render([message], enable_thinking=True, thinking=True)
        place = text.rfind(ASK)
        if place >= 0 and THOUGHT in text[place:]:
            thought = text[place + len(ASK) :]
            break
    if thought:
        opening, _, rest = thought.partition(THOUGHT)
        tags = [tag for tag in tags_of(opening.rstrip()) if tag.strip()]
        closing = [tag for tag in tags_of(rest.lstrip()) if tag.strip()]
        if tags and closing and is_tag(closing[0]):
            found["think_open"] = _last_marker(opening)
            found["think_close"] = closing[0]
            if (gap := rest.partition(ANSWER)[0].partition(closing[0])[2].strip()) and ANSWER in rest:
                found["answer_open"] = (gap,)
    else:
        for known in KNOWN_TAGS:
            if known.closing in trial.template:
                found |= {"think_open": known.opening, "think_close": known.closing}
                break
    opened = before.rpartition(found["think_close"])[2].strip() if "think_close" in found else before.strip()
    if opened and is_tag(opened) and opened != found.get("think_open"):
        found["answer_open"] = (opened,)
    if "answer_open" in found:
        ended = [tag for tag in tags_of(after.strip()) if tag.strip()]
        name = re.sub(r"\W", "", found["answer_open"][0].upper().replace("START", ""))
        if ended and is_tag(ended[0]) and re.sub(r"\W", "", ended[0].upper().replace("END", "")) == name:
            found["answer_close"] = (ended[0],)
    return found


def _last_marker(text: str) -> str:
    """The last tag of a text, with the word that may stand behind it."""
    tags = tags_of(text.rstrip())
    place = max((i for i, tag in enumerate(tags) if is_tag(tag)), default=0)
    return "".join(tags[place:]).strip()


# --- calls


def _calls(trial: Trial, think_close: str) -> dict[str, Any]:
    """The fields that say how calls are written; none where the template writes none."""
    one = trial.calling(ONE)
    if ONE.name not in one:
        return {"declares": trial.declares}
    both = trial.calling(ONE, TWO)
    parallel = TWO.name in both and both.index(ONE.name) < both.rindex(TWO.name)
    turn = _Turn(both if parallel else one, parallel, trial, think_close)
    found = _json(turn) or _arguments(turn) or _python(turn) or _braces(turn) or _tagged(turn)
    if found and "<![CDATA[" in trial.template:
        marked = TrialCall(ONE.name, {"kapone": "l<r&s"}, IDS[0])
        found["cdata"] = "<![CDATA[l<r&s]]>" in trial.calling(marked)
    if not found:
        return {"declares": trial.declares}
    return {"name": "probed", **found, "parallel": parallel, "declares": trial.declares}


class _Turn:
    """A rendered turn with one or two calls."""

    def __init__(self, text: str, parallel: bool, trial: Trial, think_close: str) -> None:
        if think_close:
            # A template may write empty thinking before its calls.
            begin = text.index(ONE.name)
            text = text[:begin].rpartition(think_close)[2] + text[begin:]
        self.text = text
        self.parallel = parallel
        self.ends = _turn_ends(trial)

    def around(self, spans: list[tuple[int, int]]) -> tuple[str, str, str]:
        """What stands before the first span, between the two ("" if there is only one), and after the last until the
        end of the turn."""
        before = self.text[: spans[0][0]]
        between = self.text[spans[0][1] : spans[1][0]] if len(spans) > 1 else ""
        after = self.text[spans[-1][1] :]
        cut = min((place for end in self.ends if (place := after.find(end)) >= 0), default=len(after))
        return before, between, after[:cut]

    @property
    def calls(self) -> tuple[TrialCall, ...]:
        return (ONE, TWO) if self.parallel else (ONE,)


def _turn_ends(trial: Trial) -> list[str]:
    ends = ["<eos>"]
    last = trial.said({"role": "assistant", "content": ANSWER}).partition(ANSWER)[2].strip()
    if last:
        ends += [last, *filter(is_tag, tags_of(last))]
    followed = [tag for tag in tags_of(trial.after(ANSWER).strip()) if is_tag(tag)]
    return [*ends, *followed[:1]]


def _json(turn: _Turn) -> dict[str, Any] | None:
    spans: list[tuple[int, int]] = []
    objects: list[dict[str, Any]] = []
    for call in turn.calls:
        start = spans[-1][1] if spans else 0
        found = _object_with(turn.text, start, call)
        if found is None:
            return None
        spans.append(found[:2])
        objects.append(found[2])
    first = objects[0]
    keys: dict[str, Any] = {"name_key": None, "arguments_key": "arguments", "id_key": None}
    for key, value in first.items():
        if value == ONE.name:
            keys["name_key"] = key
        elif value == FIRST and key != ONE.name:
            keys["arguments_key"] = key
        elif key != "type":
            keys["id_key"] = key if key != ONE.name else None
    keys["id_first"] = keys["id_key"] is not None and next(iter(first)) == keys["id_key"]
    ids = "none"
    if keys["id_key"] is not None:
        ids = "nine" if first[keys["id_key"]] == IDS[0] else "model"
    before, between, after = turn.around(spans)
    if before.rstrip().endswith("[") and after.lstrip().startswith("]") and (not between or between.strip() == ","):
        return {
            "codec": "json",
            "array": True,
            "section_open": before.lstrip(),
            "section_close": after.rstrip(),
            **keys,
            "ids": ids,
            "separator": between or ", ",
        }
    marks = _marks(before, between, after, parallel=turn.parallel)
    return {"codec": "json", **marks, **keys, "ids": ids}


def _object_with(text: str, start: int, call: TrialCall) -> tuple[int, int, dict[str, Any]] | None:
    """The innermost JSON object from `start` on that has both the name and the arguments of a call."""
    decoder = json.JSONDecoder()
    for found in re.finditer(r"\{", text[start:]):
        begin = start + found.start()
        try:
            value, end = decoder.raw_decode(text, begin)
        except ValueError:
            continue
        if call.name in value.values() or value.get(call.name) == call.arguments:
            joined = json.dumps(call.arguments)
            if call.arguments in value.values() or joined in value.values():
                return begin, end, value
    return None


def _arguments(turn: _Turn) -> dict[str, Any] | None:
    decoder = json.JSONDecoder()
    spans: list[tuple[int, int]] = []
    heads: list[str] = []
    for call in turn.calls:
        start = spans[-1][1] if spans else 0
        for found in re.finditer(r"\{", turn.text[start:]):
            try:
                value, end = decoder.raw_decode(turn.text, start + found.start())
            except ValueError:
                continue
            if value == call.arguments:
                heads.append(turn.text[start : start + found.start()])
                spans.append((start + found.start(), end))
                break
        else:
            return None
    _, _, after = turn.around(spans)
    patterns = [_slotted(head, call) for head, call in zip(heads, turn.calls, strict=True)]
    if "{name}" not in patterns[0]:
        return None
    marks = _headed(patterns, after)
    ids = "none" if "{id}" not in patterns[0] else "nine"
    return {"codec": "arguments", **marks, "ids": ids}


def _slotted(text: str, call: TrialCall) -> str:
    """A marker with slots where the name, the id and numbers that count stand."""
    for found, slot in ((call.name, "\0name\1"), (call.call_id, "\0id\1")):
        text = text.replace(found, slot)
    text = escaped(text).replace("\0", "{").replace("\1", "}")
    before, name, after = text.rpartition("{name}")
    return before + name + re.sub(r"(?<![\w.])\d+(?![\w.])", "{number}", after)


def _headed(patterns: list[str], after: str) -> dict[str, Any]:
    """The marks around calls of which each begins with one of `patterns`, the second with the end of the first."""
    first = patterns[0]
    name_end = first[first.index("{name}") :]
    before = first[: first.index("{name}")]
    between = patterns[1][: patterns[1].index("{name}")] if len(patterns) > 1 else ""
    marks = _marks(before, between, escaped(after), parallel=len(patterns) > 1)
    return {
        key: value + name_end if key == "head" else _plain(value) if isinstance(value, str) else value
        for key, value in marks.items()
    }


def _plain(text: str) -> str:
    return text.replace("{{", "{").replace("}}", "}")


def _marks(before: str, between: str, after: str, *, parallel: bool) -> dict[str, Any]:
    """What stands around all calls, around each, and between two: put together again it is what was written."""
    if not parallel:
        return {"head": before.lstrip(), "close": after.rstrip()}
    opening, middle, closing = tags_of(before), tags_of(between), tags_of(after)
    size = _shared(opening[::-1], middle[::-1])
    rest = middle[: len(middle) - size]
    shared = _shared(rest, closing)
    head, close = "".join(opening[len(opening) - size :]), "".join(rest[:shared])
    section, ended = "".join(opening[: len(opening) - size]), "".join(closing[shared:])
    # White space at the outer ends of a call is between two of them.
    gap = head[: len(head) - len(head.lstrip())]
    tail = close[len(close.rstrip()) :]
    section = (section + gap).lstrip()
    ended = (tail + ended).rstrip()
    marks: dict[str, Any] = {
        "section_open": section if section.strip() else "",
        "head": head.lstrip(),
        "close": close.rstrip(),
        "separator": tail + "".join(rest[shared:]) + gap,
        "section_close": ended if ended.strip() else "",
    }
    if marks["section_close"] and not marks["section_open"]:
        # Not around the calls, so it is only what such a reply ends with.
        marks |= {"section_close": "", "ends": (ended.strip(),)}
    return marks


def _shared(one: list[str], other: list[str]) -> int:
    size = 0
    while size < min(len(one), len(other)) and one[size] == other[size]:
        size += 1
    return size


def _python(turn: _Turn) -> dict[str, Any] | None:
    end = re.compile(r"\([^()]*\)")
    spans = []
    for call in turn.calls:
        begin = turn.text.find(f"{call.name}(")
        found = end.match(turn.text, begin + len(call.name)) if begin >= 0 else None
        if found is None or f"{next(iter(call.arguments))}=" not in found.group():
            return None
        spans.append((begin, found.end()))
    before, between, after = turn.around(spans)
    array = before.rstrip().endswith("[") and after.lstrip().startswith("]")
    return {
        "codec": "python",
        "array": array,
        "separator": between or ", ",
        "section_open": before.lstrip(),
        "section_close": after.rstrip(),
    }


def _braces(turn: _Turn) -> dict[str, Any] | None:
    spans: list[tuple[int, int]] = []
    heads: list[str] = []
    quote = ""
    for call in turn.calls:
        start = spans[-1][1] if spans else 0
        found = re.compile(rf"{call.name}\{{[^{{}}]*\}}").search(turn.text, start)
        key, value = next(iter(call.arguments.items()))
        if found is None or (said := re.search(rf"{key}:(.*?){value}\1", found.group())) is None:
            return None
        quote = said.group(1)
        heads.append(_slotted(turn.text[start : found.start() + len(call.name)], call))
        spans.append((found.start(), found.end()))
    _, _, after = turn.around(spans)
    if not quote:
        return None
    return {"codec": "braces", "quote": quote, **_headed(heads, after)}


def _tagged(turn: _Turn) -> dict[str, Any] | None:
    text = turn.text
    places = []
    for call in turn.calls:
        (key, value), (key2, value2) = call.arguments.items()
        at = text.find(key)
        found = re.compile(
            rf"{key}(?P<gap>.*?){value}(?P<between>.*?){key2}(?P<gap2>.*?){value2}(?!\d)", re.DOTALL
        ).search(text, max(at, 0))
        if found is None:
            return None
        places.append(found)
    first = places[0]
    name_end = text.rfind(ONE.name, 0, first.start()) + len(ONE.name)
    if name_end < len(ONE.name):
        return None
    lead, between = tags_of(text[name_end : first.start()]), tags_of(first["between"])
    size = _shared(lead[::-1], between[::-1])
    if size == 0 and between:
        return None
    gap, kinds = _key_end(first["gap"], first["gap2"])
    closing = "".join(between[: len(between) - size])
    if (key := next(iter(FIRST))) in closing:
        closing = closing.replace(key, "{key}")
    argument_head = escaped("".join(lead[len(lead) - size :])) + "{key}" + gap
    closing, separator = _split_end(closing, text[places[-1].end() :], key, list(FIRST)[1])
    spans = [
        (text.find(call.name, 0 if i == 0 else places[0].end()), found.end())
        for i, (call, found) in enumerate(zip(turn.calls, places, strict=True))
    ]
    _, _, after = turn.around(spans)
    after = after[len(closing.replace("{key}", list(turn.calls[-1].arguments)[1])) :]
    heads = []
    for index, (call, found) in enumerate(zip(turn.calls, places, strict=True)):
        start = 0
        if index:
            start = places[0].end() + len(closing.replace("{key}", list(FIRST)[1]))
        said = _slotted(text[start : found.start()], call)
        tail = escaped("".join(lead[len(lead) - size :]))
        heads.append(said[: len(said) - len(tail)] if tail and said.endswith(tail) else said)
    marks = _headed(heads, after)
    ids = "none" if "{id}" not in heads[0] else "model"
    return {
        "codec": "tagged",
        **marks,
        "argument_head": argument_head,
        "argument_close": closing,
        "argument_separator": separator,
        "kinds": kinds,
        "ids": ids,
    }


def _split_end(between: str, after: str, key: str, last_key: str) -> tuple[str, str]:
    """What ends every argument, and what stands only between two. ``after``: what follows the last one."""
    tags, rest = tags_of(between), tags_of(after.replace(last_key, "{key}"))
    shared = _shared(tags, rest)
    return "".join(tags[:shared]) or between, "".join(tags[shared:]) if shared else ""


def _key_end(text_gap: str, number_gap: str) -> tuple[str, tuple[tuple[str, str], ...]]:
    """What stands between a key and its value; where it names the kind of value, how it calls text and the others."""
    if text_gap == number_gap:
        return escaped(text_gap), ()
    words = re.compile(r"\w+|\W")
    one, other = words.findall(text_gap), words.findall(number_gap)
    differing = [i for i, pair in enumerate(zip(one, other, strict=False)) if pair[0] != pair[1]]
    if len(one) != len(other) or len(differing) != 1:
        return escaped(text_gap), ()
    place = differing[0]
    gap = escaped("".join(one[:place])) + "{kind}" + escaped("".join(one[place + 1 :]))
    return gap, ((one[place], "string"), (other[place], "json"))
