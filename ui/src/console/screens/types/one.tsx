/** One event type: its schema as a tree beside the form that publishes it, its examples, and how it came to be so. */

import { useState } from "preact/hooks";
import { useAsked } from "../../../kit/asking";
import { type Exact, writeExact } from "../../../kit/exact";
import { Code } from "../../../kit/json";
import { count } from "../../../kit/numbers";
import { Action, Drawer } from "../../../kit/overlay";
import { at, changed, go, place } from "../../../kit/place";
import { askedExact } from "../../../kit/raw";
import { api, asked } from "../../../kit/request";
import { SchemaTree } from "../../../kit/schematree";
import { Empty, Shown } from "../../../kit/shown";
import { Badge, Copy, Facts, Tabs } from "../../../kit/small";
import type { Params } from "../../../screens/routing";
import { catalogue } from "../../../screens/types/texts";
import { type EventType, typeOf } from "../../../screens/types/type";
import { Versions } from "../../../screens/types/versions";
import { TypeForm } from "./form";
import { Publish } from "./publish";
import { types } from "./texts";
import "./types.css";

export default function OneEventType({ params }: { params: Params }) {
  const texts = types.value;
  const common = catalogue.value;
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
            <Badge>{common.versionOf(count(found.data.version))}</Badge>
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
  const common = catalogue.value;
  return (
    <div class="panels">
      <section class="panel">
        <header>
          <h2>{common.schema}</h2>
          {of.schema !== null && <Copy text={() => writeExact(of.schema, 2)} />}
        </header>
        {of.schema === null ? <p class="hint">{common.noSchema}</p> : <SchemaTree schema={of.schema} />}
        {of.redact.length > 0 && <Facts of={[[texts.redact, of.redact.map((one) => <code key={one}>{one} </code>)]]} />}
      </section>
      <Publish key={of.version} of={of} {...(from === undefined ? {} : { from })} />
    </div>
  );
}

function Examples({ of, use }: { of: EventType; use: (example: Exact) => void }) {
  const texts = types.value;
  const common = catalogue.value;
  if (of.examples.length === 0) return <Empty>{texts.noExamples}</Empty>;
  return (
    <>
      {of.examples.map((one, i) => (
        <section class="panel" key={i}>
          <header>
            <h2>{common.example(count(i + 1))}</h2>
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
