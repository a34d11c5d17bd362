/** JSON Schema (draft 2020-12) as far as a form and a tree need it: what a place may hold, whatever way that is written. */

import { type Exact, type ExactMap, Num, isList, isMap, same } from "./exact";

export type Kind = "object" | "array" | "string" | "integer" | "number" | "boolean" | "null";
const KINDS: readonly string[] = ["object", "array", "string", "integer", "number", "boolean", "null"];

export interface Property {
  readonly name: string;
  readonly schema: Exact;
  readonly required: boolean;
}

/** A schema with its references followed and its allOf laid into one. */
export interface Node {
  /** All keywords, `$ref` and `allOf` resolved. */
  readonly words: ExactMap;
  /** The types that are allowed, without "null" where there is another; empty: any. */
  readonly kinds: readonly Kind[];
  readonly nullable: boolean;
  /** oneOf or anyOf, as far as more than one is left without null; each is a schema that belongs to `words`. */
  readonly variants: readonly Exact[];
  readonly properties: readonly Property[];
  /** Where a reference leads back to what it is in. */
  readonly reference: string | null;
  /** false: nothing fits. */
  readonly never: boolean;
}

const FOLLOWED_MAX = 20;

export class Schema {
  constructor(readonly root: Exact) {}

  /** The schema that a local reference names ("#/$defs/money", "#item"), or undefined. */
  follow(reference: string): Exact | undefined {
    if (reference === "#") return this.root;
    if (reference.startsWith("#/")) {
      let at: Exact | undefined = this.root;
      for (const part of reference.slice(2).split("/")) {
        const name = part.replaceAll("~1", "/").replaceAll("~0", "~");
        let decoded = name;
        try {
          decoded = decodeURIComponent(name);
        } catch {
          // As it stands, then.
        }
        at = isMap(at) ? (at.get(decoded) ?? at.get(name)) : isList(at) ? at[Number(decoded)] : undefined;
      }
      return at;
    }
    if (reference.startsWith("#") && isMap(this.root)) {
      for (const group of ["$defs", "definitions"]) {
        const defs = this.root.get(group);
        if (!isMap(defs)) continue;
        for (const one of defs.values()) if (isMap(one) && one.get("$anchor") === reference.slice(1)) return one;
      }
    }
    return undefined;
  }

  node(schema: Exact | undefined): Node {
    let reference: string | null = null;
    const gather = (from: Exact | undefined, into: Map<string, Exact>, seen: number): boolean => {
      if (from === false) return false;
      if (!isMap(from) || seen > FOLLOWED_MAX) return true;
      let holds = true;
      const ref = from.get("$ref") ?? from.get("$dynamicRef");
      if (typeof ref === "string") {
        reference = ref;
        holds = gather(this.follow(ref), into, seen + 1) && holds;
      }
      const all = from.get("allOf");
      if (isList(all)) for (const one of all) holds = gather(one, into, seen + 1) && holds;
      for (const [word, value] of from) {
        if (word === "$ref" || word === "$dynamicRef" || word === "allOf") continue;
        const before = into.get(word);
        if (word === "properties" && isMap(before) && isMap(value)) into.set(word, new Map([...before, ...value]));
        else if (word === "required" && isList(before) && isList(value)) into.set(word, [...before, ...value]);
        else into.set(word, value);
      }
      return holds;
    };
    let words = new Map<string, Exact>();
    const never = !gather(schema, words, 0);
    let variants = alternatives(words);
    let nullable = false;
    if (variants.length > 0) {
      const others = variants.filter((one) => !(isMap(one) && one.get("type") === "null"));
      nullable = others.length < variants.length;
      variants = others;
      if (others.length === 1) {
        // One way only, or null: that way is what it is.
        const own = new Map(words);
        own.delete("oneOf");
        own.delete("anyOf");
        words = new Map();
        gather(others[0], words, 0);
        for (const [word, value] of own) words.set(word, value);
        variants = alternatives(words);
      }
    }
    const type = words.get("type");
    const named = (typeof type === "string" ? [type] : isList(type) ? type : []).filter((one): one is Kind => typeof one === "string" && KINDS.includes(one));
    const kinds: Kind[] = named.filter((one) => one !== "null");
    if (named.length > kinds.length && kinds.length > 0) nullable = true;
    if (named.length > 0 && kinds.length === 0) kinds.push("null");
    if (kinds.length === 0) kinds.push(...guessed(words));
    const required = words.get("required");
    const must = new Set(isList(required) ? required.filter((one) => typeof one === "string") : []);
    const properties = words.get("properties");
    return {
      words,
      kinds,
      nullable,
      variants,
      properties: isMap(properties)
        ? [...properties]
            .map(([name, one]) => ({ name, schema: one, required: must.has(name) }))
            .sort((one, other) => Number(other.required) - Number(one.required)) // what must be comes first
        : [],
      reference,
      never,
    };
  }

  /** A value to begin with: the default or the constant, what is required of an object, else something empty of its type. */
  blank(schema: Exact | undefined, depth = 0): Exact {
    const node = this.node(schema);
    for (const word of ["default", "const"]) {
      const found = node.words.get(word);
      if (found !== undefined) return found;
    }
    const examples = node.words.get("examples");
    if (isList(examples) && examples[0] !== undefined) return examples[0];
    const choices = node.words.get("enum");
    if (isList(choices) && choices[0] !== undefined) return choices[0];
    if (node.variants.length > 0 && depth < FOLLOWED_MAX && node.properties.length === 0) return this.blank(node.variants[0], depth + 1);
    switch (node.kinds[0]) {
      case "string":
        return "";
      case "integer":
      case "number": {
        const least = node.words.get("minimum");
        return least instanceof Num ? least : new Num("0");
      }
      case "boolean":
        return false;
      case "array": {
        const least = node.words.get("minItems");
        const count = least instanceof Num ? Math.min(Number(least.text), FOLLOWED_MAX) : 0;
        return depth > FOLLOWED_MAX ? [] : Array.from({ length: count }, () => this.blank(node.words.get("items"), depth + 1));
      }
      case "null":
        return null;
      case "object": {
        if (depth > FOLLOWED_MAX) return new Map();
        return new Map(
          node.properties
            .filter((one) => one.required || this.node(one.schema).words.has("default"))
            .map((one) => [one.name, this.blank(one.schema, depth + 1)]),
        );
      }
      default:
        return node.nullable ? null : new Map();
    }
  }

  /** Which of the variants a value is most like: by the constants and the names in it; 0 where nothing tells. */
  variantOf(node: Node, value: Exact): number {
    let best = 0;
    let most = -Infinity;
    for (const [i, one] of node.variants.entries()) {
      const points = this.#likeness(this.node(one), value);
      if (points > most) {
        most = points;
        best = i;
      }
    }
    return best;
  }

  #likeness(node: Node, value: Exact): number {
    const fixed = node.words.get("const");
    if (fixed !== undefined) return same(fixed, value) ? 100 : -100;
    const choices = node.words.get("enum");
    if (isList(choices)) return choices.some((one) => same(one, value)) ? 100 : -100;
    if (node.kinds.length > 0 && !node.kinds.some((one) => isOf(value, one))) return -50;
    if (!isMap(value)) return 1;
    let points = 1;
    for (const one of node.properties) {
      const inner = value.get(one.name);
      if (inner === undefined) {
        if (one.required) points -= 3;
        continue;
      }
      points += 1;
      const its = this.node(one.schema);
      if (its.words.has("const") || its.words.has("enum")) points += this.#likeness(its, inner) / 10;
    }
    return points;
  }
}

function alternatives(words: ExactMap): readonly Exact[] {
  const found = words.get("oneOf") ?? words.get("anyOf");
  return isList(found) ? found : [];
}

function guessed(words: ExactMap): Kind[] {
  const choices = words.get("enum");
  if (isList(choices) && choices.length > 0 && choices.every((one) => typeof one === "string")) return ["string"];
  if (words.has("properties") || words.has("required") || words.has("patternProperties")) return ["object"];
  if (words.has("items") || words.has("prefixItems")) return ["array"];
  if (words.has("pattern") || words.has("minLength") || words.has("maxLength") || words.has("format")) return ["string"];
  if (words.has("minimum") || words.has("maximum") || words.has("multipleOf")) return ["number"];
  return [];
}

export function isOf(value: Exact, kind: Kind): boolean {
  switch (kind) {
    case "object":
      return isMap(value);
    case "array":
      return isList(value);
    case "string":
      return typeof value === "string";
    case "integer":
      return value instanceof Num && !/[.eE]/.test(value.text);
    case "number":
      return value instanceof Num;
    case "boolean":
      return typeof value === "boolean";
    case "null":
      return value === null;
  }
}

/** What a schema asks beyond the type, in a few marks: `1 … 10`, `≤ 64`, `/^A/`, `date-time`. */
export function constraints(words: ExactMap, texts: { readonly length: string; readonly items: string; readonly unique: string; readonly multiple: string }): string[] {
  const n = (word: string): string | null => {
    const found = words.get(word);
    return found instanceof Num ? found.text : null;
  };
  const told: string[] = [];
  const span = (least: string | null, most: string | null, of: string): void => {
    const before = of && `${of} `;
    if (least !== null && most !== null) told.push(least === most ? `${before}${least}` : `${before}${least} … ${most}`);
    else if (least !== null) told.push(`${before}≥ ${least}`);
    else if (most !== null) told.push(`${before}≤ ${most}`);
  };
  const format = words.get("format");
  if (typeof format === "string") told.push(format);
  span(n("minimum"), n("maximum"), "");
  if (n("exclusiveMinimum") !== null) told.push(`> ${n("exclusiveMinimum")}`);
  if (n("exclusiveMaximum") !== null) told.push(`< ${n("exclusiveMaximum")}`);
  if (n("multipleOf") !== null) told.push(`${texts.multiple} ${n("multipleOf")}`);
  span(n("minLength"), n("maxLength"), texts.length);
  span(n("minItems"), n("maxItems"), texts.items);
  if (words.get("uniqueItems") === true) told.push(texts.unique);
  const pattern = words.get("pattern");
  if (typeof pattern === "string") told.push(`/${pattern}/`);
  return told;
}
