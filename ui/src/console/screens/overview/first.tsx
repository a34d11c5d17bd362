/** For an installation in which nothing was published yet: one press from here to an event on its way. */

import { useState } from "preact/hooks";
import { useAsked } from "../../../kit/asking";
import { Form, TextField } from "../../../kit/fields";
import { at, go, to } from "../../../kit/place";
import { api, asked } from "../../../kit/request";
import { useSending } from "../../../kit/sending";
import { ProblemText } from "../../../kit/shown";
import { texts } from "./texts";

const APP = "sample";
const TYPE = "sample.created";
const ENDPOINT = "first";

export function FirstSteps() {
  const said = texts.value;
  const system = useAsked((signal) => asked(api.GET("/v1/system", { signal })), []);
  const [typed, type] = useState<string | null>(null);
  const { busy, problem, send } = useSending();
  const echo = system.data?.echo_url ?? "";
  const url = typed ?? echo;

  const begin = async () => {
    await send(async () => {
      go(to(at`/events/${await firstEvent(url.trim())}`));
    });
  };
  const links = ["/types", "/apps", "/types"];
  return (
    <section class="panel first">
      <h2>{said.first}</h2>
      <p>{said.firstWhy}</p>
      <Form problem={problem} submit={() => void begin()}>
        <TextField
          name="url"
          type="url"
          label={said.firstUrl}
          hint={echo && url === echo ? said.firstEcho : said.firstNoEcho}
          placeholder="https://example.com/hook"
          value={url}
          set={type}
        />
        {problem && !problem.fault.errors?.some((one) => one.path === "url") && (
          <div class="notice bad" role="alert">
            <ProblemText problem={problem} />
          </div>
        )}
        <div class="buttons">
          <button type="submit" class="primary" disabled={busy || url.trim() === ""} aria-busy={busy}>
            {said.first}
          </button>
        </div>
      </Form>
      <h3>{said.byHand}</h3>
      <ol>
        {said.steps.map(([title = "", what], i) => (
          <li key={i}>
            <a href={to(links[i] ?? "/")}>{title}</a> <span class="faint">{what}</span>
          </li>
        ))}
      </ol>
    </section>
  );
}

/** Makes what there is not yet, and publishes; the event's id. Whoever did it before does it again. */
async function firstEvent(url: string): Promise<string> {
  await asked(
    api.PUT("/v1/event-types/{name}", {
      params: { path: { name: TYPE } },
      body: { description: "A first event, from the console", examples: [{ hello: "world" }] },
    }),
  );
  await asked(api.PUT("/v1/apps/{app}", { params: { path: { app: APP } }, body: { name: "Sample" } }));
  await asked(
    api.PUT("/v1/apps/{app}/endpoints/{endpoint}", {
      params: { path: { app: APP, endpoint: ENDPOINT } },
      body: { url, events: [TYPE], description: "The target of a first event" },
    }),
  );
  const accepted = await asked(
    api.POST("/v1/apps/{app}/events", {
      params: { path: { app: APP } },
      body: { type: TYPE, data: { hello: "world", at: new Date().toISOString() } },
    }),
  );
  if (!("id" in accepted)) throw new Error("one event was published, and several answered");
  return accepted.id;
}
