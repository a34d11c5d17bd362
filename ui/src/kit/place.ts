/** Where in the console somebody is: a path and its parameters behind `#`, so that it works under any prefix, and no server
 * ever hears of it. Filters, ranges and open rows are parameters: a reload, a bookmark and the way back all lead here again. */

import { computed, signal } from "@preact/signals";

export interface Place {
  /** "/events/evt_…", with its parts decoded by `matched`. */
  readonly path: string;
  readonly query: URLSearchParams;
}

export type Query = Record<string, string | number | boolean | null | undefined>;

const address = signal(location.hash);

addEventListener("hashchange", () => {
  address.value = location.hash;
});

export const place = computed<Place>(() => read(address.value));

export function read(hash: string): Place {
  const text = hash.replace(/^#/, "");
  const cut = text.indexOf("?");
  const path = cut < 0 ? text : text.slice(0, cut);
  return { path: path || "/", query: new URLSearchParams(cut < 0 ? "" : text.slice(cut + 1)) };
}

/** The address of a place, for a link. What is null, undefined, false or empty is left out. */
export function to(path: string, query: Query = {}): string {
  const kept = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) {
    if (value !== null && value !== undefined && value !== false && value !== "") kept.set(name, String(value));
  }
  const text = kept.toString();
  return `#${path}${text && `?${text}`}`;
}

/** A path with its parts encoded: at`/apps/${uid}`. */
export function at(parts: TemplateStringsArray, ...values: string[]): string {
  return parts.reduce((made, part, i) => made + encodeURIComponent(values[i - 1] ?? "") + part);
}

/** Go there. `replace`: the way back skips where we are now. */
export function go(hash: string, { replace = false } = {}): void {
  if (hash === location.hash) return;
  if (replace) {
    history.replaceState(null, "", hash);
    address.value = hash;
  } else {
    location.hash = hash;
  }
}

/** The same place with some parameters changed (null takes one away). */
export function changed(changes: Query): string {
  const now = place.value;
  return to(now.path, { ...Object.fromEntries(now.query), ...changes });
}

/** The parameters of a pattern such as "/apps/:app", or null where the path is another. */
export function matched(pattern: string, path: string): Record<string, string> | null {
  const wanted = pattern.split("/");
  const parts = path.split("/");
  if (wanted.length !== parts.length) return null;
  const found: Record<string, string> = {};
  for (const [i, want] of wanted.entries()) {
    const part = parts[i] ?? "";
    if (want.startsWith(":")) {
      try {
        found[want.slice(1)] = decodeURIComponent(part);
      } catch {
        return null;
      }
    } else if (want !== part) return null;
  }
  return found;
}
