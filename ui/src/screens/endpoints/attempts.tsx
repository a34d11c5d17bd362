/** What an endpoint was sent lately. */

import type { components } from "../../api/schema";
import { useAsked, usePages } from "../../kit/asking";
import { duration, Time } from "../../kit/numbers";
import { place, to } from "../../kit/place";
import { api, asked } from "../../kit/request";
import { Shown } from "../../kit/shown";
import { ChoiceFilter, Filters, Outcome, rangeOf } from "../../kit/small";
import { type Column, List, Table } from "../../kit/table";
import { kit } from "../../kit/texts";
import { worded, words } from "../attempts/words";
import { ofApp, several } from "../page";
import type { Endpoint } from "./endpoint";
import { texts } from "./texts";

type Attempt = components["schemas"]["AttemptAnswer"];

const OUTCOMES = ["delivered", "failed", "gave_up"] as const;

export function Attempts({ of }: { of: Endpoint }) {
  const said = texts.value;
  const { since, range } = rangeOf();
  const outcome = OUTCOMES.find((one) => one === place.value.query.get("outcome"));
  const pages = usePages(
    (cursor, signal) =>
      asked(
        api.GET("/v1/apps/{app}/attempts", {
          params: { path: { app: of.app }, query: { endpoint: of.id, since: since(), ...(outcome && { outcome }), ...(cursor && { cursor }) } },
          signal,
        }),
      ),
    [of.id, outcome, range],
  );
  return (
    <>
      <Filters names={["outcome"]}>
        <ChoiceFilter name="outcome" label={said.outcome} choices={OUTCOMES.map((one) => [one, kit.value.state[one]] as const)} />
        <span class="grow" />
        <a class="button" href={attemptsAt(of)}>
          {said.allAttempts}
        </a>
      </Filters>
      <List
        of={pages}
        label={said.tabs.attempts}
        id={(row) => row.id}
        link={(row) => attemptsAt(of, row.id)}
        columns={columns()}
        empty={<p>{several() ? said.noAttempts : said.noAttemptsYours}</p>}
      />
    </>
  );
}

const columns = (): readonly Column<Attempt>[] => {
  const said = texts.value;
  return [
    { title: said.time, cell: (row) => <Time at={row.started_at} />, kind: "narrow" },
    { title: said.outcome, cell: (row) => <Outcome of={row.outcome} />, kind: "narrow" },
    { title: said.status, cell: (row) => row.status ?? <span class="faint">—</span>, kind: "number" },
    { title: said.type, cell: (row) => row.type ?? "—", kind: "wide" },
    { title: said.reason, cell: (row) => row.outcome !== "delivered" && <span title={worded(words.value.ended, row.reason)}>{row.reason}</span>, spare: true },
    { title: said.event, cell: (row) => <code>{row.event}</code>, spare: true },
    { title: said.number, cell: (row) => row.attempt, kind: "number", spare: true },
    { title: said.took, cell: (row) => (row.sent ? duration(row.timings.total_ms) : "—"), kind: "number", spare: true },
  ];
};

const LATEST = 5;
const EVERY_MS = 10_000;

/** The last few, for a look in passing. */
export function Latest({ of }: { of: Endpoint }) {
  const said = texts.value;
  const found = useAsked(
    (signal) => asked(api.GET("/v1/apps/{app}/attempts", { params: { path: { app: of.app }, query: { endpoint: of.id, limit: LATEST } }, signal })),
    [of.id],
    EVERY_MS,
  );
  return (
    <section class="panel">
      <header>
        <h2>{said.recent}</h2>
        <a href={attemptsAt(of)}>{said.allAttempts}</a>
      </header>
      <Shown of={found}>
        {({ data }) =>
          data.length === 0 ? (
            <p class="faint">{said.noAttemptsYours}</p>
          ) : (
            <Table rows={data} columns={columns()} id={(row) => row.id} link={(row) => attemptsAt(of, row.id)} label={said.recent} />
          )
        }
      </Shown>
    </section>
  );
}

function attemptsAt(of: Endpoint, open?: string): string {
  return to("/attempts", { ...ofApp(of.app), endpoint: of.id, open });
}
