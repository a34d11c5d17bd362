/** What apps and endpoints are called. Rows hold ids; their names are asked for once, a few at a time, and kept while the page
 * is open, up to a bound. */

import { signal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { at } from "../kit/place";
import { api, asked } from "../kit/request";

const NAMES_MAX = 2_000;
const ASKED_AT_ONCE_MAX = 4;
const LISTED = 250; // apps that one request brings

interface App {
  readonly id: string;
  readonly uid: string | null;
  readonly name: string;
}

interface Names {
  /** In a row of many: the uid. */
  readonly short: string;
  /** Where there is room: what people call it. */
  readonly title: string;
}

const names = signal<ReadonlyMap<string, Names>>(new Map());
const wanted = new Map<string, () => Promise<Names>>();
const under = new Set<string>();
let listed: Promise<void> | null = null;

function keep(found: readonly (readonly [string, Names])[]): void {
  const held = names.value.size + found.length > NAMES_MAX ? [] : names.value;
  names.value = new Map([...held, ...found]);
}

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

/** What an app is called where there is room. */
export function titleOf(app: App): string {
  return app.name || app.uid || app.id;
}

function namesOf(app: App): Names {
  return { short: app.uid ?? shortened(app.id), title: titleOf(app) };
}

/** Apps that were fetched for something else are known from then on. */
export function known(apps: readonly App[]): void {
  if (apps.some((app) => names.value.get(app.id)?.title !== titleOf(app))) keep(apps.map((app) => [app.id, namesOf(app)] as const));
}

/** One of the first few hundred apps comes with all of them; any other is asked for by itself. */
async function appNames(id: string): Promise<Names> {
  listed ??= asked(api.GET("/v1/apps", { params: { query: { limit: LISTED } } })).then((page) => known(page.data));
  await listed.catch(() => undefined);
  return names.value.get(id) ?? namesOf(await asked(api.GET("/v1/apps/{app}", { params: { path: { app: id } } })));
}

function useApp(id: string | null): Names | undefined {
  useEffect(() => {
    if (id) want(id, () => appNames(id));
  }, [id]);
  return id ? names.value.get(id) : undefined;
}

/** The name of an app or endpoint that was asked for before; else its id, shortened. */
export function nameOf(id: string): string {
  return names.value.get(id)?.short ?? shortened(id);
}

function shortened(id: string): string {
  return id.length > 16 ? `${id.slice(0, id.indexOf("_") + 1)}…${id.slice(-6)}` : id;
}

/** Where a URL leads, without what is the same of all. */
export function shortUrl(url: string): string {
  return url.replace(/^https?:\/\//, "").replace(/\?.*$/s, "");
}

export function AppTitle({ app }: { app: string }) {
  return <span title={app}>{useApp(app)?.title ?? app}</span>;
}

export function AppName({ app, link = false }: { app: string | null; link?: boolean }) {
  const name = useApp(app)?.short;
  if (!app) return <span class="faint">—</span>;
  return <Name href={link ? at`#/apps/${app}` : null} id={app} name={name} />;
}

export function EndpointName({ app, endpoint, link = false }: { app: string | null; endpoint: string; link?: boolean }) {
  useEffect(() => {
    if (app)
      want(endpoint, async () => {
        const found = await asked(api.GET("/v1/apps/{app}/endpoints/{endpoint}", { params: { path: { app, endpoint } } }));
        const name = found.uid ?? shortUrl(found.url);
        return { short: name, title: name };
      });
  }, [app, endpoint]);
  return <Name href={link && app ? at`#/apps/${app}/endpoints/${endpoint}` : null} id={endpoint} name={names.value.get(endpoint)?.short} />;
}

function Name({ href, id, name }: { href: string | null; id: string; name: string | undefined }) {
  const text = name ?? shortened(id);
  return href === null ? (
    <span title={id}>{text}</span>
  ) : (
    <a href={href} title={id}>
      {text}
    </a>
  );
}
