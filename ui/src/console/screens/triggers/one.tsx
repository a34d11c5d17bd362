/** One trigger: how far it is and how well, what it installs, and what it set aside. */

import { useEffect, useRef, useState } from "preact/hooks";
import { useAsked } from "../../../kit/asking";
import { Chart } from "../../../kit/charts";
import { ChoiceField, Form, TextField } from "../../../kit/fields";
import { Code } from "../../../kit/json";
import { count, instant, seconds, Time } from "../../../kit/numbers";
import { Action, Dialog, Drawer, say } from "../../../kit/overlay";
import { at, changed, go, place, to } from "../../../kit/place";
import { api, asked, base } from "../../../kit/request";
import { useSending } from "../../../kit/sending";
import { Refusal, Shown } from "../../../kit/shown";
import { Copy, Facts, Id, Tabs } from "../../../kit/small";
import type { Params } from "../../../screens/routing";
import { TriggerForm } from "./form";
import { PlanShown } from "./plan";
import { Refusals } from "./refusals";
import { called, reference, retained, State, type Trigger } from "./shared";
import { triggers } from "./texts";
import "./triggers.css";

const EVERY_MS = 2_000;
const SAMPLES_MAX = 600;

export default function OneTrigger({ params }: { params: Params }) {
  const texts = triggers.value;
  const trigger = params["trigger"] ?? "";
  const found = useAsked((signal) => asked(api.GET("/v1/triggers/{trigger}", { params: { path: { trigger } }, signal })), [trigger], EVERY_MS);
  const of = found.data;
  const samples = useSamples(of);
  return (
    <div class="screen">
      <header>
        <h1>{of ? called(of) : trigger}</h1>
        {of && (
          <>
            <Id>{of.id}</Id>
            <State of={of} />
            <span class="grow" />
            <Buttons of={of} set={found.set} />
          </>
        )}
      </header>
      <Shown of={found}>
        {(one) => (
          <>
            {one.failure && (
              <div class="notice bad" role="alert">
                <strong>{texts.failure}</strong>
                <p>{one.failure.detail}</p>
                <p class="hint">
                  <code>{one.failure.code}</code> · {texts.since} <Time at={one.failure.since} /> · {texts.failedTimes(count(one.failure.times))}
                  {one.failure.retry_at && (
                    <>
                      {" · "}
                      {texts.nextTry} <Time at={one.failure.retry_at} relative />
                    </>
                  )}
                </p>
              </div>
            )}
            {one.alarm && (
              <div class="notice warn">
                <strong>{texts.alarm}</strong>
                <p>{one.alarm}</p>
              </div>
            )}
            <Tabs
              tabs={[
                { name: "overview", title: texts.overview, body: () => <Overview of={one} samples={samples} /> },
                { name: "plan", title: texts.plan, body: () => <Plan trigger={one.id} revision={one.updated_at} /> },
                {
                  name: "refusals",
                  title: `${texts.refusals}${one.counts.set_aside > 0 ? ` (${count(one.counts.set_aside)})` : ""}`,
                  body: () => <Refusals trigger={one.id} total={one.counts.set_aside} again={found.again} />,
                },
              ]}
            />
            {place.value.query.has("edit") && (
              <Drawer title={texts.editing(called(one))} closed={changed({ edit: null })}>
                <TriggerForm of={one} saved={found.again} />
              </Drawer>
            )}
          </>
        )}
      </Shown>
    </div>
  );
}

interface Sample {
  readonly at: number;
  readonly seconds: number | null;
  readonly pending: number | null;
}

/** How far behind it was, as often as it was looked at since the page was opened. */
function useSamples(of: Trigger | null): readonly Sample[] {
  const held = useRef<Sample[]>([]);
  useEffect(() => {
    if (of) held.current = [...held.current.slice(1 - SAMPLES_MAX), { at: Date.now() / 1000, seconds: of.lag.seconds, pending: of.lag.pending }];
  }, [of]);
  return held.current;
}

function Figure({ title, value, bad = false }: { title: string; value: string; bad?: boolean }) {
  return (
    <div class={`figure${bad ? " warn" : ""}`}>
      <b>{value}</b>
      <span class="faint">{title}</span>
    </div>
  );
}

function Overview({ of, samples }: { of: Trigger; samples: readonly Sample[] }) {
  const texts = triggers.value;
  const kept = retained(of);
  const timed = samples.some((one) => one.seconds !== null);
  const counted = samples.some((one) => one.pending !== null);
  return (
    <>
      <div class="figures">
        <Figure title={texts.published} value={count(of.counts.published)} />
        <Figure title={texts.lagNow} value={of.lag.seconds === null ? "—" : seconds(of.lag.seconds)} bad={(of.lag.seconds ?? 0) > 60} />
        {of.lag.pending !== null && <Figure title={texts.pending} value={count(of.lag.pending)} />}
        {kept !== null && <Figure title={texts.retained} value={kept} />}
        <a class={`figure${of.counts.set_aside > 0 ? " warn" : ""}`} href={changed({ tab: "refusals" })}>
          <span class="faint">{texts.setAside}</span>
          <b>{count(of.counts.set_aside)}</b>
        </a>
        <Figure title={texts.leftOut} value={count(of.counts.left_out)} />
        <Figure title={texts.repeated} value={count(of.counts.repeated)} />
        {of.kind === "inbound" && <Figure title={texts.unverified} value={count(of.counts.unverified)} bad={of.counts.unverified > 0} />}
      </div>
      <div class="panels">
        <section class="panel">
          <Facts
            of={[
              [texts.kind, <code>{of.kind}</code>],
              of.kind === "inbound" && [
                texts.inboundUrl,
                <span class="id">
                  <code>{`${base}/in/${encodeURIComponent(reference(of))}`}</code>
                  <Copy text={`${base}/in/${encodeURIComponent(reference(of))}`} />
                </span>,
              ],
              of.uid !== null && [texts.uid, <code>{of.uid}</code>],
              [texts.type, /[{}]/.test(of.type) ? <code>{of.type}</code> : <a href={to(at`/types/${of.type}`)}>{of.type}</a>],
              of.subject !== null && [texts.subject, <code>{of.subject}</code>],
              of.key !== null && [texts.key, <code>{of.key}</code>],
              [texts.app, of.app === null ? texts.byGrants : <a href={to(at`/apps/${of.app}`)}>{of.app}</a>],
              of.when !== null && [texts.when, <code>{of.when}</code>],
              of.map !== null && [texts.map, <code>{of.map}</code>],
              [texts.position, of.position === null ? "—" : <code>{of.position}</code>],
              of.generation > 0 && [texts.generation, texts.times(count(of.generation))],
              [texts.publishedAt, <Time at={of.published_at} />],
              [texts.changedAt, <Time at={of.updated_at} />],
            ]}
          />
        </section>
        <section class="panel">
          <h2>{texts.settings}</h2>
          <Code text={JSON.stringify(of.settings)} label={texts.settings} />
        </section>
        {(timed || counted) && (
          <section class="panel">
            <h2>{texts.lagChart}</h2>
            <Chart
              label={texts.lagChart}
              times={samples.map((one) => one.at)}
              series={
                counted && !timed
                  ? [{ title: texts.rows, colour: "calm", values: samples.map((one) => one.pending), fill: true }]
                  : [{ title: texts.seconds, colour: "calm", values: samples.map((one) => one.seconds), fill: true }]
              }
            />
          </section>
        )}
      </div>
    </>
  );
}

function Plan({ trigger, revision }: { trigger: string; revision: string }) {
  const found = useAsked((signal) => asked(api.GET("/v1/triggers/{trigger}/plan", { params: { path: { trigger } }, signal })), [trigger, revision]);
  return <Shown of={found}>{(of) => <PlanShown of={of} />}</Shown>;
}

function Buttons({ of, set }: { of: Trigger; set: (to: Trigger) => void }) {
  const texts = triggers.value;
  const params = { params: { path: { trigger: of.id } } };
  return (
    <span class="buttons">
      {of.enabled ? (
        <Action act={async () => set(await asked(api.POST("/v1/triggers/{trigger}/pause", params)))}>{texts.pause}</Action>
      ) : (
        <Action kind="primary" act={async () => set(await asked(api.POST("/v1/triggers/{trigger}/resume", params)))}>
          {texts.resume}
        </Action>
      )}
      <Rewind of={of} set={set} />
      <a class="button" href={changed({ edit: true })}>
        {texts.edit}
      </a>
      <Delete of={of} />
    </span>
  );
}

function Rewind({ of, set }: { of: Trigger; set: (to: Trigger) => void }) {
  const texts = triggers.value;
  const [open, setOpen] = useState(false);
  const [where, setWhere] = useState<"start" | "time">("time");
  const [time, setTime] = useState("");
  const { busy, problem, send } = useSending();
  const moment = instant(time);
  const ready = where === "start" || moment !== null;
  const rewind = async () => {
    if (!ready || busy) return;
    await send(async () => {
      set(await asked(api.POST("/v1/triggers/{trigger}/rewind", { params: { path: { trigger: of.id } }, body: where === "start" ? {} : { to: moment } })));
      say(texts.rewound);
      setOpen(false);
    });
  };
  return (
    <>
      <button type="button" onClick={() => setOpen(true)}>
        {texts.rewind}
      </button>
      {open && (
        <Dialog title={texts.rewind} close={() => setOpen(false)}>
          <Form problem={problem} submit={() => void rewind()}>
            <p>{texts.rewindAsk}</p>
            <ChoiceField
              name="where"
              label={texts.rewindTo}
              value={where}
              set={setWhere}
              choices={[
                ["time", texts.rewindTime],
                ["start", texts.rewindStart],
              ]}
            />
            {where === "time" && <TextField name="to" label={texts.rewindTime} type="datetime-local" required value={time} set={setTime} />}
            <Refusal of={problem} />
            <footer>
              <button type="submit" class="danger" disabled={!ready || busy} aria-busy={busy}>
                {texts.rewindYes}
              </button>
            </footer>
          </Form>
        </Dialog>
      )}
    </>
  );
}

function Delete({ of }: { of: Trigger }) {
  const texts = triggers.value;
  const force = useRef<HTMLInputElement>(null);
  return (
    <Action
      kind="danger"
      done={texts.deleted}
      ask={
        <>
          <p>{texts.deleteAsk}</p>
          <label class="buttons">
            <input type="checkbox" ref={force} />
            {texts.deleteForce}
          </label>
        </>
      }
      act={async () => {
        const query = force.current?.checked ? { force: true } : {};
        await asked(api.DELETE("/v1/triggers/{trigger}", { params: { path: { trigger: of.id }, query } }));
        go(to("/triggers"));
      }}
    >
      {texts.delete}
    </Action>
  );
}
