/** What passed lately, for many endpoints or apps at once. Where the server has no figures, rows are shown without. */

import { useRef } from "preact/hooks";
import { useAsked } from "../../../kit/asking";
import { askedText } from "../../../kit/request";

export interface Figures {
  readonly delivered: number;
  readonly failed: number;
  readonly gave_up: number;
  readonly p50_ms: number | null;
  readonly p99_ms: number | null;
  readonly series: { readonly step_seconds: number; readonly delivered: readonly number[]; readonly failed: readonly number[] };
}

interface Row extends Figures {
  readonly app: string;
  readonly endpoint?: string;
}

const ASKED_MAX = 50; // by one request
const EVERY_MS = 30_000;

/** By id; an id that is missing had no traffic, or nothing is known yet. */
export function useFigures(of: "endpoints" | "apps", ids: readonly string[], since: () => string, range: string): ReadonlyMap<string, Figures> {
  const last = useRef<ReadonlyMap<string, Figures>>(new Map());
  const name = of === "apps" ? "app" : "endpoint";
  const asked = useAsked(
    async (signal) => {
      const found = new Map<string, Figures>();
      for (let i = 0; i < ids.length; i += ASKED_MAX) {
        const query = new URLSearchParams({ since: since(), limit: String(ASKED_MAX) });
        for (const id of ids.slice(i, i + ASKED_MAX)) query.append(name, id);
        const { data } = JSON.parse(await askedText(`/v1/traffic/${of}?${query}`, signal)) as { data: readonly Row[] };
        for (const row of data) found.set(of === "apps" ? row.app : (row.endpoint ?? ""), row);
      }
      return found;
    },
    [of, range, ids],
    EVERY_MS,
  );
  if (asked.data !== null) last.current = asked.data;
  return last.current;
}
