/** The home: the endpoints of the app, what needs somebody first. */

import { usePages } from "../../kit/asking";
import { compact, share } from "../../kit/numbers";
import { place, to } from "../../kit/place";
import { api, asked } from "../../kit/request";
import { ChoiceFilter, Filters, RangePicker, rangeOf, TextFilter } from "../../kit/small";
import { type Column, List } from "../../kit/table";
import { type Condition, conditionOf, disabledReason, type Endpoint, State } from "../../screens/endpoints/endpoint";
import "../../screens/endpoints/endpoints.css";
import { texts } from "../../screens/endpoints/texts";
import { type Figures, figure, Lately, ofEndpoints, useFigures } from "../../screens/endpoints/traffic";
import { endpointAt, own } from "../../screens/page";
import type { Params } from "../../screens/routing";
import { portal } from "./texts";

const EVERY_MS = 15_000;
const LISTED = 250;
const RANK: readonly Condition[] = ["circuit_open", "failing", "unverified", "held", "half_open", "enabled", "paused", "disabled"];

export default function Endpoints(_: { params: Params }) {
  const said = portal.value;
  const query = place.value.query;
  const search = query.get("search");
  const state = query.get("state");
  const app = own.value ?? "";
  const pages = usePages<Endpoint>(
    (cursor, signal) =>
      asked(
        api.GET("/v1/apps/{app}/endpoints", {
          params: { path: { app }, query: { limit: LISTED, ...(search && { search }), ...(cursor && { cursor }) } },
          signal,
        }),
      ),
    [app, search],
    EVERY_MS,
  );
  const rows = pages.rows.filter((row) => state === null || wants(row) === (state === "attention")).sort((a, b) => rank(a) - rank(b));
  const needing = pages.rows.filter(wants).length;
  const none = pages.state === "ready" && pages.rows.length === 0 && search === null;
  return (
    <div class="screen">
      <header>
        <h1>{texts.value.title}</h1>
        {pages.rows.length > 0 && <span class="faint">{needing === 0 ? said.allWell : said.needing(compact(needing), compact(pages.rows.length))}</span>}
        <span class="grow" />
        {!none && (
          <a class="button primary" href={to("/add")}>
            {said.add}
          </a>
        )}
      </header>
      {none ? (
        <Invitation />
      ) : (
        <>
          <Filters names={["search", "state"]}>
            <TextFilter name="search" label={texts.value.search} primary />
            <ChoiceFilter
              name="state"
              label={texts.value.state}
              choices={[
                ["attention", said.attention],
                ["well", said.well],
              ]}
            />
            <RangePicker />
          </Filters>
          <Listed of={{ ...pages, rows }} />
        </>
      )}
    </div>
  );
}

/** Whether somebody should look: what he did himself he knows. */
function wants(of: Endpoint): boolean {
  const condition = conditionOf(of);
  if (condition === "disabled") return of.disabled_reason !== null && of.disabled_reason !== "by_hand";
  return condition !== "enabled" && condition !== "paused";
}

function rank(of: Endpoint): number {
  return wants(of) && !of.enabled ? -1 : RANK.indexOf(conditionOf(of));
}

function Invitation() {
  const said = portal.value;
  return (
    <div class="invitation empty">
      <h2>{said.inviteTitle}</h2>
      <p>{said.invite}</p>
      <a class="button primary" href={to("/add")}>
        {said.add}
      </a>
      <a href={to("/types")}>{said.inviteTypes}</a>
    </div>
  );
}

function Listed({ of }: { of: Parameters<typeof List<Endpoint>>[0]["of"] }) {
  const said = texts.value;
  const { since, range } = rangeOf();
  const figures = useFigures(ofEndpoints, of.rows.map((row) => row.id).sort(), since, range);
  const columns: Column<Endpoint>[] = [
    { title: said.url, kind: "wide", cell: (row) => <Which of={row} /> },
    { title: said.state, kind: "narrow", cell: (row) => <State of={row} /> },
    { title: portal.value.success, kind: "number", cell: (row) => success(figures.get(row.id)) },
    { title: said.lately, kind: "narrow", spare: true, cell: (row) => <Lately of={figures.get(row.id)} /> },
    { title: said.delivered, kind: "number", spare: true, cell: (row) => figure(figures.get(row.id)?.delivered) },
    { title: said.failed, kind: "number", spare: true, cell: (row) => figure(figures.get(row.id)?.failed) },
  ];
  return <List of={of} label={said.title} id={(row) => row.id} link={(row) => endpointAt(row.app, row.id)} columns={columns} empty={<p>{said.noneFound}</p>} />;
}

/** Where it leads; what it is for; and of one that needs somebody, why. */
function Which({ of }: { of: Endpoint }) {
  const why = texts.value.why[conditionOf(of)];
  const reason = typeof why === "string" ? why : why(disabledReason(of) ?? "");
  const about = wants(of) ? reason : of.description || of.uid;
  return (
    <>
      <span class="row-line" title={of.url}>
        {of.url.replace(/^https:\/\//, "")}
      </span>
      {about && (
        <span class={`row-line faint${wants(of) ? " why" : ""}`} title={about}>
          {about}
        </span>
      )}
    </>
  );
}

function success(of: Figures | undefined) {
  const all = of ? of.delivered + of.failed + of.gave_up : 0;
  return of && all > 0 ? share(of.delivered / all) : <span class="faint">—</span>;
}
