/** A request as a command for a POSIX shell: whatever is in its URL, headers and body, only curl gets to see it. Pure. */

export interface Sent {
  readonly method: string;
  readonly url: string;
  readonly headers: readonly { readonly name: string; readonly value: string }[];
  readonly body: string | null;
  readonly body_base64: string | null;
}

const ARGUMENT_LENGTH_MAX = 100_000; // Linux takes 131,072 bytes for one

/** What curl says of itself: the host is in the URL, and it counts the body. */
const OWN = new Set(["host", "content-length", "connection"]);

export function quoted(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`;
}

export function curl(sent: Sent): string {
  // -g: brackets and braces in the URL are themselves; --path-as-is: so are dots.
  const words = ["curl", "-g", "--path-as-is", "-X", quoted(sent.method)];
  for (const { name, value } of sent.headers) {
    if (OWN.has(name.toLowerCase())) continue;
    // A header without a value would be left out, if it did not end so.
    words.push("-H", quoted(value === "" ? `${name};` : `${name}: ${value}`));
  }
  let before = "";
  const bytes = piped(sent);
  if (bytes !== null) {
    // printf is part of the shell, so that no limit on arguments counts.
    before = `printf %s ${quoted(bytes)} | base64 -d | `;
    words.push("--data-binary", "@-");
  } else if (sent.body) {
    // --data-raw, since a body that begins with @ is no name of a file.
    words.push("--data-raw", quoted(sent.body));
  }
  words.push("--url", quoted(sent.url));
  return before + words.join(" ");
}

/** What a terminal or a clipboard would change, or a shell complete: carriage returns, tabs, escapes. A line feed stays itself. */
const CONTROLS = /[\x00-\x09\x0b-\x1f\x7f\x80-\x9f]/;

/** In base64, what cannot be pasted as an argument: bytes that are no text, control characters, and what is too long. */
function piped(sent: Sent): string | null {
  if (sent.body === null) return sent.body_base64 || null;
  if (sent.body.length * 3 <= ARGUMENT_LENGTH_MAX && !CONTROLS.test(sent.body)) return null;
  const raw = new TextEncoder().encode(sent.body);
  let text = "";
  for (let i = 0; i < raw.length; i += 8_192) text += String.fromCharCode(...raw.subarray(i, i + 8_192));
  return btoa(text);
}
