/** What a trigger saw and set aside: tried again, or let be, one by one or as the filter says. */

import { useRef, useState } from "preact/hooks";
import { type Page, usePages } from "../../../kit/asking";
import { Bulk } from "../../../kit/bulk";
import { type Exact, isList, isMap, told, writeExact } from "../../../kit/exact";
import { Code } from "../../../kit/json";
import { count, Time } from "../../../kit/numbers";
import { Action, Drawer, say } from "../../../kit/overlay";
import { at, changed, place } from "../../../kit/place";
import { askedExact } from "../../../kit/raw";
import { api, asked } from "../../../kit/request";
import { Missing } from "../../../kit/shown";
import { ChoiceFilter, Facts, Filters, Id } from "../../../kit/small";
import { List } from "../../../kit/table";
import type { components } from "../../../api/schema";
import { triggers } from "./texts";

type Refusal = Omit<components["schemas"]["RefusalAnswerOfTrigger"], "seen"> & {
  /** As its text: no number in it is rounded. */
  readonly seen: string;
  readonly isText: boolean;
};

function pageOf(answer: Exact): Page<Refusal> {
  const get = (from: Exact, name: string): Exact => (isMap(from) ? (from.get(name) ?? null) : null);
  const rows = get(answer, "data");
  const next = get(answer, "next");
  return {
    data: (isList(rows) ? rows : []).map((one) => {
      const plain = JSON.parse(writeExact(one)) as components["schemas"]["RefusalAnswerOfTrigger"];
      const seen = get(one, "seen");
      return { ...plain, seen: told(seen), isText: typeof seen === "string" };
    }),
    next: typeof next === "string" ? next : null,
  };
}

const PIECE = 50;
const PAGE = 200;

export function Refusals({ trigger, total, again }: { trigger: string; total: number; again: () => void }) {
  const texts = triggers.value;
  const query = place.value.query;
  const code = query.get("code");
  const open = query.get("open");
  const path = { trigger };
  const page = (cursor: string | null, limit: number, signal: AbortSignal) =>
    askedExact(`${at`/v1/triggers/${trigger}/refusals`}?limit=${limit}${cursor ? `&cursor=${encodeURIComponent(cursor)}` : ""}`, signal).then(pageOf);
  const found = usePages((cursor, signal) => page(cursor, 50, signal), [trigger]);
  const [codes, setCodes] = useState<ReadonlySet<string>>(new Set());
  for (const one of found.rows) if (!codes.has(one.code)) setCodes(new Set([...codes, one.code]));
  const wanted = (one: Refusal) => code === null || one.code === code;
  const rows = found.rows.filter(wanted);
  const opened = rows.find((one) => one.id === open);

  const gather = async (signal: AbortSignal): Promise<readonly string[]> => {
    const ids: string[] = [];
    let cursor: string | null = null;
    do {
      const one: Page<Refusal> = await page(cursor, PAGE, signal);
      ids.push(...one.data.filter(wanted).map((each) => each.id));
      cursor = one.next;
    } while (cursor !== null && !signal.aborted);
    return ids;
  };
  const retry = async (ids: readonly string[]) => asked(api.POST("/v1/triggers/{trigger}/refusals/retry", { params: { path }, body: { ids: [...ids] } }));
  const discard = async (ids: readonly string[]) => asked(api.POST("/v1/triggers/{trigger}/refusals/discard", { params: { path }, body: { ids: [...ids] } }));
  const after = () => {
    found.again();
    again();
  };
  const tell = (went: Awaited<ReturnType<typeof retry>>) => {
    say(texts.retriedTold(count(went.published), count(went.refused), count(went.left_out)), went.refused > 0 ? "bad" : "good");
  };
  const tally = useRef({ published: 0, refused: 0, left_out: 0 });
  const shown = code === null ? count(total) : "";

  return (
    <>
      <Filters names={["code"]}>
        <ChoiceFilter name="code" label={texts.byReason} choices={[...new Set([...codes, ...(code ? [code] : [])])].map((one) => [one, one] as const)} />
        <span class="grow" />
        <Bulk
          disabled={rows.length === 0}
          gather={(signal) => {
            tally.current = { published: 0, refused: 0, left_out: 0 };
            return gather(signal);
          }}
          ask={texts.retryAsk}
          yes={texts.retryAll}
          piece={PIECE}
          act={async (ids) => {
            const went = await retry(ids);
            tally.current.published += went.published;
            tally.current.refused += went.refused;
            tally.current.left_out += went.left_out;
            if (went.postponed !== null) return texts.postponed(went.postponed);
          }}
          done={() => texts.retriedTold(count(tally.current.published), count(tally.current.refused), count(tally.current.left_out))}
          ended={after}
          stop={texts.stop}
        >
          {texts.retryAll(shown)}
        </Bulk>
        <Bulk
          kind="danger"
          disabled={rows.length === 0}
          gather={gather}
          ask={texts.discardAsk}
          yes={texts.discardAll}
          piece={PIECE}
          act={async (ids) => void (await discard(ids))}
          done={texts.discardedTold}
          ended={after}
          stop={texts.stop}
        >
          {texts.discardAll(shown)}
        </Bulk>
      </Filters>
      <p class="hint">{texts.refusalsAbout}</p>
      <List
        of={{ ...found, rows }}
        label={texts.refusals}
        id={(row) => row.id}
        link={(row) => changed({ open: row.id })}
        open={open}
        empty={texts.noRefusals}
        columns={[
          { title: texts.at, kind: "narrow", cell: (row) => <Time at={row.at ?? row.created_at} /> },
          { title: texts.byReason, kind: "narrow", cell: (row) => <code>{row.code}</code> },
          { title: texts.reason, kind: "wide", cell: (row) => <span title={row.reason}>{row.reason}</span> },
          { title: texts.tries, kind: "number", cell: (row) => count(row.tries), spare: true },
        ]}
      />
      {open && (
        <Drawer title={texts.refusals} closed={changed({ open: null })}>
          {opened ? (
            <>
              <span class="buttons">
                <Action
                  kind="primary"
                  act={async () => {
                    tell(await retry([opened.id]));
                    after();
                  }}
                >
                  {texts.retryOne}
                </Action>
                <Action
                  kind="danger"
                  ask={<p>{texts.discardOneAsk}</p>}
                  act={async () => {
                    await discard([opened.id]);
                    after();
                  }}
                >
                  {texts.discardOne}
                </Action>
              </span>
              <Facts
                of={[
                  ["id", <Id>{opened.id}</Id>],
                  [texts.byReason, <code>{opened.code}</code>],
                  [texts.reason, opened.reason],
                  [texts.at, <Time at={opened.at ?? opened.created_at} />],
                  [texts.tries, count(opened.tries)],
                ]}
              />
              <h3>{texts.seen}</h3>
              <Code text={opened.seen} plain={opened.isText} />
            </>
          ) : found.state === "ready" ? (
            <Missing />
          ) : null}
        </Drawer>
      )}
    </>
  );
}
