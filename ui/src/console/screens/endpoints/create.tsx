/** A new endpoint: its app, its URL and what it hears of. Where a profile is chosen, what that needs; the rest comes later. */

import { useState } from "preact/hooks";
import type { components } from "../../../api/schema";
import { useAsked } from "../../../kit/asking";
import { ChipsField } from "../../../kit/chips";
import { ChoiceField, CodeField, Form, TextField } from "../../../kit/fields";
import { Dialog } from "../../../kit/overlay";
import { go } from "../../../kit/place";
import { api, asked } from "../../../kit/request";
import { useSending } from "../../../kit/sending";
import { Refusal } from "../../../kit/shown";
import { Id } from "../../../kit/small";
import { kit } from "../../../kit/texts";
import { AppField } from "../../picking";
import { endpointAt } from "./endpoint";
import { texts } from "./texts";
import { usePatterns, useTypes } from "./types";

type Created = components["schemas"]["EndpointCreated"];

export function Create({ app: given, closed }: { app: string; closed: string }) {
  const said = texts.value;
  const patterns = usePatterns(useTypes());
  const profiles = useAsked((signal) => asked(api.GET("/v1/profiles", { signal })), []).data?.data ?? [];
  const [app, setApp] = useState(given);
  const [url, setUrl] = useState("");
  const [description, setDescription] = useState("");
  const [events, setEvents] = useState<string[]>([]);
  const [profile, setProfile] = useState("");
  const [settings, setSettings] = useState<Record<string, string>>({});
  const [keys, setKeys] = useState<Record<string, string>>({});
  const { busy, problem, send } = useSending();
  const [made, setMade] = useState<Created | null>(null);
  const chosen = profiles.find((one) => one.name === profile);
  const close = () => go(closed);

  const submit = async () => {
    await send(async () => {
      const given = (values: Record<string, string>) => Object.fromEntries(Object.entries(values).filter(([, value]) => value));
      setMade(
        await asked(
          api.POST("/v1/apps/{app}/endpoints", {
            params: { path: { app: app.trim() } },
            body: {
              url: url.trim(),
              ...(description && { description }),
              ...(events.length > 0 && { events }),
              ...(profile && { profile, profile_settings: given(settings), keys: given(keys) }),
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
        <Id>{made.secret}</Id>
        {made.public_key && (
          <p>
            {said.publicKey}: <Id>{made.public_key}</Id>
          </p>
        )}
        {Object.keys(made.made_keys).length > 0 && (
          <>
            <p>{said.madeKeys}</p>
            {Object.entries(made.made_keys).map(([name, text]) => (
              <p key={name}>
                {name}: <Id>{text}</Id>
              </p>
            ))}
          </>
        )}
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
        <ChoiceField
          name="profile"
          label={said.fields.profile}
          value={profile}
          set={setProfile}
          choices={[["", said.choices.noProfile], ...profiles.map((one) => [one.name, one.title] as const)]}
          hint={chosen?.about ?? said.hints.profile}
        />
        {chosen?.settings.map((one) => (
          <TextField
            key={one.name}
            name={`profile_settings.${one.name}`}
            label={<code>{one.name}</code>}
            hint={one.about}
            value={settings[one.name] ?? ""}
            set={(value) => setSettings({ ...settings, [one.name]: value })}
            placeholder={one.default ?? ""}
            required={one.default === null}
          />
        ))}
        {chosen?.keys.map((one) => (
          <CodeField
            key={one.name}
            name={`keys.${one.name}`}
            label={<code>{one.name}</code>}
            hint={one.about}
            rows={2}
            value={keys[one.name] ?? ""}
            set={(value) => setKeys({ ...keys, [one.name]: value })}
            required={one.make === null}
          />
        ))}
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
