/** Whom the event would reach today and why nobody else; asked for when somebody wants to know, since filters are evaluated for it. */

import { useState } from "preact/hooks";
import { useAsked } from "../../kit/asking";
import { Action } from "../../kit/overlay";
import { api, asked } from "../../kit/request";
import { Shown } from "../../kit/shown";
import { Badge } from "../../kit/small";
import type { components } from "../../api/schema";
import { AppName, EndpointName } from "../names";
import { several } from "../page";
import { resend } from "../attempts/sending";
import { worded, words } from "../attempts/words";
import type { Event } from "./one";
import { texts } from "./texts";

type Routing = components["schemas"]["ExplanationAnswer"];

interface Told {
  readonly app: string;
  readonly uid: string | null;
  readonly endpoint: string | null;
  readonly reason: string;
  readonly explanation: string | null;
  readonly reached: boolean;
}

export function Explanation({ event, acted }: { event: Event; acted: () => void }) {
  const said = texts.value;
  const [asked_, ask] = useState(false);
  return (
    <section class="panel">
      <header>
        <h2>{said.explanation}</h2>
        {!asked_ && (
          <button type="button" onClick={() => ask(true)}>
            {said.explain}
          </button>
        )}
      </header>
      {asked_ && (
        <>
          <p class="hint">{several() ? said.explanationHint : said.explanationYours}</p>
          <Routed event={event} acted={acted} />
        </>
      )}
    </section>
  );
}

function Routed({ event, acted }: { event: Event; acted: () => void }) {
  const said = texts.value;
  const found = useAsked<Routing>(
    (signal) => asked(api.GET("/v1/events/{event}/explanation", { params: { path: { event: event.id } }, signal })),
    [event.id],
  );
  const went = new Set(event.routes.map((one) => one.endpoint));
  return (
    <Shown of={found}>
      {(routing) => {
        // Of one app it is its endpoints that are told of, not what it may hear of.
        const all = rows(routing).filter((one) => several() || one.endpoint !== null);
        return (
          <>
            {all.length === 0 && <p class="faint">{said.nobody}</p>}
            <ul class="heard">
              {all.map((one) => (
                <li key={`${one.app} ${one.endpoint}`}>
                  <Badge tone={one.reached ? (one.reason === "matched" || one.reason === "platform_route" ? "good" : "warn") : "plain"}>
                    {worded(words.value.hears, one.reason)}
                  </Badge>
                  <span class="who">
                    {several() && (one.uid ?? <AppName app={one.app} />)}
                    {one.endpoint && (
                      <>
                        {several() && " / "}
                        <EndpointName app={one.app} endpoint={one.endpoint} link />
                      </>
                    )}
                    {one.endpoint && one.reached !== went.has(one.endpoint) && (
                      <>
                        {" "}
                        <Badge tone="calm">{went.has(one.endpoint) ? said.wentThere : said.didNot}</Badge>
                      </>
                    )}
                    {one.explanation && (
                      <p class="faint" lang="en">
                        {one.explanation}
                      </p>
                    )}
                  </span>
                  {one.endpoint && !went.has(one.endpoint) && one.reason !== "disabled" && (
                    <Send app={one.app} endpoint={one.endpoint} event={event.id} acted={acted} />
                  )}
                </li>
              ))}
            </ul>
            {routing.truncated && <p class="hint">{said.explanationCut}</p>}
          </>
        );
      }}
    </Shown>
  );
}

/** To an endpoint that it did not go to; an app only gets what is for it, so the server may refuse. */
function Send({ app, endpoint, event, acted }: { app: string; endpoint: string; event: string; acted: () => void }) {
  const said = texts.value;
  return (
    <Action act={async () => void (await resend({ app, endpoint, event }), acted())} done={said.resent}>
      {said.send}
    </Action>
  );
}

function rows(routing: Routing): Told[] {
  return [
    ...routing.reached.flatMap((app) =>
      app.endpoints.map((one) => ({ app: app.app, uid: app.uid, endpoint: one.endpoint, reason: one.reason, explanation: one.explanation, reached: true })),
    ),
    ...routing.not_reached.map((one) => ({ ...one, reached: false })),
  ];
}
