/** JSON whose numbers stay as they were written: JSON.parse would round the large ones. Objects are maps, in their order. */

export class Num {
  constructor(readonly text: string) {}
}

export type ExactMap = ReadonlyMap<string, Exact>;
export type Exact = null | boolean | string | Num | readonly Exact[] | ExactMap;

const NUMBER = /^-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?$/;
const DEPTH_MAX = 200;

/** A number as JSON writes it. */
export const isNumber = (text: string): boolean => NUMBER.test(text);
export const isWhole = (text: string): boolean => /^-?(?:0|[1-9]\d*)$/.test(text);

export const isMap = (value: Exact | undefined): value is ExactMap => value instanceof Map;
export const isList = (value: Exact | undefined): value is readonly Exact[] => Array.isArray(value);

/** Raises SyntaxError where it is no JSON; of a name that comes twice the last counts. */
export function parseExact(text: string): Exact {
  JSON.parse(text); // says what is wrong, and where, better than we would
  const tokens = text.match(/"(?:\\.|[^"\\])*"|[{}[\],:]|[^\s{}[\],:"]+/g) ?? [];
  let i = 0;
  const value = (depth: number): Exact => {
    if (depth > DEPTH_MAX) throw new SyntaxError("nested too deep to be edited here");
    const token = tokens[i++] as string;
    if (token === "{") {
      const map = new Map<string, Exact>();
      if (tokens[i] === "}") i += 1;
      else
        do {
          const name = JSON.parse(tokens[i] as string) as string;
          i += 2; // and the colon
          map.set(name, value(depth + 1));
        } while (tokens[i++] === ",");
      return map;
    }
    if (token === "[") {
      const list: Exact[] = [];
      if (tokens[i] === "]") i += 1;
      else
        do list.push(value(depth + 1));
        while (tokens[i++] === ",");
      return list;
    }
    if (token.startsWith('"')) return JSON.parse(token) as string;
    if (token === "null") return null;
    if (token === "true" || token === "false") return token === "true";
    return new Num(token);
  };
  return value(0);
}

/** As text; with `indent`, on lines of its own where that reads better. */
export function writeExact(value: Exact, indent = 0, before = ""): string {
  if (value instanceof Num) return value.text;
  const inner = before + " ".repeat(indent);
  const lines = (parts: string[], open: string, close: string): string =>
    parts.length === 0 ? open + close : indent ? `${open}\n${inner}${parts.join(`,\n${inner}`)}\n${before}${close}` : `${open}${parts.join(",")}${close}`;
  if (isList(value)) return lines(value.map((one) => writeExact(one, indent, inner)), "[", "]");
  if (isMap(value))
    return lines([...value].map(([name, one]) => `${JSON.stringify(name)}:${indent ? " " : ""}${writeExact(one, indent, inner)}`), "{", "}");
  return JSON.stringify(value);
}

/** From values of JavaScript, as an answer that was parsed already. */
export function exactOf(value: unknown): Exact {
  return parseExact(JSON.stringify(value) ?? "null");
}

export function same(one: Exact, other: Exact): boolean {
  return writeExact(one) === writeExact(other);
}

/** The text of a value for people: a text as it is, anything else as JSON. */
export function told(value: Exact): string {
  return typeof value === "string" ? value : writeExact(value);
}

/** A map with one entry set, or taken away. */
export function withEntry(map: ExactMap, name: string, value: Exact | undefined): ExactMap {
  const made = new Map(map);
  if (value === undefined) made.delete(name);
  else made.set(name, value);
  return made;
}
