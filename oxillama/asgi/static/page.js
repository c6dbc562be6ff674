// The chat page: the conversation, what sends it, and what the page says about the server.

import { ApiError, apiKey, chat } from "./api.js";
import { store, stored } from "./conversation.js";
import { Settings } from "./settings.js";
import { Statistics } from "./statistics.js";
import { AssistantTurn, UserTurn } from "./turn.js";

const at = (id) => document.getElementById(id);
const narrow = matchMedia("(max-width: 899px)");
const STATES = {
  connecting: "connecting",
  loading: "loading the model",
  ready: "ready",
  draining: "shutting down",
  closed: "closed",
  failed: "engine failed",
  locked: "needs a key",
  offline: "offline",
};

const settings = new Settings(at("settings"));
const statistics = new Statistics();
let turns = [];
let running = null; // the AbortController of the answer being written
let model = null;
let state = "connecting";

// --- the conversation

const on = {
  edit: (turn, text) => restart(turns.indexOf(turn), text),
  again: (turn) => {
    const asked = turns.indexOf(turn) - 1;
    restart(asked, turns[asked].text);
  },
  // Where the conversation is too long: what may be left out of it, or written shorter.
  canForget: (turn) => turns.indexOf(turn) > 2,
  forget: (turn, counts) => forgetOldest(turns.indexOf(turn) - 1, counts),
  shorten: (turn) => turns[turns.indexOf(turn) - 1].edit(),
  restart: () => newChat(),
  drawn: () => follow(),
};

function push(turn) {
  turns.push(turn);
  at("turns").append(turn.element);
  at("welcome").hidden = true;
}

// Forgets the turns from `index` on, in the list and on the page.
function cut(index) {
  for (const turn of turns.splice(index)) {
    turn.remove?.();
    turn.element.remove();
  }
  at("welcome").hidden = turns.length > 0;
  store(turns);
}

// Forgets questions and answers from the beginning until about a quarter of the context is free, by their share of the
// characters, and asks the question at `index` again. counts: tokens of the conversation and of the context.
async function forgetOldest(index, counts) {
  const asked = turns[index].text;
  const sizes = turns.slice(0, index + 1).map(({ text }) => text.length);
  const all = sizes.reduce((sum, size) => sum + size, 0);
  const allowed = counts ? (all * 0.75 * counts.context) / Math.max(counts.prompt, 1) : all / 2;
  let forgotten = 0;
  let left = all;
  do {
    left -= (sizes[forgotten] ?? 0) + (sizes[forgotten + 1] ?? 0);
    forgotten += 2;
  } while (left > allowed && forgotten < index);
  cut(index);
  for (const turn of turns.splice(0, Math.min(forgotten, index))) turn.element.remove();
  await send(asked);
  at("message").focus();
}

async function newChat() {
  await stop();
  cut(0);
  at("message").focus();
}

// What the model is told: without the questions that got no answer.
function conversation() {
  const told = turns.filter(({ role, text }, index) => text && (role === "assistant" || turns[index + 1]?.text !== ""));
  const messages = told.map((turn) => turn.message());
  if (settings.system) messages.unshift({ role: "system", content: settings.system });
  return messages;
}

async function restart(index, text) {
  await stop();
  cut(index);
  // What was clicked is gone with its turn.
  at("message").focus();
  await send(text);
}

async function send(text) {
  if (!settings.check()) {
    showPanel(true);
    settings.complain();
    return;
  }
  push(new UserTurn(text, on));
  const messages = conversation();
  const answer = new AssistantTurn(on);
  push(answer);
  store(turns);
  follow({ always: true });
  const controller = new AbortController();
  let outcome = "stop";
  const work = (async () => {
    for await (const part of chat({ model, messages, ...settings.parameters() }, controller.signal)) {
      if (part.finishReason) outcome = part.finishReason;
      else answer.add(part);
    }
  })();
  running = { controller, work: work.catch(() => {}) };
  showRunning(true);
  try {
    await work;
    answer.end(outcome);
    announce("The answer is complete.");
  } catch (error) {
    if (controller.signal.aborted) {
      answer.end("stopped");
      announce("Stopped.");
    } else {
      if (!(error instanceof ApiError)) console.error(error);
      answer.fail(error instanceof ApiError ? error : new ApiError("The answer was cut off."));
      if (error.status === 401) askForKey("This key is not known here.");
    }
  } finally {
    running = null;
    showRunning(false);
    store(turns);
    follow();
    statistics.refresh();
  }
}

async function stop() {
  const current = running;
  if (!current) return;
  current.controller.abort();
  await current.work;
}

// One button takes the other's place, and its focus.
function showRunning(is) {
  const [hidden, shown] = is ? [at("send"), at("stop")] : [at("stop"), at("send")];
  const hadFocus = document.activeElement === hidden;
  shown.hidden = false;
  hidden.hidden = true;
  if (hadFocus) (is ? shown : at("message")).focus();
}

function announce(text) {
  at("announcement").textContent = text;
}

// --- scrolling: follow the text as long as its end is in sight

let following = true;

function follow({ always = false } = {}) {
  const area = at("scroll");
  if (always) following = true;
  if (following) area.scrollTop = area.scrollHeight;
  at("jump").hidden = following || turns.length === 0;
}

at("scroll").addEventListener("scroll", () => {
  const area = at("scroll");
  following = area.scrollHeight - area.scrollTop - area.clientHeight < 48;
  at("jump").hidden = following || turns.length === 0;
});
at("jump").addEventListener("click", () => follow({ always: true }));

// --- the composer

function fit() {
  const field = at("message");
  field.style.height = "auto";
  field.style.height = `${Math.min(field.scrollHeight, innerHeight * 0.4)}px`;
  at("send").disabled = field.value.trim() === "" || !["ready", "connecting"].includes(state);
}

at("message").addEventListener("input", fit);
addEventListener("resize", fit);

at("composer").addEventListener("submit", (event) => {
  event.preventDefault();
  const text = at("message").value.trim();
  if (!text || running || at("send").disabled) return;
  at("message").value = "";
  fit();
  send(text);
});

at("message").addEventListener("keydown", (event) => {
  if (event.isComposing) return;
  if (event.key === "Enter" && !event.shiftKey) {
    event.preventDefault();
    at("composer").requestSubmit();
  } else if (event.key === "ArrowUp" && at("message").value === "" && !running) {
    const asked = turns.findLast((turn) => turn.role === "user");
    if (!asked) return;
    event.preventDefault();
    asked.edit();
  }
});

at("stop").addEventListener("click", async () => {
  await stop();
  at("message").focus();
});

for (const button of at("openers").querySelectorAll("button")) {
  button.addEventListener("click", () => {
    at("message").value = button.textContent;
    fit();
    at("composer").requestSubmit();
  });
}

at("new-chat").addEventListener("click", newChat);

document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape" || event.isComposing) return;
  if (narrow.matches && !at("panel").hidden) {
    showPanel(false);
    at("panel-toggle").focus();
  } else if (running) {
    stop();
    at("message").focus();
  }
});

// --- the panel: beside the conversation, or over it where there is no room

function showPanel(is) {
  at("panel").hidden = !is;
  at("panel-toggle").setAttribute("aria-expanded", String(is));
  const covered = is && narrow.matches;
  document.querySelector("main").inert = covered;
  document.querySelector(".bar").inert = covered;
  if (covered) at("panel-close").focus();
}

at("panel-toggle").addEventListener("click", () => showPanel(at("panel").hidden));
at("panel-close").addEventListener("click", () => {
  showPanel(false);
  at("panel-toggle").focus();
});
narrow.addEventListener("change", () => showPanel(!narrow.matches));
showPanel(!narrow.matches);

// --- the key

function askForKey(complaint = "") {
  at("key-form").hidden = false;
  at("key-complaint").textContent = complaint;
}

at("key-form").addEventListener("submit", (event) => {
  event.preventDefault();
  apiKey.set(at("key").value.trim());
  at("key").value = "";
  at("key-form").hidden = true;
  statistics.refresh();
  at("message").focus();
});

at("forget-key").addEventListener("click", () => {
  apiKey.forget();
  statistics.refresh();
});

// --- what the server is doing

statistics.addEventListener("state", ({ detail }) => {
  const was = state;
  state = detail.name;
  at("state").dataset.state = state;
  if (was !== state) at("state-text").textContent = STATES[state] ?? state;
  if (detail.model && detail.model !== model) {
    model = detail.model;
    at("model").textContent = model;
    document.title = `${model} · oxillama`;
  }
  at("forget-key").hidden = apiKey.get() === "";
  if (state === "locked" && at("key-form").hidden) {
    askForKey(apiKey.get() ? "This key is not known here." : "");
    at("key").focus();
  } else if (state !== "locked" && !at("key-form").hidden) {
    at("key-form").hidden = true;
  }
  if (was !== state) fit();
});

for (const kept of stored()) {
  const turn = kept.role === "user" ? new UserTurn(kept.text, on) : new AssistantTurn(on);
  if (kept.role !== "user") turn.restore(kept);
  push(turn);
}
follow({ always: true });
// A reload amid an answer keeps what was written of it.
addEventListener("pagehide", () => store(turns));

statistics.start();
fit();
