/** The third parties. */

import { usePages } from "../../../kit/asking";
import { Time } from "../../../kit/numbers";
import { at, changed, go, place, to } from "../../../kit/place";
import { api, asked } from "../../../kit/request";
import { Empty } from "../../../kit/shown";
import { Filters, RangePicker, rangeOf, TextFilter } from "../../../kit/small";
import { List } from "../../../kit/table";
import type { Params } from "../../../screens/routing";
import { type Asking, Lately, figure, useFigures } from "../../../screens/endpoints/traffic";
import { EditApp } from "./edit";
import { titleOf } from "../../names";
import { texts } from "./texts";

/** Apps of Posthouse's own, which are there from the first start on: for operational events, and for routes over all apps. */
const OWN: ReadonlySet<string> = new Set(["app_0000000001r010000000000004", "app_0000000001r010000000000008"]);

const ofApps: Asking = async (some, span, signal) =>
  (await asked(api.GET("/v1/traffic/apps", { params: { query: { ...span, app: some } }, signal }))).data.map((row) => [row.app, row]);

export default function Apps(_: { params: Params }) {
  const said = texts.value;
  const query = place.value.query;
  const search = query.get("search");
  const pages = usePages(
    (cursor, signal) => asked(api.GET("/v1/apps", { params: { query: { ...(search && { search }), ...(cursor && { cursor }) } }, signal })),
    [search],
  );
  const { since, range } = rangeOf();
  const figures = useFigures(ofApps, pages.rows.map((row) => row.id), since, range);
  return (
    <div class="screen">
      <header>
        <h1>{said.title}</h1>
        <span class="grow" />
        <a class="button primary" href={changed({ new: 1 })}>
          {said.fresh}
        </a>
      </header>
      <Filters names={["search"]}>
        <TextFilter name="search" label={said.search} primary />
        <RangePicker />
      </Filters>
      <List
        of={pages}
        label={said.title}
        id={(row) => row.id}
        link={(row) => to(at`/apps/${row.id}`)}
        columns={[
          { title: said.name, cell: (row) => titleOf(row), kind: "wide" },
          { title: said.uid, cell: (row) => (row.uid ? <code>{row.uid}</code> : <span class="faint">—</span>), kind: "narrow" },
          {
            title: said.lately,
            spare: true,
            kind: "narrow",
            cell: (row) => <Lately of={figures.get(row.id)} />,
          },
          { title: said.delivered, kind: "number", spare: true, cell: (row) => figure(figures.get(row.id)?.delivered) },
          { title: said.failed, kind: "number", spare: true, cell: (row) => figure(figures.get(row.id)?.failed) },
          { title: said.created, cell: (row) => <Time at={row.created_at} />, kind: "narrow", spare: true },
        ]}
        empty={search ? <p>{said.noneFound}</p> : <First />}
      />
      {!search && pages.rows.length > 0 && pages.rows.every((row) => OWN.has(row.id)) && (
        <Empty>
          <First />
        </Empty>
      )}
      {query.has("new") && <EditApp app={null} close={() => go(changed({ new: null }))} done={(app) => go(to(at`/apps/${app.id}`))} />}
    </div>
  );
}

function First() {
  const said = texts.value;
  return (
    <>
      <p>{said.none}</p>
      <a class="button primary" href={changed({ new: 1 })}>
        {said.fresh}
      </a>
    </>
  );
}
