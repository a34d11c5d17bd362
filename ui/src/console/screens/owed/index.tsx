/** What is owed: why, to whom, and when it is tried next; sending it now, or not any more, one by one or all that a filter finds. */

import { useState } from "preact/hooks";
import { useAsked, usePages } from "../../../kit/asking";
import { count, seconds } from "../../../kit/numbers";
import { Action } from "../../../kit/overlay";
import { at, changed, place, to } from "../../../kit/place";
import { api, asked } from "../../../kit/request";
import { ChoiceFilter, Filters } from "../../../kit/small";
import { type Column, List } from "../../../kit/table";
import type { components } from "../../../api/schema";
import type { Params } from "../../../screens/routing";
import { Due } from "../../../screens/attempts/due";
import { AppName } from "../../names";
import { EndpointName, nameOf } from "../../../screens/names";
import { AppFilters } from "../../../screens/attempts/whose";
import { cancel, resend, resendAndSay } from "../../../screens/attempts/sending";
import { worded, words } from "../../../screens/attempts/words";
import { Bulk, type Filter } from "./bulk";
import "./owed.css";
import { texts } from "./texts";

type Delivery = components["schemas"]["DeliveryAnswer"];
type Reason = components["schemas"]["OwedReason"];

const EVERY_MS = 5_000;

export default function Owed(_: { params: Params }) {
  const said = texts.value;
  const query = place.value.query;
  const app = query.get("app");
  const endpoint = app === null ? null : query.get("endpoint");
  const reason = query.get("reason");
  const [bulk, setBulk] = useState<"resend" | "cancel" | null>(null);
  const where = { ...(app ? { app } : {}), ...(endpoint ? { endpoint } : {}) };
  const filter: Filter = { ...where, ...(reason ? { reason } : {}) };

  const pages = usePages<Delivery>(
    (cursor, signal) =>
      asked(
        api.GET("/v1/deliveries", {
          params: { query: { ...where, ...(reason ? { reason: reason as Reason } : {}), ...(cursor ? { cursor } : {}) } },
          signal,
        }),
      ),
    [app, endpoint, reason],
  );
  const reasons = useAsked(
    (signal) => asked(api.GET("/v1/deliveries/reasons", { params: { query: where }, signal })),
    [app, endpoint],
    EVERY_MS,
  );
  const acted = () => {
    pages.again();
    reasons.again();
  };

  const counted = reasons.data?.data ?? [];
  const truncated = reasons.data?.truncated ?? false;
  const all = counted.reduce((sum, one) => sum + one.owed, 0);
  const total = reason === null ? all : (counted.find((one) => one.reason === reason)?.owed ?? 0);
  const number = (n: number) => (truncated ? said.atLeast(count(n)) : count(n));
  const described =
    [app && `${said.app} ${nameOf(app)}`, endpoint && `${said.endpoint} ${nameOf(endpoint)}`, reason && `${said.reason} “${worded(words.value.waits, reason)}”`].filter(Boolean).join(", ") ||
    said.everything;

  return (
    <div class="screen">
      <header>
        <h1>{said.title}</h1>
        <span class="faint grow">{said.hint}</span>
        {pages.rows.length > 0 && (
          <span class="buttons">
            <button type="button" onClick={() => setBulk("resend")}>
              {said.resendAll}
            </button>
            <button type="button" class="danger" onClick={() => setBulk("cancel")}>
              {said.cancelAll}
            </button>
          </span>
        )}
      </header>
      {counted.length > 0 && (
        <div class="figures reasons">
          <a class="figure" href={changed({ reason: null })} aria-current={reason === null ? "true" : undefined}>
            <b>{number(truncated ? all - 1 : all)}</b>
            {said.all}
          </a>
          {counted.map((one) => (
            <a key={one.reason} class={`figure${one.reason === "failed" || one.reason === "blocked" ? " warn" : ""}`} href={changed({ reason: one.reason })} aria-current={reason === one.reason ? "true" : undefined}>
              <b>{number(one.owed)}</b>
              {worded(words.value.waits, one.reason)}
              {one.next_due_at && (
                <small class="faint">
                  {" "}
                  · <Due at={one.next_due_at} />
                </small>
              )}
            </a>
          ))}
        </div>
      )}
      <Filters names={["app", "endpoint", "reason"]}>
        <AppFilters />
        <ChoiceFilter name="reason" label={said.reason} choices={Object.entries(words.value.waits)} />
      </Filters>
      <List
        of={pages}
        columns={columns(acted)}
        id={(one) => `${one.event} ${one.endpoint}`}
        link={(one) => to(at`/events/${one.event}`)}
        label={said.title}
        keys={(one) => ({
          r: () => {
            if (one.app) void resendAndSay({ ...one, app: one.app }).then(acted);
          },
        })}
        empty={<p>{Object.keys(filter).length > 0 ? said.noneOf : said.none}</p>}
      />
      {bulk && (
        <Bulk
          kind={bulk}
          filter={filter}
          described={described}
          total={truncated && reason === null ? all - 1 : total}
          atLeast={truncated}
          close={() => {
            setBulk(null);
            acted();
          }}
        />
      )}
    </div>
  );
}

const columns = (acted: () => void): readonly Column<Delivery>[] => {
  const said = texts.value;
  return [
    {
      title: said.event,
      kind: "narrow",
      cell: (one) => (
        <>
          <code title={one.event}>…{one.event.slice(-8)}</code>
          <span class="row-line faint unspared">
            <EndpointName app={one.app} endpoint={one.endpoint} /> · <AppName app={one.app} />
          </span>
        </>
      ),
    },
    { title: said.type, spare: true, cell: (one) => one.type ?? "—" },
    { title: said.app, spare: true, cell: (one) => <AppName app={one.app} /> },
    { title: said.endpoint, spare: true, cell: (one) => <EndpointName app={one.app} endpoint={one.endpoint} /> },
    { title: said.reason, kind: "wide", cell: (one) => <span class="reason" title={one.reason}>{worded(words.value.waits, one.reason)}</span> },
    { title: said.try, kind: "number", spare: true, cell: (one) => count(one.attempt) },
    { title: said.next, spare: true, cell: (one) => (one.due_at ? <Due at={one.due_at} /> : <span class="faint">{said.after}</span>) },
    {
      title: <span title={said.etaHint}>{said.eta}</span>,
      kind: "number",
      spare: true,
      cell: (one) => (one.eta_seconds === null ? "—" : one.eta_seconds < 1 ? said.now : seconds(one.eta_seconds)),
    },
    {
      title: "",
      kind: "narrow",
      cell: (one) => {
        const { app, event, endpoint } = one;
        return (
          app !== null && (
            <span class="buttons row-buttons">
              <Action act={async () => void (await resend({ app, event, endpoint }), acted())} done={said.resent} title="r">
                {said.resend}
              </Action>
              <Action
                act={async () => void (await cancel({ app, event, endpoint }), acted())}
                done={said.cancelled}
                ask={<p>{said.cancelAsk}</p>}
                yes={said.cancelYes}
                kind="danger"
              >
                {said.cancel}
              </Action>
            </span>
          )
        );
      },
    },
  ];
};
