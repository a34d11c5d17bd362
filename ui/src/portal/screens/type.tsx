/** One event type: what its data are, an example of them, and how they have changed. */

import { useAsked } from "../../kit/asking";
import { writeExact } from "../../kit/exact";
import { Code } from "../../kit/json";
import { count } from "../../kit/numbers";
import { at, to } from "../../kit/place";
import { askedExact } from "../../kit/raw";
import { SchemaTree } from "../../kit/schematree";
import { Shown } from "../../kit/shown";
import { Badge, Copy, Tabs } from "../../kit/small";
import type { Params } from "../../screens/routing";
import { catalogue } from "../../screens/types/texts";
import { type EventType, typeOf } from "../../screens/types/type";
import { Versions } from "../../screens/types/versions";
import { portal } from "./texts";

export default function OneEventType({ params }: { params: Params }) {
  const said = portal.value;
  const name = params["type"] ?? "";
  const found = useAsked((signal) => askedExact(at`/v1/event-types/${name}`, signal).then(typeOf), [name]);
  return (
    <div class="screen">
      <header>
        <nav aria-label={catalogue.value.title}>
          <a href={to("/types")}>{catalogue.value.title}</a> /
        </nav>
        <h1>{name}</h1>
        {found.data && <Badge>{catalogue.value.versionOf(count(found.data.version))}</Badge>}
        {found.data?.archived && <Badge tone="warn">{said.archived}</Badge>}
        <span class="grow" />
        {found.data && !found.data.archived && (
          <a class="button" href={to("/add", { type: name })}>
            {said.addFor}
          </a>
        )}
      </header>
      <Shown of={found}>
        {(of) => (
          <>
            {of.description && <p>{of.description}</p>}
            <Tabs
              tabs={[
                { name: "data", title: said.data, body: () => <Data of={of} /> },
                { name: "versions", title: said.versions, body: () => <Versions of={of} /> },
              ]}
            />
          </>
        )}
      </Shown>
    </div>
  );
}

function Data({ of }: { of: EventType }) {
  const texts = catalogue.value;
  return (
    <div class="panels">
      <section class="panel">
        <header>
          <h2>{texts.schema}</h2>
          {of.schema !== null && <Copy text={() => writeExact(of.schema, 2)} />}
        </header>
        {of.schema === null ? <p class="hint">{texts.noSchema}</p> : <SchemaTree schema={of.schema} />}
      </section>
      {of.examples.map((one, i) => (
        <section class="panel" key={i}>
          <header>
            <h2>{texts.example(count(i + 1))}</h2>
            <Copy text={() => writeExact(one, 2)} />
          </header>
          <Code text={writeExact(one)} label={texts.example(count(i + 1))} />
        </section>
      ))}
    </div>
  );
}
