/** One attempt in a drawer: what happened in plain words, the request and the answer as they were, and what can be done about it. */

import { type ComponentChildren, Fragment } from "preact";
import { useAsked } from "../../kit/asking";
import { Code } from "../../kit/json";
import { useKeys } from "../../kit/keys";
import { bytes, count, decimal, duration, Time } from "../../kit/numbers";
import { Action, Drawer } from "../../kit/overlay";
import { at, changed, go, to } from "../../kit/place";
import { api, asked } from "../../kit/request";
import { Missing, Shown } from "../../kit/shown";
import { Badge, Copy, Facts, Id, Outcome, Phases } from "../../kit/small";
import type { components } from "../../api/schema";
import "./attempts.css";
import { curl } from "./curl";
import { Due } from "./due";
import { AppName, EndpointName } from "../names";
import { endpointAt, several } from "../page";
import { resend, resendAndSay } from "./sending";
import { texts } from "./texts";
import { worded, words } from "./words";

type Schemas = components["schemas"];
export type Attempt = Schemas["AttemptAnswer"];
type Detail = Schemas["AttemptDetail"];
type Signed = Schemas["SignedAnswer"];
type Header = Schemas["HeaderAnswer"];

/** The attempt that the address opens, beside the list that it is of; j and k go to its neighbours. */
export function AttemptDrawer({ id, ids = [], acted }: { id: string; ids?: readonly string[]; acted?: () => void }) {
  const found = useAsked(() => asked(api.GET("/v1/attempts/{attempt}", { params: { path: { attempt: id } } })), [id]);
  const step = (by: number) => () => {
    const next = ids[ids.indexOf(id) + by];
    if (ids.includes(id) && next !== undefined) go(changed({ open: next }), { replace: true });
  };
  useKeys({
    j: step(1),
    k: step(-1),
    r: () => {
      if (found.data) void resendAndSay(found.data).then((did) => did && acted?.());
    },
  });
  return (
    <Drawer title={found.data ? `${texts.value.attempt(count(found.data.attempt))} · ${found.data.type ?? "—"}` : texts.value.title} closed={changed({ open: null })}>
      <Shown of={found} missing={<Missing />}>
        {(attempt) => <One key={attempt.id} attempt={attempt} acted={acted} />}
      </Shown>
      {ids.length > 1 && <p class="hint">{texts.value.neighbours}</p>}
    </Drawer>
  );
}

function One({ attempt, acted }: { attempt: Detail; acted: (() => void) | undefined }) {
  const said = texts.value;
  return (
    <>
      <section class="attempt-words">
        <p>
          <Outcome of={attempt.outcome} /> {attempt.status !== null && <Badge>{String(attempt.status)}</Badge>} {worded(words.value.ended, attempt.reason)}
        </p>
        {attempt.error && <p class="faint">{attempt.error}</p>}
        <Next attempt={attempt} />
      </section>
      <div class="buttons">
        <Action act={async () => void (await resend(attempt), acted?.())} done={said.resent} kind="primary" title="r">
          {said.resend}
        </Action>
        {attempt.request && (
          <span title={said.curlHint}>
            <Copy text={() => curl(attempt.request as NonNullable<Detail["request"]>)}>{said.curl}</Copy>
          </span>
        )}
        <a class="button" href={to(at`/events/${attempt.event}`)}>
          {said.openEvent}
        </a>
        <a class="button" href={endpointAt(attempt.app, attempt.endpoint)}>
          {said.openEndpoint}
        </a>
        <a class="button" href={endpointAt(attempt.app, attempt.endpoint, { tab: "secret", resend: attempt.event })}>
          {said.openSecret}
        </a>
      </div>
      <Facts
        of={[
          [said.time, <Time at={attempt.started_at} />],
          [said.endpoint, <EndpointName app={attempt.app} endpoint={attempt.endpoint} link />],
          several() && [said.app, <AppName app={attempt.app} link />],
          [said.event, <Id>{attempt.event}</Id>],
          [said.url, <code>{attempt.url}</code>],
          attempt.address ? [said.address, <code>{attempt.address}</code>] : null,
          [said.reason, <code>{attempt.reason}</code>],
          [said.class, attempt.class === "replay" ? said.replay : said.live],
          [said.revision, count(attempt.revision)],
          ["id", <Id>{attempt.id}</Id>],
        ]}
      />
      {attempt.sent && <Timings of={attempt.timings} />}
      {attempt.reaction && <Reaction of={attempt.reaction} />}
      <Part title={said.response}>
        {attempt.response ? (
          <>
            <Headers of={attempt.response.headers} open={attempt.outcome !== "delivered"} />
            <Body text={attempt.response.body} base64={attempt.response.body_base64} label={said.response} />
          </>
        ) : (
          <p class="faint">{said.responseGone}</p>
        )}
      </Part>
      <Part title={said.request}>
        {attempt.request ? (
          <>
            <p class="hint">{said.requestHint}</p>
            <p class="mono wrap">
              {attempt.request.method} {attempt.request.url}
            </p>
            <Headers of={attempt.request.headers} />
            <Body text={attempt.request.body} base64={attempt.request.body_base64} label={said.request} />
          </>
        ) : (
          <p class="faint">{said.requestGone}</p>
        )}
      </Part>
      {attempt.request && (
        <Part title={said.signed}>
          {attempt.signed === null ? (
            <p class="faint">{said.signedUnknown}</p>
          ) : attempt.signed.length === 0 ? (
            <p class="faint">{said.unsigned}</p>
          ) : (
            <>
              <p class="hint">{said.signedHint}</p>
              {attempt.signed.map((one, i) => (
                <SignedBase key={i} of={one} />
              ))}
            </>
          )}
        </Part>
      )}
    </>
  );
}

function Part({ title, children }: { title: ComponentChildren; children: ComponentChildren }) {
  return (
    <section class="part">
      <h3>{title}</h3>
      {children}
    </section>
  );
}

/** What became of the delivery after this attempt: of one that failed, when it is tried again. */
function Next({ attempt }: { attempt: Attempt }) {
  const said = texts.value;
  const event = useAsked(
    async () => {
      if (attempt.outcome === "delivered") return null;
      const { app, endpoint } = attempt;
      const found = await asked(api.GET("/v1/apps/{app}/events/{event}", { params: { path: { app, event: attempt.event } } }));
      return found.routes.find((one) => one.endpoint === endpoint) ?? null;
    },
    [attempt.id],
    attempt.outcome === "failed" ? 15_000 : undefined,
  );
  if (attempt.outcome === "delivered") return <p class="faint">{said.nothingNext}</p>;
  const route = event.data;
  if (event.state !== "ready" || !route) return attempt.outcome === "gave_up" ? <p class="faint">{said.gaveUp}</p> : null;
  const following = count(Math.max(route.attempts, attempt.attempt) + 1);
  return (
    <p class="faint">
      {route.state === "delivered" ? (
        said.laterDelivered(count(route.attempts))
      ) : route.state === "gave_up" ? (
        attempt.outcome === "gave_up" ? said.gaveUp : said.laterGaveUp(count(route.attempts))
      ) : route.state === "in_progress" ? (
        said.underWay
      ) : (
        <>
          {attempt.outcome === "gave_up"
            ? said.owedNow
            : route.reason === "failed"
              ? said.nextAt(following)
              : said.nextWaits(following, worded(words.value.waits, route.reason))}
          {route.due_at && (
            <>
              {" · "}
              <Due at={route.due_at} />
            </>
          )}
        </>
      )}
    </p>
  );
}

function Timings({ of }: { of: Attempt["timings"] }) {
  const said = texts.value;
  const phases = phasesOf(of).map((one) => ({ ...one, title: `${worded(words.value.phases, one.name)}: ${duration(one.ms)}` }));
  return (
    <Part title={said.timings}>
      <Phases of={phases} />
      <ul class="phase-list">
        {phases.map((one) => (
          <li key={one.name}>
            <i class={`phase-swatch phase-${one.name}`} aria-hidden="true" />
            {one.title}
          </li>
        ))}
        <li>
          <strong>
            {said.total}: {duration(of.total_ms)}
          </strong>
        </li>
      </ul>
      {of.connect_ms === null && <p class="hint">{said.reused}</p>}
    </Part>
  );
}

export function phasesOf(of: Attempt["timings"]): { name: "dns" | "connect" | "tls" | "first_byte" | "rest"; ms: number }[] {
  const known = [
    { name: "dns", ms: of.dns_ms },
    { name: "connect", ms: of.connect_ms },
    { name: "tls", ms: of.tls_ms },
    { name: "first_byte", ms: of.first_byte_ms },
  ] as const;
  const found = known.flatMap(({ name, ms }) => (ms === null ? [] : [{ name, ms }]));
  const rest = of.total_ms - found.reduce((sum, one) => sum + one.ms, 0);
  return [...found, ...(rest > 0.0005 ? [{ name: "rest" as const, ms: rest }] : [])];
}

function Headers({ of, open = false }: { of: readonly Header[]; open?: boolean }) {
  if (of.length === 0) return null;
  return (
    <details class="headers" open={open}>
      <summary>{texts.value.headers(count(of.length))}</summary>
      <dl>
        {of.map((one, i) => (
          <div key={i}>
            <dt>{one.name}</dt>
            <dd>{one.value}</dd>
          </div>
        ))}
      </dl>
    </details>
  );
}

function Body({ text, base64, label }: { text: string | null; base64: string | null; label: string }) {
  const said = texts.value;
  if (base64) {
    return (
      <>
        <p class="hint">{said.binary(bytes(Math.floor((base64.replace(/=+$/, "").length * 3) / 4)))}</p>
        <Code text={base64} plain label={label} />
      </>
    );
  }
  if (!text) return <p class="faint">{said.noBody}</p>;
  return (
    <div class="with-copy">
      <Copy text={text} />
      <Code text={text} label={label} />
    </div>
  );
}

function SignedBase({ of }: { of: Signed }) {
  const said = texts.value;
  const shown = of.base ?? of.base_base64;
  const length = of.base === null ? null : new TextEncoder().encode(of.base).length;
  return (
    <div class="signed">
      <p>
        <strong>{said.signedBy(of.kind, of.algorithm ?? "", of.key)}</strong>
      </p>
      <p class="faint">
        {said.writtenTo}{" "}
        {of.written.map((one, i) => (
          <Fragment key={i}>
            {i > 0 && ", "}
            {one.in} <code>{one.name}</code>
          </Fragment>
        ))}
      </p>
      {shown === null ? (
        <p class="faint">{said.signedEncrypted}</p>
      ) : (
        <>
          {!of.exact && <p class="hint">{said.inexact}</p>}
          <div class="with-copy">
            <Copy text={shown} />
            <Code text={shown} plain label={said.signed} />
          </div>
          {length !== null && of.base_bytes !== null && length < of.base_bytes && <p class="hint">{said.signedCut(bytes(length), bytes(of.base_bytes))}</p>}
        </>
      )}
    </div>
  );
}

function Reaction({ of }: { of: NonNullable<Attempt["reaction"]> }) {
  const said = texts.value;
  return (
    <Part title={said.reaction}>
      <p>{said.reactionIs(of.rule, of.then)}</p>
      {of.effects.length > 0 && (
        <ul class="effects">
          {of.effects.map((one, i) => (
            <li key={i}>
              <code>{one.then}</code> {one.detail} <Badge tone={one.recorded ? "good" : "warn"}>{one.recorded ? said.done : said.notDone}</Badge> {one.why}
            </li>
          ))}
        </ul>
      )}
    </Part>
  );
}

/** How long, in a cell. */
export function Took({ of }: { of: Attempt }) {
  return <>{of.sent ? `${of.timings.total_ms < 10 ? decimal(of.timings.total_ms) : count(of.timings.total_ms)} ms` : "—"}</>;
}
