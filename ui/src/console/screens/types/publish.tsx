/** A form made from the schema that publishes an event, and tells beforehand whom it would reach. */

import { useEffect, useRef, useState } from "preact/hooks";
import { type Exact } from "../../../kit/exact";
import { ChoiceField, Form, TextField } from "../../../kit/fields";
import { count } from "../../../kit/numbers";
import { Action, say } from "../../../kit/overlay";
import { at, go, to } from "../../../kit/place";
import { raw } from "../../../kit/raw";
import { api, asked } from "../../../kit/request";
import { Schema } from "../../../kit/schema";
import { edited, type Edited, ValueEditor } from "../../../kit/schemaform";
import { useSending } from "../../../kit/sending";
import { Refusal } from "../../../kit/shown";
import { Table } from "../../../kit/table";
import type { components } from "../../../api/schema";
import { AppField } from "../../picking";
import type { EventType } from "../../../screens/types/type";
import { types } from "./texts";

type Explanation = components["schemas"]["ExplanationAnswer"];

/** What the form begins with: the first example, else what the schema says. */
export function beginning(of: EventType): Exact {
  return of.examples[0] ?? (of.schema === null ? new Map<string, Exact>() : new Schema(of.schema).blank(of.schema));
}

export function Publish({ of, from }: { of: EventType; from?: Exact }) {
  const texts = types.value;
  const [target, setTarget] = useState<"grants" | "app">("grants");
  const [app, setApp] = useState("");
  const [subject, setSubject] = useState("");
  const [key, setKey] = useState("");
  const [data, setData] = useState<Edited>(() => edited(from ?? beginning(of)));
  const { busy, problem, send } = useSending();
  const [reach, setReach] = useState<{ of: string; answer: Explanation } | null>(null);
  useEffect(() => {
    if (from !== undefined) setData(edited(from));
  }, [from]);

  const fields = [`"type":${JSON.stringify(of.name)}`, `"data":${data.text}`];
  if (subject.trim()) fields.push(`"subject":${JSON.stringify(subject.trim())}`);
  if (key.trim()) fields.push(`"key":${JSON.stringify(key.trim())}`);
  const body = `{${fields.join(",")}}`;
  const asking = `${target} ${app} ${body}`;
  const ready = data.valid && !of.archived && (target === "grants" || app.trim() !== "");

  const ask = (dry: boolean) => {
    const query = dry ? { dry_run: true } : {};
    return target === "grants"
      ? asked(api.POST("/v1/events", { params: { query }, ...raw(body) }))
      : asked(api.POST("/v1/apps/{app}/events", { params: { path: { app: app.trim() }, query }, ...raw(body) }));
  };
  const publish = async () => {
    if (!ready || busy) return;
    await send(async () => {
      const made = (await ask(false)) as unknown as { id: string };
      say(texts.published);
      go(to(at`/events/${made.id}`));
    });
  };

  return (
    <section class="panel" id="publish">
      <header>
        <h2>{texts.publish}</h2>
      </header>
      <Form problem={problem} submit={() => void publish()}>
        {of.archived && <p class="notice warn">{texts.isArchived}</p>}
        <div class="fields">
          <ChoiceField
            name="target"
            label={texts.target}
            value={target}
            set={setTarget}
            choices={[
              ["grants", texts.targets.grants],
              ["app", texts.targets.app],
            ]}
          />
          {target === "app" && <AppField name="app" label={texts.app} required value={app} set={setApp} />}
          <TextField name="subject" label={texts.subject} hint={texts.subjectHint} value={subject} set={setSubject} />
          <TextField name="key" label={texts.key} hint={texts.keyHint} value={key} set={setKey} />
        </div>
        <ValueEditor schema={of.schema} of={data} set={setData} name="data" label={texts.data} />
        <Refusal of={problem} />
        <footer>
          <Action disabled={!ready} act={async () => setReach({ of: asking, answer: (await ask(true)) as unknown as Explanation })}>
            {texts.dryRun}
          </Action>
          <button type="submit" class="primary" disabled={!ready || busy} aria-busy={busy}>
            {texts.publishNow}
          </button>
        </footer>
      </Form>
      {reach && reach.of === asking && <Reach of={reach.answer} />}
    </section>
  );
}

/** Whom an event would reach, and why the others not. */
export function Reach({ of }: { of: Explanation }) {
  const texts = types.value;
  const here = useRef<HTMLDivElement>(null);
  useEffect(() => here.current?.scrollIntoView({ block: "nearest" }), [of]);
  const reached = of.reached.flatMap((app) => app.endpoints.map((one) => ({ ...one, app: app.app, app_uid: app.uid })));
  return (
    <div class="reach" aria-live="polite" ref={here}>
      <h3>{reached.length === 0 ? texts.reachedNone : texts.reached(count(reached.length))}</h3>
      {reached.length > 0 && (
        <Table
          label={texts.reached(count(reached.length))}
          rows={reached}
          id={(row) => row.endpoint}
          link={(row) => to(at`/apps/${row.app}/endpoints/${row.endpoint}`)}
          columns={[
            { title: texts.endpoint, cell: (row) => `${row.app_uid ?? row.app} · ${row.uid ?? row.endpoint}` },
            { title: "URL", kind: "wide", cell: (row) => <span title={row.url ?? ""}>{row.url ?? "—"}</span> },
            { title: texts.why, cell: (row) => <span title={row.explanation ?? ""}>{row.reason}</span>, spare: true },
          ]}
        />
      )}
      {of.not_reached.length > 0 && (
        <details open={reached.length === 0}>
          <summary>
            {texts.notReached} ({count(of.not_reached.length)})
          </summary>
          <ul>
            {of.not_reached.map((one, i) => (
              <li key={i}>
                <a href={to(one.endpoint ? at`/apps/${one.app}/endpoints/${one.endpoint}` : at`/apps/${one.app}`)}>
                  {one.uid ?? one.app}
                  {one.endpoint ? ` · ${one.endpoint}` : ` · ${texts.allOf}`}
                </a>
                : {one.explanation}
              </li>
            ))}
          </ul>
        </details>
      )}
      {of.truncated && <p class="hint">{texts.truncated}</p>}
    </div>
  );
}
