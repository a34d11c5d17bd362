/** One replay, looked at every second while it runs. */

import { useEffect, useRef, useState } from "preact/hooks";
import { useAsked } from "../../kit/asking";
import { count, decimal, seconds, Time } from "../../kit/numbers";
import { Action } from "../../kit/overlay";
import { to } from "../../kit/place";
import { api, asked } from "../../kit/request";
import { Failed, Loading, Missing } from "../../kit/shown";
import { Facts, Id } from "../../kit/small";
import { endpointAt, ofApp, own, several } from "../page";
import type { Params } from "../routing";
import { Bar, EndpointName, goal, isLive, isOver, reason, type Replay, State, told } from "./shared";
import { replays } from "./texts";
import "./replays.css";

const EVERY_MS = 1_000;
const PACE_SAMPLES = 10;

export default function OneReplay({ params }: { params: Params }) {
  const texts = replays.value;
  const apps = several();
  const path = { app: own.value ?? params["app"] ?? "", replay: params["replay"] ?? "" };
  const [live, setLive] = useState(true);
  const found = useAsked((signal) => asked(api.GET("/v1/apps/{app}/replays/{replay}", { params: { path }, signal })), [path], live ? EVERY_MS : undefined);
  const of = found.data;
  useEffect(() => {
    if (of) setLive(isLive(of));
  }, [of?.state]);
  const pace = usePace(of);

  return (
    <div class="screen">
      <header>
        <h1>{texts.one}</h1>
        <Id>{path.replay}</Id>
        {of && <State of={of} />}
        <span class="grow" />
        {of && <Buttons of={of} set={found.set} />}
      </header>
      {found.state === "missing" ? (
        <Missing />
      ) : of ? (
        <>
          {found.state === "failed" && <Failed problem={found.problem} again={found.again} />}
          <section class="panel" aria-live="polite">
            <header>
              <h2>{told(of)}</h2>
              {live && <span class="hint">{texts.live}</span>}
            </header>
            <Bar of={of} />
            {of.reason && <p class="notice warn">{reason(of.reason)}</p>}
          </section>
          <div class="figures">
            <Figure title={texts.selected} value={count(of.progress.selected)} />
            <Figure title={texts.sent} value={count(of.progress.sent)} />
            {!isOver(of) && <Figure title={texts.left} value={left(of)} />}
            {of.state === "running" && <Figure title={texts.rate} value={pace === null ? "—" : texts.perSecond(decimal(pace))} />}
            {of.state === "running" && <Figure title={texts.eta} value={of.eta_seconds === null ? "—" : seconds(of.eta_seconds)} />}
            <Figure title={texts.scanned} value={count(of.progress.scanned)} />
          </div>
          <div class="panels">
            <section class="panel">
              <Facts
                of={[
                  apps && [texts.app, <apps.Title app={of.app} link />],
                  [
                    texts.endpoint,
                    <a href={endpointAt(of.app, of.endpoint)}>
                      <EndpointName app={of.app} endpoint={of.endpoint} />
                    </a>,
                  ],
                  [texts.select, texts.selectsLong[of.select]],
                  [
                    texts.span,
                    <>
                      <Time at={of.since} /> … <Time at={of.until} />
                    </>,
                  ],
                  [texts.types, of.types.length === 0 ? texts.allTypes : of.types.join(", ")],
                  [texts.startedAt, <Time at={of.created_at} />],
                  apps && [texts.startedBy, <apps.Actor object={of.id} action="replay.created" />],
                  of.finished_at !== null && [texts.finishedAt, <Time at={of.finished_at} />],
                ]}
              />
            </section>
            <Outcome of={of} live={live} />
          </div>
        </>
      ) : found.state === "failed" ? (
        <Failed problem={found.problem} again={found.again} />
      ) : (
        <Loading />
      )}
    </div>
  );
}

function Figure({ title, value }: { title: string; value: string }) {
  return (
    <div class="figure">
      <b>{value}</b>
      <span class="faint">{title}</span>
    </div>
  );
}

function left(of: Replay): string {
  const all = goal(of);
  return all === null ? "—" : count(Math.max(0, all - of.progress.sent));
}

/** Events a second, over the last looks. */
function usePace(of: Replay | null): number | null {
  const looks = useRef<{ at: number; sent: number }[]>([]);
  useEffect(() => {
    if (of === null) return;
    looks.current = [...looks.current.slice(1 - PACE_SAMPLES), { at: performance.now(), sent: of.progress.sent }];
  }, [of]);
  const first = looks.current[0];
  const last = looks.current.at(-1);
  if (!first || !last || last.at - first.at < EVERY_MS) return null;
  return ((last.sent - first.sent) / (last.at - first.at)) * 1000;
}

function Buttons({ of, set }: { of: Replay; set: (to: Replay) => void }) {
  const texts = replays.value;
  const params = { params: { path: { app: of.app, replay: of.id } } };
  if (isOver(of)) return null;
  return (
    <span class="buttons">
      {of.state === "paused" ? (
        <Action kind="primary" act={async () => set(await asked(api.POST("/v1/apps/{app}/replays/{replay}/resume", params)))}>
          {texts.resume}
        </Action>
      ) : (
        <Action act={async () => set(await asked(api.POST("/v1/apps/{app}/replays/{replay}/pause", params)))}>{texts.pause}</Action>
      )}
      <Action
        kind="danger"
        ask={<p>{texts.cancelAsk(left(of))}</p>}
        yes={texts.cancelYes}
        act={async () => set(await asked(api.POST("/v1/apps/{app}/replays/{replay}/cancel", params)))}
      >
        {texts.cancel}
      </Action>
    </span>
  );
}

/** What became of the endpoint's attempts since it began; its numbers are by the minute, from counters. */
function Outcome({ of, live }: { of: Replay; live: boolean }) {
  const texts = replays.value;
  const path = { app: of.app, endpoint: of.endpoint };
  const query = { since: of.created_at, ...(of.finished_at ? { until: new Date(new Date(of.finished_at).getTime() + 60_000).toISOString() } : {}) };
  const found = useAsked((signal) => asked(api.GET("/v1/apps/{app}/endpoints/{endpoint}/stats", { params: { path, query }, signal })), [path, query], live ? 3_000 : undefined);
  if (found.data === null) return null;
  const totals = found.data;
  return (
    <section class="panel">
      <header>
        <h2>{texts.outcome}</h2>
        <a href={to("/attempts", { ...ofApp(of.app), endpoint: of.endpoint })}>{texts.attempts}</a>
      </header>
      <Facts
        of={[
          [texts.delivered, count(totals.delivered)],
          [texts.failed, count(totals.failed)],
          [texts.gaveUp, count(totals.gave_up)],
        ]}
      />
      <p class="hint">{texts.outcomeHint}</p>
    </section>
  );
}
