/** Schedules: events at set times. */

import { useState } from "preact/hooks";
import { useAsked, usePages } from "../../../kit/asking";
import { ChoiceField, CodeField, Form, NumberField, TextField } from "../../../kit/fields";
import { Code, isJson } from "../../../kit/json";
import { count, seconds, Time } from "../../../kit/numbers";
import { Action, Drawer, say } from "../../../kit/overlay";
import { at, changed, go, place, to } from "../../../kit/place";
import { raw } from "../../../kit/raw";
import { api, asked, askedText } from "../../../kit/request";
import { memberText } from "../../../kit/json";
import { useSending } from "../../../kit/sending";
import { Refusal, Shown } from "../../../kit/shown";
import { Badge, Facts, Id, type Tone } from "../../../kit/small";
import { List } from "../../../kit/table";
import type { components } from "../../../api/schema";
import { AppField } from "../../picking";
import { TypeField } from "../../../screens/picking";
import { schedules } from "./texts";

type Schedule = components["schemas"]["ScheduleAnswer"];

const EVERY_MS = 5_000;
const TONES: Record<Schedule["state"], Tone> = { active: "good", paused: "plain", ended: "plain", failing: "bad" };

function State({ of }: { of: Schedule }) {
  return <Badge tone={TONES[of.state]}>{schedules.value.states[of.state]}</Badge>;
}

const called = (of: Schedule): string => of.name || of.uid || of.id;

function rhythm(of: Schedule): string {
  return of.cron ?? schedules.value.everySeconds(seconds(of.every ?? 0));
}

export function Schedules() {
  const texts = schedules.value;
  const open = place.value.query.get("open");
  const found = usePages((cursor, signal) => asked(api.GET("/v1/schedules", { params: { query: cursor ? { cursor } : {} }, signal })), [], EVERY_MS);
  return (
    <>
      <List
        of={found}
        label={texts.create}
        id={(row) => row.id}
        link={(row) => changed({ open: row.id, new: null })}
        open={open}
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
          { title: texts.state, kind: "narrow", cell: (row) => <State of={row} /> },
          {
            title: texts.how,
            cell: (row) => (
              <>
                <code>{rhythm(row)}</code> {row.cron && <span class="faint">{row.timezone}</span>}
              </>
            ),
            spare: true,
          },
          { title: texts.type, cell: (row) => <code>{row.type}</code>, spare: true },
          { title: texts.next, kind: "narrow", cell: (row) => <Time at={row.next_at} relative /> },
          { title: texts.last, kind: "narrow", cell: (row) => <Time at={row.last_firing?.fired_at} relative />, spare: true },
          { title: texts.fired, kind: "number", cell: (row) => count(row.fired), spare: true },
        ]}
      />
      {open && <One key={open} id={open} changedList={found.again} />}
    </>
  );
}

function One({ id, changedList }: { id: string; changedList: () => void }) {
  const texts = schedules.value;
  const path = { schedule: id };
  const edit = place.value.query.has("edit");
  const found = useAsked(
    async (signal) => {
      const text = await askedText(at`/v1/schedules/${id}`, signal);
      return { of: JSON.parse(text) as Schedule, data: memberText(text, "data") ?? "{}" };
    },
    [id],
    edit ? undefined : EVERY_MS,
  );
  const again = () => {
    found.again();
    changedList();
  };
  return (
    <Drawer title={found.data ? called(found.data.of) : texts.create} closed={changed({ open: null, edit: null })}>
      <Shown of={found}>
        {({ of, data }) =>
          edit ? (
            <ScheduleForm of={of} data={data} saved={again} />
          ) : (
            <>
              <span class="buttons">
                <Action
                  kind="primary"
                  ask={<p>{texts.runAsk}</p>}
                  act={async () => {
                    const ran = await asked(api.POST("/v1/schedules/{schedule}/run", { params: { path } }));
                    say(texts.ran);
                    go(to(at`/events/${ran.event}`));
                  }}
                >
                  {texts.run}
                </Action>
                {of.enabled ? (
                  <Action
                    act={async () => {
                      await asked(api.POST("/v1/schedules/{schedule}/pause", { params: { path } }));
                      again();
                    }}
                  >
                    {texts.pause}
                  </Action>
                ) : (
                  <Action
                    act={async () => {
                      await asked(api.POST("/v1/schedules/{schedule}/resume", { params: { path } }));
                      again();
                    }}
                  >
                    {texts.resume}
                  </Action>
                )}
                <a class="button" href={changed({ edit: true })}>
                  {texts.edit}
                </a>
                <Action
                  kind="danger"
                  ask={<p>{texts.deleteAsk}</p>}
                  done={texts.deleted}
                  act={async () => {
                    await asked(api.DELETE("/v1/schedules/{schedule}", { params: { path } }));
                    changedList();
                    go(changed({ open: null }));
                  }}
                >
                  {texts.delete}
                </Action>
              </span>
              {of.refusal && (
                <div class="notice bad" role="alert">
                  <strong>{texts.refusal}</strong>
                  <p>{of.refusal.detail}</p>
                </div>
              )}
              <Facts
                of={[
                  ["id", <Id>{of.id}</Id>],
                  of.uid !== null && [texts.uid, <code>{of.uid}</code>],
                  [texts.state, <State of={of} />],
                  [texts.how, <code>{rhythm(of)}</code>],
                  of.cron !== null && [texts.timezone, of.timezone],
                  of.starts_at !== null && [texts.startsAt, <Time at={of.starts_at} />],
                  of.ends_at !== null && [texts.endsAt, <Time at={of.ends_at} />],
                  [texts.type, <a href={to(at`/types/${of.type}`)}>{of.type}</a>],
                  [texts.app, of.app === null ? texts.byGrants : <a href={to(at`/apps/${of.app}`)}>{of.app}</a>],
                  of.subject !== null && [texts.subject, of.subject],
                  of.key !== null && [texts.key, of.key],
                  [texts.catchUp, texts.catchUps[of.catch_up]],
                  [texts.fired, count(of.fired)],
                  of.last_firing && [
                    texts.last,
                    <>
                      <Time at={of.last_firing.fired_at} /> <a href={to(at`/events/${of.last_firing.event}`)}>{texts.event}</a>
                    </>,
                  ],
                ]}
              />
              <Next id={id} revision={`${of.updated_at} ${of.next_at ?? ""}`} />
              <h3>{texts.data}</h3>
              <Code text={data} label={texts.data} />
            </>
          )
        }
      </Shown>
    </Drawer>
  );
}

function Next({ id, revision }: { id: string; revision: string }) {
  const texts = schedules.value;
  const found = useAsked((signal) => asked(api.GET("/v1/schedules/{schedule}/next", { params: { path: { schedule: id }, query: { count: 5 } }, signal })), [id, revision]);
  if (found.data === null) return null;
  return (
    <>
      <h3>{texts.nextTimes}</h3>
      {found.data.data.length === 0 ? (
        <p class="hint">{texts.noNext}</p>
      ) : (
        <ul>
          {found.data.data.map((one) => (
            <li key={one}>
              <Time at={one} /> <span class="faint"><Time at={one} relative /></span>
            </li>
          ))}
        </ul>
      )}
    </>
  );
}

export function ScheduleForm({ of, data: before = "{}", saved }: { of: Schedule | null; data?: string; saved?: () => void }) {
  const texts = schedules.value;
  const [name, setName] = useState(of?.name ?? "");
  const [uid, setUid] = useState(of?.uid ?? "");
  const [kind, setKind] = useState<"cron" | "every">(of && of.every !== null ? "every" : "cron");
  const [cron, setCron] = useState(of?.cron ?? "0 3 * * *");
  const [every, setEvery] = useState<number | null>(of?.every ?? 3600);
  const [timezone, setTimezone] = useState(of?.timezone ?? Intl.DateTimeFormat().resolvedOptions().timeZone ?? "UTC");
  const [type, setType] = useState(of?.type ?? "");
  const [app, setApp] = useState(of?.app ?? "");
  const [subject, setSubject] = useState(of?.subject ?? "");
  const [key, setKey] = useState(of?.key ?? "");
  const [data, setData] = useState(before);
  const [catchUp, setCatchUp] = useState<Schedule["catch_up"]>(of?.catch_up ?? "last");
  const { busy, problem, send } = useSending();
  const bad = !isJson(data);
  const zones = useZones();

  const text = (field: string, value: string): string => `"${field}":${value.trim() ? JSON.stringify(value.trim()) : "null"}`;
  const save = async () => {
    if (busy || bad) return;
    const body = raw(
      `{${[
        `"name":${JSON.stringify(name.trim())}`,
        text("uid", uid),
        ...(kind === "cron" ? [text("cron", cron), '"every":null', text("timezone", timezone)] : ['"cron":null', `"every":${JSON.stringify(every)}`]),
        `"type":${JSON.stringify(type.trim())}`,
        text("app", app),
        text("subject", subject),
        text("key", key),
        `"data":${data}`,
        `"catch_up":${JSON.stringify(catchUp)}`,
      ].join(",")}}`,
    );
    await send(async () => {
      const made = of
        ? await asked(api.PATCH("/v1/schedules/{schedule}", { params: { path: { schedule: of.id } }, ...body }))
        : await asked(api.POST("/v1/schedules", body));
      say(of ? texts.saved : texts.made);
      saved?.();
      go(to("/triggers", { tab: "schedules", open: made.id }));
    });
  };
  return (
    <Form problem={problem} submit={() => void save()}>
      <div class="fields">
        <TextField name="name" label={texts.name} value={name} set={setName} />
        <TextField name="uid" label={texts.uid} value={uid} set={setUid} />
      </div>
      <div class="fields">
        <ChoiceField
          name="rhythm"
          label={texts.rhythm}
          value={kind}
          set={setKind}
          choices={[
            ["cron", texts.rhythms.cron],
            ["every", texts.rhythms.every],
          ]}
        />
        {kind === "cron" ? (
          <>
            <TextField name="cron" label={texts.cron} hint={texts.cronHint} required value={cron} set={setCron} />
            <div>
              <TextField name="timezone" label={texts.timezone} value={timezone} set={setTimezone} list="time-zones" />
              <datalist id="time-zones">
                {zones.map((one) => (
                  <option key={one} value={one} />
                ))}
              </datalist>
            </div>
          </>
        ) : (
          <NumberField name="every" label={texts.every} hint={texts.everyHint} required value={every} set={setEvery} min={1} unit="s" />
        )}
      </div>
      <TypeField name="type" label={texts.type} required value={type} set={setType} />
      <div class="fields">
        <AppField name="app" label={texts.app} hint={texts.appHint} value={app} set={setApp} />
        <TextField name="subject" label={texts.subject} value={subject} set={setSubject} />
        <TextField name="key" label={texts.key} value={key} set={setKey} />
      </div>
      <CodeField name="data" label={texts.data} hint={bad ? texts.badJson : texts.dataHint} rows={5} value={data} set={setData} />
      <ChoiceField
        name="catch_up"
        label={texts.catchUp}
        value={catchUp}
        set={setCatchUp}
        choices={[
          ["last", texts.catchUps.last],
          ["all", texts.catchUps.all],
          ["none", texts.catchUps.none],
        ]}
      />
      <Refusal of={problem} />
      <footer>
        <button type="submit" class="primary" disabled={busy || bad || !type.trim()} aria-busy={busy}>
          {of ? texts.save : texts.create}
        </button>
      </footer>
    </Form>
  );
}

function useZones(): readonly string[] {
  const [zones] = useState(() => {
    try {
      return Intl.supportedValuesOf("timeZone");
    } catch {
      return [];
    }
  });
  return zones;
}
