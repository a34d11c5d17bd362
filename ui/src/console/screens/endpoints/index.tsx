/** Endpoints of all apps: which are well, which are not, and what passed lately. */

import type { components } from "../../../api/schema";
import { type Pages, usePages } from "../../../kit/asking";
import { compact, duration } from "../../../kit/numbers";
import { changed, place } from "../../../kit/place";
import { api, asked } from "../../../kit/request";
import { Empty } from "../../../kit/shown";
import { ChoiceFilter, Filters, RangePicker, rangeOf, TextFilter } from "../../../kit/small";
import { type Column, List } from "../../../kit/table";
import { Spark } from "../../../kit/charts";
import type { Params } from "../../routes";
import { AppFilter } from "../apps/choose";
import { AppName } from "../apps/names";
import { Create } from "./create";
import { type Endpoint, endpointAt, State } from "./endpoint";
import { texts } from "./texts";
import { useFigures } from "./traffic";

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

export function EndpointList({ of, found, withApp = true }: { of: Pages<Endpoint>; found: boolean; withApp?: boolean }) {
  const said = texts.value;
  const { since, range } = rangeOf();
  const figures = useFigures("endpoints", of.rows.map((row) => row.id), since, range);
  const columns: Column<Endpoint>[] = [
    {
      title: said.url,
      kind: "wide",
      cell: (row) => (
        <>
          {row.url}
          {(row.uid ?? row.description) && <span class="faint"> {row.uid ?? row.description}</span>}
        </>
      ),
    },
    { title: said.state, cell: (row) => <State of={row} />, kind: "narrow" },
    {
      title: said.lately,
      spare: true,
      kind: "narrow",
      cell: (row) => {
        const known = figures.get(row.id);
        if (!known) return <span class="faint">—</span>;
        const all = known.series.delivered.map((n, i) => n + (known.series.failed[i] ?? 0));
        return <Spark values={all} bad={known.series.failed} label={said.spark(compact(known.delivered), compact(known.failed))} />;
      },
    },
    { title: said.delivered, kind: "number", spare: true, cell: (row) => figure(figures.get(row.id)?.delivered) },
    { title: said.failed, kind: "number", spare: true, cell: (row) => figure(figures.get(row.id)?.failed) },
    {
      title: said.p99,
      kind: "number",
      spare: true,
      cell: (row) => {
        const p99 = figures.get(row.id)?.p99_ms ?? null;
        return p99 === null ? <span class="faint">—</span> : duration(p99);
      },
    },
  ];
  if (withApp) columns.splice(1, 0, { title: said.app, spare: true, kind: "narrow", cell: (row) => <AppName id={row.app} /> });
  return (
    <List
      of={of}
      label={said.title}
      id={(row) => row.id}
      link={(row) => endpointAt(row.app, row.id)}
      columns={columns}
      empty={
        <>
          <p>{found ? said.noneFound : said.none}</p>
          {!found && (
            <a class="button primary" href={changed({ new: 1 })}>
              {said.fresh}
            </a>
          )}
        </>
      }
    />
  );
}

function figure(n: number | undefined) {
  return n === undefined ? <span class="faint">—</span> : compact(n);
}
