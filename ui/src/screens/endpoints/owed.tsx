/** What an endpoint is owed: why each waits and until when, with a way to send or cancel it now. */

import type { components } from "../../api/schema";
import { problemOf, usePages } from "../../kit/asking";
import { seconds } from "../../kit/numbers";
import { Action, say } from "../../kit/overlay";
import { at, to } from "../../kit/place";
import { api, asked } from "../../kit/request";
import { List } from "../../kit/table";
import { Due } from "../attempts/due";
import { worded, words } from "../attempts/words";
import type { Endpoint } from "./endpoint";
import { texts } from "./texts";

type Delivery = components["schemas"]["DeliveryAnswer"];

const EVERY_MS = 15_000;

export function Owed({ of }: { of: Endpoint }) {
  const said = texts.value;
  const pages = usePages(
    (cursor, signal) =>
      asked(api.GET("/v1/apps/{app}/deliveries", { params: { path: { app: of.app }, query: { endpoint: of.id, ...(cursor && { cursor }) } }, signal })),
    [of.id],
    EVERY_MS,
  );
  const gone = (row: Delivery) => pages.alter((rows) => rows.filter((one) => one.event !== row.event));
  const params = { path: { app: of.app } };
  const send = async (row: Delivery) => {
    await asked(api.POST("/v1/apps/{app}/deliveries/resend", { params, body: { event: row.event, endpoint: of.id } }));
    gone(row);
  };
  return (
    <List
      of={pages}
      label={said.tabs.owed}
      id={(row) => row.event}
      link={(row) => to(at`/events/${row.event}`)}
      keys={(row) => ({
        r: () =>
          void send(row).then(
            () => say(said.sent),
            (error: unknown) => say(problemOf(error).message, "bad"),
          ),
      })}
      columns={[
        { title: said.event, cell: (row) => <code>{row.event}</code>, kind: "wide" },
        { title: said.type, cell: (row) => row.type ?? "—", spare: true },
        { title: said.reason, cell: (row) => worded(words.value.waits, row.reason), kind: "wide" },
        { title: said.number, cell: (row) => row.attempt, kind: "number", spare: true },
        { title: said.due, cell: (row) => (row.due_at === null ? said.waits : <Due at={row.due_at} />), kind: "narrow" },
        { title: said.eta, cell: (row) => (row.eta_seconds === null ? "—" : seconds(row.eta_seconds)), kind: "number", spare: true },
        {
          title: "",
          kind: "narrow",
          spare: true,
          cell: (row) => (
            <span class="buttons">
              <Action act={() => send(row)} done={said.sent} kind="quiet">
                {said.sendNow}
              </Action>
              <Action
                act={async () => {
                  await asked(api.POST("/v1/apps/{app}/deliveries/cancel", { params, body: { event: row.event, endpoint: of.id } }));
                  gone(row);
                }}
                ask={<p>{said.cancelAsk}</p>}
                yes={said.cancel}
                done={said.cancelled}
                kind="quiet"
              >
                {said.cancel}
              </Action>
            </span>
          ),
        },
      ]}
      empty={<p>{said.nothingOwed}</p>}
    />
  );
}
