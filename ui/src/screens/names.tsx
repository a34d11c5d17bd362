/** What apps and endpoints are called. Rows hold ids; their names are asked for once, a few at a time, and kept while the page
 * is open, up to a bound. */

import { signal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { api, asked } from "../kit/request";
import { endpointAt, several } from "./page";

const NAMES_MAX = 2_000;
const ASKED_AT_ONCE_MAX = 4;

export interface Names {
  /** In a row of many: the uid. */
  readonly short: string;
  /** Where there is room: what people call it. */
  readonly title: string;
}

export const names = signal<ReadonlyMap<string, Names>>(new Map());
const wanted = new Map<string, () => Promise<Names>>();
const under = new Set<string>();

/** What was fetched for something else is known from then on. */
export function keep(found: readonly (readonly [string, Names])[]): void {
  const held = names.value.size + found.length > NAMES_MAX ? [] : names.value;
  names.value = new Map([...held, ...found]);
}

/** Its name is asked for, if it is not known yet. */
function want(id: string, ask: () => Promise<Names>): void {
  if (names.value.has(id) || under.has(id) || wanted.has(id) || wanted.size >= NAMES_MAX) return;
  wanted.set(id, ask);
  work();
}

function work(): void {
  for (const [id, ask] of wanted) {
    if (under.size >= ASKED_AT_ONCE_MAX) return;
    wanted.delete(id);
    under.add(id);
    void ask()
      .catch(() => ({ short: shortened(id), title: id })) // one that was deleted keeps its id
      .then((found) => {
        under.delete(id);
        keep([[id, found]]);
        work();
      });
  }
}

/** The names of what has this id, once they are known. */
export function useNames(id: string | null, ask: (id: string) => Promise<Names>): Names | undefined {
  useEffect(() => {
    if (id) want(id, () => ask(id));
  }, [id]);
  return id ? names.value.get(id) : undefined;
}

/** The name of an app or endpoint that was asked for before; else its id, shortened. */
export function nameOf(id: string): string {
  return names.value.get(id)?.short ?? shortened(id);
}

export function shortened(id: string): string {
  return id.length > 16 ? `${id.slice(0, id.indexOf("_") + 1)}…${id.slice(-6)}` : id;
}

/** Where a URL leads, without what is the same of all. */
export function shortUrl(url: string): string {
  return url.replace(/^https?:\/\//, "").replace(/\?.*$/s, "");
}

/** Nothing, where there is only one app. */
export function AppName(props: { app: string | null; link?: boolean }) {
  const apps = several();
  return apps && <apps.Name {...props} />;
}

export function EndpointName({ app, endpoint, link = false }: { app: string | null; endpoint: string; link?: boolean }) {
  const found = useNames(app && endpoint, async () => {
    const { uid, url } = await asked(api.GET("/v1/apps/{app}/endpoints/{endpoint}", { params: { path: { app: app ?? "", endpoint } } }));
    const name = uid ?? shortUrl(url);
    return { short: name, title: name };
  });
  return <Name href={link && app ? endpointAt(app, endpoint) : null} id={endpoint} name={(found ?? names.value.get(endpoint))?.short} />;
}

export function Name({ href, id, name }: { href: string | null; id: string; name: string | undefined }) {
  const text = name ?? shortened(id);
  return href === null ? (
    <span title={id}>{text}</span>
  ) : (
    <a href={href} title={id}>
      {text}
    </a>
  );
}
