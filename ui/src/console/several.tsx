/** What the console adds to the screens that a page of one app has as well. */

import type { ComponentChildren } from "preact";
import { useAsked } from "../kit/asking";
import { at, to } from "../kit/place";
import { api, asked } from "../kit/request";
import type { Page } from "../screens/page";
import { AppName, AppTitle } from "./names";
import { AppField, AppFilter } from "./picking";

export const page: Page = {
  several: { Name: AppName, Title: AppTitle, Filter: AppFilter, Field: AppField, History, Actor },
  endpoint: (app, endpoint) => at`/apps/${app}/endpoints/${endpoint}`,
  replay: (app, replay) => at`/replays/${app}/${replay}`,
  endpoints: "/endpoints",
};

function History({ object, children }: { object: string; children: ComponentChildren }) {
  return <a href={to("/audit", { object })}>{children}</a>;
}

/** Whose key did it, as the audit has it. */
function Actor({ object, action }: { object: string; action: string }) {
  const found = useAsked((signal) => asked(api.GET("/v1/audit", { params: { query: { object, action, limit: 1 } }, signal })), [object, action]);
  const actor = found.data?.data[0]?.actor;
  return actor ? <History object={object}>{actor.name ?? actor.id}</History> : <>—</>;
}
