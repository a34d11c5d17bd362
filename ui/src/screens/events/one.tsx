/** One event: what it is, where it went and why, and everything that happened to it since. */

import { useEffect, useMemo, useState } from "preact/hooks";
import { type Page, useAsked, usePages } from "../../kit/asking";
import { Code, memberText } from "../../kit/json";
import { bytes, count, Time } from "../../kit/numbers";
import { Action } from "../../kit/overlay";
import { at, place, to } from "../../kit/place";
import { api, asked, askedText } from "../../kit/request";
import { Shown } from "../../kit/shown";
import { Copy, Facts, Id, Outcome } from "../../kit/small";
import { Table } from "../../kit/table";
import type { components } from "../../api/schema";
import type { Params } from "../routing";
import { type Attempt, AttemptDrawer } from "../attempts/detail";
import { Due } from "../attempts/due";
import { AppName, EndpointName } from "../names";
import { endpointAt, several } from "../page";
import { resend } from "../attempts/sending";
import { worded, words } from "../attempts/words";
import "./events.css";
import { Explanation } from "./explanation";
import { texts } from "./texts";
import { Timeline } from "./timeline";

type Schemas = components["schemas"];
export type Event = Omit<Schemas["EventDetail"], "data">;
export type Route = Schemas["RouteAnswer"];

const ROUTES_SHOWN_MAX = 100;
const SOON_MS = 60_000;
const LARGE_BYTES = 65_536;

/** The event, and its data as they were published: the answer's own text, so that no number loses a digit. */
interface Found {
  readonly event: Event;
  readonly data: string | null;
}

export default function One({ params }: { params: Params }) {
  const id = params["event"] ?? "";
  const said = texts.value;
  const [every, setEvery] = useState<number | undefined>(undefined);
  const found = useAsked<Found>(
    async (signal) => {
      const text = await askedText(at`/v1/events/${id}`, signal);
      const event = JSON.parse(text) as Event;
      setEvery(pace(event));
      return { event, data: event.data_base64 === null ? memberText(text, "data") : null };
    },
    [id],
    every,
  );
  const attempts = usePages<Attempt>(
    (cursor, signal): Promise<Page<Attempt>> =>
      asked(api.GET("/v1/events/{event}/attempts", { params: { path: { event: id }, query: { limit: 100, ...(cursor ? { cursor } : {}) } }, signal })),
    [id],
    every,
  );
  const effects = useAsked(
    (signal) => asked(api.GET("/v1/events", { params: { query: { cause: id, limit: 100 } }, signal })),
    [id],
    every,
  );
  // The event may know of an attempt that was made after its attempts were asked for; where all is settled by then, nobody asks again.
  const told = found.data?.event.routes.reduce((sum, one) => sum + one.attempts, 0) ?? 0;
  useEffect(() => {
    if (attempts.state === "ready" && !attempts.rest && attempts.rows.length < told) attempts.again();
  }, [told, attempts.state]);
  const acted = () => {
    found.again();
    attempts.again();
  };
  const open = place.value.query.get("open");
  return (
    <div class="screen">
      <Shown of={found}>
        {({ event, data }) => (
          <>
            <header>
              <nav aria-label={said.events}>
                <a href={to("/events")}>{said.events}</a> /
              </nav>
              <h1>{event.type}</h1>
              <Id>{event.id}</Id>
              <span class="grow" />
              <span class={`live ${every === undefined ? "paused" : "connected"}`} role="status">
                <i aria-hidden="true" />
                {every === undefined ? said.settled : said.alive}
              </span>
            </header>
            <section class="panel">
              <header>
                <h2>{said.waysTitle}</h2>
              </header>
              <Ways event={event} acted={acted} />
            </section>
            <div class="panels">
              <section class="panel">
                <h2>{said.timeline}</h2>
                <Timeline event={event} attempts={attempts} effects={effects.data?.data ?? []} open={open} />
              </section>
              <div class="side">
                <section class="panel">
                  <h2>{said.facts}</h2>
                  <About event={event} />
                </section>
                <section class="panel">
                  <header>
                    <h2>{said.payload}</h2>
                    <Copy text={data ?? event.data_base64 ?? ""} />
                  </header>
                  <Payload key={event.id} event={event} data={data} />
                </section>
              </div>
            </div>
            <Explanation event={event} acted={acted} />
          </>
        )}
      </Shown>
      {open && <AttemptDrawer id={open} ids={attempts.rows.map((one) => one.id)} acted={acted} />}
    </div>
  );
}

/** How often to ask again, in milliseconds: while something will happen soon, often; once all is settled, no more. */
function pace(event: Event): number | undefined {
  const owed = event.routes.filter((one) => one.state === "owed" || one.state === "in_progress");
  if (!event.pending && owed.length === 0) return undefined;
  const soon = event.pending || owed.some((one) => one.state === "in_progress" || (one.due_at !== null && new Date(one.due_at).getTime() - Date.now() < SOON_MS));
  return soon && event.payload_bytes <= LARGE_BYTES ? 2_000 : 15_000;
}

function About({ event }: { event: Event }) {
  const said = texts.value;
  const attributes = Object.entries(event.attributes);
  return (
    <Facts
      of={[
        [said.time, <Time at={event.created_at} />],
        several() && [said.app, event.app ? <AppName app={event.app} link /> : said.byGrants],
        event.subject === null ? null : [said.subject, <a href={to("/events", { subject: event.subject })}>{event.subject}</a>],
        event.key === null ? null : [said.key, <a href={to("/events", { key: event.key })}>{event.key}</a>],
        [said.source, event.source],
        event.channels.length > 0 && [said.channels, event.channels.join(", ")],
        attributes.length > 0 && [said.attributes, attributes.map(([name, value]) => `${name} = ${value}`).join("\n")],
        [said.contentType, event.content_type],
        [said.size, bytes(event.payload_bytes)],
        event.expires_at === null ? null : [said.expires, <Time at={event.expires_at} />],
        event.cause === null ? null : [said.cause, <a href={to(at`/events/${event.cause}`)}>{event.cause}</a>],
        event.depth > 0 && [said.depth, count(event.depth)],
      ]}
    />
  );
}

function Payload({ event, data }: { event: Event; data: string | null }) {
  const said = texts.value;
  const text = useMemo(() => (event.data_base64 === null ? null : readable(event)), [event.data_base64]);
  if (data !== null) return <Code text={data} label={said.payload} />;
  if (!event.data_base64) return <p class="faint">{said.noPayload}</p>;
  const size = bytes(event.payload_bytes);
  return (
    <>
      <p class="hint">{text === null ? said.binary(size, event.content_type) : said.asText(size, event.content_type)}</p>
      <Code text={text ?? event.data_base64} plain label={said.payload} />
    </>
  );
}

/** Bytes that are text, as text. */
function readable(event: Event): string | null {
  if (!/^text\/|[/+](xml|yaml|csv)\b|form-urlencoded/.test(event.content_type)) return null;
  try {
    const raw = Uint8Array.from(atob(event.data_base64 ?? ""), (c) => c.charCodeAt(0));
    return new TextDecoder("utf-8", { fatal: true }).decode(raw);
  } catch {
    return null;
  }
}

function Ways({ event, acted }: { event: Event; acted: () => void }) {
  const said = texts.value;
  if (event.routes.length === 0) return <p class="faint">{event.pending ? said.notYet : said.noWays}</p>;
  return (
    <>
      <Table
        rows={event.routes}
        id={(one) => one.endpoint}
        link={(one) => endpointAt(one.app, one.endpoint)}
        label={said.waysTitle}
        columns={[
          {
            title: said.endpoint,
            cell: (one) => (
              <>
                <span class="row-line">
                  <EndpointName app={one.app} endpoint={one.endpoint} />
                </span>
                <span class="row-line faint">
                  <AppName app={one.app} />
                </span>
              </>
            ),
          },
          { title: said.state, kind: "narrow", cell: (one) => <Outcome of={one.state} /> },
          { title: said.attempts, kind: "number", spare: true, cell: (one) => count(one.attempts) },
          { title: said.why, kind: "wide", spare: true, cell: (one) => <Why of={one} /> },
          { title: said.next, spare: true, cell: (one) => (one.due_at ? <Due at={one.due_at} /> : "") },
          {
            title: "",
            kind: "narrow",
            cell: (one) => (
              <Action act={async () => void (await resend({ ...one, event: event.id }), acted())} done={said.resent}>
                {said.resend}
              </Action>
            ),
          },
        ]}
      />
      {event.routes.length >= ROUTES_SHOWN_MAX && <p class="hint">{said.waysCut(count(ROUTES_SHOWN_MAX))}</p>}
      {event.pending && <p class="hint">{said.pending}</p>}
    </>
  );
}

function Why({ of }: { of: Route }) {
  if (of.state === "delivered") return <></>;
  const table = of.state === "owed" || of.state === "in_progress" ? words.value.waits : words.value.ended;
  return <span title={of.reason}>{worded(table, of.reason)}</span>;
}
