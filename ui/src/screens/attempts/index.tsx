/** Attempts: a list by filters, with the newest on top as they are made. */

import { useEffect, useMemo, useRef } from "preact/hooks";
import { usePages } from "../../kit/asking";
import { count, Time } from "../../kit/numbers";
import { changed, place } from "../../kit/place";
import { api, asked } from "../../kit/request";
import { ChoiceFilter, Filters, LiveSign, Outcome, RangePicker, rangeOf, TextFilter } from "../../kit/small";
import { type Column, List } from "../../kit/table";
import { kit } from "../../kit/texts";
import type { Params } from "../routing";
import { type Attempt, AttemptDrawer, Took } from "./detail";
import { AppName, shortUrl } from "../names";
import { appOf, several } from "../page";
import { AppFilters } from "./whose";
import { resendAndSay } from "./sending";
import { tail } from "./tail";
import { texts } from "./texts";
import { Until, untilOf } from "./until";
import { worded, words } from "./words";

const OUTCOMES = ["delivered", "failed", "gave_up"] as const;
const SCROLLED_PX = 240;
const ROW_PX_MIN = 30;
const ROWS_SPARE = 12; // to scroll to

export default function Attempts(_: { params: Params }) {
  const said = texts.value;
  const query = place.value.query;
  const app = appOf();
  const endpoint = app === null ? null : query.get("endpoint");
  const outcome = OUTCOMES.find((one) => one === query.get("outcome")) ?? null;
  const type = query.get("type");
  const open = query.get("open");
  const until = untilOf();
  const range = rangeOf();
  const since = until === null ? range.since() : new Date(until.getTime() - range.seconds * 1000).toISOString();

  const pages = usePages<Attempt>(
    async (cursor, signal) => {
      const asking = {
        since,
        ...(until ? { until: until.toISOString() } : {}),
        ...(app ? { app } : {}),
        ...(endpoint ? { endpoint } : {}),
        ...(outcome ? { outcome } : {}),
        ...(type ? { type } : {}),
        ...(cursor ? { cursor } : {}),
      };
      return asked(api.GET("/v1/attempts", { params: { query: asking }, signal }));
    },
    [app, endpoint, outcome, type, range.range, until?.getTime()],
  );
  const again = useRef(pages.again);
  again.current = pages.again;

  // An endpoint may be given by its uid, which attempts do not tell: then those of the app are listened to, and none is shown.
  const live = useMemo(() => {
    if (until !== null || (endpoint !== null && !endpoint.startsWith("ep_"))) return null;
    const parts = new URLSearchParams({ kinds: "attempts" });
    if (app) parts.set("app", app);
    if (type) parts.set("types", type);
    return tail(
      `/v1/stream?${parts}`,
      outcome === null && endpoint === null ? null : (one) => (outcome === null || one.outcome === outcome) && (endpoint === null || one.endpoint === endpoint),
      () => again.current(),
    );
  }, [app, endpoint, outcome, type, until?.getTime()]);
  useEffect(() => () => live?.close(), [live]);
  useEffect(() => live?.hold(open !== null), [live, open !== null]);
  const byScroll = usePausedByScroll(live);

  const newest = live?.rows.value ?? [];
  const known = new Set(newest.map((one) => one.id));
  const rows = newest.length > 0 ? [...newest, ...pages.rows.filter((one) => !known.has(one.id))] : pages.rows;
  // While they come, only what is seen is drawn: several times a second it moves down. Who scrolls pauses it, and has it all.
  const moving = newest.length > 0 && live?.state.value !== "paused" && open === null;
  const shown = moving ? rows.slice(0, Math.ceil(innerHeight / ROW_PX_MIN) + ROWS_SPARE) : rows;
  const sample = live?.sample.value;

  return (
    <div class="screen">
      <header>
        <h1>{said.title}</h1>
        <span class="grow faint" role="status">
          {byScroll ? (
            <>
              {said.heldByScroll}{" "}
              <button type="button" class="quiet" onClick={() => scrollTo({ top: 0 })}>
                {said.back}
              </button>
            </>
          ) : (
            sample && sample.oneOf > 1 && said.sampled(count(sample.oneOf))
          )}
        </span>
        {sample && sample.perSecond > 0 && <span class="faint">{said.rate(count(sample.perSecond))}</span>}
        {live ? <LiveSign of={live} /> : until && <span class="faint">{said.fixed}</span>}
      </header>
      <Filters names={["app", "endpoint", "outcome", "type", "range", "until"]}>
        <TextFilter name="type" label={said.type} primary />
        <ChoiceFilter name="outcome" label={said.outcome} choices={OUTCOMES.map((one) => [one, kit.value.state[one]] as const)} />
        <AppFilters />
        <RangePicker />
        <Until label={said.until} />
      </Filters>
      <List
        of={{ ...pages, rows: shown, rest: pages.rest && !moving }}
        columns={COLUMNS()}
        id={(one) => one.id}
        link={(one) => changed({ open: one.id })}
        open={open}
        label={said.title}
        keys={(one) => ({ r: () => void resendAndSay(one) })}
        empty={<p>{several() ? said.none : said.noneYours}</p>}
      />
      {open && <AttemptDrawer id={open} ids={shown.map((one) => one.id)} />}
    </div>
  );
}

const COLUMNS = (): readonly Column<Attempt>[] => {
  const said = texts.value;
  return [
    { title: said.time, kind: "narrow", cell: (one) => <Time at={one.started_at} /> },
    { title: said.outcome, kind: "narrow", cell: (one) => <Outcome of={one.outcome} /> },
    { title: said.status, kind: "number", cell: (one) => one.status ?? "—" },
    { title: said.type, cell: (one) => one.type ?? "—" },
    ...(several() ? [{ title: said.app, spare: true, cell: (one: Attempt) => <AppName app={one.app} /> }] : []),
    { title: said.endpoint, kind: "wide", cell: (one) => <span title={one.url}>{shortUrl(one.url)}</span> },
    { title: said.try, kind: "number", spare: true, cell: (one) => count(one.attempt) },
    { title: said.took, kind: "number", spare: true, cell: (one) => <Took of={one} /> },
    { title: said.reason, spare: true, cell: (one) => (one.outcome === "delivered" ? "" : <span title={worded(words.value.ended, one.reason)}>{one.reason}</span>) },
  ];
};

/** Whoever reads further down is not moved: the stream pauses, and goes on at the top. */
function usePausedByScroll(live: ReturnType<typeof tail> | null): boolean {
  const paused = useRef(false);
  useEffect(() => {
    paused.current = false;
    if (live === null) return;
    const scrolled = () => {
      if (scrollY > SCROLLED_PX && live.state.value !== "paused") {
        paused.current = true;
        live.pause();
      } else if (scrollY <= 8 && paused.current) {
        paused.current = false;
        live.resume();
      }
    };
    addEventListener("scroll", scrolled, { passive: true });
    return () => removeEventListener("scroll", scrolled);
  }, [live]);
  if (live?.state.value !== "paused") paused.current = false;
  return paused.current;
}
