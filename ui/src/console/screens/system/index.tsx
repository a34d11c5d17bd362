/** The installation: versions, processes, partitions with their owners, how far behind they are, and the database. */

import type { ComponentChildren } from "preact";
import type { components } from "../../../api/schema";
import { useAsked } from "../../../kit/asking";
import { bytes, count, seconds, Time } from "../../../kit/numbers";
import { Drawer } from "../../../kit/overlay";
import { changed, place } from "../../../kit/place";
import { api, asked } from "../../../kit/request";
import { Missing, Shown } from "../../../kit/shown";
import { Badge, Facts, Id } from "../../../kit/small";
import { type Column, Table } from "../../../kit/table";
import type { Params } from "../../../screens/routing";
import "./system.css";
import { texts } from "./texts";

type Facts_ = components["schemas"]["SystemAnswer"];
type Process = components["schemas"]["ProcessAnswer"];
type Partition = components["schemas"]["PartitionAnswer"];

const EVERY_MS = 10_000;
const COLOURS = 8;

export default function System(_: { params: Params }) {
  const said = texts.value;
  const found = useAsked((signal) => asked(api.GET("/v1/system", { signal })), [], EVERY_MS);
  return (
    <div class="screen">
      <header>
        <h1>{said.title}</h1>
        {found.data && <Badge>{said.version(found.data.version)}</Badge>}
      </header>
      <Shown of={found}>{(facts) => <Whole of={facts} />}</Shown>
    </div>
  );
}

function Whole({ of }: { of: Facts_ }) {
  const said = texts.value;
  const open = place.value.query.get("open");
  const late = of.partitions.reduce((most, one) => Math.max(most, one.age_seconds), 0);
  const unowned = of.partitions.filter((one) => one.owner === null).length;
  const colour = new Map(of.processes.filter((one) => one.partitions > 0).map((one, i) => [one.id, `owner-${i % COLOURS}`]));
  const opened = open === null ? null : (of.partitions.find((one) => String(one.id) === open) ?? undefined);
  return (
    <>
      {of.warnings.length > 0 && (
        <div class="notice bad" role="alert">
          <strong>{said.warnings}</strong>
          <ul>
            {of.warnings.map((one) => (
              <li key={one.code}>
                <code>{one.code}</code> {one.detail}
              </li>
            ))}
          </ul>
        </div>
      )}
      <div class="figures">
        <div class="figure">
          <b>{count(of.processes.length)}</b> {said.processes}
        </div>
        <div class="figure">
          <b>{count(of.partitions.length)}</b> {said.partitions}
        </div>
        <div class={`figure${unowned > 0 ? " bad" : ""}`}>
          <b>{count(unowned)}</b> {said.unowned}
        </div>
        <div class="figure" title={said.behindWhy}>
          <b>{count(of.behind)}</b> {said.behind}
        </div>
        <div class={`figure${late > 60 ? " warn" : ""}`}>
          <b>{late > 0 ? seconds(late) : "—"}</b> {said.oldest}
        </div>
        <div class="figure">
          <b>{bytes(of.database.size_bytes)}</b> {said.database}
        </div>
      </div>
      <section class="panel">
        <h2>{said.processes}</h2>
        <Processes of={of.processes} colour={colour} />
      </section>
      <section class="panel">
        <h2>{said.partitions}</h2>
        <p class="hint">{said.partitionsWhy}</p>
        <ul class="partitions">
          {of.partitions.map((one) => (
            <li key={one.id}>
              <a
                href={changed({ open: one.id })}
                class={`${one.owner === null ? "unowned" : (colour.get(one.owner) ?? "")}${one.behind > 0 ? " behind" : ""}`}
                title={told(one, of.processes)}
                aria-label={told(one, of.processes)}
                aria-current={opened === one ? "true" : undefined}
              >
                {one.id}
              </a>
            </li>
          ))}
        </ul>
      </section>
      <div class="panels">
        <section class="panel">
          <h2>{said.database}</h2>
          <Facts
            of={[
              [said.postgres, of.database.version],
              [said.size, bytes(of.database.size_bytes)],
              [said.running, <Time at={of.database.started_at} relative />],
              [said.migration, count(of.database.migration)],
              [said.connections, said.connectionsOf(count(of.database.connections), count(of.database.connections_max))],
            ]}
          />
        </section>
        <section class="panel">
          <h2>{said.installation}</h2>
          <Settings of={of.settings} />
        </section>
      </div>
      {open !== null && (
        <Drawer title={said.partition(open)} closed={changed({ open: null })}>
          {opened ? <One of={opened} processes={of.processes} /> : <Missing />}
        </Drawer>
      )}
    </>
  );
}

function nameOf(id: string | null, processes: readonly Process[]): string {
  const found = processes.find((one) => one.id === id);
  if (!found) return id ?? texts.value.nobody;
  return found.host === null ? found.id : `${found.host}:${found.pid ?? ""}`;
}

function told(one: Partition, processes: readonly Process[]): string {
  const said = texts.value;
  const owner = nameOf(one.owner, processes);
  return one.behind > 0 ? said.cellBehind(count(one.id), owner, count(one.behind), seconds(one.age_seconds)) : said.cell(count(one.id), owner);
}

function Processes({ of, colour }: { of: readonly Process[]; colour: ReadonlyMap<string, string> }) {
  const said = texts.value;
  const roles: Record<string, string> = said.roles;
  const columns: Column<Process>[] = [
    {
      title: said.host,
      kind: "wide",
      cell: (row) => (
        <>
          <i class={`dot ${colour.get(row.id) ?? ""}`} aria-hidden="true" /> {row.host ?? <span class="faint">{said.earlier}</span>}{" "}
          {row.self && <Badge tone="calm">{said.thisOne}</Badge>}
        </>
      ),
    },
    { title: said.pid, kind: "number", cell: (row) => row.pid ?? "—" },
    { title: said.role, cell: (row) => (row.role === null ? "—" : (roles[row.role] ?? row.role)) },
    { title: said.owned, kind: "number", cell: (row) => count(row.partitions) },
    { title: said.version(""), cell: (row) => row.version ?? "—", spare: true },
    { title: said.started, cell: (row) => <Time at={row.started_at} relative />, spare: true },
    { title: said.seen, cell: (row) => (row.seen_at === null ? "—" : <Time at={row.seen_at} relative />), spare: true },
    { title: "ID", cell: (row) => <Id short>{row.id}</Id>, spare: true },
  ];
  return <Table rows={of} columns={columns} id={(row) => row.id} label={said.processes} />;
}

function One({ of, processes }: { of: Partition; processes: readonly Process[] }) {
  const said = texts.value;
  return (
    <Facts
      of={[
        [
          said.owner,
          of.owner === null ? (
            said.nobody
          ) : (
            <>
              {nameOf(of.owner, processes)} <Id short>{of.owner}</Id>
            </>
          ),
        ],
        [said.epoch, count(of.epoch)],
        [said.lease, of.lease_until && <Time at={of.lease_until} />],
        [said.head, count(of.head)],
        [said.cursor, count(of.cursor)],
        [said.behind, count(of.behind)],
        of.behind > 0 && [said.oldest, seconds(of.age_seconds)],
      ]}
    />
  );
}

function Settings({ of }: { of: Facts_["settings"] }) {
  const said = texts.value;
  const names: Record<string, string> = said.settings;
  const values: Record<string, string> = said.values;
  const shown = (name: string, value: Facts_["settings"][string]): ComponentChildren => {
    if (value === null) return <span class="faint">{said.none}</span>;
    if (typeof value === "boolean") return value ? said.yes : said.no;
    if (typeof value === "number") return name.endsWith("_bytes_max") ? bytes(value) : count(value);
    return name === "role" ? ((said.roles as Record<string, string>)[value] ?? value) : (values[value] ?? value);
  };
  return <Facts of={Object.entries(of).map(([name, value]) => [names[name] ?? <code>{name}</code>, shown(name, value)] as const)} />;
}
