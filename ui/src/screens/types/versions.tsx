/** How an event type came to be so: its versions, and what each changed. */

import { type Page, usePages } from "../../kit/asking";
import { Diff } from "../../kit/diff";
import { type Exact, isList, isMap, writeExact } from "../../kit/exact";
import { Code } from "../../kit/json";
import { count, Time } from "../../kit/numbers";
import { at } from "../../kit/place";
import { askedExact } from "../../kit/raw";
import { Loading, Rest } from "../../kit/shown";
import { Badge } from "../../kit/small";
import { catalogue } from "./texts";
import type { EventType } from "./type";

interface Version {
  readonly version: number;
  readonly schema: Exact;
  readonly created_at: string;
}

function versionsOf(answer: Exact): Page<Version> {
  if (!isMap(answer)) return { data: [], next: null };
  const rows = answer.get("data");
  const next = answer.get("next");
  return {
    data: (isList(rows) ? rows : []).filter(isMap).map((one) => ({
      version: Number(writeExact(one.get("version") ?? null)),
      schema: one.get("schema") ?? null,
      created_at: String(one.get("created_at")),
    })),
    next: typeof next === "string" ? next : null,
  };
}

/** The newest first; each with what is another than in the one before it. */
export function Versions({ of }: { of: EventType }) {
  const texts = catalogue.value;
  const found = usePages<Version>(
    (cursor, signal) => askedExact(`${at`/v1/event-types/${of.name}/versions`}?limit=20${cursor ? `&cursor=${encodeURIComponent(cursor)}` : ""}`, signal).then(versionsOf),
    [of.name, of.version],
  );
  if (found.rows.length === 0 && found.state === "loading") return <Loading />;
  return (
    <>
      {found.rows.map((one, i) => {
        const before = found.rows[i + 1];
        const text = one.schema === null ? "" : writeExact(one.schema, 2);
        const old = before === undefined ? "" : before.schema === null ? "" : writeExact(before.schema, 2);
        return (
          <section class="panel" key={one.version}>
            <header>
              <h2>
                {texts.versionOf(count(one.version))} {one.version === of.version && <Badge tone="good">{texts.current}</Badge>}
              </h2>
              <Time at={one.created_at} />
            </header>
            {before === undefined ? (
              found.rest ? null : (
                <details open={found.rows.length === 1}>
                  <summary>{texts.first}</summary>
                  {one.schema === null ? <p class="hint">{texts.noSchema}</p> : <Code text={text} />}
                </details>
              )
            ) : text === old ? (
              <p class="hint">{texts.sameSchema}</p>
            ) : (
              <Diff before={old} after={text} />
            )}
          </section>
        );
      })}
      <Rest of={found} />
    </>
  );
}
