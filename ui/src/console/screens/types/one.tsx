/** One event type: its schema as a tree beside the form that publishes it, its examples, and how it came to be so. */

import { useState } from "preact/hooks";
import { type Page, useAsked, usePages } from "../../../kit/asking";
import { type Exact, isList, isMap, writeExact } from "../../../kit/exact";
import { Diff } from "../../../kit/diff";
import { Code } from "../../../kit/json";
import { count, Time } from "../../../kit/numbers";
import { Action, Drawer } from "../../../kit/overlay";
import { at, changed, go, place } from "../../../kit/place";
import { askedExact } from "../../../kit/raw";
import { api, asked } from "../../../kit/request";
import { SchemaTree } from "../../../kit/schematree";
import { Empty, Loading, Rest, Shown } from "../../../kit/shown";
import { Badge, Copy, Facts, Tabs } from "../../../kit/small";
import type { Params } from "../../routes";
import { TypeForm, typeOf, type EventType } from "./form";
import { Publish } from "./publish";
import { types } from "./texts";
import "./types.css";

export default function OneEventType({ params }: { params: Params }) {
  const texts = types.value;
  const name = params["type"] ?? "";
  const found = useAsked((signal) => askedExact(at`/v1/event-types/${name}`, signal).then(typeOf), [name]);
  const [from, setFrom] = useState<Exact | undefined>(undefined);
  return (
    <div class="screen">
      <header>
        <h1>{name}</h1>
        {found.data && (
          <>
            <Badge>{texts.visibilities[found.data.visibility]}</Badge>
            <Badge>{texts.versionOf(count(found.data.version))}</Badge>
            {found.data.archived && <Badge tone="warn">{texts.archived}</Badge>}
            <span class="grow" />
            <a class="button" href={changed({ edit: true })}>
              {texts.edit}
            </a>
            {found.data.archived ? (
              <Action
                done={texts.restored}
                act={async () => {
                  await asked(api.PATCH("/v1/event-types/{name}", { params: { path: { name } }, body: { archived: false } }));
                  found.again();
                }}
              >
                {texts.restore}
              </Action>
            ) : (
              <Action
                kind="danger"
                ask={<p>{texts.archiveAsk(name)}</p>}
                yes={texts.archiveYes}
                act={async () => {
                  await asked(api.DELETE("/v1/event-types/{name}", { params: { path: { name } } }));
                  found.again();
                }}
              >
                {texts.archive}
              </Action>
            )}
          </>
        )}
      </header>
      <Shown of={found}>
        {(of) => (
          <>
            {of.description && <p>{of.description}</p>}
            <Tabs
              tabs={[
                { name: "publish", title: texts.tabs.publish, body: () => <Both of={of} {...(from === undefined ? {} : { from })} /> },
                {
                  name: "examples",
                  title: texts.tabs.examples,
                  body: () => (
                    <Examples
                      of={of}
                      use={(example) => {
                        setFrom(example);
                        go(changed({ tab: null }));
                      }}
                    />
                  ),
                },
                { name: "versions", title: texts.tabs.versions, body: () => <Versions of={of} /> },
              ]}
            />
            {place.value.query.has("edit") && (
              <Drawer title={texts.editing(name)} closed={changed({ edit: null })}>
                <TypeForm of={of} saved={found.again} />
              </Drawer>
            )}
          </>
        )}
      </Shown>
    </div>
  );
}

function Both({ of, from }: { of: EventType; from?: Exact }) {
  const texts = types.value;
  return (
    <div class="panels">
      <section class="panel">
        <header>
          <h2>{texts.schema}</h2>
          {of.schema !== null && <Copy text={() => writeExact(of.schema, 2)} />}
        </header>
        {of.schema === null ? <p class="hint">{texts.noSchema}</p> : <SchemaTree schema={of.schema} />}
        {of.redact.length > 0 && <Facts of={[[texts.redact, of.redact.map((one) => <code key={one}>{one} </code>)]]} />}
      </section>
      <Publish key={of.version} of={of} {...(from === undefined ? {} : { from })} />
    </div>
  );
}

function Examples({ of, use }: { of: EventType; use: (example: Exact) => void }) {
  const texts = types.value;
  if (of.examples.length === 0) return <Empty>{texts.noExamples}</Empty>;
  return (
    <>
      {of.examples.map((one, i) => (
        <section class="panel" key={i}>
          <header>
            <h2>{texts.example(count(i + 1))}</h2>
            <span class="buttons">
              <button type="button" onClick={() => use(one)}>
                {texts.useExample}
              </button>
              <Copy text={() => writeExact(one, 2)} />
            </span>
          </header>
          <Code text={writeExact(one)} />
        </section>
      ))}
    </>
  );
}

interface Version {
  readonly version: number;
  readonly schema: Exact;
  readonly created_at: string;
}

function versionsOf(answer: Exact): Page<Version> {
  if (!isMap(answer)) return { data: [], next: null };
  const rows = answer.get("data");
  const next = answer.get("next");
  return {
    data: (isList(rows) ? rows : []).filter(isMap).map((one) => ({
      version: Number(writeExact(one.get("version") ?? null)),
      schema: one.get("schema") ?? null,
      created_at: String(one.get("created_at")),
    })),
    next: typeof next === "string" ? next : null,
  };
}

/** The newest first; each with what is another than in the one before it. */
function Versions({ of }: { of: EventType }) {
  const texts = types.value;
  const found = usePages<Version>(
    (cursor, signal) => askedExact(`${at`/v1/event-types/${of.name}/versions`}?limit=20${cursor ? `&cursor=${encodeURIComponent(cursor)}` : ""}`, signal).then(versionsOf),
    [of.name, of.version],
  );
  if (found.rows.length === 0 && found.state === "loading") return <Loading />;
  return (
    <>
      {found.rows.map((one, i) => {
        const before = found.rows[i + 1];
        const text = one.schema === null ? "" : writeExact(one.schema, 2);
        const old = before === undefined ? "" : before.schema === null ? "" : writeExact(before.schema, 2);
        return (
          <section class="panel" key={one.version}>
            <header>
              <h2>
                {texts.versionOf(count(one.version))} {one.version === of.version && <Badge tone="good">{texts.current}</Badge>}
              </h2>
              <Time at={one.created_at} />
            </header>
            {before === undefined ? (
              found.rest ? null : (
                <details open={found.rows.length === 1}>
                  <summary>{texts.first}</summary>
                  {one.schema === null ? <p class="hint">{texts.noSchema}</p> : <Code text={text} />}
                </details>
              )
            ) : text === old ? (
              <p class="hint">{texts.sameSchema}</p>
            ) : (
              <Diff before={old} after={text} />
            )}
          </section>
        );
      })}
      <Rest of={found} />
    </>
  );
}
