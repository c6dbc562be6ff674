"""The chat page in a browser, over a really running server. Screenshots go to build/screenshots."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route

from oxillama import Engine
from oxillama.asgi import create_app
from oxillama.testing.tiny_models import TinyModel
from tests.asgi.servers import running
from tests.cli.programs import LIMIT
from tests.cli.serving import ServerProcess, loading, serving
from tests.conftest import REPOSITORY
from tests.patience import eventually

pytestmark = pytest.mark.browser

SCREENSHOTS = REPOSITORY / "build" / "screenshots"
DESKTOP, PHONE = (1280, 860), (360, 740)
PATIENCE_MS = 30_000
EVENT_STREAM = {"content-type": "text/event-stream; charset=utf-8"}
# Lengths that the last answer has had, as the page drew them.
WATCH = """() => {
  window.lengths = [];
  const seen = () => {
    const prose = [...document.querySelectorAll(".assistant > .prose")].at(-1);
    const length = prose ? prose.textContent.length : 0;
    if (length && window.lengths.at(-1) !== length) window.lengths.push(length);
  };
  new MutationObserver(seen).observe(document.getElementById("turns"), {subtree: true, childList: true});
}"""


@dataclass
class Visit:
    """A page of the browser, and what went wrong on it."""

    page: Any
    complaints: list[str] = field(default_factory=list)
    urls: list[str] = field(default_factory=list)

    def ask(self, text: str) -> None:
        self.page.get_by_label("Message", exact=True).fill(text)
        self.page.keyboard.press("Enter")

    def wait_until_done(self) -> None:
        self.page.locator(".assistant[aria-busy=true]").wait_for(state="detached", timeout=PATIENCE_MS)
        self.page.locator("#send").wait_for(timeout=PATIENCE_MS)

    @property
    def answers(self) -> list[str]:
        return [str(text) for text in self.page.locator(".assistant > .prose").all_inner_texts()]

    @property
    def figures(self) -> str:
        return str(self.page.locator(".figures").last.inner_text())

    def wait_for_state(self, text: str) -> None:
        self.page.locator("#state-text").get_by_text(text, exact=True).wait_for(timeout=PATIENCE_MS)

    def screenshot(self, name: str) -> None:
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        # Entrances are over then.
        self.page.wait_for_timeout(300)
        self.page.screenshot(path=SCREENSHOTS / f"{name}.png")


Open = Callable[..., Visit]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: use `make test-browser`")
    names = [os.environ.get("OXILLAMA_CHROMIUM", ""), "chromium", "chromium-browser", "google-chrome"]
    found = next(filter(None, map(shutil.which, filter(None, names))), None)
    if found is None:
        pytest.skip("there is no Chromium (Debian's package: chromium; OXILLAMA_CHROMIUM names another)")
    # As root, which CI is, Chromium's own sandbox does not start.
    arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=arguments)
        yield browser
        browser.close()


@pytest.fixture
def visit(browser: Any) -> Iterator[Open]:
    """Opens pages, each in a profile of its own. The console must stay empty, and nothing is asked for elsewhere."""
    visits: list[tuple[Visit, str]] = []

    def open_page(url: str, size: tuple[int, int] = DESKTOP, scheme: str = "light", scale: int = 1) -> Visit:
        context = browser.new_context(
            viewport={"width": size[0], "height": size[1]},
            color_scheme=scheme,
            device_scale_factor=scale,
            has_touch=size == PHONE,
        )
        context.set_default_timeout(PATIENCE_MS)
        found = Visit(context.new_page())
        found.page.on("console", lambda message: found.complaints.append(f"{message.type}: {message.text}"))
        found.page.on("pageerror", lambda error: found.complaints.append(str(error)))
        found.page.on("request", lambda request: found.urls.append(request.url))
        found.page.goto(url)
        visits.append((found, url))
        return found

    yield open_page
    for found, url in visits:
        # The browser itself reports each status that is not 2xx, which some tests ask for.
        assert [text for text in found.complaints if "Failed to load resource" not in text] == []
        assert [asked for asked in found.urls if not asked.startswith(url)] == []
        found.page.context.close()


@pytest.fixture(scope="module")
def server(browser: Any) -> Iterator[ServerProcess]:
    with serving("--demo") as server:
        yield server


@pytest.fixture(scope="module")
def endless(browser: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server whose model writes for many seconds, to whatever it is told."""
    path = tmp_path_factory.mktemp("models") / "endless.gguf"
    template = "{% for message in messages %}{{ message['content'] }}{% endfor %}"
    TinyModel(
        n_layers=1,
        n_embd=32,
        n_ff=32,
        n_head=2,
        n_head_kv=1,
        n_ctx=1 << 16,
        tokenizer=True,
        metadata={"tokenizer.chat_template": template},
    ).write(path)
    with serving(str(path)) as server:
        yield server


def is_quiet(server: ServerProcess) -> bool:
    engine = server.get("/stats.json").json()["engine"]
    return bool(engine["running"] + engine["waiting"] + engine["queue_depth"] == engine["kv_blocks_used"] == 0)


def sse(*deltas: dict[str, Any]) -> str:
    """A chat stream with these deltas."""
    events = [json.dumps({"choices": [{"index": 0, "delta": delta, "finish_reason": None}]}) for delta in deltas]
    events.append(json.dumps({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}))
    return "".join(f"data: {event}\n\n" for event in [*events, "[DONE]"])


class TestConversation:
    def test_an_answer_streams_and_tells_what_it_cost(self, visit: Open, server: ServerProcess) -> None:
        found = visit(server.url + "/")
        found.wait_for_state("ready")
        assert found.page.locator("#model").inner_text() == "demo"
        found.screenshot("desktop-welcome")
        found.page.evaluate(WATCH)
        found.ask("Tell me a story about a little fox.")
        found.wait_until_done()
        lengths = found.page.evaluate("window.lengths")
        assert len(lengths) > 1, "the whole answer came at once"
        assert lengths == sorted(lengths)
        assert found.answers[0].strip()
        assert "tokens/s" in found.figures
        assert "prompt tokens cached" in found.figures
        found.ask("And then?")
        found.wait_until_done()
        assert len(found.answers) == 2
        cached, _, rest = found.figures.partition(" prompt tokens cached")[0].rpartition(" · ")[2].partition(" of ")
        assert 0 < int(cached) <= int(rest), found.figures
        found.screenshot("desktop-conversation")

    def test_it_is_the_answer_that_the_api_gives(self, visit: Open, server: ServerProcess) -> None:
        found = visit(server.url + "/")
        found.page.get_by_label("System prompt").fill("You tell stories.")
        found.page.get_by_label("Most tokens").fill("5")
        found.page.get_by_label("Seed").fill("7")
        found.page.get_by_label("Temperature").fill("0.5")
        found.ask("Hello")
        found.wait_until_done()
        messages = [{"role": "system", "content": "You tell stories."}, {"role": "user", "content": "Hello"}]
        body = {"messages": messages, "max_tokens": 5, "seed": 7, "temperature": 0.5}
        expected = server.post("/v1/chat/completions", body).json()["choices"][0]["message"]["content"]
        assert found.answers == [" ".join(expected.split())]
        assert "5 tokens" in found.figures
        assert "ended at the token limit" in found.figures

    def test_a_schema_holds_the_answer(self, visit: Open, server: ServerProcess) -> None:
        pytest.importorskip("llguidance", reason="the grammar engine is not installed")
        found = visit(server.url + "/")
        field = found.page.get_by_label("JSON schema of the reply")
        field.fill("[1]")
        assert field.evaluate("field => field.validationMessage") == "A JSON schema is an object in JSON."
        field.fill('{"enum": ["red", "blue"]}')
        found.ask("Which colour?")
        found.wait_until_done()
        assert found.answers[0] in ('"red"', '"blue"')

    def test_stop_frees_the_slot_and_keeps_what_was_written(self, visit: Open, endless: ServerProcess) -> None:
        found = visit(endless.url + "/")
        found.wait_for_state("ready")
        found.page.route(
            "**/v1/chat/completions",
            lambda route: route.continue_(post_data=json.dumps(route.request.post_data_json | {"ignore_eos": True})),
        )
        ends: list[Callable[[], Any]] = [
            found.page.get_by_role("button", name="Stop").click,
            lambda: found.page.keyboard.press("Escape"),
        ]
        for end in ends:
            found.ask("go on")
            found.page.locator(".figures").last.get_by_text("tokens/s").wait_for()
            found.page.locator("#rate").get_by_text("0.0", exact=True).wait_for(state="detached")
            assert not is_quiet(endless)
            found.screenshot("desktop-streaming")
            end()
            found.wait_until_done()
            assert "stopped" in found.figures
            eventually(lambda: is_quiet(endless))

    @pytest.mark.parametrize(("accepted", "told"), [(0, None), (6, "2.5 tokens per pass")])
    def test_the_figures_tell_what_speculation_has_won(
        self, visit: Open, server: ServerProcess, accepted: int, told: str | None
    ) -> None:
        usage = {
            "prompt_tokens": 5,
            "completion_tokens": 10,
            "completion_tokens_details": {"accepted_prediction_tokens": accepted},
        }
        body = sse({"content": "Once"}, {"content": " upon"})
        body = body.replace("data: [DONE]", f"data: {json.dumps({'choices': [], 'usage': usage})}\n\ndata: [DONE]")
        found = visit(server.url + "/")
        found.page.route("**/v1/chat/completions", lambda route: route.fulfill(body=body, headers=EVENT_STREAM))
        found.ask("Hello")
        found.wait_until_done()
        assert "10 tokens" in found.figures
        assert ("tokens per pass" in found.figures) == (told is not None)
        assert told is None or told in found.figures

    def test_a_message_can_be_edited_and_an_answer_asked_for_again(self, visit: Open, server: ServerProcess) -> None:
        found = visit(server.url + "/")
        found.page.get_by_label("Most tokens").fill("8")
        for text in ("One", "Two"):
            found.ask(text)
            found.wait_until_done()
        found.page.get_by_label("Message", exact=True).press("ArrowUp")
        editor = found.page.get_by_label("Edit your message")
        assert editor.input_value() == "Two"
        found.screenshot("desktop-editing")
        editor.press("Escape")
        found.page.get_by_role("button", name="Edit").first.click()
        editor.fill("Three")
        editor.press("Enter")
        found.wait_until_done()
        assert found.page.locator(".bubble").all_inner_texts() == ["Three"]
        assert len(found.answers) == 1
        found.page.get_by_role("button", name="Again", exact=True).click()
        found.wait_until_done()
        assert found.page.locator(".turn").count() == 2
        found.page.get_by_role("button", name="New chat").click()
        assert found.page.locator(".turn").count() == 0
        assert found.page.locator("#welcome").is_visible()


class TestText:
    """What a model may write, answered in the server's place."""

    def reply_with(self, found: Visit, *deltas: dict[str, Any]) -> None:
        found.page.route("**/v1/chat/completions", lambda route: route.fulfill(body=sse(*deltas), headers=EVENT_STREAM))

    def test_html_stays_text(self, visit: Open, server: ServerProcess) -> None:
        found = visit(server.url + "/")
        attack = "<img src=x onerror=alert(1)> <b>b</b> **<script>alert(2)</script>** [a](javascript:alert(3))"
        self.reply_with(found, {"content": attack}, {"content": f"\n\n```html\n{attack}\n```\n- {attack}"})
        found.ask(attack)
        found.wait_until_done()
        assert found.page.locator(".turns :is(img, b, script, a)").count() == 0
        assert found.page.locator(".bubble").inner_text() == attack
        for place in (".prose > p", ".prose > pre", ".prose > ul li"):
            assert "<img src=x onerror=alert(1)> <b>b</b>" in found.page.locator(place).inner_text()

    def test_markdown_is_laid_out(self, visit: Open, server: ServerProcess) -> None:
        found = visit(server.url + "/")
        text = (
            "# Title\n\nSome **bold**, *slanted* and `code` words, 2 * 3 * 4, snake_case_name.\nA second line.\n\n"
            "1. one\n2. two\n   - inner\n3. three\n\n> quoted\n\n---\n\n"
            "```python\nprint('a very long line ' * 1000, 'that has to be scrolled sideways on a phone, or cut')\n```"
        )
        self.reply_with(found, *({"content": character} for character in text))
        found.ask("markdown")
        found.wait_until_done()
        prose = found.page.locator(".assistant > .prose")
        assert prose.locator("h3").inner_text() == "Title"
        assert prose.locator("strong").all_inner_texts() == ["bold"]
        assert prose.locator("em").all_inner_texts() == ["slanted"]
        assert prose.locator("p code").all_inner_texts() == ["code"]
        assert prose.locator(":scope > ol > li").count() == 3
        assert prose.locator("ol ul li").inner_text() == "inner"
        assert prose.locator("blockquote").inner_text() == "quoted"
        assert prose.locator("pre").inner_text().startswith("print(")
        found.screenshot("desktop-markdown")
        found.page.set_viewport_size({"width": PHONE[0], "height": PHONE[1]})
        found.screenshot("phone-markdown")
        assert found.page.evaluate("document.documentElement.scrollWidth") <= PHONE[0]

    def test_thoughts_are_folded(self, visit: Open, server: ServerProcess) -> None:
        found = visit(server.url + "/")
        self.reply_with(found, {"reasoning_content": "First, I wonder."}, {"content": "Forty-two."})
        found.ask("think")
        found.wait_until_done()
        assert found.answers[-1] == "Forty-two."
        assert not found.page.get_by_text("First, I wonder.").is_visible()
        found.page.get_by_text("Thoughts").click()
        assert found.page.get_by_text("First, I wonder.").is_visible()
        found.screenshot("desktop-thoughts")

    def test_tables_links_and_lists_are_laid_out_and_code_is_copied(self, visit: Open, server: ServerProcess) -> None:
        found = visit(server.url + "/")
        found.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
        text = (
            "***both*** and https://example.org/a_b and [mail](mailto:a@example.org), "
            "but [bad](javascript:alert(1)).\n\n"
            "| name | number |\n|:---|---:|\n| fox | 1 |\n| bear | 22 |\n\n"
            "- a loose item\n\n  with a second paragraph\n\n- another\n\n"
            "```python\nprint(1)\n```\n\n![alt](https://example.org/x.png)\n\n***\n\nEnd."
        )
        self.reply_with(found, *({"content": text[at : at + 3]} for at in range(0, len(text), 3)))
        found.ask("markdown")
        found.wait_until_done()
        prose = found.page.locator(".assistant > .prose")
        assert prose.locator("em strong").inner_text() == "both"
        links = prose.locator("a").evaluate_all("all => all.map(one => [one.href, one.target, one.rel])")
        safe = ["_blank", "noopener noreferrer nofollow"]
        assert links == [
            ["https://example.org/a_b", *safe],
            ["mailto:a@example.org", *safe],
            ["https://example.org/x.png", *safe],
        ]
        assert prose.locator("th").all_inner_texts() == ["name", "number"]
        assert prose.locator("td").all_inner_texts() == ["fox", "1", "bear", "22"]
        assert prose.locator("td[data-align=right]").count() == 2
        assert prose.locator("li p").count() == 3
        assert prose.locator("hr").count() == 1
        prose.get_by_role("button", name="Copy code").click()
        prose.get_by_text("Copied", exact=True).wait_for()
        assert found.page.evaluate("navigator.clipboard.readText()") == "print(1)"
        for scheme in ("light", "dark"):
            found.page.emulate_media(color_scheme=scheme)
            found.screenshot(f"desktop-{scheme}-table")
        found.page.set_viewport_size({"width": PHONE[0], "height": PHONE[1]})
        found.screenshot("phone-table")
        assert found.page.evaluate("document.documentElement.scrollWidth") <= PHONE[0]


class TestReload:
    def test_a_reload_keeps_the_conversation(self, visit: Open, server: ServerProcess) -> None:
        found = visit(server.url + "/")
        found.page.get_by_label("Most tokens").fill("8")
        found.ask("Hello")
        found.wait_until_done()
        said, cost = found.answers, found.figures
        found.page.reload()
        found.wait_for_state("ready")
        assert (found.answers, found.figures) == (said, cost)
        assert found.page.locator(".bubble").all_inner_texts() == ["Hello"]
        assert not found.page.locator("#welcome").is_visible()
        # It goes on, and the model is told what was said before.
        with found.page.expect_request("**/v1/chat/completions") as asked:
            found.ask("And then?")
        assert [one["role"] for one in asked.value.post_data_json["messages"]] == ["user", "assistant", "user"]
        found.wait_until_done()
        found.page.get_by_role("button", name="New chat").click()
        found.page.reload()
        found.page.locator("#welcome").wait_for()
        assert found.answers == []

    def test_one_amid_an_answer_keeps_what_was_written(self, visit: Open, endless: ServerProcess) -> None:
        found = visit(endless.url + "/")
        found.ask("Hello")
        eventually(lambda: bool(found.answers) and len(found.answers[0]) > 10)
        found.page.reload()
        found.wait_for_state("ready")
        assert found.answers[0]
        assert "stopped" in found.figures or found.answers[0]
        eventually(lambda: is_quiet(endless))

    def test_what_a_tab_cannot_read_is_no_conversation(self, visit: Open, server: ServerProcess) -> None:
        found = visit(server.url + "/")
        found.page.evaluate("sessionStorage.setItem('oxillama.conversation', '{]')")
        found.page.reload()
        found.page.locator("#welcome").wait_for()


class TestFocus:
    def test_it_is_never_lost(self, visit: Open, server: ServerProcess) -> None:
        found = visit(server.url + "/")
        found.page.route("**/v1/chat/completions", lambda route: None)  # an answer that never comes
        found.wait_for_state("ready")
        active = "document.activeElement.id || document.activeElement.className"

        def ask_by_click() -> None:
            found.page.get_by_label("Message", exact=True).fill("Hello")
            found.page.get_by_role("button", name="Send").click()
            found.page.get_by_role("button", name="Stop").wait_for()

        ask_by_click()
        assert found.page.evaluate(active) == "stop"
        found.page.keyboard.press("Escape")
        found.wait_until_done()
        assert found.page.evaluate(active) == "message"
        found.page.get_by_role("button", name="Edit").click()
        found.page.keyboard.press("Escape")
        assert "quiet" in found.page.evaluate(active)
        found.page.get_by_role("button", name="Again", exact=True).click()
        assert found.page.evaluate(active) == "message"
        found.page.get_by_role("button", name="Stop").click()
        found.wait_until_done()
        assert found.page.evaluate(active) == "message"
        found.page.set_viewport_size({"width": PHONE[0], "height": PHONE[1]})
        found.page.get_by_role("button", name="Settings and statistics").click()
        found.page.keyboard.press("Escape")
        assert found.page.evaluate(active) == "panel-toggle"


class TestErrors:
    def test_a_full_context_offers_what_helps(self, visit: Open, server: ServerProcess) -> None:
        found = visit(server.url + "/")
        found.page.get_by_label("Most tokens").fill("8")
        for text in ("word " * 150, "more " * 150, "last " * 150):
            found.ask(text)
            found.page.locator(".assistant[aria-busy=true]").wait_for(state="detached")
        failure = found.page.locator(".failure")
        failure.get_by_text("maximum context length").wait_for()
        assert failure.get_by_role("button").all_inner_texts() == [
            "Forget the oldest messages",
            "Edit the message",
            "New chat",
        ]
        found.screenshot("desktop-full")
        failure.get_by_role("button", name="Forget the oldest messages").click()
        failure.wait_for(state="detached")
        found.wait_until_done()
        assert found.answers[-1]
        assert found.page.locator(".bubble").last.inner_text().startswith("last ")
        assert found.page.locator(".bubble").count() < 3
        # Alone too long: there is nothing to forget.
        found.page.get_by_role("button", name="New chat").click()
        found.ask("word " * 2000)
        failure.wait_for()
        assert failure.get_by_role("button").all_inner_texts() == ["Edit the message", "New chat"]
        failure.get_by_role("button", name="Edit the message").click()
        assert found.page.get_by_label("Edit your message").input_value().startswith("word word")

    def test_a_full_queue_is_told_and_can_be_tried_again(self, visit: Open, server: ServerProcess) -> None:
        found = visit(server.url + "/")
        found.page.get_by_label("Most tokens").fill("4")
        error = {"message": "256 requests are waiting already", "type": "rate_limit_error", "code": "queue_full"}
        found.page.route(
            "**/v1/chat/completions",
            lambda route: route.fulfill(status=429, json={"error": error}, headers={"retry-after": "2"}),
        )
        found.ask("Hello")
        alert = found.page.locator(".failure")
        alert.wait_for()
        assert "The server is busy: 256 requests are waiting already." in alert.inner_text()
        again = alert.get_by_role("button")
        assert again.is_disabled()
        found.screenshot("desktop-busy")
        found.page.unroute("**/v1/chat/completions")
        again.get_by_text("Try again", exact=True).wait_for()
        again.click()
        found.wait_until_done()
        assert found.page.locator(".failure").count() == 0
        assert len(found.answers) == 1

    def test_a_conversation_that_is_too_long_is_told_in_the_server_s_words(
        self, visit: Open, server: ServerProcess
    ) -> None:
        found = visit(server.url + "/")
        found.ask("word " * 2000)
        found.page.locator(".failure").get_by_text("maximum context length").wait_for()

    def test_an_error_amid_a_stream_is_told_under_what_came_before(self, visit: Open, server: ServerProcess) -> None:
        found = visit(server.url + "/")
        body = sse({"content": "Once"}).partition('data: {"choices": [{"index": 0, "delta": {}')[0]
        body += 'data: {"error": {"message": "the engine is closed", "type": "unavailable_error"}}\n\n'
        found.page.route("**/v1/chat/completions", lambda route: route.fulfill(body=body, headers=EVENT_STREAM))
        found.ask("Hello")
        found.page.locator(".failure").get_by_text("the engine is closed").wait_for()
        assert found.answers == ["Once"]

    def test_a_server_that_is_gone_is_told(self, visit: Open) -> None:
        with serving("--demo") as leaving:
            found = visit(leaving.url + "/")
            found.wait_for_state("ready")
            leaving.signal()
            assert leaving.exit_code() == 0
        found.wait_for_state("offline")


class TestKey:
    def test_it_asks_for_the_key_and_keeps_it_in_the_tab(self, visit: Open) -> None:
        with serving("--demo", "--api-key", "secret") as locked:
            found = visit(locked.url + "/")
            found.wait_for_state("needs a key")
            key = found.page.get_by_label("This server asks for an API key")
            found.screenshot("desktop-key")
            key.fill("wrong")
            key.press("Enter")
            found.page.get_by_text("This key is not known here.").wait_for()
            key.fill("secret")
            key.press("Enter")
            found.wait_for_state("ready")
            assert not key.is_visible()
            found.page.get_by_label("Most tokens").fill("4")
            found.ask("Hello")
            found.wait_until_done()
            assert len(found.answers) == 1
            assert "secret" in found.page.evaluate("Object.values(sessionStorage)")
            assert found.page.evaluate("localStorage.length + document.cookie.length") == 0
            found.page.reload()
            found.wait_for_state("ready")
            found.page.get_by_role("button", name="Forget the API key").click()
            found.wait_for_state("needs a key")
            assert "secret" not in found.page.evaluate("Object.values(sessionStorage)")


class TestLooks:
    @pytest.mark.parametrize("scheme", ["light", "dark"])
    def test_on_a_phone(self, scheme: str, visit: Open, server: ServerProcess) -> None:
        found = visit(server.url + "/", PHONE, scheme, scale=2)
        found.wait_for_state("ready")
        found.screenshot(f"phone-{scheme}-welcome")
        found.ask("Tell me a story about a little fox.")
        found.wait_until_done()
        found.screenshot(f"phone-{scheme}-conversation")
        assert found.page.evaluate("document.documentElement.scrollWidth") <= PHONE[0]
        found.page.get_by_role("button", name="Settings and statistics").click()
        found.page.locator("#statistics").wait_for()
        assert found.page.evaluate("document.activeElement.id") == "panel-close"
        found.screenshot(f"phone-{scheme}-panel")
        found.page.keyboard.press("Escape")
        assert not found.page.locator("#panel").is_visible()
        sizes = found.page.locator(".bar button, .composer button:visible").evaluate_all(
            "all => all.map(one => Math.min(one.offsetWidth, one.offsetHeight))"
        )
        assert min(sizes) >= 40

    def test_in_the_dark(self, visit: Open, server: ServerProcess) -> None:
        found = visit(server.url + "/", scheme="dark")
        found.wait_for_state("ready")
        found.ask("Tell me a story about a little fox.")
        found.wait_until_done()
        background = found.page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert max(int(part) for part in background.strip("rgb()").split(",")) < 64
        found.screenshot("desktop-dark")

    @pytest.mark.parametrize("scheme", ["light", "dark"])
    def test_text_has_contrast(self, scheme: str, visit: Open, server: ServerProcess) -> None:
        """WCAG 2.2, 1.4.3: 4.5 to 1 for text, by the palette's own pairs."""
        found = visit(server.url + "/", scheme=scheme)
        pairs = [("ink", "page"), ("ink", "raised"), ("soft", "page"), ("soft", "raised"), ("soft", "sunken")]
        pairs += [("accent-ink", "accent"), ("ink", "accent-wash"), ("bad", "bad-wash")]
        ratios = found.page.evaluate(
            """pairs => {
              const style = getComputedStyle(document.documentElement);
              const light = name => {
                const hex = style.getPropertyValue(`--${name}`).trim().slice(1);
                const [r, g, b] = [0, 2, 4].map(at => parseInt(hex.slice(at, at + 2), 16) / 255)
                  .map(c => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
                return 0.2126 * r + 0.7152 * g + 0.0722 * b;
              };
              return pairs.map(pair => {
                const [high, low] = pair.map(light).sort((a, b) => b - a);
                return (high + 0.05) / (low + 0.05);
              });
            }""",
            pairs,
        )
        assert {pair: ratio for pair, ratio in zip(pairs, ratios, strict=True) if not ratio >= 4.5} == {}

    @pytest.mark.parametrize("scheme", ["light", "dark"])
    def test_what_can_be_filled_in_is_seen(self, scheme: str, visit: Open, server: ServerProcess) -> None:
        """WCAG 2.2, 1.4.11: 3 to 1 for the borders of fields and buttons, against what they lie on."""
        found = visit(server.url + "/", scheme=scheme)
        found.wait_for_state("ready")
        found.page.evaluate("document.activeElement.blur()")
        ratios = found.page.evaluate(
            """() => {
              const light = color => {
                const [r, g, b] = color.match(/[\\d.]+/g).slice(0, 3).map(part => part / 255)
                  .map(c => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
                return 0.2126 * r + 0.7152 * g + 0.0722 * b;
              };
              const ground = one => {
                const color = getComputedStyle(one).backgroundColor;
                return color === "rgba(0, 0, 0, 0)" && one.parentElement ? ground(one.parentElement) : color;
              };
              const fields = [...document.querySelectorAll("#composer, #settings input:not([type=range]), #system")];
              return fields.map(one => {
                const border = light(getComputedStyle(one).borderTopColor);
                return Math.min(...[ground(one), ground(one.parentElement)].map(light).map(other =>
                  (Math.max(border, other) + 0.05) / (Math.min(border, other) + 0.05)));
              });
            }"""
        )
        assert len(ratios) == 4
        assert min(ratios) >= 3, ratios

    @pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
    @pytest.mark.parametrize("scheme", ["light", "dark"])
    def test_axe_finds_nothing(self, scheme: str, size: tuple[int, int], visit: Open, server: ServerProcess) -> None:
        axe = pytest.importorskip("axe_core_python.base", reason="axe-core-python is not installed")
        found = visit(server.url + "/", size, scheme)
        found.wait_for_state("ready")

        def violations() -> list[Any]:
            # Entrances are over then: what fades in has no contrast yet.
            found.page.wait_for_timeout(600)
            found.page.evaluate(axe.AXE_SCRIPT)
            result = found.page.evaluate("axe.run()")
            return [(one["id"], [node["html"][:120] for node in one["nodes"]]) for one in result["violations"]]

        assert violations() == []
        if size == PHONE:
            found.page.get_by_role("button", name="Settings and statistics").click()
            assert violations() == []
            found.page.keyboard.press("Escape")
        text = "### A\n\n# B\n\n## C\n\n| a | b |\n|---|---|\n| 1 | 2 |\n\n[a](https://example.org)\n\n"
        text += "```\ncode\n```\n\n> quoted"
        found.page.route(
            "**/v1/chat/completions",
            lambda route: route.fulfill(
                body=sse({"reasoning_content": "Hm."}, {"content": text}), headers=EVENT_STREAM
            ),
        )
        found.ask("Hello")
        found.wait_until_done()
        assert violations() == []
        found.page.unroute("**/v1/chat/completions")
        found.ask("word " * 2000)
        found.page.locator(".failure").wait_for()
        assert violations() == []

    def test_every_control_has_a_name(self, visit: Open, server: ServerProcess) -> None:
        found = visit(server.url + "/")
        found.page.get_by_label("Most tokens").fill("2")
        found.ask("Hello")
        found.wait_until_done()
        unnamed = found.page.locator("button, input, textarea, summary").evaluate_all(
            """all => all.filter(one => !(one.innerText?.trim() || one.textContent.trim() || one.ariaLabel || one.title
              || one.labels?.length)).map(one => one.outerHTML)"""
        )
        assert unnamed == []


class TestPlaces:
    def test_it_works_below_a_prefix_beside_its_host_s_routes(self, visit: Open, demo: Engine) -> None:
        host = Starlette(
            routes=[
                Route("/", lambda request: PlainTextResponse("the host's own")),
                Mount("/some/where", create_app(demo, page=True)),
            ]
        )
        with running(host) as mounted:
            found = visit(f"{mounted.url}/some/where/")
            found.wait_for_state("ready")
            found.page.get_by_label("Most tokens").fill("4")
            found.ask("Hello")
            found.wait_until_done()
            assert len(found.answers) == 1
            found.page.context.close()

    def test_while_the_model_loads_it_says_so_and_nothing_can_be_sent(self, visit: Open, tmp_path: Path) -> None:
        with loading(LIMIT * 2, enough=tmp_path / "enough") as slow:
            found = visit(slow.url + "/")
            found.wait_for_state("loading the model")
            found.page.get_by_label("Message", exact=True).fill("Hello")
            assert found.page.get_by_role("button", name="Send").is_disabled()
            found.screenshot("desktop-loading")
            (tmp_path / "enough").touch()
            found.wait_for_state("ready")
            assert found.page.get_by_role("button", name="Send").is_enabled()
            found.page.context.close()
