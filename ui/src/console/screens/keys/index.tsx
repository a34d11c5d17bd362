/** API keys: who may come in. The key itself is shown once, as it is made. */

import { useState } from "preact/hooks";
import type { components } from "../../../api/schema";
import { usePages } from "../../../kit/asking";
import { ChoiceField, Form, TextField } from "../../../kit/fields";
import { Time } from "../../../kit/numbers";
import { Action, Dialog, Drawer } from "../../../kit/overlay";
import { at, changed, go, place, to } from "../../../kit/place";
import { api, asked } from "../../../kit/request";
import { useSending } from "../../../kit/sending";
import { Missing, Refusal } from "../../../kit/shown";
import { Badge, Copy, Facts, Id } from "../../../kit/small";
import { List } from "../../../kit/table";
import { kit } from "../../../kit/texts";
import { AppField } from "../../picking";
import type { Params } from "../../../screens/routing";
import { AppTitle } from "../../names";
import "./keys.css";
import { texts } from "./texts";

type Key = components["schemas"]["KeyAnswer"];
type Scope = Key["scope"];

export default function Keys(_: { params: Params }) {
  const said = texts.value;
  const query = place.value.query;
  const open = query.get("open");
  const pages = usePages((cursor, signal) => asked(api.GET("/v1/keys", { params: { query: cursor ? { cursor } : {} }, signal })), []);
  const shown = pages.rows.find((row) => row.id === open);
  return (
    <div class="screen">
      <header>
        <h1>{said.title}</h1>
        <span class="grow" />
        <a class="button primary" href={changed({ new: 1, open: null })}>
          {said.fresh}
        </a>
      </header>
      <List
        of={pages}
        label={said.title}
        id={(row) => row.id}
        open={open}
        link={(row) => changed({ open: row.id })}
        columns={[
          { title: said.name, cell: (row) => row.name || <span class="faint">{said.noName}</span>, kind: "wide" },
          { title: said.hint, cell: (row) => <code>{row.hint}…</code>, kind: "narrow", spare: true },
          { title: said.scope, cell: (row) => <May of={row} />, kind: "narrow" },
          { title: said.state, cell: (row) => <State of={row} />, kind: "narrow" },
          { title: said.created, cell: (row) => <Time at={row.created_at} />, kind: "narrow", spare: true },
        ]}
        empty={<p>{said.none}</p>}
      />
      {query.has("new") && <Create close={() => go(changed({ new: null }))} made={pages.again} />}
      {open !== null && pages.state !== "loading" && (
        <Drawer title={said.key} closed={changed({ open: null })}>
          {shown ? <Shown of={shown} revoked={pages.again} /> : <Missing />}
        </Drawer>
      )}
    </div>
  );
}

/** What a key may do, and of which app. */
function May({ of }: { of: Key }) {
  const app = of.app !== null && <AppTitle app={of.app} />;
  if (of.scope === "app") return app;
  const what = texts.value.scopes[of.scope];
  return app ? (
    <>
      {what}: {app}
    </>
  ) : (
    what
  );
}

function State({ of }: { of: Key }) {
  return of.revoked_at === null ? <Badge tone="good">{texts.value.works}</Badge> : <Badge>{texts.value.revoked}</Badge>;
}

function Shown({ of, revoked }: { of: Key; revoked: () => void }) {
  const said = texts.value;
  return (
    <>
      <Facts
        of={[
          [said.name, of.name || said.noName],
          ["id", <Id>{of.id}</Id>],
          [said.hint, <code>{of.hint}…</code>],
          [said.scope, said.scopes[of.scope]],
          of.app !== null && [
            said.app,
            <a href={to(at`/apps/${of.app}`)}>
              <AppTitle app={of.app} />
            </a>,
          ],
          [said.state, <State of={of} />],
          [said.created, <Time at={of.created_at} />],
          of.revoked_at !== null && [said.revokedAt, <Time at={of.revoked_at} />],
        ]}
      />
      <div class="buttons">
        <a class="button" href={to("/audit", { actor: of.id })}>
          {said.usedFor}
        </a>
        {of.revoked_at === null && (
          <Action
            act={async () => {
              await asked(api.DELETE("/v1/keys/{key}", { params: { path: { key: of.id } } }));
              revoked();
              go(changed({ open: null }), { replace: true }); // the list has only those that work
            }}
            ask={
              <>
                <p>
                  <strong>{of.name || of.hint}</strong>
                </p>
                <p>{said.revokeAsk}</p>
              </>
            }
            yes={said.revoke}
            done={said.revokeDone}
            kind="danger"
          >
            {said.revoke}
          </Action>
        )}
      </div>
    </>
  );
}

function Create({ close, made }: { close: () => void; made: () => void }) {
  const said = texts.value;
  const [name, setName] = useState("");
  const [scope, setScope] = useState<Scope>("publish");
  const [app, setApp] = useState("");
  const { busy, problem, send } = useSending();
  const [key, setKey] = useState<string | null>(null);
  const submit = async () => {
    await send(async () => {
      const body = { scope, ...(name.trim() && { name: name.trim() }), ...(scope !== "admin" && app.trim() && { app: app.trim() }) };
      setKey((await asked(api.POST("/v1/keys", { body }))).key);
      made();
    });
  };
  if (key !== null) {
    return (
      <Dialog title={said.key} close={close}>
        <p>{said.once}</p>
        <p class="once">
          <code>{key}</code>
        </p>
        <footer>
          <Copy text={key}>{kit.value.copy}</Copy>
          <button type="button" class="primary" onClick={close}>
            {said.done}
          </button>
        </footer>
      </Dialog>
    );
  }
  return (
    <Dialog title={said.fresh} close={close}>
      <Form problem={problem} submit={() => void submit()}>
        <TextField name="name" label={said.name} value={name} set={setName} hint={said.nameHint} autoFocus />
        <ChoiceField
          name="scope"
          label={said.scope}
          value={scope}
          set={setScope}
          choices={(["publish", "app", "admin"] as const).map((one) => [one, said.scopes[one]] as const)}
          hint={said.scopeHints[scope]}
        />
        {scope === "app" && <AppField name="app" label={said.app} value={app} set={setApp} required />}
        {scope === "publish" && <AppField name="app" label={said.onlyApp} value={app} set={setApp} hint={said.onlyAppHint} />}
        <Refusal of={problem} />
        <footer>
          <button type="button" onClick={close}>
            {kit.value.cancel}
          </button>
          <button type="submit" class="primary" disabled={busy || (scope === "app" && !app.trim())} aria-busy={busy}>
            {said.create}
          </button>
        </footer>
      </Form>
    </Dialog>
  );
}
