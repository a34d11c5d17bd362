/** Events, newest first, by what is known of them. */

import { useState } from "preact/hooks";
import { usePages } from "../../kit/asking";
import { bytes, Time } from "../../kit/numbers";
import { at, go, place, to } from "../../kit/place";
import { api, asked } from "../../kit/request";
import { Filters, RangePicker, rangeOf, TextFilter } from "../../kit/small";
import { type Column, List } from "../../kit/table";
import type { components } from "../../api/schema";
import type { Params } from "../routing";
import { AppName } from "../names";
import { appOf, several } from "../page";
import { AppFilters } from "../attempts/whose";
import { Until, untilOf } from "../attempts/until";
import "./events.css";
import { texts } from "./texts";

type Event = components["schemas"]["EventAnswer"];

const IS_ID = /^evt_[0-9a-z]+$/;

export default function Events(_: { params: Params }) {
  const said = texts.value;
  const query = place.value.query;
  const app = appOf();
  const [type, subject, key] = (["type", "subject", "key"] as const).map((name) => query.get(name));
  const until = untilOf();
  const range = rangeOf();
  const pages = usePages<Event>(
    (cursor, signal) => {
      const since = until === null ? range.since() : new Date(until.getTime() - range.seconds * 1000).toISOString();
      const asking = {
        since,
        ...(until ? { until: until.toISOString() } : {}),
        ...(app ? { app } : {}),
        ...(type ? { type } : {}),
        ...(subject ? { subject } : {}),
        ...(key ? { key } : {}),
        ...(cursor ? { cursor } : {}),
      };
      return asked(api.GET("/v1/events", { params: { query: asking }, signal }));
    },
    [app, type, subject, key, range.range, until?.getTime()],
    until === null ? 10_000 : undefined,
  );
  return (
    <div class="screen">
      <header>
        <h1>{said.title}</h1>
      </header>
      <Filters names={["app", "type", "subject", "key", "range", "until"]}>
        <Find />
        <TextFilter name="type" label={said.type} />
        <TextFilter name="subject" label={said.subject} />
        <TextFilter name="key" label={said.key} />
        <AppFilters endpoints={false} />
        <RangePicker />
        <Until label={said.until} />
      </Filters>
      <List of={pages} columns={COLUMNS()} id={(one) => one.id} link={(one) => to(at`/events/${one.id}`)} label={said.title} empty={<p>{several() ? said.none : said.noneYours}</p>} />
    </div>
  );
}

const COLUMNS = (): readonly Column<Event>[] => {
  const said = texts.value;
  const whose: Column<Event> = { title: said.app, spare: true, cell: (one) => (one.app ? <AppName app={one.app} /> : <span class="faint">{said.byGrants}</span>) };
  return [
    { title: said.time, kind: "narrow", cell: (one) => <Time at={one.created_at} /> },
    { title: said.type, cell: (one) => one.type },
    { title: said.subject, cell: (one) => one.subject ?? <span class="faint">—</span> },
    { title: said.key, spare: true, cell: (one) => one.key ?? <span class="faint">—</span> },
    ...(several() ? [whose] : []),
    { title: said.size, kind: "number", spare: true, cell: (one) => bytes(one.payload_bytes) },
    { title: said.id, kind: "wide", spare: true, cell: (one) => <code>{one.id}</code> },
  ];
};

/** An id goes straight to its event; pasted, at once. */
function Find() {
  const said = texts.value;
  const [text, setText] = useState("");
  const wrong = text.trim() !== "" && !"evt_".startsWith(text.trim().slice(0, 4));
  const open = (value: string) => {
    if (IS_ID.test(value.trim())) go(to(at`/events/${value.trim()}`));
  };
  return (
    <input
      type="search"
      data-search=""
      class="find"
      aria-label={said.find}
      placeholder={said.find}
      title={wrong ? said.noId : said.findHint}
      aria-invalid={wrong}
      value={text}
      onInput={(event) => setText(event.currentTarget.value)}
      onPaste={(event) => open(event.clipboardData?.getData("text") ?? "")}
      onKeyDown={(event) => {
        if (event.key === "Enter") open(event.currentTarget.value);
        if (event.key === "Escape") event.currentTarget.blur();
      }}
    />
  );
}
