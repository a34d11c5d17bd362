/** One event to the target now, or the request that it would be. */

import { useState } from "preact/hooks";
import type { components } from "../../api/schema";
import { ChoiceField, CodeField, Form } from "../../kit/fields";
import { isJson } from "../../kit/json";
import { duration } from "../../kit/numbers";
import { Dialog } from "../../kit/overlay";
import { api, asked } from "../../kit/request";
import { useSending } from "../../kit/sending";
import { Refusal } from "../../kit/shown";
import { Facts, Outcome } from "../../kit/small";
import { kit } from "../../kit/texts";
import { worded, words } from "../attempts/words";
import { Answered, Sent, Took } from "./exchange";
import { texts } from "./texts";
import { useTypes } from "./types";

export type Trial = components["schemas"]["TrialAnswer"];
type Preview = components["schemas"]["PreviewAnswer"];

export function Test({ app, endpoint, close }: { app: string; endpoint: string; close: () => void }) {
  const said = texts.value;
  const types = useTypes();
  const [type, setType] = useState("");
  const [data, setData] = useState("");
  const { busy, problem, send } = useSending();
  const [trial, setTrial] = useState<Trial | null>(null);
  const [preview, setPreview] = useState<Preview | null>(null);
  const wrong = data.trim() && !isJson(data) ? said.notJson : null;
  const path = { path: { app, endpoint } };
  // The data go as they were typed: their numbers may be larger than a script can hold.
  const raw = () => `{${[type && `"type":${JSON.stringify(type)}`, data.trim() && `"data":${data}`].filter(Boolean).join(",")}}`;

  const run = async (ask: () => Promise<void>) => {
    setTrial(null);
    setPreview(null);
    await send(async () => {
      await ask();
    });
  };
  const test = () =>
    run(async () => setTrial(await asked(api.POST("/v1/apps/{app}/endpoints/{endpoint}/test", { params: path, body: {}, bodySerializer: raw }))));
  const show = () =>
    run(async () => setPreview(await asked(api.POST("/v1/apps/{app}/endpoints/{endpoint}/preview", { params: path, body: {}, bodySerializer: raw }))));

  return (
    <Dialog title={said.testTitle} close={close} wide>
      <Form problem={problem} submit={() => !wrong && void test()}>
        <p class="hint">{said.testHint}</p>
        <ChoiceField name="type" label={said.testType} value={type} set={setType} choices={[["", said.testNoType], ...types.map((one) => [one.name, one.name] as const)]} />
        <CodeField name="data" label={said.testData} value={data} set={setData} rows={3} placeholder='{"total": 120}' wrong={wrong} />
        <Refusal of={problem} />
        <footer>
          <button type="button" class="quiet" onClick={close}>
            {kit.value.close}
          </button>
          <button type="button" disabled={busy || wrong !== null} onClick={() => void show()}>
            {said.preview}
          </button>
          <button type="submit" class="primary" disabled={busy || wrong !== null} aria-busy={busy}>
            {said.sendTest}
          </button>
        </footer>
      </Form>
      {trial && <Tried of={trial} />}
      {preview && <Previewed of={preview} />}
    </Dialog>
  );
}

export function Tried({ of }: { of: Trial }) {
  const said = texts.value;
  return (
    <div class="tried" role="status">
      <p>
        <Outcome of={of.outcome} /> {of.status !== null && <strong>{of.status}</strong>} {duration(of.timings.total_ms)}
      </p>
      <p>{worded(words.value.ended, of.reason)}</p>
      {of.error && <p class="faint">{of.error}</p>}
      {of.rule && <p>{said.byRule(of.rule.place, of.rule.then)}</p>}
      <Took of={of.timings} />
      <Answered of={of.response} />
      <Sent of={of.request} />
    </div>
  );
}

function Previewed({ of }: { of: Preview }) {
  const said = texts.value;
  return (
    <div class="tried" role="status">
      <p>{said.previewed}</p>
      <p>
        {of.matches ? said.matches.yes : said.matches.no(said.matchReasons[of.match_reason])} {of.filter_error}
      </p>
      <Facts of={[of.reason !== null && [said.reason, `${of.reason} ${of.error ?? ""}`]]} />
      {of.request && <Sent of={of.request} />}
      {of.steps.length > 0 && <p class="hint">{said.steps(of.steps.map((one) => said.stepNames[one]).join(", "))}</p>}
    </div>
  );
}
