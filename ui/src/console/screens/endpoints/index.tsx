/** Endpoints of all apps: which are well, which are not, and what passed lately. */

import type { components } from "../../../api/schema";
import { type Pages, usePages } from "../../../kit/asking";
import { changed, place } from "../../../kit/place";
import { api, asked } from "../../../kit/request";
import { Empty } from "../../../kit/shown";
import { ChoiceFilter, Filters, RangePicker, TextFilter } from "../../../kit/small";
import type { Params } from "../../../screens/routing";
import { AppFilter } from "../apps/choose";
import { Create } from "./create";
import type { Endpoint } from "../../../screens/endpoints/endpoint";
import { EndpointList } from "./list";
import { texts } from "../../../screens/endpoints/texts";

type Waiting = components["schemas"]["Waiting"];

export default function Endpoints(_: { params: Params }) {
  const said = texts.value;
  const query = place.value.query;
  const app = query.get("app") ?? "";
  const pages = useEndpoints(app);
  return (
    <div class="screen">
      <header>
        <h1>{said.title}</h1>
        <span class="grow" />
        <a class="button primary" href={changed({ new: 1 })}>
          {said.fresh}
        </a>
      </header>
      <Filters names={["search", "app", "state"]}>
        <TextFilter name="search" label={said.search} primary />
        <AppFilter name="app" label={said.app} />
        <ChoiceFilter name="state" label={said.state} choices={Object.entries(said.states)} />
        <RangePicker />
      </Filters>
      {pages.state === "missing" ? <Empty>{said.noApp}</Empty> : <EndpointList of={pages} found={["search", "app", "state"].some((one) => query.has(one))} />}
      {query.has("new") && <Create app={app} closed={changed({ new: null })} />}
    </div>
  );
}

/** Those that the filters of the address let pass. */
export function useEndpoints(app: string): Pages<Endpoint> {
  const query = place.value.query;
  const search = query.get("search");
  const state = query.get("state");
  const enabled = state === "enabled" ? true : state === "disabled" ? false : null;
  const waiting = enabled === null && state !== null ? (state as Waiting) : null;
  return usePages(
    (cursor, signal) =>
      asked(
        api.GET("/v1/endpoints", {
          params: {
            query: {
              ...(app && { app }),
              ...(search && { search }),
              ...(enabled !== null && { enabled }),
              ...(waiting && { state: waiting }),
              ...(cursor && { cursor }),
            },
          },
          signal,
        }),
      ),
    [app, search, state],
  );
}
