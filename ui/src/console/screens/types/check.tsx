/** What another schema would break, and whom. */

import { useState } from "preact/hooks";
import { Action } from "../../../kit/overlay";
import { count } from "../../../kit/numbers";
import { at, to } from "../../../kit/place";
import { raw } from "../../../kit/raw";
import { api, asked } from "../../../kit/request";
import { Badge, type Tone } from "../../../kit/small";
import { Table } from "../../../kit/table";
import type { components } from "../../../api/schema";
import { types } from "./texts";

type Answer = components["schemas"]["SchemaCheckAnswer"];
type Verdict = Answer["consumers"];

const TONES: Record<Verdict, Tone> = { safe: "good", unknown: "warn", breaks: "bad" };

/** `schema` is its text; null where it is none. */
export function Check({ name, schema }: { name: string; schema: string | null }) {
  const texts = types.value;
  const [found, setFound] = useState<{ of: string; answer: Answer } | null>(null);
  return (
    <>
      <p>
        <Action
          disabled={schema === null}
          act={async () => {
            if (schema === null) return;
            const answer = await asked(api.POST("/v1/event-types/{name}/check", { params: { path: { name } }, ...raw(`{"schema":${schema}}`) }));
            setFound({ of: schema, answer });
          }}
        >
          {texts.check}
        </Action>
      </p>
      {found && found.of === schema && <Checked of={found.answer} />}
    </>
  );
}

function Says({ verdict }: { verdict: Verdict }) {
  return <Badge tone={TONES[verdict]}>{types.value.verdict[verdict]}</Badge>;
}

function Checked({ of }: { of: Answer }) {
  const texts = types.value;
  return (
    <section class="panel" aria-live="polite">
      <header>
        <h3>{texts.checkTitle(count(of.version))}</h3>
        <span class="buttons">
          <span>
            {texts.consumers} <Says verdict={of.consumers} />
          </span>
          <span>
            {texts.publishers} <Says verdict={of.publishers} />
          </span>
        </span>
      </header>
      {of.changes.length === 0 ? (
        <p class="hint">{texts.noChanges}</p>
      ) : (
        <Table
          label={texts.change}
          rows={of.changes.map((one, i) => ({ ...one, id: String(i) }))}
          id={(row) => row.id}
          columns={[
            { title: texts.where, cell: (row) => <code>{row.path || "·"}</code> },
            { title: texts.change, kind: "wide", cell: (row) => <span title={row.detail}>{row.detail}</span> },
            { title: texts.consumers, kind: "narrow", cell: (row) => <Says verdict={row.consumers} /> },
            { title: texts.publishers, kind: "narrow", cell: (row) => <Says verdict={row.publishers} />, spare: true },
          ]}
        />
      )}
      {of.truncated && <p class="hint">{texts.moreChanges}</p>}
      <p class={of.recent.fit < of.recent.events ? "" : "hint"}>
        {of.recent.events === 0 ? texts.noRecent : texts.recent(count(of.recent.fit), count(of.recent.events))}
      </p>
      {of.recent.errors.length > 0 && (
        <ul>
          {of.recent.errors.map((one) => (
            <li key={one.event + one.path}>
              <a href={to(at`/events/${one.event}`)}>
                <code>{one.event}</code>
              </a>{" "}
              <code>{one.path}</code> {one.detail}
            </li>
          ))}
        </ul>
      )}
      {of.subscribers.total > 0 && (
        <details>
          <summary>{texts.subscribers(of.subscribers.truncated && of.subscribers.total >= 10_000 ? `≥ ${count(of.subscribers.total)}` : count(of.subscribers.total))}</summary>
          <ul>
            {of.subscribers.data.map((one) => (
              <li key={one.endpoint}>
                <a href={to(at`/apps/${one.app}/endpoints/${one.endpoint}`)}>
                  {one.app_uid ?? one.app} · {one.uid ?? one.endpoint}
                </a>{" "}
                <span class="faint">{one.url}</span>
              </li>
            ))}
          </ul>
        </details>
      )}
    </section>
  );
}
