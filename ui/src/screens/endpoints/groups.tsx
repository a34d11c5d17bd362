/** The fields of an endpoint, grouped as a person thinks of them. That none is missing is checked by the types. */

import type { ComponentChildren } from "preact";
import { useMemo, useState } from "preact/hooks";
import type { components } from "../../api/schema";
import { useAsked } from "../../kit/asking";
import { ChipsField, PairsField } from "../../kit/chips";
import { ChoiceField, Group, NumberField, SwitchField, TextField } from "../../kit/fields";
import { count, seconds } from "../../kit/numbers";
import { api, asked } from "../../kit/request";
import { delaysOf, delaysText, exponentialDelays } from "./delays";
import { ExpressionField, JsonField, type Sample } from "./rich";
import { texts } from "./texts";
import { type EventType, usePatterns, useTypes } from "./types";

type Patch = components["schemas"]["EndpointPatch"];
type Answer = components["schemas"]["EndpointAnswer"];
export type Field = keyof Patch;
export type GroupName = "what" | "how" | "security" | "counts" | "pace";

export const GROUP_OF: Record<Field, GroupName> = {
  url: "what",
  description: "what",
  uid: "what",
  enabled: "what",
  paused: "what",
  events: "what",
  channels: "what",
  filter: "what",
  on_filter_error: "what",
  filters: "what",
  payload_versions: "what",
  dynamic_url: "what",
  metadata: "what",
  profile: "how",
  profile_settings: "how",
  method: "how",
  format: "how",
  headers: "how",
  query: "how",
  transform: "how",
  compress: "how",
  batch: "how",
  proxy: "how",
  proxy_key: "how",
  source_address: "how",
  signing: "security",
  encryption: "security",
  decrypt_answer: "security",
  auth: "security",
  handshake: "security",
  redact_answer: "security",
  tls: "security",
  ack: "counts",
  on_response: "counts",
  retry: "pace",
  timeouts: "pace",
  max_age: "pace",
  rate_limit: "pace",
  concurrency: "pace",
  ordering: "pace",
  on_exhausted: "pace",
  fallback_urls: "pace",
  equal_urls: "pace",
  balance: "pace",
};

export const FIELDS = Object.keys(GROUP_OF) as readonly Field[];

/** The endpoint as it is being changed. */
export interface Edit {
  value<F extends Field>(field: F): Answer[F];
  set<F extends Field>(field: F, value: Answer[F] | null): void;
  text(field: Field): string;
  setText(field: Field, text: string): void;
  /** Says of a field, or a part of one, whether it cannot be read for now. */
  broken(part: string): (is: boolean) => void;
  changed(field: Field): boolean;
  /** Whether it is set among the others: a page may show it elsewhere, or leave it to the platform. */
  shown(field: Field): boolean;
  /** Names of the endpoint's keys. */
  readonly keys: readonly string[];
}

interface Props {
  readonly edit: Edit;
  readonly sample: Sample | null;
  readonly types: readonly EventType[];
}

export function Groups({ edit, opened, toggle }: { edit: Edit; opened: ReadonlySet<GroupName>; toggle: (name: GroupName, open: boolean) => void }) {
  const said = texts.value;
  const types = useTypes();
  const heard = edit.value("events");
  const sample = useMemo(() => sampleOf(types, heard), [types, heard.join()]);
  const props = { edit, sample, types };
  const bodies: Record<GroupName, () => ComponentChildren> = {
    what: () => <What {...props} />,
    how: () => <How {...props} />,
    security: () => <Security {...props} />,
    counts: () => <Counts {...props} />,
    pace: () => <Pace {...props} />,
  };
  return (
    <>
      {(Object.keys(bodies) as GroupName[]).map((name) => (
        <Group
          key={name}
          title={name === "what" && !edit.shown("url") ? said.narrower : said.groups[name]}
          hint={name === "what" && !edit.shown("url") ? said.narrowerHint : said.groupHints[name]}
          open={opened.has(name)}
          toggled={(open) => toggle(name, open)}
        >
          {bodies[name]()}
        </Group>
      ))}
    </>
  );
}

/** The example of a type that the endpoint hears of, or of any. */
function sampleOf(types: readonly EventType[], heard: readonly string[]): Sample | null {
  const shown = types.filter((one) => one.examples.length > 0);
  const hears = (name: string) => heard.some((one) => one === name || (one.endsWith("*") && name.startsWith(one.slice(0, -1))));
  const chosen = shown.find((one) => hears(one.name)) ?? shown[0];
  return chosen ? { type: chosen.name, data: chosen.examples[0] } : null;
}

function useLabel(edit: Edit): (field: Field) => { name: Field; label: ComponentChildren } {
  const labels = texts.value.fields;
  return (field) => ({ name: field, label: edit.changed(field) ? <span class="edited">{labels[field]} •</span> : labels[field] });
}

/** What is set of one field in several controls. */
function Part({ edit, field, hint, children }: { edit: Edit; field: Field; hint?: ComponentChildren; children: ComponentChildren }) {
  return (
    <fieldset class="part">
      <legend>{useLabel(edit)(field).label}</legend>
      {hint && <p class="hint">{hint}</p>}
      {children}
    </fieldset>
  );
}

function What({ edit, sample, types }: Props) {
  const { hints, choices } = texts.value;
  const label = useLabel(edit);
  const patterns = usePatterns(types);
  return (
    <>
      {edit.shown("url") && <TextField {...label("url")} type="url" value={edit.value("url")} set={(value) => edit.set("url", value)} hint={hints.url} required />}
      <div class="fields">
        {edit.shown("description") && <TextField {...label("description")} value={edit.value("description")} set={(value) => edit.set("description", value)} />}
        <TextField {...label("uid")} value={edit.value("uid") ?? ""} set={(value) => edit.set("uid", value || null)} hint={hints.uid} />
      </div>
      {edit.shown("enabled") && (
        <div class="fields">
          <SwitchField {...label("enabled")} value={edit.value("enabled")} set={(value) => edit.set("enabled", value)} hint={hints.enabled} />
          <SwitchField {...label("paused")} value={edit.value("paused")} set={(value) => edit.set("paused", value)} hint={hints.paused} />
        </div>
      )}
      {edit.shown("events") && (
        <ChipsField {...label("events")} value={edit.value("events")} set={(value) => edit.set("events", value)} suggestions={patterns} hint={hints.events} />
      )}
      <ChipsField {...label("channels")} value={edit.value("channels")} set={(value) => edit.set("channels", value)} hint={hints.channels} />
      <ExpressionField {...label("filter")} use="filter" sample={sample} value={edit.value("filter")} set={(value) => edit.set("filter", value)} hint={hints.filter} placeholder="event.data.total > 100" />
      <ChoiceField
        {...label("on_filter_error")}
        value={edit.value("on_filter_error")}
        set={(value) => edit.set("on_filter_error", value)}
        choices={[
          ["deliver", choices.deliver],
          ["skip", choices.skipEvent],
        ]}
      />
      <Json edit={edit} field="filters" empty="[]" hint={hints.filters} />
      <Json edit={edit} field="payload_versions" empty="{}" hint={hints.payload_versions} placeholder='{"order.created": 3}' />
      <Json edit={edit} field="dynamic_url" hint={hints.dynamic_url} />
      <Json edit={edit} field="metadata" empty="{}" hint={hints.metadata} />
    </>
  );
}

function Json({ edit, field, empty, hint, placeholder, rows = 3 }: { edit: Edit; field: Field; empty?: string; hint?: string; placeholder?: string; rows?: number }) {
  const common = useLabel(edit)(field);
  return (
    <JsonField
      {...common}
      text={edit.text(field)}
      set={(text) => edit.setText(field, text)}
      broken={edit.broken(field)}
      rows={rows}
      hint={`${hint ?? ""} (${texts.value.asJson})`}
      {...(empty && { empty })}
      {...(placeholder && { placeholder })}
    />
  );
}

/** An expression that is all there is to a rule; the server keeps it as an object with it in it. */
function expressionOf(value: unknown): string | null {
  if (typeof value === "string") return value;
  if (typeof value !== "object" || value === null) return null;
  const [[name, text] = [], ...others] = Object.entries(value);
  return others.length === 0 && (name === "when" || name === "data") && typeof text === "string" ? text : null;
}

/** A field that holds nothing, an expression, or an object. */
function RuleField({ edit, sample, field, use, nothing, hint }: { edit: Edit; sample: Sample | null; field: "ack" | "transform"; use: "rule" | "value"; nothing: string; hint: string }) {
  const { choices } = texts.value;
  const value: unknown = edit.value(field);
  const expression = expressionOf(value);
  const [kind, choose] = useState<"none" | "expression" | "object">(value === null ? "none" : expression !== null ? "expression" : "object");
  const common = useLabel(edit)(field);
  return (
    <Part edit={edit} field={field} hint={hint}>
      <ChoiceField
        name={`${field}#kind`}
        label={<span class="unseen">{common.label}</span>}
        value={kind}
        set={(next) => {
          choose(next);
          edit.broken(field)(false);
          edit.set(field, next === "none" ? null : (value as never));
        }}
        choices={[
          ["none", nothing],
          ["expression", choices.expression],
          ["object", choices.object],
        ]}
      />
      {kind === "expression" && (
        <ExpressionField {...common} use={use} sample={sample} value={expression ?? ""} set={(text) => edit.set(field, (text || null) as never)} />
      )}
      {kind === "object" && <JsonField {...common} text={edit.text(field)} set={(text) => edit.setText(field, text)} broken={edit.broken(field)} />}
    </Part>
  );
}

function How({ edit, sample }: Props) {
  const { hints, choices, parts } = texts.value;
  const label = useLabel(edit);
  const profiles = useAsked((signal) => asked(api.GET("/v1/profiles", { signal })), []).data?.data ?? [];
  const profile = edit.value("profile");
  const chosen = profiles.find((one) => one.name === profile);
  const missing = chosen?.keys.map((one) => one.name).filter((name) => !edit.keys.includes(name)) ?? [];
  const settings = edit.value("profile_settings");
  const batch = edit.value("batch");
  return (
    <>
      <ChoiceField
        {...label("profile")}
        value={profile ?? ""}
        set={(value) => edit.set("profile", value || null)}
        choices={[
          ["", choices.noProfile],
          ...profiles.map((one) => [one.name, one.title] as const),
          ...(profile !== null && !chosen ? [[profile, profile] as const] : []),
        ]}
        hint={
          <>
            {chosen?.about ?? hints.profile} {missing.length > 0 && hints.keyNeeded(missing.join(", "))}
          </>
        }
      />
      {chosen && chosen.settings.length > 0 && (
        <Part edit={edit} field="profile_settings">
          {chosen.settings.map((one) => (
            <TextField
              key={one.name}
              name={`profile_settings.${one.name}`}
              label={<code>{one.name}</code>}
              hint={one.about}
              value={settings[one.name] ?? ""}
              placeholder={one.default ?? ""}
              required={one.default === null}
              set={(value) => {
                const { [one.name]: _, ...others } = settings;
                edit.set("profile_settings", value ? { ...settings, [one.name]: value } : others);
              }}
            />
          ))}
        </Part>
      )}
      {!chosen && Object.keys(settings).length > 0 && <PairsField {...label("profile_settings")} value={settings} set={(value) => edit.set("profile_settings", value)} />}
      <div class="fields">
        <ChoiceField
          {...label("method")}
          value={edit.value("method")}
          set={(value) => edit.set("method", value)}
          choices={(["POST", "GET", "PUT", "PATCH", "DELETE"] as const).map((one) => [one, one] as const)}
        />
        <ChoiceField
          {...label("compress")}
          value={edit.value("compress") ?? ""}
          set={(value) => edit.set("compress", value || null)}
          choices={[
            ["", choices.none],
            ["gzip", "gzip"],
          ]}
          hint={hints.compress}
        />
      </div>
      <Format edit={edit} />
      <PairsField {...label("headers")} value={edit.value("headers")} set={(value) => edit.set("headers", value)} hint={hints.headers} />
      <PairsField {...label("query")} value={edit.value("query")} set={(value) => edit.set("query", value)} hint={hints.query} />
      <RuleField edit={edit} sample={sample} field="transform" use="value" nothing={choices.none} hint={hints.transform} />
      <Part edit={edit} field="batch">
        <SwitchField name="batch#on" label={parts.batchOn} value={batch !== null} set={(on) => edit.set("batch", on ? { max_events: 100, max_bytes: 262_144, max_wait_ms: 200 } : null)} />
        {batch !== null && (
          <div class="fields">
            <NumberField name="batch.max_events" label={parts.maxEvents} value={batch.max_events} set={(value) => edit.set("batch", { ...batch, max_events: value ?? 100 })} min={1} max={1000} step={1} />
            <NumberField name="batch.max_bytes" label={parts.maxBytes} value={batch.max_bytes} set={(value) => edit.set("batch", { ...batch, max_bytes: value ?? 262_144 })} min={1024} max={1_048_576} step={1} unit={parts.bytes} />
            <NumberField name="batch.max_wait_ms" label={parts.maxWait} value={batch.max_wait_ms} set={(value) => edit.set("batch", { ...batch, max_wait_ms: value ?? 200 })} min={0} max={2000} step={1} unit="ms" />
          </div>
        )}
      </Part>
      {edit.shown("proxy") && (
        <div class="fields">
          <TextField {...label("proxy")} value={edit.value("proxy") ?? ""} set={(value) => edit.set("proxy", value || null)} hint={hints.proxy} />
          <TextField {...label("proxy_key")} value={edit.value("proxy_key") ?? ""} set={(value) => edit.set("proxy_key", value || null)} hint={hints.proxy_key} />
          <TextField {...label("source_address")} value={edit.value("source_address") ?? ""} set={(value) => edit.set("source_address", value || null)} hint={hints.source_address} />
        </div>
      )}
    </>
  );
}

const FORMATS = ["json", "raw", "xml", "form", "cloudevents"] as const;
type FormatKind = (typeof FORMATS)[number];

function Format({ edit }: { edit: Edit }) {
  const { parts, choices } = texts.value;
  const value = edit.value("format") as FormatKind | { readonly kind: FormatKind };
  const { kind, ...options } = typeof value === "string" ? { kind: value } : value;
  const write = (next: FormatKind, text: string) =>
    edit.setText("format", text === "{}" ? JSON.stringify(next) : `{"kind":${JSON.stringify(next)},${text.slice(text.indexOf("{") + 1)}`);
  return (
    <Part edit={edit} field="format">
      <ChoiceField name="format" label={<span class="unseen">{texts.value.fields.format}</span>} value={kind} set={(next) => write(next, "{}")} choices={FORMATS.map((one) => [one, one] as const)} />
      <JsonField
        key={kind}
        name="format#options"
        label={parts.formatOptions}
        text={JSON.stringify(options)}
        empty="{}"
        set={(text) => write(kind, /^\{\s*\}$/.test(text) ? "{}" : text)}
        broken={edit.broken("format")}
        rows={2}
        placeholder={choices.plainFormat}
      />
    </Part>
  );
}

function Security({ edit }: Props) {
  const { hints, choices, parts } = texts.value;
  const label = useLabel(edit);
  const [custom, setCustom] = useState(edit.value("signing") !== null);
  const masked = edit.value("redact_answer");
  const mask = (body: string[], headers: string[]) => edit.set("redact_answer", body.length + headers.length > 0 ? { body, headers } : null);
  return (
    <>
      <Part edit={edit} field="signing" hint={hints.signing}>
        <ChoiceField
          name="signing#kind"
          label={<span class="unseen">{texts.value.fields.signing}</span>}
          value={custom ? "custom" : "standard"}
          set={(next) => {
            setCustom(next === "custom");
            edit.broken("signing")(false);
            if (next === "standard") edit.set("signing", null);
          }}
          choices={[
            ["standard", choices.standard],
            ["custom", choices.custom],
          ]}
        />
        {custom && <Json edit={edit} field="signing" rows={5} placeholder='[{"kind": "standard"}]' />}
      </Part>
      <Json edit={edit} field="encryption" hint={hints.encryption} />
      <ChoiceField
        {...label("decrypt_answer")}
        value={edit.value("decrypt_answer")}
        set={(value) => edit.set("decrypt_answer", value)}
        choices={(["never", "optional", "required"] as const).map((one) => [one, choices[one]] as const)}
      />
      <Auth edit={edit} />
      <Json edit={edit} field="handshake" hint={hints.handshake} />
      <Json edit={edit} field="tls" hint={hints.tls} placeholder='{"minimum_version": "1.3"}' />
      <Part edit={edit} field="redact_answer">
        <ChipsField name="redact_answer.body" label={parts.bodyPointers} value={masked?.body ?? []} set={(body) => mask(body, masked?.headers ?? [])} placeholder="/access_token" hint={hints.redactBody} />
        <ChipsField name="redact_answer.headers" label={parts.headerNames} value={masked?.headers ?? []} set={(headers) => mask(masked?.body ?? [], headers)} placeholder="Set-Cookie" hint={hints.redactHeaders} />
      </Part>
    </>
  );
}

type AuthKind = "none" | "bearer" | "basic" | "api_key" | "oauth2";

/** What each kind of authentication is asked: its fields, in order, and which may be left empty. */
const AUTH_PARTS = {
  bearer: ["key"],
  basic: ["username", "key"],
  api_key: ["key", "name", "in", "prefix"],
  oauth2: ["token_url", "client_id", "key", "scope", "audience", "style"],
} as const;
const AUTH_SPARE: ReadonlySet<string> = new Set(["prefix", "scope", "audience"]);

function Auth({ edit }: { edit: Edit }) {
  const { choices, parts, hints } = texts.value;
  const value = (edit.value("auth") ?? { kind: "none" }) as Readonly<Record<string, unknown>>;
  const kind = value["kind"] as AuthKind;
  const labels: Readonly<Record<string, string>> = {
    key: parts.key,
    username: parts.username,
    name: parts.keyName,
    prefix: parts.prefix,
    token_url: parts.tokenUrl,
    client_id: parts.clientId,
    scope: parts.scope,
    audience: parts.audience,
  };
  const write = (name: string, text: unknown) => edit.set("auth", { ...value, [name]: text } as never);
  return (
    <Part edit={edit} field="auth">
      <ChoiceField
        name="auth"
        label={<span class="unseen">{texts.value.fields.auth}</span>}
        value={kind}
        set={(next) => edit.set("auth", (next === "none" ? null : { kind: next, ...(next === "api_key" && { in: "header" }), ...(next === "oauth2" && { style: "basic" }) }) as never)}
        choices={(["none", "bearer", "basic", "api_key", "oauth2"] as const).map((one) => [one, choices[one]] as const)}
      />
      {kind !== "none" && (
        <div class="fields">
          {AUTH_PARTS[kind].map((name) => {
            if (name === "in")
              return (
                <ChoiceField
                  key={name}
                  name="auth.in"
                  label={parts.keyIn}
                  value={String(value["in"] ?? "header") as "header" | "query" | "field"}
                  set={(next) => write("in", next)}
                  choices={(["header", "query", "field"] as const).map((one) => [one, choices[one]] as const)}
                />
              );
            if (name === "style")
              return (
                <ChoiceField
                  key={name}
                  name="auth.style"
                  label={parts.style}
                  value={String(value["style"] ?? "basic") as "basic" | "body"}
                  set={(next) => write("style", next)}
                  choices={[
                    ["basic", "Authorization: Basic"],
                    ["body", choices.body],
                  ]}
                />
              );
            return (
              <TextField
                key={name}
                name={`auth.${name}`}
                label={labels[name] ?? name}
                value={String(value[name] ?? "")}
                set={(text) => write(name, text)}
                required={!AUTH_SPARE.has(name)}
                {...(name === "key" && { hint: `${hints.key} ${edit.keys.join(", ")}` })}
              />
            );
          })}
        </div>
      )}
      {kind === "oauth2" &&
        (["params", "tls"] as const).map((name) => (
          <JsonField
            key={name}
            name={`auth.${name}`}
            label={<code>{name}</code>}
            text={JSON.stringify(value[name] ?? null)}
            set={(text) => write(name, JSON.parse(text))}
            broken={edit.broken(`auth.${name}`)}
            rows={2}
          />
        ))}
    </Part>
  );
}

function Counts({ edit, sample }: Props) {
  const { hints, choices } = texts.value;
  return (
    <>
      <RuleField edit={edit} sample={sample} field="ack" use="rule" nothing={choices.status} hint={hints.ack} />
      <Json edit={edit} field="on_response" empty="[]" rows={6} hint={hints.on_response} />
    </>
  );
}

const SCHEDULE = [5, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400];
const EXPONENTIAL = { base: 5, factor: 2, max: 3_600, attempts: 10 };

function Retry({ edit }: { edit: Edit }) {
  const { parts, choices, hints, notDelays } = texts.value;
  const retry = edit.value("retry");
  const exponential = retry.exponential;
  const kind = exponential === null ? "schedule" : "exponential";
  const [typed, type] = useState<string | null>(null);
  const wrong = typed !== null && (delaysOf(typed)?.length ?? 0) === 0 ? notDelays : null;
  const delays = exponential === null ? (retry.schedule ?? []) : exponentialDelays(exponential);
  const grow = (change: Partial<typeof EXPONENTIAL>) => exponential && edit.set("retry", { ...retry, exponential: { ...exponential, ...change } });
  return (
    <Part edit={edit} field="retry" hint={parts.ends(count(delays.length + 1), seconds(delays.reduce((sum, one) => sum + one, 0)))}>
      <ChoiceField
        name="retry#kind"
        label={parts.retryKind}
        value={kind}
        set={(next) => {
          type(null);
          edit.broken("retry.schedule")(false);
          edit.set("retry", { ...retry, schedule: next === "schedule" ? SCHEDULE : null, exponential: next === "exponential" ? EXPONENTIAL : null });
        }}
        choices={[
          ["schedule", choices.schedule],
          ["exponential", choices.exponential],
        ]}
      />
      {exponential === null ? (
        <TextField
          name="retry.schedule"
          label={parts.schedule}
          value={typed ?? delaysText(retry.schedule ?? [])}
          set={(text) => {
            type(text);
            const found = delaysOf(text);
            edit.broken("retry.schedule")(found === null || found.length === 0);
            if (found && found.length > 0) edit.set("retry", { ...retry, schedule: found });
          }}
          hint={hints.schedule}
          wrong={wrong}
        />
      ) : (
        <div class="fields">
          <NumberField name="retry.exponential.base" label={parts.base} value={exponential.base} set={(value) => grow({ base: value ?? EXPONENTIAL.base })} unit={parts.seconds} />
          <NumberField name="retry.exponential.factor" label={parts.factor} value={exponential.factor} set={(value) => grow({ factor: value ?? EXPONENTIAL.factor })} />
          <NumberField name="retry.exponential.max" label={parts.max} value={exponential.max} set={(value) => grow({ max: value ?? EXPONENTIAL.max })} unit={parts.seconds} />
          <NumberField name="retry.exponential.attempts" label={parts.attempts} value={exponential.attempts} set={(value) => grow({ attempts: value ?? EXPONENTIAL.attempts })} step={1} />
        </div>
      )}
      <NumberField name="retry.jitter" label={parts.jitter} value={retry.jitter} set={(value) => edit.set("retry", { ...retry, jitter: value ?? 0.1 })} min={0} max={1} hint={hints.jitter} />
      <JsonField
        name="retry.by_type"
        label={parts.byType}
        text={JSON.stringify(retry.by_type)}
        empty="{}"
        set={(text) => edit.set("retry", { ...retry, by_type: JSON.parse(text) as typeof retry.by_type })}
        broken={edit.broken("retry.by_type")}
        rows={2}
        hint={hints.byType}
        placeholder='{"trade.*": {"schedule": [15, 30, 180]}}'
      />
    </Part>
  );
}

function Pace({ edit }: Props) {
  const { hints, choices, parts } = texts.value;
  const label = useLabel(edit);
  const timeouts = edit.value("timeouts");
  const rate = edit.value("rate_limit");
  return (
    <>
      <Retry edit={edit} />
      <Part edit={edit} field="timeouts">
        <div class="fields">
          <NumberField name="timeouts.connect" label={parts.connect} value={timeouts.connect} set={(value) => edit.set("timeouts", { ...timeouts, connect: value ?? 5 })} unit={parts.seconds} />
          <NumberField name="timeouts.first_byte" label={parts.firstByte} value={timeouts.first_byte} set={(value) => edit.set("timeouts", { ...timeouts, first_byte: value ?? 10 })} unit={parts.seconds} />
          <NumberField name="timeouts.total" label={parts.total} value={timeouts.total} set={(value) => edit.set("timeouts", { ...timeouts, total: value ?? 15 })} unit={parts.seconds} />
        </div>
      </Part>
      <div class="fields">
        <NumberField {...label("max_age")} value={edit.value("max_age")} set={(value) => edit.set("max_age", value)} unit={parts.seconds} placeholder={choices.never} hint={hints.max_age} />
        <NumberField {...label("concurrency")} value={edit.value("concurrency")} set={(value) => edit.set("concurrency", value)} min={1} max={1000} step={1} />
      </div>
      <Part edit={edit} field="rate_limit">
        <div class="fields">
          <NumberField
            name="rate_limit.per_second"
            label={parts.perSecond}
            value={rate?.per_second ?? null}
            set={(value) => edit.set("rate_limit", value === null ? null : ({ per_second: value, ...(rate && { burst: rate.burst }) } as never))}
            placeholder={choices.none}
          />
          <NumberField
            name="rate_limit.burst"
            label={parts.burst}
            value={rate?.burst ?? null}
            set={(value) => rate && edit.set("rate_limit", { ...rate, burst: value } as never)}
            disabled={rate === null}
            step={1}
          />
        </div>
      </Part>
      <div class="fields">
        <ChoiceField
          {...label("ordering")}
          value={edit.value("ordering")}
          set={(value) => edit.set("ordering", value)}
          choices={[
            ["none", choices.orderNone],
            ["endpoint", choices.orderEndpoint],
            ["key", choices.orderKey],
          ]}
          hint={hints.ordering}
        />
        <ChoiceField
          {...label("on_exhausted")}
          value={edit.value("on_exhausted")}
          set={(value) => edit.set("on_exhausted", value)}
          disabled={edit.value("ordering") === "none"}
          choices={[
            ["skip", choices.skip],
            ["block", choices.block],
          ]}
        />
      </div>
      <ChipsField {...label("fallback_urls")} value={edit.value("fallback_urls")} set={(value) => edit.set("fallback_urls", value)} hint={hints.fallback_urls} placeholder="https://" />
      <Json edit={edit} field="equal_urls" empty="[]" hint={hints.equal_urls} />
      <ChoiceField
        {...label("balance")}
        value={edit.value("balance")}
        set={(value) => edit.set("balance", value)}
        choices={[
          ["weighted", choices.weighted],
          ["sticky", choices.sticky],
        ]}
      />
    </>
  );
}
