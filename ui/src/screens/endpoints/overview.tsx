/** How an endpoint is: why it is sent to or not, what it is owed, when it last confirmed, and its traffic. */

import { useAsked } from "../../kit/asking";
import { Chart } from "../../kit/charts";
import { compact, count, duration, Time } from "../../kit/numbers";
import { changed, to } from "../../kit/place";
import { api, asked, askedText } from "../../kit/request";
import { Facts, rangeOf } from "../../kit/small";
import { Due } from "../attempts/due";
import { ofApp, several } from "../page";
import { Latest } from "./attempts";
import { conditionOf, disabledReason, type Endpoint } from "./endpoint";
import { texts } from "./texts";

const EVERY_MS = 10_000;

interface Traffic {
  readonly data: readonly { readonly at: string; readonly delivered: number; readonly failed: number; readonly gave_up: number }[];
  readonly totals: { readonly p50_ms: number | null; readonly p99_ms: number | null };
}

export function Overview({ of, latest = false }: { of: Endpoint; latest?: boolean }) {
  const said = texts.value;
  const apps = several();
  const { since, range } = rangeOf();
  const path = { path: { app: of.app, endpoint: of.id } };
  const stats = useAsked(
    (signal) => asked(api.GET("/v1/apps/{app}/endpoints/{endpoint}/stats", { params: { ...path, query: { since: since() } }, signal })),
    [of.id, range],
    EVERY_MS,
  );
  const traffic = useAsked(
    async (signal) => JSON.parse(await askedText(`/v1/traffic?${new URLSearchParams({ since: since(), app: of.app, endpoint: of.id })}`, signal)) as Traffic,
    [of.id, range],
    EVERY_MS,
  );
  const last = useAsked(
    (signal) =>
      asked(api.GET("/v1/apps/{app}/attempts", { params: { path: { app: of.app }, query: { endpoint: of.id, outcome: "delivered", limit: 1 } }, signal })),
    [of.id],
    EVERY_MS,
  );
  const condition = conditionOf(of);
  const reason = said.why[condition];
  const numbers = stats.data;
  const totals = traffic.data?.totals;
  const confirmed = last.data?.data[0];
  const attempts = (outcome: string) => to("/attempts", { ...ofApp(of.app), endpoint: of.id, outcome, range: range === "24h" ? null : range });
  const hour = traffic.data?.data ?? [];
  return (
    <>
      <div class="figures">
        <Figure title={said.delivered} value={numbers && compact(numbers.delivered)} href={attempts("delivered")} />
        <Figure title={said.failed} value={numbers && compact(numbers.failed)} href={attempts("failed")} tone={numbers && numbers.failed > 0 ? "warn" : ""} />
        <Figure title={said.gaveUp} value={numbers && compact(numbers.gave_up)} href={attempts("gave_up")} tone={numbers && numbers.gave_up > 0 ? "bad" : ""} />
        <Figure
          title={said.owed}
          value={numbers && `${numbers.owed >= OWED_COUNTED ? "≥ " : ""}${count(numbers.owed)}`}
          href={apps ? to("/owed", { app: of.app, endpoint: of.id }) : changed({ tab: "owed" })}
          tone={numbers && numbers.owed > 0 ? "warn" : ""}
        />
        {totals && totals.p50_ms !== null && totals.p99_ms !== null ? (
          <>
            <Figure title={said.p50} value={duration(totals.p50_ms)} />
            <Figure title={said.p99} value={duration(totals.p99_ms)} />
          </>
        ) : (
          <Figure title={said.meanLatency} value={numbers && (numbers.mean_duration_ms === null ? "—" : duration(numbers.mean_duration_ms))} />
        )}
      </div>
      <section class="panel">
        <h2>{said.chart}</h2>
        {traffic.data && hour.length > 0 ? (
          <Chart
            label={said.chart}
            times={hour.map((one) => Date.parse(one.at) / 1000)}
            series={[
              { title: said.delivered, colour: "good", values: hour.map((one) => one.delivered), fill: true },
              { title: said.failed, colour: "warn", values: hour.map((one) => one.failed) },
              { title: said.gaveUp, colour: "bad", values: hour.map((one) => one.gave_up) },
            ]}
          />
        ) : (
          traffic.state !== "loading" && <p class="faint">{said.noChart}</p>
        )}
      </section>
      {latest && <Latest of={of} />}
      <div class="panels">
        <section class="panel">
          <h2>{said.health}</h2>
          <p>{typeof reason === "string" ? reason : reason(disabledReason(of) ?? "")}</p>
          <Facts
            of={[
              of.disabled_at !== null && [said.since, <Time at={of.disabled_at} relative />],
              of.circuit.opened_at !== null && [said.circuitSince, <Time at={of.circuit.opened_at} relative />],
              of.circuit.next_probe_at !== null && [said.nextProbe, <Time at={of.circuit.next_probe_at} relative />],
              of.held_until !== null && [said.heldUntil, <Time at={of.held_until} relative />],
              of.failing_since !== null && [said.failingSince, <Time at={of.failing_since} relative />],
              [said.lastSuccess, confirmed ? <Time at={confirmed.started_at} relative /> : last.data ? said.never : null],
              numbers?.next_due_at != null && [said.nextDue, <Due at={numbers.next_due_at} />],
              of.verification !== null && [
                said.verification,
                <>
                  {said.verificationStates[of.verification.state]}
                  {of.verification.reason && ` · ${said.verificationReasons[of.verification.reason]}`}
                  {of.verification.next_at && (
                    <>
                      {" · "}
                      {said.nextTry} <Time at={of.verification.next_at} relative />
                    </>
                  )}
                </>,
              ],
            ]}
          />
        </section>
        <section class="panel">
          <h2>{said.about}</h2>
          <Facts
            of={[
              of.description ? [said.description, of.description] : null,
              [said.events, of.events.length > 0 ? of.events.join(", ") : said.allEvents],
              of.profile !== null && [said.fields.profile, of.profile],
              [said.revision, count(of.revision)],
              [said.createdAt, <Time at={of.created_at} />],
              [said.updatedAt, <Time at={of.updated_at} />],
            ]}
          />
          {apps && (
            <p>
              <apps.History object={of.id}>{said.whoChanged}</apps.History>
            </p>
          )}
        </section>
      </div>
    </>
  );
}

const OWED_COUNTED = 10_000; // as far as the server counts

function Figure({ title, value, href, tone = "" }: { title: string; value: string | null; href?: string; tone?: string | null }) {
  const inside = (
    <>
      <b>{value ?? "…"}</b>
      <span class="faint">{title}</span>
    </>
  );
  return href ? (
    <a class={`figure ${tone ?? ""}`} href={href}>
      {inside}
    </a>
  ) : (
    <div class="figure">{inside}</div>
  );
}
