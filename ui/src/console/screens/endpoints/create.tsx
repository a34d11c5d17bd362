/** A new endpoint: its app, its URL and what it hears of. Where a profile is chosen, what that needs; the rest comes later. */

import { useState } from "preact/hooks";
import { ChipsField } from "../../../kit/chips";
import { Form, TextField } from "../../../kit/fields";
import { Dialog } from "../../../kit/overlay";
import { go } from "../../../kit/place";
import { api, asked } from "../../../kit/request";
import { useSending } from "../../../kit/sending";
import { Refusal } from "../../../kit/shown";
import { kit } from "../../../kit/texts";
import { AppField } from "../../picking";
import { endpointAt } from "../../../screens/page";
import { type Created, Made, NO_PRESET, type Preset, PresetFields, presetOf } from "../../../screens/endpoints/preset";
import { texts } from "../../../screens/endpoints/texts";
import { usePatterns, useTypes } from "../../../screens/endpoints/types";

export function Create({ app: given, closed }: { app: string; closed: string }) {
  const said = texts.value;
  const patterns = usePatterns(useTypes());
  const [app, setApp] = useState(given);
  const [url, setUrl] = useState("");
  const [description, setDescription] = useState("");
  const [events, setEvents] = useState<string[]>([]);
  const [preset, setPreset] = useState<Preset>(NO_PRESET);
  const { busy, problem, send } = useSending();
  const [made, setMade] = useState<Created | null>(null);
  const close = () => go(closed);

  const submit = async () => {
    await send(async () => {
      setMade(
        await asked(
          api.POST("/v1/apps/{app}/endpoints", {
            params: { path: { app: app.trim() } },
            body: {
              url: url.trim(),
              ...(description && { description }),
              ...(events.length > 0 && { events }),
              ...presetOf(preset),
            },
          }),
        ),
      );
    });
  };

  if (made) {
    return (
      <Dialog title={said.created} close={close}>
        <p>{said.secretOnce}</p>
        <Made of={made} />
        <footer>
          <a class="button primary" href={endpointAt(made.app, made.id)}>
            {said.open}
          </a>
        </footer>
      </Dialog>
    );
  }
  return (
    <Dialog title={said.fresh} close={close}>
      <Form problem={problem} submit={() => void submit()}>
        <AppField name="app" label={said.app} value={app} set={setApp} required />
        <TextField name="url" label={said.fields.url} type="url" value={url} set={setUrl} placeholder="https://" hint={said.hints.url} required />
        <TextField name="description" label={said.fields.description} value={description} set={setDescription} />
        <ChipsField name="events" label={said.fields.events} value={events} set={setEvents} suggestions={patterns} hint={said.hints.events} />
        <PresetFields value={preset} set={setPreset} />
        <p class="hint">{said.createHint}</p>
        <Refusal of={problem} />
        <footer>
          <button type="button" onClick={close}>
            {kit.value.cancel}
          </button>
          <button type="submit" class="primary" disabled={busy || !app.trim() || !url.trim()} aria-busy={busy}>
            {said.create}
          </button>
        </footer>
      </Form>
    </Dialog>
  );
}
