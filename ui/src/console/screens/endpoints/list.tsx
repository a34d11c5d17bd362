/** A list of endpoints: the state of each, and what passed lately. */

import type { Pages } from "../../../kit/asking";
import { Spark } from "../../../kit/charts";
import { compact, duration } from "../../../kit/numbers";
import { changed } from "../../../kit/place";
import { rangeOf } from "../../../kit/small";
import { type Column, List } from "../../../kit/table";
import { AppName } from "../apps/names";
import { type Endpoint, endpointAt, State } from "./endpoint";
import "./endpoints.css";
import { texts } from "./texts";
import { useFigures } from "./traffic";

export function EndpointList({ of, found, withApp = true }: { of: Pages<Endpoint>; found: boolean; withApp?: boolean }) {
  const said = texts.value;
  const { since, range } = rangeOf();
  const figures = useFigures("endpoints", of.rows.map((row) => row.id), since, range);
  const columns: Column<Endpoint>[] = [
    {
      title: said.url,
      kind: "wide",
      cell: (row) => {
        const more = [withApp && <AppName id={row.app} />, row.uid, row.uid ? null : row.description].filter(Boolean);
        return (
          <>
            <span class="row-line" title={row.url}>
              {row.url.replace(/^https:\/\//, "")}
            </span>
            {more.length > 0 && (
              <span class="row-line faint">
                {more.map((one, i) => (
                  <>
                    {i > 0 && " · "}
                    {one}
                  </>
                ))}
              </span>
            )}
          </>
        );
      },
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
