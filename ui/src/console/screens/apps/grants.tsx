/** What an app may receive: event types × subjects. */

import { useState } from "preact/hooks";
import type { components } from "../../../api/schema";
import { usePages } from "../../../kit/asking";
import { ChipsField } from "../../../kit/chips";
import { Form, TextField } from "../../../kit/fields";
import { count, Time } from "../../../kit/numbers";
import { Action, Dialog, Drawer, say } from "../../../kit/overlay";
import { changed, go, place } from "../../../kit/place";
import { api, asked } from "../../../kit/request";
import { useSending } from "../../../kit/sending";
import { Missing, Refusal } from "../../../kit/shown";
import { Badge, Facts, Id } from "../../../kit/small";
import { List } from "../../../kit/table";
import { kit } from "../../../kit/texts";
import { usePatterns, useTypes } from "../../../screens/endpoints/types";
import type { App } from "./one";
import { texts } from "./texts";

type Grant = components["schemas"]["GrantAnswer"];

const SHOWN = 4; // in a row of the list

export function Grants({ of }: { of: App }) {
  const said = texts.value;
  const query = place.value.query;
  const open = query.get("open");
  const pages = usePages(
    (cursor, signal) => asked(api.GET("/v1/apps/{app}/grants", { params: { path: { app: of.id }, query: cursor ? { cursor } : {} }, signal })),
    [of.id],
  );
  const shown = pages.rows.find((row) => row.id === open);
  return (
    <>
      <div class="buttons">
        <a class="button" href={changed({ new: 1, open: null })}>
          {said.addGrant}
        </a>
        <span class="hint">{said.grantWhy}</span>
      </div>
      <List
        of={pages}
        label={said.tabs.grants}
        id={(row) => row.id}
        open={open}
        link={(row) => changed({ open: row.id })}
        columns={[
          { title: said.types, cell: (row) => <Several of={row.types} />, kind: "wide" },
          { title: said.subjects, cell: (row) => <Several of={row.subjects} />, kind: "wide" },
          { title: said.ends, cell: (row) => <Ends of={row} />, kind: "narrow" },
          { title: said.uid, cell: (row) => row.uid ?? <span class="faint">—</span>, kind: "narrow", spare: true },
          { title: said.created, cell: (row) => <Time at={row.created_at} />, kind: "narrow", spare: true },
        ]}
        empty={
          <>
            <p>{said.noGrants}</p>
            <a class="button primary" href={changed({ new: 1 })}>
              {said.addGrant}
            </a>
          </>
        }
      />
      {query.has("new") && <Add of={of} close={() => go(changed({ new: null }))} done={pages.again} />}
      {open !== null && pages.state !== "loading" && (
        <Drawer title={said.grant} closed={changed({ open: null })}>
          {shown ? <Shown app={of.id} of={shown} removed={() => (pages.again(), go(changed({ open: null })))} /> : <Missing />}
        </Drawer>
      )}
    </>
  );
}

function Several({ of }: { of: readonly string[] }) {
  return (
    <>
      <code>{of.slice(0, SHOWN).join(", ")}</code>
      {of.length > SHOWN && <span class="faint"> {texts.value.more(count(of.length - SHOWN))}</span>}
    </>
  );
}

function Ends({ of }: { of: Grant }) {
  if (of.expires_at === null) return <span class="faint">{texts.value.endsNever}</span>;
  if (Date.parse(of.expires_at) <= Date.now()) return <Badge tone="warn">{texts.value.ended}</Badge>;
  return <Time at={of.expires_at} relative />;
}

function Shown({ app, of, removed }: { app: string; of: Grant; removed: () => void }) {
  const said = texts.value;
  return (
    <>
      <Facts
        of={[
          ["id", <Id>{of.id}</Id>],
          of.uid !== null && [said.uid, <Id>{of.uid}</Id>],
          [said.types, of.types.map((one) => <div key={one}><code>{one}</code></div>)],
          [said.subjects, of.subjects.map((one) => <div key={one}><code>{one}</code></div>)],
          [said.ends, <Ends of={of} />],
          [said.created, <Time at={of.created_at} />],
        ]}
      />
      <div class="buttons">
        <Action
          act={async () => {
            await asked(api.DELETE("/v1/apps/{app}/grants/{grant}", { params: { path: { app, grant: of.id } } }));
            removed();
          }}
          ask={<p>{said.removeGrantAsk}</p>}
          yes={said.removeGrant}
          done={said.removedGrant}
          kind="danger"
        >
          {said.removeGrant}
        </Action>
      </div>
    </>
  );
}

function Add({ of, close, done }: { of: App; close: () => void; done: () => void }) {
  const said = texts.value;
  const patterns = usePatterns(useTypes());
  const [types, setTypes] = useState<string[]>([]);
  const [subjects, setSubjects] = useState<string[]>(["*"]);
  const [uid, setUid] = useState("");
  const [ends, setEnds] = useState("");
  const { busy, problem, send } = useSending();
  const submit = async () => {
    await send(async () => {
      await asked(
        api.POST("/v1/apps/{app}/grants", {
          params: { path: { app: of.id } },
          body: { types, subjects, ...(uid.trim() && { uid: uid.trim() }), ...(ends && { expires_at: new Date(ends).toISOString() }) },
        }),
      );
      say(said.added);
      done();
      close();
    });
  };
  return (
    <Dialog title={said.addGrant} close={close}>
      <Form problem={problem} submit={() => void submit()}>
        <ChipsField name="types" label={said.types} value={types} set={setTypes} suggestions={["*", ...patterns]} hint={said.typesHint} required />
        <ChipsField name="subjects" label={said.subjects} value={subjects} set={setSubjects} hint={said.subjectsHint} spaces required />
        <TextField name="expires_at" label={said.ends} type="datetime-local" value={ends} set={setEnds} hint={said.endsHint} />
        <TextField name="uid" label={said.uid} value={uid} set={setUid} hint={said.hints.uid} />
        <Refusal of={problem} />
        <footer>
          <button type="button" onClick={close}>
            {kit.value.cancel}
          </button>
          <button type="submit" class="primary" disabled={busy || types.length === 0 || subjects.length === 0} aria-busy={busy}>
            {said.add}
          </button>
        </footer>
      </Form>
    </Dialog>
  );
}
