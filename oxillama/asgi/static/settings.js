// What the user has chosen for the next requests. Kept for as long as this tab lives.

const STORED = "oxillama.settings";

export class Settings {
  #form;

  constructor(form) {
    this.#form = form;
    for (const [name, value] of Object.entries(JSON.parse(sessionStorage.getItem(STORED) ?? "{}"))) {
      if (form.elements[name]) form.elements[name].value = value;
    }
    form.addEventListener("input", () => this.#changed());
    form.addEventListener("reset", () => setTimeout(() => this.#changed()));
    form.addEventListener("submit", (event) => event.preventDefault());
    this.#changed();
  }

  get system() {
    return this.#form.elements.system.value.trim();
  }

  // Fields of a request; what was left empty is left to the server.
  parameters() {
    const { temperature, maxTokens, seed, schema, tools } = this.#form.elements;
    const parameters = { temperature: Number(temperature.value) };
    if (maxTokens.value) parameters.max_tokens = Number(maxTokens.value);
    if (seed.value) parameters.seed = Number(seed.value);
    if (tools.value.trim()) parameters.tools = JSON.parse(tools.value);
    if (schema.value.trim()) {
      parameters.response_format = { type: "json_schema", json_schema: { name: "reply", schema: JSON.parse(schema.value) } };
    }
    return parameters;
  }

  // The first setting that no server would take, told to the user by the browser. True if there is none.
  check() {
    return this.#form.checkValidity();
  }

  complain() {
    this.#form.reportValidity();
  }

  #changed() {
    const { temperature, schema, tools } = this.#form.elements;
    tools.setCustomValidity(tools.value.trim() && !isList(tools.value) ? "Tools are a list in JSON." : "");
    schema.setCustomValidity(schema.value.trim() && !isObject(schema.value) ? "A JSON schema is an object in JSON." : "");
    this.#form.querySelector("output").value = Number(temperature.value).toFixed(2);
    const fields = [...this.#form.elements].filter((field) => field.name);
    sessionStorage.setItem(STORED, JSON.stringify(Object.fromEntries(fields.map(({ name, value }) => [name, value]))));
  }
}

function isObject(text) {
  try {
    const value = JSON.parse(text);
    return value !== null && typeof value === "object" && !Array.isArray(value);
  } catch {
    return false;
  }
}

function isList(text) {
  try {
    return Array.isArray(JSON.parse(text));
  } catch {
    return false;
  }
}
