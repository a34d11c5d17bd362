/** What apps are called. */

import { at } from "../kit/place";
import { api, asked } from "../kit/request";
import { keep, Name, type Names, names, shortened, useNames } from "../screens/names";

const LISTED = 250; // apps that one request brings
let listed: Promise<void> | null = null;

interface App {
  readonly id: string;
  readonly uid: string | null;
  readonly name: string;
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

export function AppTitle({ app, link = false }: { app: string; link?: boolean }) {
  const title = useNames(app, appNames)?.title ?? app;
  return link ? <a href={at`#/apps/${app}`} title={app}>{title}</a> : <span title={app}>{title}</span>;
}

export function AppName({ app, link = false }: { app: string | null; link?: boolean }) {
  const name = useNames(app, appNames)?.short;
  if (!app) return <span class="faint">—</span>;
  return <Name href={link ? at`#/apps/${app}` : null} id={app} name={name} />;
}
