/** What passed lately, for many endpoints or apps at once. */

import { useRef } from "preact/hooks";
import type { components } from "../../../api/schema";
import { useAsked } from "../../../kit/asking";
import { Spark } from "../../../kit/charts";
import { compact } from "../../../kit/numbers";
import { api, asked } from "../../../kit/request";
import { texts } from "./texts";

export type Figures = components["schemas"]["AppTraffic"];

const ASKED_MAX = 50; // by one request
const EVERY_MS = 30_000;

/** By id; of one that is missing nothing is known yet. */
export function useFigures(of: "endpoints" | "apps", ids: readonly string[], since: () => string, range: string): ReadonlyMap<string, Figures> {
  const last = useRef<ReadonlyMap<string, Figures>>(new Map());
  const found = useAsked(
    async (signal) => {
      const known = new Map<string, Figures>();
      for (let i = 0; i < ids.length; i += ASKED_MAX) {
        const some = ids.slice(i, i + ASKED_MAX);
        const span = { since: since(), limit: ASKED_MAX };
        if (of === "apps") {
          const { data } = await asked(api.GET("/v1/traffic/apps", { params: { query: { ...span, app: some } }, signal }));
          for (const row of data) known.set(row.app, row);
        } else {
          const { data } = await asked(api.GET("/v1/traffic/endpoints", { params: { query: { ...span, endpoint: some } }, signal }));
          for (const row of data) known.set(row.endpoint, row);
        }
      }
      return known;
    },
    [of, range, ids],
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
