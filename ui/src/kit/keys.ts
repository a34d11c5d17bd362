/** The keyboard: one listener, the newest claim first; never while somebody types. `g e` is two strokes within a second. */

import { useLayoutEffect, useRef } from "preact/hooks";

export type Keys = Record<string, (event?: KeyboardEvent) => void>;

const claims: { current: Keys }[] = [];
let before: { key: string; at: number } | null = null;

const CHORD_MS = 1_000;

function typing(target: EventTarget | null): boolean {
  return target instanceof HTMLElement && (target.isContentEditable || /^(INPUT|TEXTAREA|SELECT)$/.test(target.tagName));
}

addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
  if (event.key !== "Escape" && typing(event.target)) return;
  if (document.querySelector("dialog[open]") && event.key !== "Escape") return;
  const chord = before && event.timeStamp - before.at < CHORD_MS ? `${before.key} ${event.key}` : null;
  before = null;
  for (const name of chord ? [chord, event.key] : [event.key]) {
    for (const claim of [...claims].reverse()) {
      const act = claim.current[name];
      if (act) {
        event.preventDefault();
        act(event);
        return;
      }
    }
  }
  if (event.key.length === 1) before = { key: event.key, at: event.timeStamp };
});

/** Claims keys while the component is shown, from the first moment on that it is. */
export function useKeys(keys: Keys): void {
  const held = useRef(keys);
  held.current = keys;
  useLayoutEffect(() => {
    claims.push(held);
    return () => {
      claims.splice(claims.indexOf(held), 1);
    };
  }, []);
}
