// One turn of the conversation on the page: what was said, what it cost, and what can be done with it.

import { rate } from "./figures.js";
import { show } from "./markdown.js";

const FRAME = 16; // ms
const SVG = "http://www.w3.org/2000/svg";

export function make(tag, className, text) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  if (text !== undefined) element.textContent = text;
  return element;
}

function action(icon, label, run) {
  const button = make("button", "quiet small");
  button.type = "button";
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("aria-hidden", "true");
  const use = document.createElementNS(SVG, "use");
  use.setAttribute("href", `#icon-${icon}`);
  svg.append(use);
  button.append(svg, make("span", "label", label));
  button.addEventListener("click", () => run(button));
  return button;
}

// JSON with its structure shown; as it came where it is none yet.
function readable(json) {
  try {
    return JSON.stringify(JSON.parse(json), null, 2);
  } catch {
    return json;
  }
}

// `on.edit(turn, text)` and `on.again(turn)` start over from a turn.
export class UserTurn {
  role = "user";

  constructor(text, on) {
    this.text = text;
    this.element = make("li", "turn user");
    this.body = make("div", "bubble", text);
    const actions = make("div", "actions");
    const edit = action("edit", "Edit", () => this.edit());
    edit.classList.add("icon");
    edit.title = "Edit and send again";
    actions.append(edit);
    this.element.append(make("span", "unseen", "You: "), this.body, actions);
    this.on = on;
  }

  message() {
    return { role: "user", content: this.text };
  }

  kept() {
    return { role: "user", text: this.text };
  }

  edit() {
    if (this.element.querySelector("form")) return;
    const form = make("form", "editor");
    const field = make("textarea");
    field.value = this.text;
    field.rows = Math.min(12, this.text.split("\n").length + 1);
    field.setAttribute("aria-label", "Edit your message");
    const send = make("button", "strong", "Send again");
    const cancel = make("button", "quiet bordered", "Cancel");
    cancel.type = "button";
    const row = make("div", "row");
    row.append(cancel, send);
    form.append(field, row);
    const close = () => {
      form.remove();
      this.element.classList.remove("editing");
      this.element.querySelector(".actions button").focus();
    };
    const submit = () => {
      const text = field.value.trim();
      if (!text) return;
      close();
      this.on.edit(this, text);
    };
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      submit();
    });
    cancel.addEventListener("click", close);
    field.addEventListener("keydown", (event) => {
      if (event.key === "Escape") {
        event.stopPropagation();
        close();
      } else if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
        event.preventDefault();
        submit();
      }
    });
    this.element.append(form);
    this.element.classList.add("editing");
    field.focus();
    field.setSelectionRange(field.value.length, field.value.length);
  }
}

export class AssistantTurn {
  role = "assistant";
  text = "";
  reasoning = "";
  calls = [];
  #drawing = 0;
  #pause = 0;
  #chunks = 0;
  #usage = null;
  #timings = null;
  #started = performance.now();
  #first = 0;
  #last = 0;
  #retryTimer = 0;

  constructor(on) {
    this.on = on;
    this.element = make("li", "turn assistant");
    this.element.setAttribute("aria-busy", "true");
    this.thinking = make("details", "reasoning");
    this.thinking.hidden = true;
    this.thoughts = make("div", "prose");
    this.thinkingTitle = make("summary", "", "Thinking …");
    this.thinking.append(this.thinkingTitle, this.thoughts);
    this.waiting = make("p", "waiting");
    this.waiting.append(make("span"), make("span"), make("span"), make("span", "unseen", "waiting for the first word"));
    this.body = make("div", "prose");
    this.tools = make("div", "calls");
    this.foot = make("div", "figures");
    this.figures = make("span", "");
    this.actions = make("span", "actions");
    this.actions.hidden = true;
    this.actions.append(
      action("copy", "Copy", (button) => this.#copy(button)),
      action("again", "Again", () => on.again(this)),
    );
    this.foot.append(this.figures, this.actions);
    this.element.append(make("span", "unseen", "Model: "), this.thinking, this.waiting, this.body, this.tools, this.foot);
  }

  message() {
    if (!this.calls.length) return { role: "assistant", content: this.text };
    const calls = this.calls.map(({ id, name, args }) => ({ id, type: "function", function: { name, arguments: args } }));
    return { role: "assistant", content: this.text, tool_calls: calls };
  }

  kept() {
    const { text, reasoning, outcome } = this;
    const calls = this.calls.map(({ id, name, args }) => ({ id, name, args }));
    return { role: "assistant", text, reasoning, calls, outcome: outcome ?? "stopped", figures: this.figures.textContent };
  }

  // As it was before a reload.
  restore({ text, reasoning, calls, outcome, figures }) {
    this.text = text ?? "";
    this.reasoning = reasoning ?? "";
    (calls ?? []).forEach(({ id, name, args }, index) => this.#call({ index, id, function: { name, arguments: args } }));
    this.end(outcome);
    this.figures.textContent = figures ?? "";
  }

  add({ text, reasoning, calls, usage, timings }) {
    if (usage) {
      this.#usage = usage;
      this.#timings = timings;
      return;
    }
    if (!text && !reasoning && !calls) return;
    this.#last = performance.now();
    this.#first ||= this.#last;
    this.#chunks += 1;
    this.text += text ?? "";
    this.reasoning += reasoning ?? "";
    for (const call of calls ?? []) this.#call(call);
    this.#drawing ||= this.#drawSoon();
  }

  // outcome: "stop", "length", "stopped" (by the user), or "failed".
  end(outcome) {
    this.outcome = outcome;
    clearTimeout(this.#drawing);
    this.#draw();
    this.element.setAttribute("aria-busy", "false");
    this.waiting.hidden = true;
    this.actions.hidden = false;
    const notes = { length: "ended at the token limit", stopped: "stopped" };
    this.figures.textContent = [...this.#cost(), notes[outcome]].filter(Boolean).join(" · ");
    if (!this.text && !this.reasoning && !this.calls.length && outcome === "stop") this.body.append(make("p", "note", "The model had nothing to say."));
  }

  fail(error) {
    this.end("failed");
    const box = make("div", "failure");
    box.setAttribute("role", "alert");
    const words = make("p", "", error.status === 429 ? `The server is busy: ${error.message}.` : error.message);
    const row = make("div", "row");
    for (const [label, run] of this.#remedies(error)) {
      const button = make("button", "quiet bordered", label);
      button.type = "button";
      button.addEventListener("click", run);
      row.append(button);
    }
    box.append(words, row);
    this.body.after(box);
    this.actions.hidden = true;
    if (error.retryAfter) this.#countDown(row.firstElementChild, Math.ceil(error.retryAfter));
  }

  // To try again helps nobody whose conversation does not fit.
  #remedies(error) {
    if (error.code !== "context_length_exceeded") return [["Try again", () => this.on.again(this)]];
    const shorter = this.on.canForget(this) ? [["Forget the oldest messages", () => this.on.forget(this, error.counts)]] : [];
    return [...shorter, ["Edit the message", () => this.on.shorten(this)], ["New chat", () => this.on.restart()]];
  }

  remove() {
    clearTimeout(this.#retryTimer);
    clearTimeout(this.#drawing);
    this.element.remove();
  }

  #countDown(button, seconds) {
    button.disabled = seconds > 0;
    button.textContent = seconds > 0 ? `Try again in ${seconds} s` : "Try again";
    if (seconds > 0) this.#retryTimer = setTimeout(() => this.#countDown(button, seconds - 1), 1000);
  }

  // Text may come faster than a page can lay it out: most of the time is left to whoever reads and clicks.
  #drawSoon() {
    return setTimeout(() => {
      const begun = performance.now();
      this.#draw();
      this.#pause = Math.max(FRAME, 4 * (performance.now() - begun));
    }, this.#pause);
  }

  // A call is folded: its name shows, its arguments on demand.
  #call({ index, id, function: { name, arguments: args } }) {
    const call = (this.calls[index] ??= { id, name, args: "", element: make("details", "reasoning") });
    call.args += args ?? "";
    if (call.title) return;
    call.title = make("summary", "", `Calls ${name}`);
    call.body = make("pre", "prose");
    call.element.append(call.title, call.body);
    this.tools.append(call.element);
  }

  #draw() {
    this.#drawing = 0;
    this.waiting.hidden = this.text !== "" || this.reasoning !== "" || this.calls.length > 0;
    if (this.reasoning) {
      this.thinking.hidden = false;
      this.thinkingTitle.textContent = this.text ? "Thoughts" : "Thinking …";
      show(this.thoughts, this.reasoning);
    }
    for (const call of this.calls) call.body.textContent = readable(call.args);
    show(this.body, this.text);
    if (this.#first) this.figures.textContent = this.#cost().join(" · ");
    this.on.drawn();
  }

  #cost() {
    if (!this.#first) return [];
    // Until the server has told the figures: a chunk is a token, unless the page reads more slowly than it writes.
    const tokens = this.#usage?.completion_tokens ?? this.#chunks;
    const parts = [`${this.#usage ? "" : "about "}${tokens} ${tokens === 1 ? "token" : "tokens"}`];
    // The first token comes with the prompt; the others are what decoding makes.
    const seconds = this.#timings?.decode ?? (this.#last - this.#first) / 1000;
    if (tokens > 1 && seconds > 0) parts.push(`${rate((tokens - 1) / seconds)} tokens/s`);
    const accepted = this.#usage?.completion_tokens_details?.accepted_prediction_tokens ?? 0;
    if (accepted > 0) parts.push(`${(tokens / (tokens - accepted)).toFixed(1)} tokens per pass`);
    parts.push(`first after ${((this.#first - this.#started) / 1000).toFixed(2)} s`);
    if (this.#usage) {
      const cached = this.#usage.prompt_tokens_details?.cached_tokens ?? 0;
      parts.push(`${cached} of ${this.#usage.prompt_tokens} prompt tokens cached`);
    }
    return parts;
  }

  async #copy(button) {
    const label = button.querySelector(".label");
    try {
      await navigator.clipboard.writeText(this.text);
      label.textContent = "Copied";
    } catch {
      label.textContent = "Not allowed";
    }
    setTimeout(() => (label.textContent = "Copy"), 1500);
  }
}
