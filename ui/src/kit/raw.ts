import { type Exact, parseExact } from "./exact";
import { askedText } from "./request";

/** A body that is sent as this text, byte for byte: `api.POST("/v1/events", {params, ...raw(text)})`. */
export function raw(text: string): { body: never; bodySerializer: () => string } {
  return { body: {} as never, bodySerializer: () => text };
}

/** What is at a path, with exact numbers. */
export async function askedExact(path: string, signal?: AbortSignal): Promise<Exact> {
  return parseExact(await askedText(path, signal));
}
