/** What an endpoint's requests were made with, and what each change changed. */

import type { components } from "../../api/schema";
import { usePages } from "../../kit/asking";
import { Code } from "../../kit/json";
import { count, Time } from "../../kit/numbers";
import { Drawer } from "../../kit/overlay";
import { changed, place } from "../../kit/place";
import { api, asked } from "../../kit/request";
import { List } from "../../kit/table";
import { several } from "../page";
import type { Endpoint } from "./endpoint";
import { texts } from "./texts";

type Revision = components["schemas"]["RevisionAnswer"];
type Config = Readonly<Record<string, unknown>>;

export function Revisions({ of }: { of: Endpoint }) {
  const said = texts.value;
  const apps = several();
  const pages = usePages(
    (cursor, signal) =>
      asked(
        api.GET("/v1/apps/{app}/endpoints/{endpoint}/revisions", {
          params: { path: { app: of.app, endpoint: of.id }, query: cursor ? { cursor } : {} },
          signal,
        }),
      ),
    [of.id, of.revision],
  );
  const before = (row: Revision) => pages.rows[pages.rows.indexOf(row) + 1];
  const open = place.value.query.get("open");
  const shown = open === null ? undefined : pages.rows.find((row) => String(row.revision) === open);
  return (
    <>
      <List
        of={pages}
        label={said.tabs.revisions}
        id={(row) => String(row.revision)}
        open={open}
        link={(row) => changed({ open: row.revision })}
        columns={[
          { title: said.revision, cell: (row) => count(row.revision), kind: "narrow" },
          { title: said.time, cell: (row) => <Time at={row.created_at} />, kind: "narrow" },
          {
            title: said.changed,
            kind: "wide",
            cell: (row) => {
              const earlier = before(row);
              if (!earlier) return pages.rest ? <span class="faint">…</span> : <span class="faint">{said.first}</span>;
              const names = differences(earlier.config, row.config).map(labelOf);
              return names.length > 0 ? names.join(", ") : <span class="faint">{said.nothingElse}</span>;
            },
          },
        ]}
        empty={<p>{said.noRevisions}</p>}
      />
      {apps && (
        <p>
          <apps.History object={of.id}>{said.whoChanged}</apps.History>
        </p>
      )}
      {open !== null && pages.state !== "loading" && (
        <Drawer title={`${said.revision} ${open}`} closed={changed({ open: null })}>
          {shown ? <Compared before={before(shown)?.config ?? null} after={shown.config} /> : <p class="faint">{said.notShown}</p>}
        </Drawer>
      )}
    </>
  );
}

function Compared({ before, after }: { before: Config | null; after: Config }) {
  const said = texts.value;
  const names = before === null ? [] : differences(before, after);
  return (
    <div class="differences">
      {before !== null && names.length === 0 && <p class="faint">{said.nothingElse}</p>}
      {before !== null &&
        names.map((name) => (
          <section key={name} class="difference">
            <h3>{labelOf(name)}</h3>
            <div>
              <p class="hint">{said.before}</p>
              <Code text={JSON.stringify(before[name] ?? null)} label={`${labelOf(name)}: ${said.before}`} />
            </div>
            <div>
              <p class="hint">{said.after}</p>
              <Code text={JSON.stringify(after[name] ?? null)} label={`${labelOf(name)}: ${said.after}`} />
            </div>
          </section>
        ))}
      <section>
        <h3>{said.whole}</h3>
        <Code text={JSON.stringify(after)} label={said.whole} />
      </section>
    </div>
  );
}

/** Names of the fields in which two configurations differ. */
export function differences(one: Config, other: Config): string[] {
  return [...new Set([...Object.keys(one), ...Object.keys(other)])].filter((name) => JSON.stringify(one[name]) !== JSON.stringify(other[name]));
}

function labelOf(name: string): string {
  const labels: Readonly<Record<string, string>> = texts.value.fields;
  return labels[name] ?? name;
}
