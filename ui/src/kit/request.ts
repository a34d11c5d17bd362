/** The platform's API, typed by its own OpenAPI document. Errors come as `Problem`. */

import createClient from "openapi-fetch";
import type { paths } from "../api/schema";
import { language } from "./language";
import { signedOut } from "./session";

/** What a cookie needs beside it to count: no other site can make a browser send it. It says as well which page asks: each has a
 * session of its own. */
let asker: "x-posthouse-console" | "x-posthouse-portal" = "x-posthouse-console";

/** To be said before anything is asked. */
export function askAs(page: "console" | "portal"): void {
  asker = `x-posthouse-${page}`;
}

/** Where the server is: beside the page, whatever prefix it is mounted under. */
export const base = new URL(".", document.baseURI).href.replace(/\/$/, "");

export interface Fault {
  readonly code: string;
  readonly title: string;
  readonly detail?: string;
  /** The field that it is about. Where several are wrong, `errors` has them all. */
  readonly path?: string;
  readonly errors?: readonly Refusal[];
}

/** What is wrong with a field. */
export interface Refusal {
  readonly path: string;
  readonly detail: string;
}

/** An answer that refuses (RFC 9457), or that did not come: then `status` is 0. */
export class Problem extends Error {
  constructor(
    readonly status: number,
    readonly fault: Fault,
  ) {
    super(fault.detail ?? fault.title);
  }

  get missing(): boolean {
    return this.status === 404;
  }

  /** What is wrong with which fields. */
  get refusals(): readonly Refusal[] {
    const { errors, path } = this.fault;
    return errors ?? (path === undefined ? [] : [{ path, detail: this.message }]);
  }
}

export function headers(): Record<string, string> {
  return { [asker]: "1", "accept-language": language.value === "zh" ? "zh-CN" : "en" };
}

async function send(request: Request): Promise<Response> {
  let answer: Response;
  try {
    answer = await fetch(request);
  } catch (error) {
    if (error instanceof DOMException && error.name === "AbortError") throw error;
    throw new Problem(0, { code: "unreachable", title: "unreachable" });
  }
  if (answer.status === 401) signedOut();
  return answer;
}

const client = createClient<paths>({ baseUrl: base, fetch: send, credentials: "same-origin" });
client.use({
  onRequest({ request }) {
    for (const [name, value] of Object.entries(headers())) request.headers.set(name, value);
    return request;
  },
});

/** `const app = await asked(api.GET("/v1/apps/{app}", {params: {path: {app}}}))`; raises Problem. */
export const api = client;

export async function asked<T>(answering: Promise<{ data?: T; error?: unknown; response: Response }>): Promise<T> {
  const { data, error, response } = await answering;
  if (!response.ok) throw new Problem(response.status, faultOf(error, response));
  return data as T;
}

/** The answer's own text, where numbers must stay as they were written: JSON.parse would round the large ones. */
export async function askedText(path: string, signal?: AbortSignal): Promise<string> {
  const answer = await send(
    new Request(base + path, { headers: headers(), credentials: "same-origin", ...(signal ? { signal } : {}) }),
  );
  const text = await answer.text();
  if (!answer.ok) throw new Problem(answer.status, faultOf(parsed(text), answer));
  return text;
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

function faultOf(error: unknown, response: Response): Fault {
  if (typeof error === "object" && error !== null && "code" in error && "title" in error) return error as Fault;
  return { code: "http_error", title: `HTTP ${response.status}` };
}
