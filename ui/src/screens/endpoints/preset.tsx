/** The profile that a new endpoint is made with, and what it needs; and what is told once of one that was made. */

import type { components } from "../../api/schema";
import { useAsked } from "../../kit/asking";
import { ChoiceField, CodeField, TextField } from "../../kit/fields";
import { api, asked } from "../../kit/request";
import { Id } from "../../kit/small";
import { texts } from "./texts";

export type Created = components["schemas"]["EndpointCreated"];

export interface Preset {
  readonly profile: string;
  readonly settings: Readonly<Record<string, string>>;
  readonly keys: Readonly<Record<string, string>>;
}

export const NO_PRESET: Preset = { profile: "", settings: {}, keys: {} };

/** The fields of a new endpoint that say so. */
export function presetOf({ profile, settings, keys }: Preset): { profile?: string; profile_settings?: Record<string, string>; keys?: Record<string, string> } {
  const given = (values: Readonly<Record<string, string>>) => Object.fromEntries(Object.entries(values).filter(([, value]) => value));
  return profile ? { profile, profile_settings: given(settings), keys: given(keys) } : {};
}

export function PresetFields({ value, set }: { value: Preset; set: (value: Preset) => void }) {
  const said = texts.value;
  const profiles = useAsked((signal) => asked(api.GET("/v1/profiles", { signal })), []).data?.data ?? [];
  const chosen = profiles.find((one) => one.name === value.profile);
  return (
    <>
      <ChoiceField
        name="profile"
        label={said.fields.profile}
        value={value.profile}
        set={(profile) => set({ ...value, profile })}
        choices={[["", said.choices.noProfile], ...profiles.map((one) => [one.name, one.title] as const)]}
        hint={chosen?.about ?? said.hints.profile}
      />
      {chosen?.settings.map((one) => (
        <TextField
          key={one.name}
          name={`profile_settings.${one.name}`}
          label={<code>{one.name}</code>}
          hint={one.about}
          value={value.settings[one.name] ?? ""}
          set={(text) => set({ ...value, settings: { ...value.settings, [one.name]: text } })}
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
          value={value.keys[one.name] ?? ""}
          set={(text) => set({ ...value, keys: { ...value.keys, [one.name]: text } })}
          required={one.make === null}
        />
      ))}
    </>
  );
}

/** Its secret, and the keys that were made for it. */
export function Made({ of }: { of: Created }) {
  const said = texts.value;
  return (
    <>
      <Id>{of.secret}</Id>
      {of.public_key && (
        <p>
          {said.publicKey}: <Id>{of.public_key}</Id>
        </p>
      )}
      {Object.keys(of.made_keys).length > 0 && (
        <>
          <p>{said.madeKeys}</p>
          {Object.entries(of.made_keys).map(([name, text]) => (
            <p key={name}>
              {name}: <Id>{text}</Id>
            </p>
          ))}
        </>
      )}
    </>
  );
}
