/** An endpoint: how it is, what it was sent, what it is owed, and all that can be set of it. */

import type { ComponentType } from "preact";
import { useState } from "preact/hooks";
import { useAsked } from "../../kit/asking";
import { Action } from "../../kit/overlay";
import { go, place } from "../../kit/place";
import { api, asked } from "../../kit/request";
import { Shown } from "../../kit/shown";
import { Id, RangePicker, Tabs } from "../../kit/small";
import { endpointsAt, own, several } from "../page";
import type { Params } from "../routing";
import { Attempts } from "./attempts";
import "./endpoints.css";
import { type Endpoint, State } from "./endpoint";
import { Overview } from "./overview";
import { Owed } from "./owed";
import { CreateReplay } from "../replays/create";
import { Revisions } from "./revisions";
import { Secret } from "./secret";
import { type Setting, Settings } from "./settings";
import { texts } from "./texts";
import { Test } from "./trial";

const EVERY_MS = 10_000;
const TIMED = new Set([null, "overview", "attempts"]);

interface Showing {
  /** null: all of the settings, as they are grouped. */
  readonly setting: Setting | null;
  /** Whether the latest attempts stand on the first tab. */
  readonly latest: boolean;
  /** What is told below its secret. */
  readonly Below?: ComponentType<{ of: Endpoint }>;
}

export function EndpointScreen({ params, ...showing }: { params: Params } & Showing) {
  const { endpoint = "" } = params;
  const app = own.value ?? params["app"] ?? "";
  const path = { path: { app, endpoint } };
  const shown = useAsked((signal) => asked(api.GET("/v1/apps/{app}/endpoints/{endpoint}", { params: path, signal })), [app, endpoint], EVERY_MS);
  return (
    <div class="screen">
      <Shown of={shown}>{(found) => <Found of={found} changed={shown.again} {...showing} />}</Shown>
    </div>
  );
}

function Found({ of, changed, setting, latest, Below }: { of: Endpoint; changed: () => void } & Showing) {
  const said = texts.value;
  const apps = several();
  const [over, open] = useState<"test" | "replay" | null>(null);
  const params = { path: { app: of.app, endpoint: of.id } };
  const then = (act: Promise<unknown>) => act.then(changed);
  return (
    <>
      <header>
        <h1>{of.url}</h1>
        <State of={of} />
        <span class="grow" />
        {TIMED.has(place.value.query.get("tab")) && <RangePicker />}
      </header>
      <div class="endpoint-head">
        {apps && (
          <span>
            {said.ofApp} <apps.Title app={of.app} link />
          </span>
        )}
        {of.uid && <Id>{of.uid}</Id>}
        <Id>{of.id}</Id>
        {of.description && <span class="faint">{of.description}</span>}
      </div>
      <div class="buttons">
        <button type="button" onClick={() => open("test")}>
          {said.test}
        </button>
        {of.enabled &&
          (of.paused ? (
            <Action act={() => then(asked(api.POST("/v1/apps/{app}/endpoints/{endpoint}/resume", { params })))} done={said.resumed} kind="primary">
              {said.resume}
            </Action>
          ) : (
            <Action act={() => then(asked(api.POST("/v1/apps/{app}/endpoints/{endpoint}/pause", { params })))} done={said.paused}>
              {said.pause}
            </Action>
          ))}
        {of.enabled ? (
          <Action
            act={() => then(asked(api.PATCH("/v1/apps/{app}/endpoints/{endpoint}", { params, body: { enabled: false } })))}
            ask={<p>{said.disableAsk}</p>}
            yes={said.disable}
            done={said.disabled}
          >
            {said.disable}
          </Action>
        ) : (
          <Action act={() => then(asked(api.PATCH("/v1/apps/{app}/endpoints/{endpoint}", { params, body: { enabled: true } })))} done={said.enabled} kind="primary">
            {said.enable}
          </Action>
        )}
        {of.handshake !== null && (
          <Action act={() => then(asked(api.POST("/v1/apps/{app}/endpoints/{endpoint}/verify", { params })))}>{said.verify}</Action>
        )}
        <button type="button" onClick={() => open("replay")}>
          {said.replay}
        </button>
        <Action
          act={async () => {
            await asked(api.DELETE("/v1/apps/{app}/endpoints/{endpoint}", { params }));
            go(endpointsAt());
          }}
          ask={
            <>
              <p>
                <code>{of.url}</code>
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
      <Tabs
        tabs={[
          { name: "overview", title: said.tabs.overview, body: () => <Overview of={of} latest={latest} /> },
          { name: "attempts", title: said.tabs.attempts, body: () => <Attempts of={of} /> },
          { name: "owed", title: said.tabs.owed, body: () => <Owed of={of} /> },
          { name: "settings", title: said.tabs.settings, body: () => <Settings app={of.app} endpoint={of.id} updated={of.updated_at} setting={setting} changed={changed} /> },
          {
            name: "secret",
            title: said.tabs.secret,
            body: () => (
              <>
                <Secret of={of} changed={changed} />
                {Below && <Below of={of} />}
              </>
            ),
          },
          { name: "revisions", title: said.tabs.revisions, body: () => <Revisions of={of} /> },
        ]}
      />
      {over === "test" && <Test app={of.app} endpoint={of.id} close={() => open(null)} />}
      {over === "replay" && <CreateReplay app={of.app} endpoint={of.id} chosen close={() => open(null)} />}
    </>
  );
}
