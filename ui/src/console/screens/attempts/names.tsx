/** What apps and endpoints are called. Rows hold ids; their names are asked for once, a few at a time, and kept while the page
 * is open, up to a bound. */

import { signal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { useAsked } from "../../../kit/asking";
import { at, changed, go, place } from "../../../kit/place";
import { api, asked } from "../../../kit/request";
import { ChoiceFilter, TextFilter } from "../../../kit/small";
import { texts } from "./texts";

const NAMES_MAX = 2_000;
const ASKED_AT_ONCE_MAX = 4;
const CHOICES_MAX = 250;

const names = signal<ReadonlyMap<string, string>>(new Map());
const wanted = new Map<string, () => Promise<string>>();
const under = new Set<string>();

function want(id: string, ask: () => Promise<string>): void {
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
      .catch(() => shortened(id)) // one that was deleted keeps its id
      .then((name) => {
        under.delete(id);
        names.value = new Map([...(names.value.size >= NAMES_MAX ? [] : names.value), [id, name]]);
        work();
      });
  }
}

/** The name of an app or endpoint that was asked for before; else its id, shortened. */
export function nameOf(id: string): string {
  return names.value.get(id) ?? shortened(id);
}

export function shortened(id: string): string {
  return id.length > 16 ? `${id.slice(0, id.indexOf("_") + 1)}…${id.slice(-6)}` : id;
}

/** Where a URL leads, without what is the same of all. */
export function shortUrl(url: string): string {
  return url.replace(/^https?:\/\//, "").replace(/\?.*$/s, "");
}

export function AppName({ app, link = false }: { app: string | null; link?: boolean }) {
  useEffect(() => {
    if (app) want(app, async () => (await asked(api.GET("/v1/apps/{app}", { params: { path: { app } } }))).uid ?? shortened(app));
  }, [app]);
  if (!app) return <span class="faint">—</span>;
  const name = nameOf(app);
  return link ? (
    <a href={at`#/apps/${app}`} title={app}>
      {name}
    </a>
  ) : (
    <span title={app}>{name}</span>
  );
}

export function EndpointName({ app, endpoint, link = false }: { app: string | null; endpoint: string; link?: boolean }) {
  useEffect(() => {
    if (app)
      want(endpoint, async () => {
        const found = await asked(api.GET("/v1/apps/{app}/endpoints/{endpoint}", { params: { path: { app, endpoint } } }));
        return found.uid ?? shortUrl(found.url);
      });
  }, [app, endpoint]);
  const name = nameOf(endpoint);
  return link && app ? (
    <a href={at`#/apps/${app}/endpoints/${endpoint}`} title={endpoint}>
      {name}
    </a>
  ) : (
    <span title={endpoint}>{name}</span>
  );
}

/** The filters `app` and `endpoint`. A few hundred are chosen from; of more, the id or uid is typed. */
export function AppFilters({ endpoints = true }: { endpoints?: boolean }) {
  const app = place.value.query.get("app");
  return (
    <>
      <AppFilter />
      {endpoints && app !== null && <EndpointFilter key={app} app={app} />}
    </>
  );
}

function AppFilter() {
  const all = useAsked(() => asked(api.GET("/v1/apps", { params: { query: { limit: CHOICES_MAX } } })), []);
  if (all.data === null || all.data.next !== null) return <TextFilter name="app" label={texts.value.appTyped} />;
  const current = place.value.query.get("app");
  const value = all.data.data.find((one) => one.id === current || one.uid === current)?.id ?? current ?? "";
  return (
    <select
      aria-label={texts.value.app}
      value={value}
      onChange={(event) => go(changed({ app: event.currentTarget.value || null, endpoint: null, open: null }))}
    >
      <option value="">{texts.value.allApps}</option>
      {all.data.data.map((one) => (
        <option key={one.id} value={one.id}>
          {one.uid ?? one.name ?? one.id}
        </option>
      ))}
      {value !== "" && !all.data.data.some((one) => one.id === value) && <option value={value}>{value}</option>}
    </select>
  );
}

function EndpointFilter({ app }: { app: string }) {
  const all = useAsked(
    () => asked(api.GET("/v1/apps/{app}/endpoints", { params: { path: { app }, query: { limit: CHOICES_MAX } } })),
    [app],
  );
  if (all.data === null || all.data.next !== null) return <TextFilter name="endpoint" label={texts.value.endpointTyped} />;
  return (
    <ChoiceFilter
      name="endpoint"
      label={texts.value.endpoint}
      choices={all.data.data.map((one) => [one.id, one.uid ?? shortUrl(one.url)] as const)}
    />
  );
}
