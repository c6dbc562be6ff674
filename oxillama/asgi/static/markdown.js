// Markdown that models write, as DOM nodes: markdown-it parses it, and what it found is made here. Text only ever becomes
// text nodes: nothing a model writes is parsed as HTML, and only addresses of the web and of mail become links.

const COPIED_MS = 1500;
const LINK = /^(?:https?|mailto):/i;
const parser = globalThis.markdownit({ html: false, linkify: true, typographer: false });
parser.linkify.set({ fuzzyLink: false, fuzzyEmail: false });

// Top-level blocks with the source they came from, so that a growing text only changes its last ones.
function blocks(text) {
  const lines = text.split("\n");
  const found = [];
  let open = null;
  let level = 2; // of the heading before; none may be skipped, whatever a model begins with
  for (const token of parser.parse(text, {})) {
    if (token.type === "heading_open") token.shown = level = Math.min(6, Number(token.tag[1]) + 2, level + 1);
    open ??= { tokens: [], map: token.map };
    open.tokens.push(token);
    if (token.level === 0 && token.nesting <= 0) {
      found.push({ tokens: open.tokens, source: `${token.type} ${open.tokens[0].shown}\n${lines.slice(...open.map).join("\n")}` });
      open = null;
    }
  }
  return found;
}

function make(tag, content) {
  const element = document.createElement(tag);
  if (content !== undefined) element.textContent = content;
  return element;
}

// What a block's tokens describe, below `root`.
function build(root, tokens) {
  const path = [root];
  for (const token of tokens) {
    const parent = path.at(-1);
    if (token.type === "inline") {
      build(parent, token.children);
    } else if (token.nesting === -1) {
      path.pop();
    } else if (token.nesting === 1) {
      // A tight list's paragraphs are its items' own text.
      const element = token.hidden ? parent : opened(token);
      if (element !== parent) parent.append(element.holder ?? element);
      path.push(element);
    } else {
      parent.append(leaf(token));
    }
  }
  return root;
}

function opened(token) {
  if (token.type === "heading_open") return make(`h${token.shown}`);
  if (token.type === "link_open") return link(token.attrGet("href"));
  const element = make(token.tag);
  if (token.tag === "ol" && token.attrGet("start")) element.start = Number(token.attrGet("start"));
  const align = /left|center|right/.exec(token.attrGet("style") ?? "");
  if (align) element.dataset.align = align[0];
  if (token.type === "table_open") {
    // A wide one is scrolled by itself, also without a mouse.
    element.holder = make("div");
    element.holder.className = "table";
    element.holder.tabIndex = 0;
    element.holder.setAttribute("role", "region");
    element.holder.setAttribute("aria-label", "Table");
    element.holder.append(element);
  }
  return element;
}

function leaf(token) {
  switch (token.type) {
    case "fence":
    case "code_block":
      return codeBlock(token.content.replace(/\n$/, ""), token.info.trim().split(/\s+/)[0]);
    case "code_inline":
      return make("code", token.content);
    case "hr":
      return make("hr");
    case "softbreak":
      return document.createTextNode("\n");
    case "hardbreak":
      return make("br");
    case "image": {
      // Nothing is fetched because a model names it.
      const element = link(token.attrGet("src"));
      element.textContent = token.content || token.attrGet("src");
      return element;
    }
    default:
      return document.createTextNode(token.content);
  }
}

function link(address) {
  if (!LINK.test(address ?? "")) return make("span");
  const element = make("a");
  element.href = address;
  element.target = "_blank";
  element.rel = "noopener noreferrer nofollow";
  return element;
}

function codeBlock(text, language) {
  const pre = make("pre");
  const code = make("code", text);
  code.tabIndex = 0; // scrolls sideways, also without a mouse
  code.setAttribute("role", "region");
  code.setAttribute("aria-label", language ? `Code, ${language}` : "Code");
  if (language) pre.dataset.language = language;
  const copy = make("button", "Copy");
  copy.type = "button";
  copy.className = "quiet small copy";
  copy.setAttribute("aria-label", "Copy code");
  copy.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(text);
      copy.textContent = "Copied";
    } catch {
      copy.textContent = "Not allowed";
    }
    setTimeout(() => (copy.textContent = "Copy"), COPIED_MS);
  });
  pre.append(code, copy);
  return pre;
}

// Makes `element` show `text`. Called again with a longer text it leaves alone what has not changed, so that a
// selection survives while the rest is being written.
export function show(element, text) {
  const wanted = blocks(text);
  wanted.forEach((block, index) => {
    const existing = element.children[index];
    if (existing?.markdown === block.source) return;
    const made = build(document.createElement("div"), block.tokens).firstElementChild;
    made.markdown = block.source;
    if (existing) existing.replaceWith(made);
    else element.append(made);
  });
  while (element.children.length > wanted.length) element.lastElementChild.remove();
}
