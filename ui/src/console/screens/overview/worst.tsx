/** Where it goes worst, by endpoint and by app. Figures lead to the attempts they count. */

import type { ComponentChildren } from "preact";
import type { components } from "../../../api/schema";
import { useAsked } from "../../../kit/asking";
import { Spark } from "../../../kit/charts";
import { compact, count, duration, share } from "../../../kit/numbers";
import { at, to } from "../../../kit/place";
import { api, asked } from "../../../kit/request";
import { Shown } from "../../../kit/shown";
import { type Column, Table } from "../../../kit/table";
import { texts } from "./texts";

type OfApp = components["schemas"]["AppTraffic"];
type OfEndpoint = components["schemas"]["EndpointTraffic"];

const EVERY_MS = 10_000;
const ROWS = 10;

interface Asking {
  readonly since: () => string;
  readonly range: string;
}

export function ByEndpoint({ since, range }: Asking) {
  const said = texts.value;
  const found = useAsked(
    (signal) => asked(api.GET("/v1/traffic/endpoints", { params: { query: { since: since(), limit: ROWS } }, signal })),
    [range],
    EVERY_MS,
  );
  const columns: Column<OfEndpoint>[] = [
    {
      title: said.endpoint,
      kind: "wide",
      cell: (row) => (
        <>
          <span class="row-line" title={row.url ?? row.endpoint}>
            {row.url?.replace(/^https:\/\//, "") ?? row.endpoint}
          </span>
          <span class="row-line faint">{[row.app_name || (row.app_uid ?? row.app), row.uid].filter(Boolean).join(" · ")}</span>
        </>
      ),
    },
    ...figures<OfEndpoint>((row) => ({ app: row.app, endpoint: row.endpoint, range }), (row) => row.uid ?? row.url ?? row.endpoint),
  ];
  return (
    <section class="panel">
      <h2>{said.byEndpoint}</h2>
      <Shown of={found}>
        {({ data }) =>
          data.length === 0 ? (
            <p class="faint">{said.nothing}</p>
          ) : (
            <Table
              rows={data}
              columns={columns}
              id={(row) => row.endpoint}
              link={(row) => to(at`/apps/${row.app}/endpoints/${row.endpoint}`)}
              label={said.byEndpoint}
            />
          )
        }
      </Shown>
    </section>
  );
}

export function ByApp({ since, range }: Asking) {
  const said = texts.value;
  const found = useAsked(
    (signal) => asked(api.GET("/v1/traffic/apps", { params: { query: { since: since(), limit: ROWS } }, signal })),
    [range],
    EVERY_MS,
  );
  const columns: Column<OfApp>[] = [
    { title: said.app, kind: "wide", cell: (row) => row.app_name || (row.app_uid ?? row.app) },
    ...figures<OfApp>((row) => ({ app: row.app, range }), (row) => row.app_uid ?? row.app),
  ];
  return (
    <section class="panel">
      <h2>{said.byApp}</h2>
      <Shown of={found}>
        {({ data }) =>
          data.length === 0 ? (
            <p class="faint">{said.nothing}</p>
          ) : (
            <Table rows={data} columns={columns} id={(row) => row.app} link={(row) => to(at`/apps/${row.app}`)} label={said.byApp} />
          )
        }
      </Shown>
    </section>
  );
}

/** The columns that both have. A figure that is not zero leads to the attempts that it counts. */
function figures<T extends OfApp>(place: (row: T) => Record<string, string>, name: (row: T) => string): Column<T>[] {
  const said = texts.value;
  const linked = (n: number, row: T, outcome: "failed" | "gave_up", label: string): ComponentChildren =>
    n === 0 ? (
      <span class="faint">0</span>
    ) : (
      <a href={to("/attempts", { ...place(row), outcome })} aria-label={label} title={label}>
        {compact(n)}
      </a>
    );
  return [
    {
      title: said.confirmed,
      kind: "number",
      cell: (row) => {
        const all = row.delivered + row.failed + row.gave_up;
        return all === 0 ? "—" : share(row.delivered / all);
      },
    },
    { title: said.delivered, kind: "number", cell: (row) => compact(row.delivered), spare: true },
    { title: said.failed, kind: "number", cell: (row) => linked(row.failed, row, "failed", said.seeFailed(name(row), count(row.failed))) },
    { title: said.gaveUp, kind: "number", cell: (row) => linked(row.gave_up, row, "gave_up", said.seeGaveUp(name(row), count(row.gave_up))) },
    {
      title: said.latency,
      kind: "number",
      spare: true,
      cell: (row) => (row.p50_ms === null || row.p99_ms === null ? "—" : `${duration(row.p50_ms)} / ${duration(row.p99_ms)}`),
    },
    {
      title: said.lately,
      kind: "narrow",
      spare: true,
      cell: (row) => {
        const { delivered, failed, gave_up } = row.series;
        const bad = failed.map((n, i) => n + (gave_up[i] ?? 0));
        return (
          <Spark
            values={delivered.map((n, i) => n + (bad[i] ?? 0))}
            bad={bad}
            label={said.lateFor(count(row.delivered), count(row.failed + row.gave_up))}
          />
        );
      },
    },
  ];
}
