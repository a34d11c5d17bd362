/** What can happen: the event types that the app may hear of. */

import { usePages } from "../../kit/asking";
import { at, place, to } from "../../kit/place";
import { api, asked } from "../../kit/request";
import { Filters, TextFilter } from "../../kit/small";
import { List } from "../../kit/table";
import type { Params } from "../../screens/routing";
import { catalogue } from "../../screens/types/texts";
import { portal } from "./texts";

export default function EventTypes(_: { params: Params }) {
  const texts = catalogue.value;
  const search = place.value.query.get("search") ?? "";
  const found = usePages(
    (cursor, signal) => asked(api.GET("/v1/event-types", { params: { query: { ...(cursor ? { cursor } : {}), ...(search ? { search } : {}) } }, signal })),
    [search],
  );
  return (
    <div class="screen">
      <header>
        <h1>{texts.title}</h1>
      </header>
      <Filters names={["search"]}>
        <TextFilter name="search" label={texts.search} primary />
      </Filters>
      <List
        of={found}
        label={texts.title}
        id={(row) => row.name}
        link={(row) => to(at`/types/${row.name}`)}
        empty={<p>{search ? texts.nothing : portal.value.noCatalogue}</p>}
        columns={[
          {
            title: texts.name,
            kind: "wide",
            cell: (row) => (
              <>
                <code>{row.name}</code>
                {row.description && (
                  <span class="row-line why faint unspared" title={row.description}>
                    {row.description}
                  </span>
                )}
              </>
            ),
          },
          { title: texts.description, kind: "wide", spare: true, cell: (row) => <span title={row.description}>{row.description}</span> },
          { title: texts.version, kind: "number", cell: (row) => row.version },
        ]}
      />
    </div>
  );
}
