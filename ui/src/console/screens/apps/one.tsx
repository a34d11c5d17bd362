/** An app: its endpoints, what it may receive, and what it may use. */

import { useState } from "preact/hooks";
import type { components } from "../../../api/schema";
import { useAsked, usePages } from "../../../kit/asking";
import { Code, memberText } from "../../../kit/json";
import { bytes, count, decimal, Time } from "../../../kit/numbers";
import { Action } from "../../../kit/overlay";
import { at, changed, go, place, to } from "../../../kit/place";
import { api, asked, askedText } from "../../../kit/request";
import { Shown } from "../../../kit/shown";
import { Facts, Id, Tabs } from "../../../kit/small";
import type { Params } from "../../../screens/routing";
import { Create } from "../endpoints/create";
import "../../../screens/endpoints/endpoints.css";
import { EndpointList } from "../endpoints/list";
import { EditApp } from "./edit";
import { Grants } from "./grants";
import { known, titleOf } from "../../names";
import { texts } from "./texts";

export type App = components["schemas"]["AppAnswer"];

export default function One({ params }: { params: Params }) {
  const { app = "" } = params;
  const shown = useAsked(
    async (signal) => {
      const text = await askedText(at`/v1/apps/${app}`, signal);
      const found = JSON.parse(text) as App;
      known([found]);
      return { found, metadata: memberText(text, "metadata") ?? "{}" };
    },
    [app],
  );
  return (
    <div class="screen">
      <Shown of={shown}>{({ found, metadata }) => <Found of={found} metadata={metadata} again={shown.again} />}</Shown>
    </div>
  );
}

function Found({ of, metadata, again }: { of: App; metadata: string; again: () => void }) {
  const said = texts.value;
  const [editing, edit] = useState(false);
  return (
    <>
      <header>
        <h1>{titleOf(of)}</h1>
        <span class="grow" />
        <div class="buttons">
          <button type="button" onClick={() => edit(true)}>
            {said.edit}
          </button>
          <Action
            act={async () => {
              await asked(api.DELETE("/v1/apps/{app}", { params: { path: { app: of.id } } }));
              go(to("/apps"));
            }}
            ask={
              <>
                <p>
                  <strong>{titleOf(of)}</strong>
                </p>
                <p>{said.removeAsk}</p>
              </>
            }
            yes={said.remove}
            done={said.removed}
            kind="danger"
          >
            {said.remove}
          </Action>
        </div>
      </header>
      <div class="endpoint-head">
        {of.uid && <Id>{of.uid}</Id>}
        <Id>{of.id}</Id>
        <span class="grow" />
        <a href={to("/events", { app: of.id })}>{said.seeEvents}</a>
        <a href={to("/attempts", { app: of.id })}>{said.seeAttempts}</a>
        <a href={to("/owed", { app: of.id })}>{said.seeOwed}</a>
      </div>
      <Tabs
        tabs={[
          { name: "endpoints", title: said.tabs.endpoints, body: () => <Endpoints of={of} /> },
          { name: "grants", title: said.tabs.grants, body: () => <Grants of={of} /> },
          { name: "about", title: said.tabs.about, body: () => <About of={of} metadata={metadata} /> },
        ]}
      />
      {editing && (
        <EditApp
          app={of.id}
          close={() => edit(false)}
          done={(app) => {
            edit(false);
            again();
            // The address may hold the uid that it had.
            if (app.uid !== of.uid) go(to(at`/apps/${app.id}`), { replace: true });
          }}
        />
      )}
    </>
  );
}

function Endpoints({ of }: { of: App }) {
  const said = texts.value;
  const pages = usePages(
    (cursor, signal) => asked(api.GET("/v1/apps/{app}/endpoints", { params: { path: { app: of.id }, query: cursor ? { cursor } : {} }, signal })),
    [of.id],
  );
  return (
    <>
      <div class="buttons">
        <a class="button" href={changed({ new: 1 })}>
          {said.addEndpoint}
        </a>
      </div>
      <EndpointList of={pages} found={false} withApp={false} />
      {place.value.query.has("new") && <Create app={of.uid ?? of.id} closed={changed({ new: null })} />}
    </>
  );
}

function About({ of, metadata }: { of: App; metadata: string }) {
  const said = texts.value;
  const { publish_per_second, endpoints_max, stored_bytes_max } = of.quotas;
  return (
    <div class="panels">
      <section class="panel">
        <h2>{said.tabs.about}</h2>
        <Facts
          of={[
            [said.created, <Time at={of.created_at} />],
            [said.updated, <Time at={of.updated_at} />],
          ]}
        />
        <h2>{said.quotaTitle}</h2>
        <Facts
          of={[
            [said.quotas.publish_per_second, publish_per_second === null ? said.noLimit : decimal(publish_per_second)],
            [said.quotas.endpoints_max, endpoints_max === null ? said.noLimit : count(endpoints_max)],
            [said.quotas.stored_bytes_max, stored_bytes_max === null ? said.noLimit : bytes(stored_bytes_max)],
          ]}
        />
        <p>
          <a href={to("/audit", { object: of.id })}>{said.seeAudit}</a>
        </p>
      </section>
      <section class="panel">
        <h2>{said.metadata}</h2>
        <Code text={metadata} label={said.metadata} />
      </section>
    </div>
  );
}
