// The engine's figures, asked for every second while somebody can see them.

import { ApiError, statistics } from "./api.js";
import { count, percent, rate, roughly } from "./figures.js";

const INTERVAL = 1000; // ms
const SAMPLES = 60;

const at = (id) => document.getElementById(id);

export class Statistics extends EventTarget {
  #rates = [];
  #last = null;
  #timer = 0;

  start() {
    document.addEventListener("visibilitychange", () => this.refresh());
    this.refresh();
  }

  // Asks now, and from now on every second.
  async refresh() {
    clearTimeout(this.#timer);
    if (document.hidden) {
      this.#last = null; // the time in the background is no sample
      return;
    }
    let state;
    try {
      const found = await statistics();
      state = { name: found.state, model: found.model };
      if (found.engine) this.#show(found);
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      state = { name: error.status === 401 ? "locked" : error.status === 503 ? "loading" : "offline" };
    }
    this.dispatchEvent(new CustomEvent("state", { detail: state }));
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.refresh(), INTERVAL);
  }

  #show({ n_ctx: context, n_threads: threads, engine }) {
    const now = performance.now();
    if (this.#last) {
      const seconds = (now - this.#last.now) / 1000;
      this.#rates.push(Math.max(0, (engine.output_tokens - this.#last.tokens) / seconds));
      this.#rates = this.#rates.slice(-SAMPLES);
    }
    this.#last = { now, tokens: engine.output_tokens };

    at("rate").textContent = rate(this.#rates.at(-1) ?? 0);
    this.#draw();

    const blocks = engine.kv_blocks_used + engine.kv_blocks_free;
    const used = blocks ? engine.kv_blocks_used / blocks : 0;
    const cached = blocks ? engine.kv_blocks_cached / blocks : 0;
    at("kv-used").style.width = `${100 * used}%`;
    at("kv-cached").style.width = `${100 * cached}%`;
    at("kv-text").textContent = `${percent(used)} in use · ${percent(cached)} reusable`;

    const asked = engine.prompt_tokens + engine.cached_tokens;
    at("stat-running").textContent = count(engine.running);
    at("stat-queued").textContent = count(engine.queue_depth + engine.waiting);
    at("stat-finished").textContent = roughly(engine.finished);
    at("stat-output").textContent = roughly(engine.output_tokens);
    at("stat-prompt").textContent = roughly(asked);
    at("stat-cached").textContent = asked ? percent(engine.cached_tokens / asked) : "–";
    at("stat-context").textContent = count(context);
    at("stat-threads").textContent = count(threads);
  }

  #draw() {
    const [width, height] = [240, 44];
    const top = Math.max(1, ...this.#rates);
    const points = this.#rates.map((value, index) => {
      const x = width - ((this.#rates.length - 1 - index) * width) / (SAMPLES - 1);
      return `${x.toFixed(1)},${(height - 2 - (value / top) * (height - 6)).toFixed(1)}`;
    });
    const [area, line] = at("history").children;
    const first = points[0]?.split(",")[0];
    line.setAttribute("d", points.length ? `M${points.join("L")}` : "");
    area.setAttribute("d", points.length ? `M${first},${height}L${points.join("L")}L${width},${height}Z` : "");
  }
}
