/** Who changed what, and who looked at which secret. */

import type { components } from "../../../api/schema";
import { useAsked, usePages } from "../../../kit/asking";
import { Code } from "../../../kit/json";
import { Time } from "../../../kit/numbers";
import { Drawer } from "../../../kit/overlay";
import { at, changed, place, to } from "../../../kit/place";
import { api, asked } from "../../../kit/request";
import { Missing, Shown } from "../../../kit/shown";
import { ChoiceFilter, Facts, Filters, Id, RangePicker, rangeOf, TextFilter } from "../../../kit/small";
import { List } from "../../../kit/table";
import type { Params } from "../../../screens/routing";
import { texts } from "./texts";

type Entry = components["schemas"]["AuditAnswer"];

const FILTERS = ["actor", "action", "object"] as const;

export default function Audit(_: { params: Params }) {
  const said = texts.value;
  const query = place.value.query;
  const { since, range } = rangeOf("30d");
  const filters = Object.fromEntries(FILTERS.map((name) => [name, query.get(name)] as const).filter(([, value]) => value)) as Partial<Record<(typeof FILTERS)[number], string>>;
  const pages = usePages(
    (cursor, signal) => asked(api.GET("/v1/audit", { params: { query: { since: since(), ...filters, ...(cursor && { cursor }) } }, signal })),
    [filters, range],
  );
  const open = query.get("open");
  const kinds: (readonly [string, string])[] = Object.entries(said.kinds).map(([kind, title]) => [`${kind}.`, title] as const);
  const action = query.get("action");
  if (action !== null && !kinds.some(([value]) => value === action)) kinds.push([action, inWords(action)]);
  return (
    <div class="screen">
      <header>
        <h1>{said.title}</h1>
        <span class="faint">{said.why}</span>
      </header>
      <Filters names={FILTERS}>
        <TextFilter name="object" label={said.object} primary />
        <TextFilter name="actor" label={said.actor} />
        <ChoiceFilter name="action" label={said.kind} choices={kinds} />
        <RangePicker fallback="30d" />
      </Filters>
      <List
        of={pages}
        label={said.title}
        id={(row) => String(row.id)}
        open={open}
        link={(row) => changed({ open: row.id, at: row.at })}
        columns={[
          { title: said.time, cell: (row) => <Time at={row.at} />, kind: "narrow" },
          { title: said.did, cell: (row) => inWords(row.action), kind: "narrow" },
          { title: said.what, cell: (row) => <Thing of={row} />, kind: "wide" },
          { title: said.who, cell: (row) => <Who of={row} />, spare: true },
        ]}
        empty={<p>{Object.keys(filters).length > 0 ? said.noneFound : said.none}</p>}
      />
      {open !== null && (
        <Drawer key={open} title={said.entry} closed={changed({ open: null, at: null })}>
          <One id={open} at={query.get("at")} known={pages.rows.find((row) => String(row.id) === open)} />
        </Drawer>
      )}
    </div>
  );
}

/** What was done, in words; what nobody has words for, as it is. */
function inWords(action: string): string {
  const [kind = "", verb = ""] = action.split(".");
  const { kinds, verbs } = texts.value as { kinds: Readonly<Record<string, string>>; verbs: Readonly<Record<string, string>> };
  return kinds[kind] && verbs[verb] ? `${kinds[kind]} · ${verbs[verb]}` : action;
}

function Who({ of }: { of: Entry }) {
  return <>{of.actor.id === "system" ? <span class="faint">{texts.value.system}</span> : of.actor.name || <code>{of.actor.id}</code>}</>;
}

function Thing({ of }: { of: Entry }) {
  return <code>{of.object}</code>;
}

/** Where the thing is shown, as far as its id tells. */
function placeOf(of: Entry): string | null {
  const prefix = of.object.slice(0, of.object.indexOf("_"));
  if (of.action.startsWith("event_type.")) return to(at`/types/${of.object}`);
  if (prefix === "app") return to(at`/apps/${of.object}`);
  if (prefix === "ep") return to("/endpoints", { search: of.object });
  if (prefix === "evt") return to(at`/events/${of.object}`);
  if (prefix === "key") return to("/keys", { open: of.object });
  if (of.action.startsWith("trigger.")) return to(at`/triggers/${of.object}`);
  return null;
}

const MOMENT_MS = 2; // the list's times are cut to milliseconds

/** An entry that is not on the page that is shown is asked for by its time. */
function One({ id, at: when, known }: { id: string; at: string | null; known: Entry | undefined }) {
  const entry = useAsked<Entry | null>(
    async (signal) => {
      if (known) return known;
      if (when === null || Number.isNaN(Date.parse(when))) return null;
      const since = new Date(Date.parse(when) - MOMENT_MS).toISOString();
      const until = new Date(Date.parse(when) + MOMENT_MS).toISOString();
      const { data } = await asked(api.GET("/v1/audit", { params: { query: { since, until, limit: 250 } }, signal }));
      return data.find((row) => String(row.id) === id) ?? null;
    },
    [id, when, known?.id],
  );
  return <Shown of={entry}>{(found) => <Told of={found} />}</Shown>;
}

function Told({ of }: { of: Entry | null }) {
  const said = texts.value;
  if (of === null) return <Missing />;
  const where = placeOf(of);
  return (
    <>
      <Facts
        of={[
          [said.time, <Time at={of.at} />],
          [
            said.did,
            <>
              {inWords(of.action)} <code class="faint">{of.action}</code>
            </>,
          ],
          [
            said.what,
            <>
              {where === null ? null : <a href={where}>→ </a>}
              <Id>{of.object}</Id>
            </>,
          ],
          [
            said.who,
            <>
              <Who of={of} />{" "}
              {of.actor.id !== "system" && (
                <>
                  <a href={to("/keys", { open: of.actor.id })}>→ </a>
                  <Id>{of.actor.id}</Id>
                </>
              )}
            </>,
          ],
        ]}
      />
      <section>
        <h3>{said.detail}</h3>
        {Object.keys(of.detail).length === 0 ? <p class="faint">{said.noDetail}</p> : <Code text={JSON.stringify(of.detail)} label={said.detail} />}
      </section>
      <div class="buttons">
        <a class="button" href={to("/audit", { actor: of.actor.id })}>
          {said.sameActor}
        </a>
        <a class="button" href={to("/audit", { object: of.object })}>
          {said.sameObject}
        </a>
      </div>
    </>
  );
}
