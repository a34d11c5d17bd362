/** The live stream (server-sent events), read with fetch: the header that makes the cookie count cannot be sent by EventSource.
 * Source: WHATWG HTML, section 9.2. */

import { type Signal, signal } from "@preact/signals";
import { base, headers } from "./request";
import { signedOut } from "./session";

export type LiveState = "connecting" | "connected" | "reconnecting" | "paused";

export interface Live {
  readonly state: Signal<LiveState>;
  pause(): void;
  resume(): void;
  close(): void;
}

export interface LiveMessage {
  readonly event: string;
  readonly data: string;
}

const RETRY_MS_MAX = 15_000;
const SILENCE_MS_MAX = 45_000; // three comments that did not come

/** Listens at `path` until closed. Reconnects by itself, with growing pauses, where it broke off; is quiet while the page is
 * hidden. `take` gets all messages of a piece that arrived, at once. */
export function listen(path: string, take: (messages: readonly LiveMessage[]) => void): Live {
  const state = signal<LiveState>("connecting");
  let position: string | null = null;
  let gone: AbortController | null = null;
  let timer: ReturnType<typeof setTimeout> | undefined;
  let failures = 0;
  let asked = true; // by whoever listens
  let closed = false;

  const stop = () => {
    clearTimeout(timer);
    gone?.abort();
    gone = null;
  };
  const start = () => {
    stop();
    if (closed || !asked || document.hidden) return;
    const mine = new AbortController();
    gone = mine;
    state.value = failures > 0 || position !== null ? "reconnecting" : "connecting";
    read(mine).then(
      () => again(mine),
      () => again(mine),
    );
  };
  const again = (mine: AbortController) => {
    if (gone !== mine || closed) return;
    state.value = "reconnecting";
    failures += 1;
    timer = setTimeout(start, Math.min(RETRY_MS_MAX, 500 * 2 ** Math.min(failures, 6)) * (0.75 + Math.random() / 2));
  };
  const read = async (mine: AbortController) => {
    const sent = { ...headers(), accept: "text/event-stream", ...(position !== null ? { "last-event-id": position } : {}) };
    let silent: ReturnType<typeof setTimeout> | undefined;
    const heard = () => {
      clearTimeout(silent);
      silent = setTimeout(() => mine.abort(), SILENCE_MS_MAX);
    };
    try {
      heard();
      const answer = await fetch(base + path, { headers: sent, credentials: "same-origin", signal: mine.signal, cache: "no-store" });
      if (answer.status === 401) {
        signedOut();
        closed = true;
        return;
      }
      if (answer.status === 422) position = null; // older than what is kept: from now on
      if (!answer.ok || answer.body === null) throw new Error(String(answer.status));
      state.value = "connected";
      failures = 0;
      const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
      const lines = new Lines();
      for (;;) {
        const { done, value } = await reader.read();
        if (done) return;
        heard();
        const messages = lines.add(value);
        if (lines.id !== null) position = lines.id;
        if (messages.length > 0 && gone === mine) take(messages);
      }
    } finally {
      clearTimeout(silent);
    }
  };
  const seen = () => {
    if (document.hidden) stop();
    else if (gone === null && asked) start();
  };
  document.addEventListener("visibilitychange", seen);
  start();
  return {
    state,
    pause() {
      asked = false;
      stop();
      state.value = "paused";
    },
    resume() {
      if (asked) return;
      asked = true;
      start();
    },
    close() {
      closed = true;
      document.removeEventListener("visibilitychange", seen);
      stop();
    },
  };
}

/** From pieces of text to messages. */
export class Lines {
  id: string | null = null;
  #rest = "";
  #event = "";
  #data: string[] = [];

  add(text: string): LiveMessage[] {
    const lines = (this.#rest + text).split("\n");
    this.#rest = lines.pop() ?? "";
    const messages: LiveMessage[] = [];
    for (const line of lines) {
      if (line === "") {
        if (this.#data.length > 0) messages.push({ event: this.#event || "message", data: this.#data.join("\n") });
        this.#event = "";
        this.#data = [];
      } else if (line.startsWith("data:")) this.#data.push(line.slice(5).replace(/^ /, ""));
      else if (line.startsWith("event:")) this.#event = line.slice(6).trim();
      else if (line.startsWith("id:")) this.id = line.slice(3).trim();
    }
    return messages;
  }
}
