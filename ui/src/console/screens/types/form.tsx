/** Making an event type, and changing one. Schema and examples go as they were typed: no number in them is rounded. */

import { useState } from "preact/hooks";
import { writeExact } from "../../../kit/exact";
import { ChoiceField, CodeField, Form, ListField, TextField } from "../../../kit/fields";
import { isJson } from "../../../kit/json";
import { say } from "../../../kit/overlay";
import { at, changed, go, to } from "../../../kit/place";
import { raw } from "../../../kit/raw";
import { api, asked } from "../../../kit/request";
import { useSending } from "../../../kit/sending";
import { Refusal } from "../../../kit/shown";
import type { EventType, Visibility } from "../../../screens/types/type";
import { Check } from "./check";
import { catalogue } from "../../../screens/types/texts";
import { types } from "./texts";

export function TypeForm({ of, saved }: { of: EventType | null; saved?: () => void }) {
  const texts = types.value;
  const common = catalogue.value;
  const [name, setName] = useState(of?.name ?? "");
  const [description, setDescription] = useState(of?.description ?? "");
  const [visibility, setVisibility] = useState<Visibility>(of?.visibility ?? "public");
  const [schema, setSchema] = useState(of ? (of.schema === null ? "" : writeExact(of.schema, 2)) : '{\n  "type": "object",\n  "required": ["id"],\n  "properties": {\n    "id": {"type": "integer"}\n  }\n}');
  const [examples, setExamples] = useState(of && of.examples.length > 0 ? writeExact(of.examples, 2) : "");
  const [redact, setRedact] = useState<readonly string[]>(of?.redact ?? []);
  const { busy, problem, send } = useSending();
  const schemaBad = schema.trim() !== "" && !isJson(schema);
  const examplesBad = examples.trim() !== "" && !isJson(examples);

  const save = async () => {
    if (busy || schemaBad || examplesBad) return;
    const body = raw(
      `{${[
        ...(of ? [] : [`"name":${JSON.stringify(name.trim())}`]),
        `"description":${JSON.stringify(description)}`,
        `"visibility":${JSON.stringify(visibility)}`,
        `"schema":${schema.trim() || "null"}`,
        `"examples":${examples.trim() || "[]"}`,
        `"redact":${JSON.stringify(redact)}`,
      ].join(",")}}`,
    );
    await send(async () => {
      if (of) await asked(api.PATCH("/v1/event-types/{name}", { params: { path: { name: of.name } }, ...body }));
      else await asked(api.POST("/v1/event-types", body));
      say(of ? texts.saved : texts.made);
      saved?.();
      go(of ? changed({ edit: null }) : to(at`/types/${name.trim()}`));
    });
  };

  return (
    <Form problem={problem} submit={() => void save()}>
      {!of && <TextField name="name" label={common.name} hint={texts.nameHint} required value={name} set={setName} placeholder="order.created" autoFocus />}
      <TextField name="description" label={common.description} value={description} set={setDescription} />
      <ChoiceField
        name="visibility"
        label={texts.visibility}
        hint={texts.visibilityHint}
        value={visibility}
        set={setVisibility}
        choices={[
          ["public", texts.visibilities.public],
          ["granted", texts.visibilities.granted],
          ["private", texts.visibilities.private],
        ]}
      />
      <CodeField name="schema" label={texts.schemaField} hint={schemaBad ? texts.badJson : texts.schemaHint} rows={16} value={schema} set={setSchema} />
      {of && <Check name={of.name} schema={schemaBad ? null : schema.trim() || "null"} />}
      <CodeField name="examples" label={texts.examplesField} hint={examplesBad ? texts.badJson : texts.examplesHint} rows={8} value={examples} set={setExamples} placeholder={'[{"id": 1}]'} />
      <ListField name="redact" label={texts.redactField} hint={texts.redactHint} value={redact} set={setRedact} placeholder="/customer/email" />
      <Refusal of={problem} />
      <footer>
        <button type="submit" class="primary" disabled={busy || schemaBad || examplesBad || (!of && !name.trim())} aria-busy={busy}>
          {of ? texts.save : texts.create}
        </button>
      </footer>
    </Form>
  );
}
