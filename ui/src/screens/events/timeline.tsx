/** Everything that happened to an event, in the order of time: accepted, tried, answered, followed up; and what comes next. */

import type { ComponentChildren } from "preact";
import type { Pages } from "../../kit/asking";
import { clock, count, duration, Time } from "../../kit/numbers";
import { at, changed, to } from "../../kit/place";
import { Rest } from "../../kit/shown";
import { Outcome, type Tone } from "../../kit/small";
import type { components } from "../../api/schema";
import { type Attempt, Took } from "../attempts/detail";
import { Due } from "../attempts/due";
import { AppName, EndpointName } from "../names";
import { several } from "../page";
import { worded, words } from "../attempts/words";
import type { Event, Route } from "./one";
import { texts } from "./texts";

type Effect = components["schemas"]["EventAnswer"];

interface Entry {
  readonly id: string;
  /** Milliseconds since 1970; null comes last: nobody knows when. */
  readonly at: number | null;
  /** Of what has not happened yet: when it is due, where that is known. */
  readonly due?: string | null;
  readonly tone: Tone;
  readonly body: ComponentChildren;
}

const TONES = { delivered: "good", failed: "warn", gave_up: "bad" } as const;

export function Timeline({ event, attempts, effects, open }: { event: Event; attempts: Pages<Attempt>; effects: readonly Effect[]; open: string | null }) {
  const said = texts.value;
  const began = new Date(event.created_at).getTime();
  const entries: Entry[] = [
    ...attempts.rows.map((one) => tried(one, open, event)),
    ...effects.map(followed),
    ...event.routes.filter((one) => one.state === "owed" || one.state === "in_progress").map((one) => owed(one, event)),
  ].sort((a, b) => (a.at ?? Number.POSITIVE_INFINITY) - (b.at ?? Number.POSITIVE_INFINITY) || 0);
  return (
    <>
      <ol class="timeline">
        <Line entry={{ id: "accepted", at: began, tone: "calm", body: <Accepted event={event} /> }} began={began} />
        {attempts.rest && (
          <li class="plain">
            <Rest of={attempts} />
          </li>
        )}
        {entries.map((one) => (
          <Line key={one.id} entry={one} began={began} />
        ))}
        {event.pending && <li class="plain faint">{said.pending}</li>}
      </ol>
    </>
  );
}

function Line({ entry, began }: { entry: Entry; began: number }) {
  return (
    <li class={entry.tone}>
      <span class="when">
        {entry.due !== undefined ? (
          entry.due === null ? (
            <span class="faint">—</span>
          ) : (
            <Due at={entry.due} />
          )
        ) : (
          entry.at !== null && <Time at={new Date(entry.at).toISOString()} />
        )}
        {entry.due === undefined && entry.id !== "accepted" && entry.at !== null && <small class="faint" title={clock(entry.at)}>{texts.value.after(duration(Math.max(0, entry.at - began)))}</small>}
      </span>
      <span class="what">{entry.body}</span>
    </li>
  );
}

function Accepted({ event }: { event: Event }) {
  const said = texts.value;
  return (
    <>
      <strong>{several() === null ? said.accepted : event.app ? said.acceptedFor : said.acceptedByGrants}</strong> {event.app && <AppName app={event.app} />}
      {event.cause && (
        <p class="faint">
          {said.cause} <a href={to(at`/events/${event.cause}`)}>{event.cause}</a>
        </p>
      )}
    </>
  );
}

/** Which endpoint; and whose, where the event went to several apps: they often call theirs alike. */
function Whose({ app, endpoint, event }: { app: string | null; endpoint: string; event: Event }) {
  return (
    <>
      <EndpointName app={app} endpoint={endpoint} />
      {event.app === null && app !== null && several() && (
        <>
          {" · "}
          <AppName app={app} />
        </>
      )}
    </>
  );
}

function tried(one: Attempt, open: string | null, event: Event): Entry {
  return {
    id: one.id,
    at: new Date(one.started_at).getTime(),
    tone: TONES[one.outcome],
    body: (
      <a class="tried" href={changed({ open: one.id })} aria-current={open === one.id ? "true" : undefined}>
        <Outcome of={one.outcome} /> <Whose app={one.app} endpoint={one.endpoint} event={event} />{" "}
        <span class="faint">
          {texts.value.attempt(count(one.attempt))} · {one.status ?? one.reason} · <Took of={one} />
        </span>
        {one.outcome !== "delivered" && <p class="faint">{worded(words.value.ended, one.reason)}</p>}
      </a>
    ),
  };
}

function owed(one: Route, event: Event): Entry {
  const said = texts.value;
  const number = count(one.attempts + 1);
  const what =
    one.state === "in_progress"
      ? said.underWay(number)
      : one.reason === "failed"
        ? said.nextAttempt(number)
        : said.waits(number, worded(words.value.waits, one.reason));
  return {
    id: `owed ${one.endpoint}`,
    due: one.state === "in_progress" ? new Date().toISOString() : one.due_at,
    // What is due has not happened: it comes after all that has.
    at: one.state === "in_progress" ? Date.now() : one.due_at === null ? null : Math.max(Date.now() + 1, new Date(one.due_at).getTime()),
    tone: "plain",
    body: (
      <>
        <Outcome of={one.state} /> <Whose app={one.app} endpoint={one.endpoint} event={event} /> <span class="faint">{what}</span>
      </>
    ),
  };
}

function followed(one: Effect): Entry {
  return {
    id: one.id,
    at: new Date(one.created_at).getTime(),
    tone: "calm",
    body: (
      <>
        {texts.value.chained} <a href={to(at`/events/${one.id}`)}>{one.type}</a> <AppName app={one.app} />
      </>
    ),
  };
}
