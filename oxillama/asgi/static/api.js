// The server's API as this page uses it. All URLs are relative, so it works wherever the app is mounted.

import { eventData } from "./events.js";

const KEY = "oxillama.key";

export class ApiError extends Error {
  // retryAfter: seconds. code: the API's word. counts: of a conversation that is too long, its tokens and the context's.
  constructor(message, { status = 0, retryAfter = null, code = null, counts = null } = {}) {
    super(message);
    Object.assign(this, { status, retryAfter, code, counts });
  }
}

// Only for as long as this tab lives.
export const apiKey = {
  get: () => sessionStorage.getItem(KEY) ?? "",
  set: (key) => sessionStorage.setItem(KEY, key),
  forget: () => sessionStorage.removeItem(KEY),
};

async function call(path, options = {}) {
  const headers = { ...options.headers };
  const key = apiKey.get();
  if (key) headers.authorization = `Bearer ${key}`;
  let response;
  try {
    response = await fetch(path, { ...options, headers, cache: "no-store", credentials: "same-origin" });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError("The server cannot be reached.");
  }
  if (!response.ok) throw await refusal(response);
  return response;
}

async function refusal(response) {
  let message = `The server answered with status ${response.status}.`;
  let code = null;
  let counts = null;
  try {
    const { error } = await response.json();
    message = error.message || message;
    code = error.code ?? null;
    if (error.n_ctx) counts = { prompt: error.n_prompt_tokens, context: error.n_ctx };
  } catch {
    // Not ours: a proxy in between may answer with a page of its own.
  }
  const seconds = Number.parseFloat(response.headers.get("retry-after"));
  return new ApiError(message, {
    status: response.status,
    retryAfter: Number.isFinite(seconds) ? seconds : null,
    code,
    counts,
  });
}

export async function statistics() {
  return (await call("stats.json")).json();
}

// Yields {text}, {reasoning}, {calls}, {finishReason} and {usage, timings}, as they come.
export async function* chat(body, signal) {
  const response = await call("v1/chat/completions", {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ ...body, stream: true, stream_options: { include_usage: true } }),
    signal,
  });
  for await (const data of eventData(response.body)) {
    if (data === "[DONE]") return;
    const chunk = JSON.parse(data);
    if (chunk.error) throw new ApiError(chunk.error.message);
    const choice = chunk.choices?.[0];
    if (choice?.delta?.reasoning_content) yield { reasoning: choice.delta.reasoning_content };
    if (choice?.delta?.tool_calls) yield { calls: choice.delta.tool_calls };
    if (choice?.delta?.content) yield { text: choice.delta.content };
    if (choice?.finish_reason) yield { finishReason: choice.finish_reason };
    if (chunk.usage) yield { usage: chunk.usage, timings: chunk.timings };
  }
  throw new ApiError("The connection ended before the answer did.");
}
