/** What is being changed of an endpoint: the fields that differ, each as JSON text. What nobody touched is never sent, and what was
 * typed as JSON goes as it was typed: no number in it is rounded. */

import { memberText } from "../../kit/json";

/** Field -> JSON text. */
export type Changes = ReadonlyMap<string, string>;

export function textOf(base: string, changes: Changes, field: string): string {
  return changes.get(field) ?? memberText(base, field) ?? "null";
}

/** The changes with this field as a control has set it. */
export function withValue(base: string, changes: Changes, field: string, value: unknown): Changes {
  const before = JSON.stringify(JSON.parse(memberText(base, field) ?? "null"));
  const after = JSON.stringify(value ?? null);
  return put(changes, field, after === before ? null : after);
}

/** The changes with this field as it was typed, which is JSON. */
export function withText(base: string, changes: Changes, field: string, text: string): Changes {
  return put(changes, field, squeezed(text) === squeezed(memberText(base, field) ?? "null") ? null : text);
}

function put(changes: Changes, field: string, text: string | null): Changes {
  const next = new Map(changes);
  if (text === null) next.delete(field);
  else next.set(field, text);
  return next;
}

/** Without what means nothing between its tokens. */
export function squeezed(text: string): string {
  return (text.match(/"(?:\\.|[^"\\])*"|[{}[\],:]|[^\s{}[\],:"]+/g) ?? []).join("");
}

export function bodyOf(changes: Changes): string {
  return `{${[...changes].map(([field, text]) => `${JSON.stringify(field)}:${text}`).join(",")}}`;
}

/** Fields that are different in two texts of an endpoint. */
export function differing(one: string, other: string, fields: readonly string[]): string[] {
  return fields.filter((field) => squeezed(memberText(one, field) ?? "null") !== squeezed(memberText(other, field) ?? "null"));
}
