/** How it goes: what was published, delivered, failed and is owed, where it goes worst, and what needs somebody. */

import type { components } from "../../../api/schema";
import { useAsked } from "../../../kit/asking";
import { Chart } from "../../../kit/charts";
import { compact, count, duration, share } from "../../../kit/numbers";
import { to } from "../../../kit/place";
import { api, asked } from "../../../kit/request";
import { Shown } from "../../../kit/shown";
import { RangePicker, rangeOf } from "../../../kit/small";
import type { Params } from "../../../screens/routing";
import { Attention } from "./attention";
import { FirstSteps } from "./first";
import { LatestFailures } from "./latest";
import "./overview.css";
import { texts } from "./texts";
import { ByApp, ByEndpoint } from "./worst";

type Traffic = components["schemas"]["TrafficAnswer"];

export const EVERY_MS = 10_000;
export const FALLBACK = "1h";

export default function Overview(_: { params: Params }) {
  const said = texts.value;
  const { since, range } = rangeOf(FALLBACK);
  const traffic = useAsked((signal) => asked(api.GET("/v1/traffic", { params: { query: { since: since() } }, signal })), [range], EVERY_MS);
  // Whether nothing was ever published: that in this time nothing was does not say so.
  const nothing = traffic.data?.totals.published === 0;
  const fresh = useAsked(
    async (signal) => nothing && (await asked(api.GET("/v1/events", { params: { query: { limit: 1 } }, signal }))).data.length === 0,
    [nothing],
  );
  return (
    <div class="screen">
      <header>
        <h1>{said.title}</h1>
        <span class="grow" />
        <RangePicker fallback={FALLBACK} />
      </header>
      <Shown of={traffic}>
        {(found) =>
          fresh.data === true ? (
            <>
              <FirstSteps />
              <Attention />
            </>
          ) : (
            <>
              <Figures of={found} range={range} />
              <Attention />
              <Charts of={found} />
              <ByEndpoint since={since} range={range} />
              <LatestFailures since={since} range={range} />
              <ByApp since={since} range={range} />
            </>
          )
        }
      </Shown>
    </div>
  );
}

function Figures({ of, range }: { of: Traffic; range: string }) {
  const said = texts.value;
  const { totals } = of;
  const attempts = totals.delivered + totals.failed + totals.gave_up;
  const owed = [...of.data].reverse().find((point) => point.owed !== null)?.owed ?? null;
  return (
    <div class="figures">
      <a class="figure" href={to("/events", { range })}>
        <b>{count(totals.published ?? 0)}</b> {said.published}
      </a>
      <a class="figure" href={to("/attempts", { range, outcome: "delivered" })}>
        <b>{count(totals.delivered)}</b> {said.delivered}
        {attempts > 0 && (
          <p class="hint">
            {share(totals.delivered / attempts)} {said.success}
          </p>
        )}
      </a>
      <a class={`figure${totals.failed > 0 ? " warn" : ""}`} href={to("/attempts", { range, outcome: "failed" })} title={said.failedWhy}>
        <b>{count(totals.failed)}</b> {said.failed}
      </a>
      <a class={`figure${totals.gave_up > 0 ? " bad" : ""}`} href={to("/attempts", { range, outcome: "gave_up" })} title={said.gaveUpWhy}>
        <b>{count(totals.gave_up)}</b> {said.gaveUp}
      </a>
      <a class="figure" href={to("/owed")}>
        <b>{owed === null ? "—" : count(owed)}</b> {said.owed}
      </a>
      <div class="figure" title={said.latencyWhy}>
        <b>{totals.p50_ms === null ? "—" : duration(totals.p50_ms)}</b> {said.half}
        {totals.p99_ms !== null && <p class="hint">{said.most(duration(totals.p99_ms))}</p>}
      </div>
    </div>
  );
}

function Charts({ of }: { of: Traffic }) {
  const said = texts.value;
  const times = of.data.map((point) => Date.parse(point.at) / 1000);
  return (
    <div class="panels">
      <section class="panel">
        <h2>{said.passing}</h2>
        <Chart
          label={said.passing}
          times={times}
          series={[
            { title: said.published, colour: "calm", values: of.data.map((point) => point.published) },
            { title: said.delivered, colour: "good", values: of.data.map((point) => point.delivered), fill: true },
          ]}
        />
      </section>
      <section class="panel">
        <h2>{said.illness}</h2>
        <Chart
          label={said.illness}
          times={times}
          series={[
            { title: said.failed, colour: "warn", values: of.data.map((point) => point.failed), fill: true },
            { title: said.gaveUp, colour: "bad", values: of.data.map((point) => point.gave_up), fill: true },
          ]}
        />
      </section>
      <section class="panel">
        <h2>{said.times}</h2>
        <Chart
          label={said.times}
          times={times}
          unit={duration}
          series={[
            { title: said.p50, colour: "calm", values: of.data.map((point) => point.p50_ms) },
            { title: said.p99, colour: "accent", values: of.data.map((point) => point.p99_ms) },
          ]}
        />
      </section>
      <section class="panel">
        <h2>{said.debt}</h2>
        <Chart
          label={said.debt}
          times={times}
          unit={compact}
          series={[{ title: said.debt, colour: "warn", values: of.data.map((point) => point.owed), fill: true }]}
        />
      </section>
    </div>
  );
}
