/** Making a trigger, and changing one. Its settings are a form made from the schema of its kind. */

import { useState } from "preact/hooks";
import { useAsked } from "../../../kit/asking";
import { type Exact, exactOf, type ExactMap, isMap, same, writeExact } from "../../../kit/exact";
import { ChoiceField, CodeField, Form, Group, TextField } from "../../../kit/fields";
import { Action, say } from "../../../kit/overlay";
import { at, changed, go, to } from "../../../kit/place";
import { raw } from "../../../kit/raw";
import { api, asked } from "../../../kit/request";
import { Schema } from "../../../kit/schema";
import { edited, type Edited, ValueEditor } from "../../../kit/schemaform";
import { useSending } from "../../../kit/sending";
import { Refusal, Shown } from "../../../kit/shown";
import type { components } from "../../../api/schema";
import { AppField } from "../../picking";
import { PlanShown } from "./plan";
import { reference, type Trigger } from "./shared";
import { triggers } from "./texts";

type Kind = components["schemas"]["KindAnswer"];
type Plan = components["schemas"]["PlanAnswer"];

export function TriggerForm({ of, saved }: { of: Trigger | null; saved?: () => void }) {
  const kinds = useAsked((signal) => asked(api.GET("/v1/trigger-kinds", { signal })), []);
  return <Shown of={kinds}>{(found) => <Fields of={of} kinds={found.data} {...(saved ? { saved } : {})} />}</Shown>;
}

/** What must be told of a kind, and nothing else: the rest has its defaults. */
function demanded(kind: Kind | undefined): Edited {
  if (!kind) return edited(new Map());
  const schema = exactOf(kind.settings);
  const whole = new Schema(schema);
  const must = whole.node(schema).properties.filter((one) => one.required);
  return edited(new Map(must.map((one) => [one.name, whole.blank(one.schema)])));
}

function Fields({ of, kinds, saved }: { of: Trigger | null; kinds: readonly Kind[]; saved?: () => void }) {
  const texts = triggers.value;
  const [kind, setKind] = useState(of?.kind ?? (kinds.find((one) => one.name === "table") ?? kinds[0])?.name ?? "");
  const known = kinds.find((one) => one.name === kind);
  const before = of ? (exactOf(of.settings) as ExactMap) : null;
  const [settings, setSettings] = useState<Edited>(() => (before ? edited(before) : demanded(known)));
  const [name, setName] = useState(of?.name ?? "");
  const [uid, setUid] = useState(of?.uid ?? "");
  const [type, setType] = useState(of?.type ?? "");
  const [subject, setSubject] = useState(of?.subject ?? "");
  const [key, setKey] = useState(of?.key ?? "");
  const [app, setApp] = useState(of?.app ?? "");
  const [when, setWhen] = useState(of?.when ?? "");
  const [map, setMap] = useState(of?.map ?? "");
  const { busy, problem, send } = useSending();
  const [plan, setPlan] = useState<{ of: string; plan: Plan } | null>(null);

  const titles: Readonly<Record<string, string>> = texts.kinds;
  const optional = (field: string, value: string): string[] => (value.trim() || of ? [`"${field}":${value.trim() ? JSON.stringify(value.trim()) : "null"}`] : []);
  const body = `{${[
    ...(of ? [] : [`"kind":${JSON.stringify(kind)}`]),
    `"type":${JSON.stringify(type.trim())}`,
    ...(name.trim() || of ? [`"name":${JSON.stringify(name.trim())}`] : []),
    ...optional("uid", uid),
    ...optional("subject", subject),
    ...optional("key", key),
    ...optional("app", app),
    ...optional("when", when),
    ...optional("map", map),
    ...settingsText(settings.value, before),
  ].join(",")}}`;
  const ready = settings.valid && type.trim() !== "";

  const save = async () => {
    if (!ready || busy) return;
    await send(async () => {
      const made = of
        ? await asked(api.PATCH("/v1/triggers/{trigger}", { params: { path: { trigger: of.id } }, ...raw(body) }))
        : await asked(api.POST("/v1/triggers", raw(body)));
      say(of ? texts.saved : texts.made);
      saved?.();
      go(to(at`/triggers/${reference(made)}`));
    });
  };

  return (
    <Form problem={problem} submit={() => void save()}>
      {!of && (
        <ChoiceField
          name="kind"
          label={texts.kind}
          value={kind}
          set={(to) => {
            setKind(to);
            setSettings(demanded(kinds.find((one) => one.name === to)));
          }}
          choices={kinds.map((one) => [one.name, titles[one.name] ?? one.name] as const)}
        />
      )}
      <div class="fields">
        <TextField name="name" label={texts.name} value={name} set={setName} />
        <TextField name="uid" label={texts.uid} hint={texts.uidHint} value={uid} set={setUid} />
      </div>
      <TextField name="type" label={texts.type} hint={texts.typeHint} required value={type} set={setType} placeholder={kind === "inbound" ? "order.created" : "order.{op}"} />
      <ValueEditor key={kind} schema={known ? exactOf(known.settings) : null} of={settings} set={setSettings} name="settings" label={texts.settings} rows={8} />
      <p class="hint">{of && texts.settingsHint}</p>
      <Group title={texts.more} open={of !== null && Boolean(of.subject ?? of.key ?? of.app ?? of.when ?? of.map)}>
        <div class="fields">
          <TextField name="subject" label={texts.subject} hint={texts.subjectHint} value={subject} set={setSubject} />
          <TextField name="key" label={texts.key} hint={texts.keyHint} value={key} set={setKey} />
          <AppField name="app" label={texts.app} hint={texts.appHint} value={app} set={setApp} />
        </div>
        <CodeField name="when" label={texts.when} hint={texts.whenHint} rows={2} value={when} set={setWhen} placeholder="event.data.new.total > 100" />
        <CodeField name="map" label={texts.map} hint={texts.mapHint} rows={3} value={map} set={setMap} placeholder='{"subject": "shop:" + string(event.data.new.shop_id)}' />
      </Group>
      <Refusal of={problem} />
      {plan && plan.of === body && (
        <section class="panel" aria-live="polite">
          <PlanShown of={plan.plan} />
        </section>
      )}
      <footer>
        {!of && (
          <Action
            disabled={!ready}
            act={() => send(async () => setPlan({ of: body, plan: await asked(api.POST("/v1/triggers/plan", raw(body))) }))}
          >
            {texts.planFirst}
          </Action>
        )}
        {of && (
          <a class="button" href={changed({ edit: null })}>
            ✕
          </a>
        )}
        <button type="submit" class="primary" disabled={!ready || busy} aria-busy={busy}>
          {of ? texts.save : texts.create}
        </button>
      </footer>
    </Form>
  );
}

/** Of a change only what is another than what was shown: a secret that was not shown is not overwritten by its mask. */
function settingsText(now: Exact, before: ExactMap | null): string[] {
  if (!isMap(now)) return [`"settings":${writeExact(now)}`];
  if (before === null) return [`"settings":${writeExact(now)}`];
  const other = new Map<string, Exact>();
  for (const [name, value] of now) {
    const old = before.get(name);
    if (old === undefined || !same(old, value)) other.set(name, value);
  }
  for (const name of before.keys()) if (!now.has(name)) other.set(name, null);
  return other.size === 0 ? [] : [`"settings":${writeExact(other)}`];
}
