/** JSON as it was written: no number is rounded, nothing of it becomes markup, and a large one is shown piece by piece. */

import { useMemo, useState } from "preact/hooks";
import { kit } from "./texts";
import { bytes, count } from "./numbers";

const CHUNK_LINES = 500;
const LINE_LENGTH_MAX = 2_000;
const FORMAT_LENGTH_MAX = 4 * 1024 * 1024;

/** The text of a member of an object, as it stands there; null where there is none. Raises SyntaxError for what is no object. */
export function memberText(text: string, name: string): string | null {
  let i = skip(text, 0);
  if (text[i] !== "{") throw new SyntaxError("no JSON object");
  i = skip(text, i + 1);
  while (i < text.length && text[i] !== "}") {
    const key = stringEnd(text, i);
    const found = JSON.parse(text.slice(i, key)) as string;
    i = skip(text, skip(text, key) + 1); // over the colon
    const end = valueEnd(text, i);
    if (found === name) return text.slice(i, end);
    i = skip(text, end);
    if (text[i] === ",") i = skip(text, i + 1);
  }
  return null;
}

function skip(text: string, from: number): number {
  let i = from;
  while (i < text.length && /\s/.test(text[i] as string)) i += 1;
  return i;
}

function stringEnd(text: string, from: number): number {
  let i = from + 1;
  while (i < text.length && text[i] !== '"') i += text[i] === "\\" ? 2 : 1;
  return i + 1;
}

function valueEnd(text: string, from: number): number {
  let depth = 0;
  let i = from;
  while (i < text.length) {
    const c = text[i] as string;
    if (c === '"') {
      i = stringEnd(text, i);
      if (depth === 0) return i;
      continue;
    }
    if (c === "{" || c === "[") depth += 1;
    else if (c === "}" || c === "]") {
      if (depth === 0) return i;
      depth -= 1;
      if (depth === 0) return i + 1;
    } else if (depth === 0 && (c === "," || /\s/.test(c))) return i;
    i += 1;
  }
  return i;
}

export function isJson(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}

/** Indented, token by token; the tokens themselves stay as they are. Text that is no JSON comes back as it is. */
export function indented(text: string): string {
  if (text.length > FORMAT_LENGTH_MAX) return text;
  if (!isJson(text)) return text;
  const out: string[] = [];
  let depth = 0;
  const tokens = text.match(/"(?:\\.|[^"\\])*"|[{}[\],:]|[^\s{}[\],:"]+/g) ?? [];
  for (const [i, token] of tokens.entries()) {
    const after = tokens[i + 1];
    if (token === "{" || token === "[") {
      const empty = after === "}" || after === "]";
      if (!empty) depth += 1;
      out.push(token, empty ? "" : `\n${"  ".repeat(depth)}`);
    } else if (token === "}" || token === "]") {
      const before = tokens[i - 1];
      if (before !== "{" && before !== "[") {
        depth -= 1;
        out.push(`\n${"  ".repeat(depth)}`);
      }
      out.push(token);
    } else if (token === ",") out.push(`,\n${"  ".repeat(depth)}`);
    else if (token === ":") out.push(": ");
    else out.push(token);
  }
  return out.join("");
}

/** A text in lines, the first few hundred at first. JSON is indented and coloured; anything else is shown as it is. */
export function Code({ text, plain = false, label }: { text: string; plain?: boolean; label?: string }) {
  const [shown, show] = useState(CHUNK_LINES);
  const lines = useMemo(() => (plain ? text : indented(text)).split("\n").flatMap(wrapped), [text, plain]);
  const texts = kit.value;
  return (
    <div class="code">
      {/* biome-ignore: a region that scrolls must be reachable by the keyboard */}
      <pre tabIndex={0} role="region" aria-label={label ?? texts.text}>
        {lines.slice(0, shown).map((line, i) => (
          <span key={i} class="line">
            {plain ? line : coloured(line)}
            {"\n"}
          </span>
        ))}
      </pre>
      {lines.length > shown && (
        <button type="button" class="quiet" onClick={() => show(shown + 10 * CHUNK_LINES)}>
          {texts.moreLines(count(lines.length - shown), bytes(text.length))}
        </button>
      )}
    </div>
  );
}

function wrapped(line: string): string[] {
  if (line.length <= LINE_LENGTH_MAX) return [line];
  const pieces: string[] = [];
  for (let i = 0; i < line.length; i += LINE_LENGTH_MAX) pieces.push(line.slice(i, i + LINE_LENGTH_MAX));
  return pieces;
}

function coloured(line: string) {
  const found = /^(\s*)("(?:\\.|[^"\\])*")(: )(.*)$/.exec(line);
  if (found) {
    return (
      <>
        {found[1]}
        <span class="json-key">{found[2]}</span>
        {found[3]}
        {value(found[4] ?? "")}
      </>
    );
  }
  return value(line);
}

function value(text: string) {
  const kind = /^\s*"/.test(text) ? "json-string" : /^\s*-?\d/.test(text) ? "json-number" : /^\s*(true|false|null)/.test(text) ? "json-word" : "";
  return kind ? <span class={kind}>{text}</span> : text;
}
