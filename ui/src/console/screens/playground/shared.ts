import { useEffect, useRef, useState } from "preact/hooks";
import { isJson } from "../../../kit/json";
import { changed, go, place } from "../../../kit/place";

/** An address holds no more than this of what was typed; browsers and chats cut longer ones. */
const ADDRESS_LENGTH_MAX = 4_000;
const PAUSE_MS = 300;

/** Fields that stand in the address, a moment after they are typed. Where they are too long for it, `fits` is false and the longest
 * are left out. */
export function useShared<F extends Record<string, string>>(defaults: F): { fields: F; set: (changes: Partial<F>) => void; fits: boolean; settled: F } {
  const [fields, setFields] = useState<F>(() => {
    const query = place.value.query;
    return Object.fromEntries(Object.entries(defaults).map(([name, value]) => [name, query.get(name) ?? value])) as F;
  });
  const [settled, settle] = useState(fields);
  const [fits, setFits] = useState(true);
  const first = useRef(true);
  useEffect(() => {
    if (first.current) {
      first.current = false;
      return;
    }
    const timer = setTimeout(() => {
      settle(fields);
      const told = Object.entries(fields).map(([name, value]) => [name, value === defaults[name] ? null : value] as const);
      let room = ADDRESS_LENGTH_MAX;
      const kept: Record<string, string | null> = {};
      for (const [name, value] of [...told].sort((one, other) => (one[1]?.length ?? 0) - (other[1]?.length ?? 0))) {
        const size = value === null ? 0 : encodeURIComponent(value).length + name.length + 2;
        kept[name] = size <= room ? value : null;
        if (size <= room) room -= size;
      }
      setFits(told.every(([name, value]) => kept[name] === value));
      go(changed(kept), { replace: true });
    }, PAUSE_MS);
    return () => clearTimeout(timer);
  }, [JSON.stringify(fields)]);
  return { fields, set: (changes) => setFields((before) => ({ ...before, ...changes })), fits, settled };
}

/** Whether a text is JSON; an empty one is left out, and so is right. */
export function isJsonOrNone(text: string): boolean {
  return text.trim() === "" || isJson(text);
}
