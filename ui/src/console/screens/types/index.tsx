/** The catalogue: what can happen. */

import { usePages } from "../../../kit/asking";
import { Drawer } from "../../../kit/overlay";
import { at, changed, go, place, to } from "../../../kit/place";
import { api, asked } from "../../../kit/request";
import { Badge, ChoiceFilter, Filters, TextFilter } from "../../../kit/small";
import { List } from "../../../kit/table";
import { Time } from "../../../kit/numbers";
import type { Params } from "../../../screens/routing";
import { TypeForm } from "./form";
import { catalogue } from "../../../screens/types/texts";
import { types } from "./texts";

export default function EventTypes(_: { params: Params }) {
  const texts = types.value;
  const common = catalogue.value;
  const query = place.value.query;
  const search = query.get("search") ?? "";
  const wanted = query.get("visibility");
  const visibility = wanted === "public" || wanted === "granted" || wanted === "private" ? wanted : null;
  const archived = query.get("archived") === "true";
  const found = usePages(
    (cursor, signal) =>
      asked(
        api.GET("/v1/event-types", {
          params: { query: { ...(cursor ? { cursor } : {}), ...(search ? { search } : {}), ...(visibility ? { visibility } : {}), ...(archived ? { archived } : {}) } },
          signal,
        }),
      ),
    [search, visibility, archived],
  );
  return (
    <div class="screen">
      <header>
        <h1>{common.title}</h1>
        <span class="grow" />
        <a class="button primary" href={changed({ new: true })}>
          {texts.create}
        </a>
      </header>
      <Filters names={["search", "visibility", "archived"]}>
        <TextFilter name="search" label={common.search} primary />
        <ChoiceFilter
          name="visibility"
          label={texts.visibility}
          choices={[
            ["public", texts.visibilities.public],
            ["granted", texts.visibilities.granted],
            ["private", texts.visibilities.private],
          ]}
        />
        <label class="buttons">
          <input type="checkbox" checked={archived} onChange={(event) => go(changed({ archived: event.currentTarget.checked }))} />
          {texts.withArchived}
        </label>
      </Filters>
      <List
        of={found}
        label={common.title}
        id={(row) => row.name}
        link={(row) => to(at`/types/${row.name}`)}
        empty={
          search || visibility ? (
            common.nothing
          ) : (
            <>
              <p>{texts.empty}</p>
              <a class="button primary" href={changed({ new: true })}>
                {texts.create}
              </a>
            </>
          )
        }
        columns={[
          {
            title: common.name,
            cell: (row) => (
              <>
                <code>{row.name}</code> {row.archived && <Badge>{texts.archived}</Badge>}
              </>
            ),
          },
          { title: common.description, kind: "wide", cell: (row) => <span title={row.description}>{row.description}</span>, spare: true },
          { title: common.version, kind: "number", cell: (row) => row.version },
          { title: texts.visibility, cell: (row) => <Badge>{texts.visibilities[row.visibility]}</Badge>, spare: true },
          { title: common.changedAt, kind: "narrow", cell: (row) => <Time at={row.updated_at} relative />, spare: true },
        ]}
      />
      {query.has("new") && (
        <Drawer title={texts.create} closed={changed({ new: null })}>
          <TypeForm of={null} />
        </Drawer>
      )}
    </div>
  );
}
