/** What passed lately, for many endpoints, or the like, at once. */

import { useRef } from "preact/hooks";
import type { components } from "../../api/schema";
import { useAsked } from "../../kit/asking";
import { Spark } from "../../kit/charts";
import { compact } from "../../kit/numbers";
import { api, asked } from "../../kit/request";
import { texts } from "./texts";

export type Figures = components["schemas"]["AppTraffic"];

const ASKED_MAX = 50; // by one request
const EVERY_MS = 30_000;

/** What passed of some things since then, by id. */
export type Asking = (some: string[], span: { since: string; limit: number }, signal: AbortSignal) => Promise<readonly (readonly [string, Figures])[]>;

export const ofEndpoints: Asking = async (some, span, signal) =>
  (await asked(api.GET("/v1/traffic/endpoints", { params: { query: { ...span, endpoint: some } }, signal }))).data.map((row) => [row.endpoint, row]);

/** By id; of one that is missing nothing is known yet. */
export function useFigures(ask: Asking, ids: readonly string[], since: () => string, range: string): ReadonlyMap<string, Figures> {
  const last = useRef<ReadonlyMap<string, Figures>>(new Map());
  const found = useAsked(
    async (signal) => {
      const known = new Map<string, Figures>();
      for (let i = 0; i < ids.length; i += ASKED_MAX) {
        const some = ids.slice(i, i + ASKED_MAX);
        for (const [id, row] of await ask(some, { since: since(), limit: ASKED_MAX }, signal)) known.set(id, row);
      }
      return known;
    },
    [range, ids],
    EVERY_MS,
  );
  if (found.data !== null) last.current = found.data;
  return last.current;
}

/** Attempts over the range, a small picture in a row. */
export function Lately({ of }: { of: Figures | undefined }) {
  if (!of) return <span class="faint">—</span>;
  const { delivered, failed } = of.series;
  const all = delivered.map((n, i) => n + (failed[i] ?? 0));
  return <Spark values={all} bad={failed} label={texts.value.spark(compact(of.delivered), compact(of.failed))} />;
}

export function figure(n: number | undefined) {
  return n === undefined ? <span class="faint">—</span> : compact(n);
}
