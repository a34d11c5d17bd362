/** An event type as it is told, with its exact numbers. */

import { type Exact, isList, isMap, writeExact } from "../../kit/exact";

export type Visibility = "public" | "granted" | "private";

export interface EventType {
  readonly name: string;
  readonly description: string;
  readonly schema: Exact;
  readonly examples: readonly Exact[];
  readonly visibility: Visibility;
  readonly redact: readonly string[];
  readonly version: number;
  readonly archived: boolean;
}

/** From the answer with its exact numbers. */
export function typeOf(answer: Exact): EventType {
  const get = (name: string): Exact => (isMap(answer) ? (answer.get(name) ?? null) : null);
  const texts = (value: Exact): string[] => (isList(value) ? value.filter((one) => typeof one === "string") : []);
  const examples = get("examples");
  return {
    name: String(get("name")),
    description: String(get("description") ?? ""),
    schema: get("schema"),
    examples: isList(examples) ? examples : [],
    visibility: get("visibility") as Visibility,
    redact: texts(get("redact")),
    version: Number(writeExact(get("version"))),
    archived: get("archived") === true,
  };
}
