/** What an endpoint was sent lately. */

import { usePages } from "../../../kit/asking";
import { duration, Time } from "../../../kit/numbers";
import { place, to } from "../../../kit/place";
import { api, asked } from "../../../kit/request";
import { ChoiceFilter, Filters, Outcome, rangeOf } from "../../../kit/small";
import { List } from "../../../kit/table";
import { kit } from "../../../kit/texts";
import { worded, words } from "../attempts/words";
import type { Endpoint } from "./endpoint";
import { texts } from "./texts";

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
  const open = (id?: string) => to("/attempts", { app: of.app, endpoint: of.id, open: id });
  return (
    <>
      <Filters names={["outcome"]}>
        <ChoiceFilter name="outcome" label={said.outcome} choices={OUTCOMES.map((one) => [one, kit.value.state[one]] as const)} />
        <span class="grow" />
        <a class="button" href={open()}>
          {said.allAttempts}
        </a>
      </Filters>
      <List
        of={pages}
        label={said.tabs.attempts}
        id={(row) => row.id}
        link={(row) => open(row.id)}
        columns={[
          { title: said.time, cell: (row) => <Time at={row.started_at} />, kind: "narrow" },
          { title: said.outcome, cell: (row) => <Outcome of={row.outcome} />, kind: "narrow" },
          { title: said.status, cell: (row) => row.status ?? <span class="faint">—</span>, kind: "number" },
          { title: said.type, cell: (row) => row.type ?? "—", kind: "wide" },
          { title: said.reason, cell: (row) => row.outcome !== "delivered" && <span title={worded(words.value.ended, row.reason)}>{row.reason}</span>, spare: true },
          { title: said.event, cell: (row) => <code>{row.event}</code>, spare: true },
          { title: said.number, cell: (row) => row.attempt, kind: "number", spare: true },
          { title: said.took, cell: (row) => (row.sent ? duration(row.timings.total_ms) : "—"), kind: "number", spare: true },
        ]}
        empty={<p>{said.noAttempts}</p>}
      />
    </>
  );
}
