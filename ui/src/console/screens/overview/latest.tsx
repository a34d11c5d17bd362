/** The last attempts that failed or were given up: one step from here to what the target answered. */

import type { components } from "../../../api/schema";
import { useAsked } from "../../../kit/asking";
import { count, Time } from "../../../kit/numbers";
import { to } from "../../../kit/place";
import { api, asked } from "../../../kit/request";
import { Shown } from "../../../kit/shown";
import { Outcome } from "../../../kit/small";
import { type Column, Table } from "../../../kit/table";
import { texts } from "./texts";

type Attempt = components["schemas"]["AttemptAnswer"];

const EVERY_MS = 10_000;
const ROWS = 10;

export function LatestFailures({ since, range }: { since: () => string; range: string }) {
  const said = texts.value;
  const found = useAsked(
    async (signal) => {
      const of = (outcome: "failed" | "gave_up") =>
        asked(api.GET("/v1/attempts", { params: { query: { since: since(), outcome, limit: ROWS } }, signal }));
      const [failed, gaveUp] = await Promise.all([of("failed"), of("gave_up")]);
      return [...failed.data, ...gaveUp.data].sort((a, b) => (a.id < b.id ? 1 : -1)).slice(0, ROWS);
    },
    [range],
    EVERY_MS,
  );
  const columns: Column<Attempt>[] = [
    { title: said.when, kind: "narrow", cell: (row) => <Time at={row.started_at} relative /> },
    { title: said.endpoint, kind: "wide", cell: (row) => row.url },
    { title: said.type, cell: (row) => row.type ?? "—", spare: true },
    { title: said.number, kind: "number", cell: (row) => count(row.attempt), spare: true },
    { title: said.answer, kind: "number", cell: (row) => row.status ?? "—" },
    { title: said.reason, cell: (row) => row.reason, spare: true },
    { title: said.outcome, kind: "narrow", cell: (row) => <Outcome of={row.outcome} /> },
  ];
  return (
    <section class="panel">
      <header>
        <h2>{said.latest}</h2>
        <a href={to("/attempts", { outcome: "failed", range })}>{said.allFailures}</a>
      </header>
      <Shown of={found}>
        {(rows) =>
          rows.length === 0 ? (
            <p class="faint">{said.noFailures}</p>
          ) : (
            <Table
              rows={rows}
              columns={columns}
              id={(row) => row.id}
              link={(row) => to("/attempts", { app: row.app, endpoint: row.endpoint, outcome: row.outcome, range, open: row.id })}
              label={said.latest}
            />
          )
        }
      </Shown>
    </section>
  );
}
