/** What observes and publishes: sources that are watched, and schedules. */

import { usePages } from "../../../kit/asking";
import { count, Time } from "../../../kit/numbers";
import { Drawer } from "../../../kit/overlay";
import { at, changed, place, to } from "../../../kit/place";
import { api, asked } from "../../../kit/request";
import { Tabs } from "../../../kit/small";
import { List } from "../../../kit/table";
import type { Params } from "../../../screens/routing";
import { TriggerForm } from "./form";
import { ScheduleForm, Schedules } from "./schedules";
import { called, Health, lagText, reference, State } from "./shared";
import { schedules, triggers } from "./texts";
import "./triggers.css";

const EVERY_MS = 5_000;

export default function Triggers(_: { params: Params }) {
  const texts = triggers.value;
  const query = place.value.query;
  const timed = query.get("tab") === "schedules";
  return (
    <div class="screen">
      <header>
        <h1>{texts.title}</h1>
        <span class="grow" />
        <a class="button primary" href={changed({ new: true, open: null })}>
          {timed ? schedules.value.create : texts.create}
        </a>
      </header>
      <Tabs
        tabs={[
          { name: "sources", title: texts.tabs.triggers, body: () => <Sources /> },
          { name: "schedules", title: texts.tabs.schedules, body: () => <Schedules /> },
        ]}
      />
      {query.has("new") && (
        <Drawer title={timed ? schedules.value.create : texts.create} closed={changed({ new: null })}>
          {timed ? <ScheduleForm of={null} /> : <TriggerForm of={null} />}
        </Drawer>
      )}
    </div>
  );
}

function Sources() {
  const texts = triggers.value;
  const found = usePages((cursor, signal) => asked(api.GET("/v1/triggers", { params: { query: cursor ? { cursor } : {} }, signal })), [], EVERY_MS);
  return (
    <List
      of={found}
      label={texts.title}
      id={(row) => row.id}
      link={(row) => to(at`/triggers/${reference(row)}`)}
      empty={
        <>
          <p>{texts.empty}</p>
          <a class="button primary" href={changed({ new: true })}>
            {texts.create}
          </a>
        </>
      }
      columns={[
        { title: texts.name, cell: (row) => called(row) },
        { title: texts.kind, kind: "narrow", cell: (row) => <code>{row.kind}</code>, spare: true },
        { title: texts.state, kind: "narrow", cell: (row) => <State of={row} /> },
        { title: texts.health, kind: "wide", cell: (row) => <Health of={row} /> },
        { title: texts.lag, kind: "number", cell: (row) => lagText(row) },
        { title: texts.published, kind: "number", cell: (row) => count(row.counts.published), spare: true },
        { title: texts.publishedAt, kind: "narrow", cell: (row) => <Time at={row.published_at} relative />, spare: true },
      ]}
    />
  );
}
