/** The request that an endpoint would be sent of an event, as it is or as it might be. */

import { useEffect, useState } from "preact/hooks";
import { problemOf, useAsked } from "../../../kit/asking";
import { ChoiceField, CodeField, Form, Group, TextField } from "../../../kit/fields";
import { Code } from "../../../kit/json";
import { language } from "../../../kit/language";
import { raw } from "../../../kit/raw";
import { api, asked, type Problem } from "../../../kit/request";
import { ProblemText } from "../../../kit/shown";
import { Badge, Copy, Facts } from "../../../kit/small";
import type { components } from "../../../api/schema";
import { AppField } from "../../picking";
import { EndpointField } from "../../../screens/picking";
import { NO_SAMPLE, Sample } from "./sample";
import { isJsonOrNone, useShared } from "./shared";
import { playground } from "./texts";

type Preview = components["schemas"]["PreviewAnswer"];

const DEFAULTS = { ...NO_SAMPLE, app: "", endpoint: "", profile: "", method: "", format: "", filter: "", transform: "", changes: "" };
const METHODS = ["POST", "PUT", "PATCH", "GET", "DELETE"] as const;

export function Requests() {
  const texts = playground.value;
  const { fields, set, fits, settled } = useShared(DEFAULTS);
  const profiles = useAsked((signal) => asked(api.GET("/v1/profiles", { signal })), []);
  const [found, setFound] = useState<Preview | null>(null);
  const [problem, setProblem] = useState<Problem | null>(null);
  const [busy, setBusy] = useState(false);

  const app = settled.app.trim();
  const endpoint = settled.endpoint.trim();
  const ready = app !== "" && endpoint !== "" && isJsonOrNone(settled.data) && isObject(settled.changes);
  const body = bodyOf(settled);
  useEffect(() => {
    setProblem(null);
    if (!ready) {
      setFound(null);
      return;
    }
    const gone = new AbortController();
    setBusy(true);
    asked(api.POST("/v1/apps/{app}/endpoints/{endpoint}/preview", { params: { path: { app, endpoint } }, ...raw(body), signal: gone.signal })).then(
      (answer) => {
        if (gone.signal.aborted) return;
        setBusy(false);
        setFound(answer);
      },
      (error: unknown) => {
        if (gone.signal.aborted) return;
        setBusy(false);
        setFound(null);
        setProblem(problemOf(error));
      },
    );
    return () => gone.abort();
  }, [app, endpoint, body, ready, language.value]);

  const changing = Boolean(fields.profile || fields.method || fields.format || fields.filter || fields.transform || fields.changes);
  return (
    <Form problem={problem} submit={() => undefined}>
      <div class="panels">
        <section class="panel">
          <div class="fields">
            <AppField name="app" label={texts.app} required value={fields.app} set={(to) => set({ app: to })} />
            <EndpointField name="endpoint" label={texts.endpoint} required app={fields.app} value={fields.endpoint} set={(to) => set({ endpoint: to })} />
          </div>
          <h3>{texts.sample}</h3>
          <Sample fields={fields} set={set} />
          <Group title={texts.changes} hint={texts.changesHint} open={changing}>
            <div class="fields">
              <ChoiceField
                name="changes.profile"
                label={texts.profile}
                value={fields.profile}
                set={(profile) => set({ profile })}
                choices={[
                  ["", texts.asItIs],
                  ...(fields.profile && !profiles.data ? [[fields.profile, fields.profile] as const] : []),
                  ...(profiles.data?.data ?? []).map((one) => [one.name, `${one.name} · ${one.title}`] as const),
                ]}
              />
              <ChoiceField name="changes.method" label={texts.method} value={fields.method} set={(method) => set({ method })} choices={[["", texts.asItIs], ...METHODS.map((one) => [one, one] as const)]} />
              <TextField name="changes.format" label={texts.format} hint={texts.formatHint} value={fields.format} set={(format) => set({ format })} placeholder={texts.asItIs} />
            </div>
            <CodeField name="changes.filter" label={texts.filter} rows={2} value={fields.filter} set={(filter) => set({ filter })} placeholder="event.data.id > 5" />
            <CodeField name="changes.transform" label={texts.transform} rows={2} value={fields.transform} set={(transform) => set({ transform })} placeholder={'{"id": event.data.id}'} />
            <CodeField
              name="changes"
              label={texts.others}
              hint={isObject(fields.changes) ? texts.othersHint : texts.badJson}
              rows={4}
              value={fields.changes}
              set={(changes) => set({ changes })}
              placeholder={'{"headers": {"X-Shop": "42"}}'}
            />
          </Group>
          {!fits && <p class="notice warn">{texts.tooLong}</p>}
        </section>
        <section class="panel" aria-live="polite" aria-busy={busy}>
          <header>
            <h2>{texts.request}</h2>
          </header>
          {problem ? (
            <div class="notice bad" role="alert">
              <ProblemText problem={problem} />
            </div>
          ) : found === null ? (
            <p class="hint">{texts.chooseEndpoint}</p>
          ) : (
            <Shown of={found} />
          )}
        </section>
      </div>
    </Form>
  );
}

function isObject(text: string): boolean {
  if (text.trim() === "") return true;
  try {
    const found: unknown = JSON.parse(text);
    return typeof found === "object" && found !== null && !Array.isArray(found);
  } catch {
    return false;
  }
}

function bodyOf(fields: typeof DEFAULTS): string {
  const own = fields.changes.trim() === "" || !isObject(fields.changes) ? "" : fields.changes.trim().slice(1, -1).trim();
  const changes = [
    ...(fields.profile ? [`"profile":${JSON.stringify(fields.profile)}`] : []),
    ...(fields.method ? [`"method":${JSON.stringify(fields.method)}`] : []),
    ...(fields.format.trim() ? [`"format":${fields.format.trim().startsWith("{") && isJsonOrNone(fields.format) ? fields.format : JSON.stringify(fields.format.trim())}`] : []),
    ...(fields.filter.trim() ? [`"filter":${JSON.stringify(fields.filter)}`] : []),
    ...(fields.transform.trim() ? [`"transform":${JSON.stringify(fields.transform)}`] : []),
    ...(own ? [own] : []),
  ];
  // A stored event is what it is, unless something else was written about it here.
  const stored = fields.event.trim() && !fields.data.trim() && !fields.type.trim();
  return `{${[
    ...(stored ? [`"event":${JSON.stringify(fields.event.trim())}`] : []),
    ...(!stored && fields.type.trim() ? [`"type":${JSON.stringify(fields.type.trim())}`] : []),
    ...(!stored && fields.subject.trim() ? [`"subject":${JSON.stringify(fields.subject.trim())}`] : []),
    ...(!stored && fields.key.trim() ? [`"key":${JSON.stringify(fields.key.trim())}`] : []),
    ...(!stored && fields.data.trim() ? [`"data":${fields.data}`] : []),
    ...(changes.length > 0 ? [`"changes":{${changes.join(",")}}`] : []),
  ].join(",")}}`;
}

function Shown({ of }: { of: Preview }) {
  const texts = playground.value;
  const { request } = of;
  return (
    <>
      <p>
        <Badge tone={of.matches ? "good" : "warn"}>{of.matches ? texts.hears : texts.hearsNot}</Badge> {texts.reasons[of.match_reason]}
      </p>
      {of.filter_error && <p class="notice warn">{of.filter_error}</p>}
      {of.masked && <p class="notice warn">{texts.masked}</p>}
      {of.reason && (
        <div class="notice bad" role="alert">
          <strong>{texts.noRequest}</strong>
          <p>
            <code>{of.reason}</code> {of.error}
          </p>
        </div>
      )}
      {request && (
        <>
          <p class="id">
            <code>
              <strong>{request.method}</strong> {request.url}
            </code>
            <Copy text={request.url} />
          </p>
          {of.steps.length > 0 && <Facts of={[[texts.steps, of.steps.map((one) => texts.stepNames[one]).join(" → ")]]} />}
          <details open>
            <summary>{texts.headersShown}</summary>
            <Code plain text={request.headers.map((one) => `${one.name}: ${one.value}`).join("\n")} label={texts.headersShown} />
          </details>
          <header class="buttons">
            <h3>{texts.bodyShown}</h3>
            <Copy text={request.body ?? request.body_base64 ?? ""} />
          </header>
          {request.body_base64 !== null && <p class="hint">{texts.base64}</p>}
          <Code text={request.body ?? request.body_base64 ?? ""} plain={request.body_base64 !== null} label={texts.bodyShown} />
        </>
      )}
    </>
  );
}
