/** A new endpoint: where to, and what of. Then its secret, how to verify with it, and a test. */

import { useEffect, useState } from "preact/hooks";
import { PairsField } from "../../kit/chips";
import { Form, Group, NumberField, TextField } from "../../kit/fields";
import { go, place, to } from "../../kit/place";
import { api, asked } from "../../kit/request";
import { useSending } from "../../kit/sending";
import { Refusal } from "../../kit/shown";
import { kit } from "../../kit/texts";
import { type Created, Made, NO_PRESET, type Preset, PresetFields, presetOf } from "../../screens/endpoints/preset";
import { ExpressionField } from "../../screens/endpoints/rich";
import { texts } from "../../screens/endpoints/texts";
import { type Trial, Tried } from "../../screens/endpoints/trial";
import { endpointAt, own } from "../../screens/page";
import type { Params } from "../../screens/routing";
import { TypesField } from "./choosing";
import { portal } from "./texts";
import { Verify } from "./verify";

export default function Add(_: { params: Params }) {
  const [made, setMade] = useState<Created | null>(null);
  return <div class="screen">{made ? <Next of={made} /> : <Fields done={setMade} />}</div>;
}

function Fields({ done }: { done: (made: Created) => void }) {
  const said = portal.value;
  const { fields, hints, choices, parts } = texts.value;
  const type = place.value.query.get("type");
  const [url, setUrl] = useState("");
  const [description, setDescription] = useState("");
  const [events, setEvents] = useState<string[]>(type === null ? [] : [type]);
  const [undecided, setUndecided] = useState(false);
  const [more, setMore] = useState(false);
  const [uid, setUid] = useState("");
  const [filter, setFilter] = useState("");
  const [headers, setHeaders] = useState<Record<string, string>>({});
  const [rate, setRate] = useState<number | null>(null);
  const [preset, setPreset] = useState<Preset>(NO_PRESET);
  const { busy, problem, send } = useSending();
  // What is wrong in a group that is shut would not be seen.
  useEffect(() => {
    if (problem?.refusals.some((one) => !/^(url|description|events)\b/.test(one.path))) setMore(true);
  }, [problem]);
  const submit = () =>
    send(async () =>
      done(
        await asked(
          api.POST("/v1/apps/{app}/endpoints", {
            params: { path: { app: own.value ?? "" } },
            body: {
              url: url.trim(),
              ...(description && { description }),
              ...(events.length > 0 && { events }),
              ...(uid && { uid }),
              ...(filter && { filter }),
              ...(Object.keys(headers).length > 0 && { headers }),
              ...(rate !== null && { rate_limit: { per_second: rate } }),
              ...presetOf(preset),
            },
          }),
        ),
      ),
    );
  return (
    <>
      <header>
        <h1>{said.add}</h1>
      </header>
      <div class="steps">
        <Form problem={problem} submit={() => url.trim() && !undecided && void submit()}>
          <TextField name="url" label={fields.url} type="url" value={url} set={setUrl} placeholder="https://example.com/webhooks" hint={said.urlHint} required autoFocus />
          <TextField name="description" label={fields.description} value={description} set={setDescription} hint={said.descriptionHint} />
          <TypesField label={said.which} value={events} set={setEvents} broken={setUndecided} />
          <Group title={said.more} hint={said.moreHint} open={more} toggled={setMore}>
            <TextField name="uid" label={fields.uid} value={uid} set={setUid} hint={hints.uid} />
            <ExpressionField name="filter" label={fields.filter} use="filter" sample={null} value={filter} set={setFilter} hint={hints.filter} placeholder="event.data.total > 100" />
            <PairsField name="headers" label={fields.headers} value={headers} set={setHeaders} hint={hints.headers} />
            <NumberField name="rate_limit.per_second" label={`${fields.rate_limit}: ${parts.perSecond}`} value={rate} set={setRate} placeholder={choices.none} />
            <PresetFields value={preset} set={setPreset} />
          </Group>
          <Refusal of={problem} />
          <footer>
            <button type="button" onClick={() => go(to("/"))}>
              {kit.value.cancel}
            </button>
            <button type="submit" class="primary" disabled={busy || !url.trim() || undecided} aria-busy={busy}>
              {said.add}
            </button>
          </footer>
        </Form>
      </div>
    </>
  );
}

function Next({ of }: { of: Created }) {
  const said = portal.value;
  const step = (n: number) => <b aria-hidden="true">{n}</b>;
  return (
    <>
      <header>
        <h1>{said.added}</h1>
        <span class="grow" />
        <a class="button" href={endpointAt(of.app, of.id)}>
          {texts.value.open}
        </a>
      </header>
      <p>
        <code>{of.url}</code>
      </p>
      <div class="steps">
        <section class="panel secret-once">
          <h2>
            {step(1)}
            {said.keepSecret}
          </h2>
          <p class="hint">{said.keepSecretHow}</p>
          <Made of={of} />
        </section>
        <section class="panel">
          <h2>
            {step(2)}
            {said.verify}
          </h2>
          <Verify of={of} />
        </section>
        <section class="panel">
          <h2>
            {step(3)}
            {said.test}
          </h2>
          <Try of={of} />
        </section>
      </div>
    </>
  );
}

/** The first event type that it hears of by name, else a line of text. */
function Try({ of }: { of: Created }) {
  const said = portal.value;
  const { busy, problem, send } = useSending();
  const [trial, setTrial] = useState<Trial | null>(null);
  const type = of.events.find((one) => !one.includes("*"));
  const run = () =>
    send(async () => {
      setTrial(null);
      setTrial(
        await asked(api.POST("/v1/apps/{app}/endpoints/{endpoint}/test", { params: { path: { app: of.app, endpoint: of.id } }, body: type ? { type } : {} })),
      );
    });
  return (
    <>
      <p class="hint">{said.testHow}</p>
      <div class="buttons">
        <button type="button" class="primary" disabled={busy} aria-busy={busy} onClick={() => void run()}>
          {trial ? said.testAgain : said.testNow}
        </button>
        {trial && <a href={endpointAt(of.app, of.id)}>{texts.value.open}</a>}
      </div>
      <Refusal of={problem} />
      {trial && <Tried of={trial} />}
    </>
  );
}
