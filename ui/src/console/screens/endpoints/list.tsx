/** A list of endpoints: the state of each, and what passed lately. */

import type { Pages } from "../../../kit/asking";
import { duration } from "../../../kit/numbers";
import { changed } from "../../../kit/place";
import { rangeOf } from "../../../kit/small";
import { type Column, List } from "../../../kit/table";
import { AppTitle } from "../../names";
import { type Endpoint, State } from "../../../screens/endpoints/endpoint";
import { endpointAt } from "../../../screens/page";
import "../../../screens/endpoints/endpoints.css";
import { texts } from "../../../screens/endpoints/texts";
import { Lately, figure, ofEndpoints, useFigures } from "../../../screens/endpoints/traffic";

export function EndpointList({ of, found, withApp = true }: { of: Pages<Endpoint>; found: boolean; withApp?: boolean }) {
  const said = texts.value;
  const { since, range } = rangeOf();
  const figures = useFigures(ofEndpoints, of.rows.map((row) => row.id), since, range);
  const columns: Column<Endpoint>[] = [
    {
      title: said.url,
      kind: "wide",
      cell: (row) => {
        const more = [withApp && <AppTitle app={row.app} />, row.uid, row.uid ? null : row.description].filter(Boolean);
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
      cell: (row) => <Lately of={figures.get(row.id)} />,
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
