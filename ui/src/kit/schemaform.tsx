/** A form made from a JSON Schema, and an editor of the same value as JSON for what a form cannot do. Numbers stay as they are
 * written: they are edited as text. */

import { type ComponentChildren, createContext } from "preact";
import { useContext, useEffect, useState } from "preact/hooks";
import { type Exact, type ExactMap, Num, isList, isMap, isNumber, isWhole, parseExact, same, told, withEntry, writeExact } from "./exact";
import { isJson } from "./json";
import { ChoiceField, CodeField, Group, SwitchField, TextField } from "./fields";
import { constraints, isOf, type Node, Schema } from "./schema";
import { schemaTexts } from "./schematexts";
import { variantName } from "./schematree";
import "./schema.css";

/** What is edited: its text, and its value where the text is JSON and every field of the form holds what it may. */
export interface Edited {
  readonly text: string;
  readonly value: Exact;
  readonly valid: boolean;
}

export const edited = (value: Exact): Edited => ({ text: writeExact(value, 2), value, valid: true });

const FORM_LENGTH_MAX = 100_000;
const ITEMS_SHOWN_MAX = 50;
const DEPTH_MAX = 8;
const LONG_TEXT = 120;

const Faulty = createContext<(name: string, is: boolean) => void>(() => undefined);

/** As a form where there is a schema, and as JSON. `name` is what the API calls it: errors of the server find their fields. */
export function ValueEditor({ schema, of, set, name, label, rows = 14 }: { schema: Exact | null; of: Edited; set: (to: Edited) => void; name: string; label: ComponentChildren; rows?: number }) {
  const texts = schemaTexts.value;
  const large = of.text.length > FORM_LENGTH_MAX;
  const formable = schema !== null && !large;
  const [asJson, setAsJson] = useState(false);
  const [faulty, setFaulty] = useState<ReadonlySet<string>>(new Set());
  const mark = (field: string, is: boolean) =>
    setFaulty((before) => {
      if (before.has(field) === is) return before;
      const made = new Set(before);
      if (is) made.add(field);
      else made.delete(field);
      return made;
    });
  const json = asJson || !formable;
  const allRight = json || faulty.size === 0;
  useEffect(() => {
    if (!json && of.valid !== allRight) set({ ...of, valid: allRight });
  }, [json, allRight, of]);

  return (
    <div class="schema-form">
      <div class="editor-head">
        <strong>{label}</strong>
        {formable && (
          <span class="switch">
            <button type="button" aria-pressed={!json} disabled={json && !of.valid} onClick={() => setAsJson(false)}>
              {texts.form}
            </button>
            <button
              type="button"
              aria-pressed={json}
              onClick={() => {
                setFaulty(new Set());
                setAsJson(true);
              }}
            >
              {texts.json}
            </button>
          </span>
        )}
      </div>
      {large && schema !== null && <p class="hint">{texts.tooLarge}</p>}
      {json ? (
        <>
          <CodeField name={name} label={<span class="unseen">{texts.json}</span>} rows={rows} value={of.text} set={(text) => set(readText(text, of.value))} hint={of.valid ? undefined : texts.notJson} />
          {of.valid && of.text.length < FORM_LENGTH_MAX && (
            <p>
              <button type="button" class="quiet" onClick={() => set(edited(of.value))}>
                {texts.format}
              </button>
            </p>
          )}
        </>
      ) : (
        <Faulty.Provider value={mark}>
          <SchemaForm schema={schema} value={of.value} set={(value) => set({ ...edited(value), valid: allRight })} name={name} />
        </Faulty.Provider>
      )}
    </div>
  );
}

function readText(text: string, before: Exact): Edited {
  try {
    return { text, value: parseExact(text), valid: true };
  } catch {
    return { text, value: before, valid: false };
  }
}

/** Only the form. */
export function SchemaForm({ schema, value, set, name }: { schema: Exact; value: Exact; set: (value: Exact) => void; name: string }) {
  const whole = new Schema(schema);
  return <Part whole={whole} schema={schema} value={value} set={(to) => set(to ?? null)} name={name} label={null} required depth={0} />;
}

interface PartProps {
  readonly whole: Schema;
  readonly schema: Exact | undefined;
  /** undefined: it is not there. */
  readonly value: Exact | undefined;
  readonly set: (value: Exact | undefined) => void;
  readonly name: string;
  /** null: it is the whole. */
  readonly label: ComponentChildren | null;
  readonly required: boolean;
  readonly depth: number;
}

function Part(props: PartProps) {
  const { whole, schema, value, set, name, required, depth } = props;
  const texts = schemaTexts.value;
  const node = whole.node(schema);
  const label = props.label ?? texts.whole;
  const hint = hintOf(node);
  const common = { name, label, required, hint };

  if (value === null && node.kinds[0] !== "null" && node.nullable) {
    return (
      <div class="field">
        <label>{label}</label>
        <div class="schema-null">
          <code>null</code>
          <button type="button" class="quiet" onClick={() => set(whole.blank(notNull(node)))}>
            {texts.giveValue}
          </button>
          {!required && (
            <button type="button" class="quiet" onClick={() => set(undefined)}>
              {texts.remove}
            </button>
          )}
        </div>
        {hint && <p class="hint">{hint}</p>}
      </div>
    );
  }
  const toNull =
    node.nullable && required ? (
      <p>
        <button type="button" class="quiet" onClick={() => set(null)}>
          {texts.makeNull}
        </button>
      </p>
    ) : null;

  const fixed = node.words.get("const");
  const choices = fixed !== undefined ? [fixed] : node.words.get("enum");
  if (isList(choices) && choices.length > 0) {
    const at = value === undefined ? -1 : choices.findIndex((one) => same(one, value));
    const foreign = at < 0 && value !== undefined;
    return (
      <ChoiceField
        {...common}
        value={foreign ? "?" : at < 0 ? "" : String(at)}
        set={(to: string) => set(to === "" ? undefined : to === "?" ? value : choices[Number(to)])}
        choices={[
          ...(!required || at < 0 ? [["", texts.absent] as const] : []),
          ...(foreign ? [["?", told(value)] as const] : []),
          ...choices.map((one, i) => [String(i), told(one)] as const),
        ]}
      />
    );
  }
  if (node.variants.length > 0) return <Variant {...props} node={node} />;
  const kind = node.kinds.length === 1 ? node.kinds[0] : undefined;
  const fits = value === undefined || (kind !== undefined && isOf(value, kind === "integer" ? "number" : kind));
  if (!fits || kind === undefined || kind === "null" || depth > DEPTH_MAX) return <JsonPart {...common} value={value} set={set} />;
  switch (kind) {
    case "string":
      return (
        <>
          <StringPart {...common} node={node} value={(value as string | undefined) ?? ""} set={(to) => set(to === "" && !required ? undefined : to)} />
          {toNull}
        </>
      );
    case "integer":
    case "number":
      return (
        <>
          <NumberPart {...common} whole={kind === "integer"} value={value as Num | undefined} set={set} />
          {toNull}
        </>
      );
    case "boolean":
      return required ? (
        <SwitchField {...common} required={false} value={value === true} set={set} />
      ) : (
        <ChoiceField
          {...common}
          value={value === undefined ? "" : String(value)}
          set={(to: string) => set(to === "" ? undefined : to === "true")}
          choices={[
            ["", texts.absent],
            ["true", texts.yes],
            ["false", texts.no],
          ]}
        />
      );
    case "object":
      return <ObjectPart {...props} node={node} value={value as ExactMap | undefined} />;
    case "array":
      return <ListPart {...props} node={node} value={value as readonly Exact[] | undefined} />;
  }
}

function hintOf(node: Node): string | undefined {
  const texts = schemaTexts.value;
  const about = node.words.get("description");
  const usual = node.words.get("default");
  const parts = [typeof about === "string" ? about : "", constraints(node.words, texts).join(" · "), usual !== undefined && !isMap(usual) && !isList(usual) && usual !== null ? `${texts.default} ${told(usual)}` : ""];
  return parts.filter(Boolean).join("\n") || undefined;
}

function notNull(node: Node): Exact {
  const made = new Map(node.words);
  made.delete("default");
  if (node.variants.length > 0) {
    made.delete("anyOf");
    made.set("oneOf", node.variants);
  }
  if (node.kinds.length > 0) made.set("type", [...node.kinds]);
  return made;
}

type FieldCommon = { name: string; label: ComponentChildren; required: boolean; hint: string | undefined };

function StringPart({ node, value, set, ...common }: FieldCommon & { node: Node; value: string; set: (value: string) => void }) {
  const texts = schemaTexts.value;
  const format = node.words.get("format");
  const most = node.words.get("maxLength");
  if (value.includes("\n") || value.length > LONG_TEXT || (most instanceof Num && Number(most.text) > 5000 && typeof format !== "string")) return <CodeField {...common} rows={3} value={value} set={set} />;
  if (format === "date-time") {
    return (
      <div class="schema-item">
        <TextField {...common} value={value} set={set} placeholder="2026-11-30T08:00:00Z" />
        <button type="button" class="quiet" onClick={() => set(new Date().toISOString())}>
          {texts.now}
        </button>
      </div>
    );
  }
  return <TextField {...common} value={value} set={set} placeholder={format === "date" ? "2026-11-30" : ""} type={format === "uri" ? "url" : "text"} />;
}

/** A number as text: what is typed is what is sent, to the last digit. */
function NumberPart({ whole, value, set, ...common }: FieldCommon & { whole: boolean; value: Num | undefined; set: (value: Exact | undefined) => void }) {
  const texts = schemaTexts.value;
  const mark = useContext(Faulty);
  const [typed, setTyped] = useState<string | null>(null);
  const fault = typed === null ? null : whole && isNumber(typed) ? texts.notWhole : texts.notNumber;
  useEffect(() => {
    mark(common.name, fault !== null);
    return () => mark(common.name, false);
  }, [fault]);
  return (
    <TextField
      {...common}
      hint={fault ?? common.hint}
      value={typed ?? value?.text ?? ""}
      set={(text) => {
        const bare = text.trim();
        if (bare === "") {
          setTyped(null);
          set(undefined);
        } else if (whole ? isWhole(bare) : isNumber(bare)) {
          setTyped(null);
          set(new Num(bare));
        } else setTyped(text);
      }}
    />
  );
}

function JsonPart({ value, set, ...common }: FieldCommon & { value: Exact | undefined; set: (value: Exact | undefined) => void }) {
  const texts = schemaTexts.value;
  const mark = useContext(Faulty);
  const [typed, setTyped] = useState<{ text: string; of: Exact | undefined } | null>(null);
  const shown = typed !== null && (typed.of === value || (typed.of !== undefined && value !== undefined && same(typed.of, value))) ? typed.text : value === undefined ? "" : writeExact(value, 2);
  const fault = shown.trim() !== "" && !isJson(shown);
  useEffect(() => {
    mark(common.name, fault);
    return () => mark(common.name, false);
  }, [fault]);
  return (
    <CodeField
      {...common}
      hint={fault ? texts.notJson : common.hint}
      rows={Math.min(8, Math.max(2, shown.split("\n").length))}
      placeholder={texts.json}
      value={shown}
      set={(text) => {
        if (text.trim() === "") {
          setTyped(null);
          set(undefined);
          return;
        }
        try {
          const to = parseExact(text);
          setTyped({ text, of: to });
          set(to);
        } catch {
          setTyped({ text, of: value });
        }
      }}
    />
  );
}

function Variant({ node, ...props }: PartProps & { node: Node }) {
  const { whole, value, set, name, required } = props;
  const texts = schemaTexts.value;
  const [chosen, choose] = useState<number | null>(null);
  const at = value === undefined ? -1 : (chosen ?? whole.variantOf(node, value));
  const shared = new Map(node.words);
  shared.delete("oneOf");
  shared.delete("anyOf");
  shared.delete("description");
  shared.delete("title");
  const schemaOf = (i: number): Exact => (shared.size === 0 ? (node.variants[i] as Exact) : new Map<string, Exact>([["allOf", [shared, node.variants[i] as Exact]]]));
  return (
    <div class="schema-form">
      <ChoiceField
        name={`${name}?`}
        label={props.label ?? texts.which}
        required={required}
        hint={hintOf(node)}
        value={at < 0 ? "" : String(at)}
        set={(to: string) => {
          choose(to === "" ? null : Number(to));
          set(to === "" ? undefined : whole.blank(schemaOf(Number(to))));
        }}
        choices={[...(required && at >= 0 ? [] : [["", texts.absent] as const]), ...node.variants.map((one, i) => [String(i), variantName(whole, one, i)] as const)]}
      />
      {at >= 0 && <Part {...props} key={at} schema={schemaOf(at)} required label={props.label === null ? null : variantName(whole, node.variants[at] as Exact, at)} depth={props.depth + 1} />}
    </div>
  );
}

function ObjectPart({ node, ...props }: Omit<PartProps, "value"> & { node: Node; value: ExactMap | undefined }) {
  const { whole, value, set, name, label, required, depth } = props;
  const texts = schemaTexts.value;
  const known = new Set(node.properties.map((one) => one.name));
  const map: ExactMap = value ?? new Map();
  const others: ExactMap = new Map([...map].filter(([one]) => !known.has(one)));
  const body = (
    <div class="schema-form">
      {node.properties.map((one) => (
        <Part
          key={one.name}
          whole={whole}
          schema={one.schema}
          value={map.get(one.name)}
          set={(to) => set(inOrder(node, withEntry(map, one.name, to)))}
          name={`${name}.${one.name}`}
          label={<code>{one.name}</code>}
          required={one.required}
          depth={depth + 1}
        />
      ))}
      {(others.size > 0 || (node.properties.length === 0 && node.words.get("additionalProperties") !== false)) && (
        <JsonPart
          name={`${name}.*`}
          label={node.properties.length === 0 ? (label ?? texts.whole) : texts.otherFields}
          required={false}
          hint={node.properties.length === 0 ? hintOf(node) : undefined}
          value={others}
          set={(to) => set(new Map([...[...map].filter(([one]) => known.has(one)), ...(isMap(to) ? to : [])]))}
        />
      )}
    </div>
  );
  if (label === null || (node.properties.length === 0 && value !== undefined)) return body;
  if (value === undefined) return <Absent label={label} hint={hintOf(node)} required={required} add={() => set(whole.blank(notNull(node)))} />;
  return (
    <Removable act={required ? undefined : () => set(undefined)}>
      <Group title={label}>
        {hintOf(node) && <p class="hint">{hintOf(node)}</p>}
        {body}
      </Group>
    </Removable>
  );
}

/** In the order of the schema; what it does not know comes last. */
function inOrder(node: Node, map: ExactMap): ExactMap {
  const made = new Map<string, Exact>();
  for (const one of node.properties) {
    const found = map.get(one.name);
    if (found !== undefined) made.set(one.name, found);
  }
  for (const [name, value] of map) if (!made.has(name)) made.set(name, value);
  return made;
}

function ListPart({ node, ...props }: Omit<PartProps, "value"> & { node: Node; value: readonly Exact[] | undefined }) {
  const { whole, value, set, name, label, required, depth } = props;
  const texts = schemaTexts.value;
  if (value === undefined) return <Absent label={label ?? texts.whole} hint={hintOf(node)} required={required} add={() => set(whole.blank(notNull(node)))} />;
  const first = node.words.get("prefixItems");
  const itemOf = (i: number): Exact | undefined => (isList(first) && i < first.length ? first[i] : node.words.get("items"));
  const itemSchema = whole.node(node.words.get("items"));
  const choices = itemSchema.words.get("enum");
  if (!isList(first) && isList(choices) && choices.length <= ITEMS_SHOWN_MAX && value.every((one) => choices.some((choice) => same(choice, one))) && node.words.get("uniqueItems") === true)
    return (
      <fieldset class="group schema-choices">
        <legend>
          {label ?? texts.whole}
          {required && <span class="required">*</span>} {!required && <Remove act={() => set(undefined)} />}
        </legend>
        {choices.map((choice, i) => (
          <label key={i}>
            <input
              type="checkbox"
              checked={value.some((one) => same(one, choice))}
              onChange={(event) => {
                const on = event.currentTarget.checked;
                set(choices.filter((one) => (same(one, choice) ? on : value.some((old) => same(old, one)))));
              }}
            />{" "}
            {told(choice)}
          </label>
        ))}
        {hintOf(node) && <p class="hint">{hintOf(node)}</p>}
      </fieldset>
    );
  if (value.length > ITEMS_SHOWN_MAX) return <JsonPart {...{ name, label: label ?? texts.whole, required, hint: hintOf(node), value, set }} />;
  return (
    <Removable act={required ? undefined : () => set(undefined)}>
      <Group title={label ?? texts.whole}>
        {hintOf(node) && <p class="hint">{hintOf(node)}</p>}
        {value.map((one, i) => (
          <div class="schema-item" key={i}>
            <Part whole={whole} schema={itemOf(i)} value={one} set={(to) => set(value.map((old, at) => (at === i ? (to ?? whole.blank(itemOf(i))) : old)))} name={`${name}[${i}]`} label={texts.item(String(i + 1))} required depth={depth + 1} />
            <Remove act={() => set(value.filter((_, at) => at !== i))} />
          </div>
        ))}
        <p>
          <button type="button" onClick={() => set([...value, whole.blank(itemOf(value.length))])}>
            + {texts.addItem}
          </button>
        </p>
      </Group>
    </Removable>
  );
}

/** What may be left out, with a way to do so beside it: in a summary it would be a button in a button. */
function Removable({ act, children }: { act: (() => void) | undefined; children: ComponentChildren }) {
  if (act === undefined) return <>{children}</>;
  return (
    <div class="schema-item">
      {children}
      <Remove act={act} />
    </div>
  );
}

function Absent({ label, hint, required, add }: { label: ComponentChildren; hint: string | undefined; required: boolean; add: () => void }) {
  const texts = schemaTexts.value;
  return (
    <div class="field">
      <label>
        {label}
        {required && <span class="required">*</span>}
      </label>
      <p>
        <button type="button" onClick={add}>
          + {texts.add}
        </button>
      </p>
      {hint && <p class="hint">{hint}</p>}
    </div>
  );
}

function Remove({ act }: { act: () => void }) {
  const texts = schemaTexts.value;
  return (
    <button
      type="button"
      class="quiet"
      title={texts.remove}
      aria-label={texts.remove}
      onClick={act}
    >
      ✕
    </button>
  );
}
