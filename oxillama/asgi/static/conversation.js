// The conversation as it outlives a reload: kept for as long as this tab lives, like the settings.

const STORED = "oxillama.conversation";

export function stored() {
  try {
    const found = JSON.parse(sessionStorage.getItem(STORED) ?? "[]");
    return Array.isArray(found) ? found : [];
  } catch {
    return [];
  }
}

export function store(turns) {
  try {
    if (turns.length) sessionStorage.setItem(STORED, JSON.stringify(turns.map((turn) => turn.kept())));
    else sessionStorage.removeItem(STORED);
  } catch {
    // More than a tab may keep: the conversation goes on, but a reload forgets it.
    sessionStorage.removeItem(STORED);
  }
}
