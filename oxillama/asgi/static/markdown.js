// The little Markdown that models write, as DOM nodes. Text only ever becomes text nodes: nothing a model writes is
// parsed as HTML, and links stay text.

const FENCE = /^ {0,3}(`{3,}|~{3,})\s*([\w+#.-]*)[^`]*$/;
const HEADING = /^(#{1,6})\s+(.*?)\s*#*\s*$/;
const ITEM = /^(\s*)(?:[-*+]|(\d{1,9})[.)])\s+(.*)$/;
const RULE = /^ {0,3}([-*_])(?:\s*\1){2,}\s*$/;
const QUOTE = /^ {0,3}>\s?(.*)$/;
const INLINE = /(`+)(.+?)\1(?!`)|\*\*(?=\S)(.+?)\*\*|(?<![\w*])[*_](?=\S)([^*_\n]+?)(?<=\S)[*_](?![\w*])/gs;

// Blocks with the source they came from, so that a growing text only changes its last ones.
function blocks(text) {
  const lines = text.split("\n");
  const found = [];
  let at = 0;
  const take = (kind, from, extra = {}) => found.push({ kind, source: lines.slice(from, at).join("\n"), ...extra });
  while (at < lines.length) {
    const start = at;
    const line = lines[at];
    const fence = FENCE.exec(line);
    if (line.trim() === "") {
      at += 1;
    } else if (fence) {
      at += 1;
      while (at < lines.length && !closes(lines[at], fence[1])) at += 1;
      const code = lines.slice(start + 1, at).join("\n");
      at = Math.min(at + 1, lines.length);
      take("code", start, { code, language: fence[2] });
    } else if (HEADING.test(line)) {
      at += 1;
      take("heading", start);
    } else if (RULE.test(line)) {
      at += 1;
      take("rule", start);
    } else if (ITEM.test(line)) {
      at += 1;
      while (at < lines.length && lines[at].trim() !== "" && !FENCE.test(lines[at])) at += 1;
      take("list", start);
    } else if (QUOTE.test(line)) {
      while (at < lines.length && QUOTE.test(lines[at])) at += 1;
      take("quote", start);
    } else {
      at += 1;
      while (at < lines.length && lines[at].trim() !== "" && !startsBlock(lines[at])) at += 1;
      take("paragraph", start);
    }
  }
  return found;
}

const startsBlock = (line) => [FENCE, HEADING, RULE, QUOTE, ITEM].some((pattern) => pattern.test(line));
const closes = (line, mark) => line.trim().startsWith(mark) && line.trim().replaceAll(mark[0], "") === "";

// Looking for pairs takes a time that grows with the square of the length, if there are none.
const MAX_INLINE = 20000;

function inline(parent, text) {
  if (text.length > MAX_INLINE) {
    parent.append(text);
    return parent;
  }
  let end = 0;
  for (const match of text.matchAll(INLINE)) {
    parent.append(text.slice(end, match.index));
    end = match.index + match[0].length;
    const [, , code, strong, emphasis] = match;
    const element = document.createElement(code ? "code" : strong ? "strong" : "em");
    if (code) element.textContent = code;
    else inline(element, strong ?? emphasis);
    parent.append(element);
  }
  parent.append(text.slice(end));
  return parent;
}

function list(source) {
  const root = document.createElement("div");
  const open = [];
  for (const line of source.split("\n")) {
    const item = ITEM.exec(line);
    if (!item) {
      inline(open.at(-1).list.lastElementChild, `\n${line.trim()}`);
      continue;
    }
    const [, indent, number, text] = item;
    while (open.length > 1 && indent.length < open.at(-1).indent) open.pop();
    if (!open.length || indent.length > open.at(-1).indent + 1) {
      const element = document.createElement(number ? "ol" : "ul");
      if (number) element.start = Number(number);
      (open.at(-1)?.list.lastElementChild ?? root).append(element);
      open.push({ list: element, indent: indent.length });
    }
    open.at(-1).list.append(inline(document.createElement("li"), text));
  }
  return root.firstElementChild;
}

function node(block) {
  switch (block.kind) {
    case "code": {
      const pre = document.createElement("pre");
      pre.tabIndex = 0; // scrolls sideways, also without a mouse
      const code = document.createElement("code");
      code.textContent = block.code;
      if (block.language) pre.dataset.language = block.language;
      pre.append(code);
      return pre;
    }
    case "heading": {
      const [, marks, title] = HEADING.exec(block.source);
      return inline(document.createElement(`h${Math.min(6, marks.length + 2)}`), title);
    }
    case "rule":
      return document.createElement("hr");
    case "list":
      return list(block.source);
    case "quote":
      return inline(document.createElement("blockquote"), block.source.replaceAll(/^ {0,3}>\s?/gm, ""));
    default:
      return inline(document.createElement("p"), block.source);
  }
}

// Makes `element` show `text`. Called again with a longer text it leaves alone what has not changed, so that a
// selection survives while the rest is being written.
export function show(element, text) {
  const wanted = blocks(text);
  wanted.forEach((block, index) => {
    const existing = element.children[index];
    if (existing?.markdown === block.source) return;
    const made = node(block);
    made.markdown = block.source;
    if (existing) existing.replaceWith(made);
    else element.append(made);
  });
  while (element.children.length > wanted.length) element.lastElementChild.remove();
}
