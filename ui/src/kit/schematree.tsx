/** A JSON Schema as a tree: what may be where, what must be, and what is said of it. */

import type { ComponentChildren } from "preact";
import { type Exact, isList, isMap, told } from "./exact";
import { constraints, type Node, Schema } from "./schema";
import { schemaTexts } from "./schematexts";
import "./schema.css";

const DEPTH_MAX = 24;
const DEPTH_OPEN = 2;
const VALUES_SHOWN_MAX = 30;

export function SchemaTree({ schema }: { schema: Exact }) {
  const whole = new Schema(schema);
  return (
    <div class="schema-tree">
      <Branch whole={whole} schema={schema} name={schemaTexts.value.whole} depth={0} above={["#"]} />
    </div>
  );
}

interface BranchProps {
  readonly whole: Schema;
  readonly schema: Exact | undefined;
  readonly name: ComponentChildren;
  readonly required?: boolean;
  readonly depth: number;
  readonly above: readonly string[];
}

function Branch({ whole, schema, name, required = false, depth, above }: BranchProps) {
  const texts = schemaTexts.value;
  const node = whole.node(schema);
  const around = node.reference !== null && above.includes(node.reference);
  const inner = node.reference === null ? above : [...above, node.reference];
  const children = around || depth >= DEPTH_MAX ? [] : branches(whole, node, depth, inner);
  const description = node.words.get("description") ?? node.words.get("title");
  const head = (
    <>
      <span class="schema-name">{name}</span>
      {required && (
        <span class="schema-required" title={texts.required}>
          *<span class="unseen">{texts.required}</span>
        </span>
      )}
      <span class="schema-kind">{kindText(node)}</span>
      {constraints(node.words, texts).map((one, i) => (
        <code key={i} class="schema-mark">
          {one}
        </code>
      ))}
      {around && <span class="faint">↺ {texts.again}</span>}
    </>
  );
  const about = (
    <>
      {typeof description === "string" && <p class="schema-about">{description}</p>}
      <Values node={node} />
    </>
  );
  if (children.length === 0) {
    return (
      <div class="schema-leaf">
        <div>{head}</div>
        {about}
      </div>
    );
  }
  return (
    <details open={depth < DEPTH_OPEN}>
      <summary>{head}</summary>
      {about}
      <div class="schema-inner">{children}</div>
    </details>
  );
}

function kindText(node: Node): string {
  const texts = schemaTexts.value;
  if (node.never) return texts.nothing;
  const own = node.variants.length > 0 && node.kinds.length === 0 ? texts.oneOf : node.kinds.length > 0 ? node.kinds.join(` ${texts.or} `) : texts.any;
  return node.nullable ? `${own} ${texts.nullable}` : own;
}

function Values({ node }: { node: Node }) {
  const texts = schemaTexts.value;
  const fixed = node.words.get("const");
  const choices = node.words.get("enum");
  const usual = node.words.get("default");
  return (
    <>
      {fixed !== undefined && (
        <p class="schema-about">
          {texts.constant} <code>{told(fixed)}</code>
        </p>
      )}
      {isList(choices) && (
        <p class="schema-about schema-values">
          {texts.values}
          {choices.slice(0, VALUES_SHOWN_MAX).map((one, i) => (
            <code key={i}>{told(one)}</code>
          ))}
          {choices.length > VALUES_SHOWN_MAX && " …"}
        </p>
      )}
      {usual !== undefined && (
        <p class="schema-about">
          {texts.default} <code>{told(usual)}</code>
        </p>
      )}
    </>
  );
}

function branches(whole: Schema, node: Node, depth: number, above: readonly string[]): ComponentChildren[] {
  const texts = schemaTexts.value;
  const found: ComponentChildren[] = [];
  const add = (key: string, name: ComponentChildren, schema: Exact | undefined, required = false) =>
    found.push(<Branch key={key} whole={whole} schema={schema} name={name} required={required} depth={depth + 1} above={above} />);
  for (const one of node.properties) add(`p ${one.name}`, <code>{one.name}</code>, one.schema, one.required);
  const patterns = node.words.get("patternProperties");
  if (isMap(patterns)) for (const [pattern, one] of patterns) add(`r ${pattern}`, <code>/{pattern}/</code>, one);
  const others = node.words.get("additionalProperties");
  if (isMap(others) && others.size > 0) add("others", texts.others, others);
  const first = node.words.get("prefixItems");
  if (isList(first)) for (const [i, one] of first.entries()) add(`i ${i}`, `[${i}]`, one);
  const items = node.words.get("items");
  if (isMap(items)) add("items", texts.each, items);
  for (const [i, one] of node.variants.entries()) add(`v ${i}`, variantName(whole, one, i), one);
  if (others === false && node.properties.length > 0) found.push(<p key="none" class="schema-about">{texts.none}</p>);
  return found;
}

/** What a variant is called: its title, the constant that tells it apart, its type, or its number. */
export function variantName(whole: Schema, schema: Exact, index: number): string {
  const node = whole.node(schema);
  const title = node.words.get("title");
  if (typeof title === "string") return title;
  for (const one of node.properties) {
    const fixed = whole.node(one.schema).words.get("const");
    if (fixed !== undefined) return `${one.name} = ${told(fixed)}`;
  }
  const fixed = node.words.get("const");
  if (fixed !== undefined) return told(fixed);
  if (node.reference !== null) return node.reference.split("/").at(-1) ?? node.reference;
  if (node.kinds.length === 1 && node.kinds[0] !== "object") return node.kinds[0] as string;
  return schemaTexts.value.variant(String(index + 1));
}
