/** The event that something is tried with: as it is written here, as an example of its type, or one that is stored. */

import { problemOf } from "../../../kit/asking";
import { isList, isMap, writeExact } from "../../../kit/exact";
import { CodeField, TextField } from "../../../kit/fields";
import { indented, memberText } from "../../../kit/json";
import { Action, say } from "../../../kit/overlay";
import { at } from "../../../kit/place";
import { askedExact } from "../../../kit/raw";
import { askedText } from "../../../kit/request";
import { TypeField } from "../../../screens/picking";
import { isJsonOrNone } from "./shared";
import { playground } from "./texts";

export interface SampleFields {
  readonly event: string;
  readonly type: string;
  readonly subject: string;
  readonly key: string;
  readonly data: string;
}

export const NO_SAMPLE = { event: "", type: "", subject: "", key: "", data: "" };

export function Sample({ fields, set }: { fields: SampleFields; set: (changes: Partial<SampleFields>) => void }) {
  const texts = playground.value;
  const take = async () => {
    const found = await askedExact(at`/v1/event-types/${fields.type.trim()}`);
    const examples = isMap(found) ? found.get("examples") : undefined;
    const first = isList(examples) ? examples[0] : undefined;
    if (first === undefined) say(texts.noExample, "bad");
    else set({ data: writeExact(first, 2) });
  };
  const load = async () => {
    try {
      const text = await askedText(at`/v1/events/${fields.event.trim()}`);
      const member = (name: string): string => {
        const found = memberText(text, name);
        return found === null || found === "null" ? "" : (JSON.parse(found) as string);
      };
      set({ data: indented(memberText(text, "data") ?? "null"), type: member("type"), subject: member("subject"), key: member("key") });
    } catch (error) {
      say(problemOf(error).message, "bad");
    }
  };
  return (
    <>
      <div class="fields">
        <TypeField name="type" label={texts.type} value={fields.type} set={(type) => set({ type })} />
        <TextField name="subject" label={texts.subject} value={fields.subject} set={(subject) => set({ subject })} />
        <TextField name="key" label={texts.key} value={fields.key} set={(key) => set({ key })} />
        <TextField name="event" label={texts.eventId} value={fields.event} set={(event) => set({ event })} placeholder="evt_…" />
      </div>
      <span class="buttons">
        <Action disabled={!fields.type.trim()} act={take}>
          {texts.takeExample}
        </Action>
        <Action disabled={!fields.event.trim()} act={load}>
          {texts.load}
        </Action>
      </span>
      <CodeField
        name="data"
        label={texts.data}
        rows={10}
        value={fields.data}
        set={(data) => set({ data })}
        hint={isJsonOrNone(fields.data) ? undefined : texts.badJson}
        placeholder='{"id": 7}'
      />
    </>
  );
}
