/** The signing secret: looked at on purpose and for a minute, rotated with an overlap; and the named keys. */

import { useEffect, useState } from "preact/hooks";
import type { components } from "../../api/schema";
import { useAsked } from "../../kit/asking";
import { ChoiceField, CodeField, Form, TextField } from "../../kit/fields";
import { count, Time } from "../../kit/numbers";
import { Action, Dialog, say } from "../../kit/overlay";
import { place, to } from "../../kit/place";
import { api, asked } from "../../kit/request";
import { useSending } from "../../kit/sending";
import { Failed, Refusal, Shown } from "../../kit/shown";
import { Copy, Id, Outcome } from "../../kit/small";
import { Table } from "../../kit/table";
import { kit } from "../../kit/texts";
import { ofApp } from "../page";
import type { Endpoint } from "./endpoint";
import { texts } from "./texts";

type Rotated = components["schemas"]["Rotated"];
type Revealed = components["schemas"]["SecretAnswer"];
type Overlap = "0" | "3600" | "86400" | "604800" | "2592000";

const OVERLAPS: readonly Overlap[] = ["0", "3600", "86400", "604800", "2592000"];
const SHOWN_MS = 60_000;

export function Secret({ of, changed }: { of: Endpoint; changed: () => void }) {
  const said = texts.value;
  const [rotated, setRotated] = useState<Rotated | null>(null);
  const event = place.value.query.get("resend");
  return (
    <>
      {event && <Again of={of} event={event} prominent={rotated !== null} />}
      <div class="panels">
        <Reveal key={rotated?.secret ?? ""} of={of} />
        <Rotate of={of} rotated={rotated} set={setRotated} />
      </div>
      <Keys of={of} changed={changed} />
      <p class="hint">{said.keysWhy}</p>
    </>
  );
}

function Reveal({ of }: { of: Endpoint }) {
  const said = texts.value;
  const [shown, show] = useState<Revealed | null>(null);
  useEffect(() => {
    if (shown === null) return;
    const timer = setTimeout(() => show(null), SHOWN_MS);
    return () => clearTimeout(timer);
  }, [shown]);
  return (
    <section class="panel">
      <h2>{said.secretTitle}</h2>
      {shown === null ? (
        <>
          <p class="hint">{said.secretHidden}</p>
          <div class="buttons">
            <Action act={async () => show(await asked(api.GET("/v1/apps/{app}/endpoints/{endpoint}/secret", { params: { path: { app: of.app, endpoint: of.id } } })))}>
              {said.reveal}
            </Action>
          </div>
        </>
      ) : (
        <div class="secret-text">
          <SecretText text={shown.secret} />
          {shown.public_key && (
            <p>
              {said.publicKey} <Id>{shown.public_key}</Id>
            </p>
          )}
          {shown.expiring.map((one) => (
            <p key={one.secret} class="faint">
              {said.oldSecret} <code>{one.secret}</code> <Copy text={one.secret} />
              <br />
              {said.expiring} <Time at={one.expires_at} />
            </p>
          ))}
          <p class="hint">{said.hidesSoon}</p>
          <button type="button" onClick={() => show(null)}>
            {said.hide}
          </button>
        </div>
      )}
    </section>
  );
}

function SecretText({ text }: { text: string }) {
  return (
    <span>
      <code>{text}</code> <Copy text={text} />
    </span>
  );
}

function Rotate({ of, rotated, set }: { of: Endpoint; rotated: Rotated | null; set: (rotated: Rotated) => void }) {
  const said = texts.value;
  const [overlap, setOverlap] = useState<Overlap>("86400");
  const [own, setOwn] = useState("");
  const rotate = async () => {
    const body = { overlap_seconds: Number(overlap), ...(own.trim() && { secret: own.trim() }) };
    set(await asked(api.POST("/v1/apps/{app}/endpoints/{endpoint}/secret/rotate", { params: { path: { app: of.app, endpoint: of.id } }, body })));
    setOwn("");
  };
  return (
    <section class="panel">
      <h2>{said.rotate}</h2>
      {rotated && (
        <div class="notice secret-text" role="status">
          <strong>{said.newSecret}</strong>
          <SecretText text={rotated.secret} />
          {rotated.public_key && (
            <p>
              {said.publicKey} <Id>{rotated.public_key}</Id>
            </p>
          )}
          <p class="faint">
            {said.oldUntil} <Time at={rotated.others_expire_at} />
          </p>
        </div>
      )}
      <Form problem={null} submit={() => undefined}>
        <ChoiceField name="overlap_seconds" label={said.overlap} value={overlap} set={setOverlap} choices={OVERLAPS.map((one) => [one, said.overlaps[one]] as const)} />
        <details>
          <summary class="faint">{said.ownSecret}</summary>
          <TextField name="secret" label={<span class="unseen">{said.ownSecret}</span>} type="password" autoComplete="new-password" value={own} set={setOwn} placeholder="whsec_…" />
        </details>
        <div class="buttons">
          <Action act={rotate} ask={<p>{overlap === "0" ? said.rotateAskNow : said.rotateAsk}</p>} yes={said.rotate} done={said.rotated} kind="primary">
            {said.rotate}
          </Action>
        </div>
      </Form>
    </section>
  );
}

const LOOK_MS = 700;
const LOOKS_MAX = 30;

/** Whoever came from a failed attempt sends it again here, and sees what becomes of it. */
function Again({ of, event, prominent }: { of: Endpoint; event: string; prominent: boolean }) {
  const said = texts.value;
  const [state, setState] = useState<"idle" | "sending" | "slow">("idle");
  const [attempt, setAttempt] = useState<components["schemas"]["AttemptAnswer"] | null>(null);
  const send = async () => {
    setAttempt(null);
    const newest = async () => {
      const path = { app: of.app, event };
      const { data } = await asked(api.GET("/v1/apps/{app}/events/{event}/attempts", { params: { path } }));
      return data.filter((one) => one.endpoint === of.id).sort((a, b) => (a.id < b.id ? 1 : -1))[0];
    };
    const before = await newest();
    await asked(api.POST("/v1/apps/{app}/deliveries/resend", { params: { path: { app: of.app } }, body: { event, endpoint: of.id } }));
    setState("sending");
    for (let look = 0; look < LOOKS_MAX; look += 1) {
      await new Promise((after) => setTimeout(after, LOOK_MS));
      const now = await newest();
      if (now && now.id !== before?.id) {
        setAttempt(now);
        setState("idle");
        return;
      }
    }
    setState("slow");
  };
  return (
    <div class="notice warn" role="status">
      <p>
        {said.resendWhat(event)}{" "}
        {attempt && (
          <>
            <Outcome of={attempt.outcome} /> {attempt.status ?? attempt.reason}{" "}
            <a href={to("/attempts", { ...ofApp(of.app), endpoint: of.id, open: attempt.id })}>{said.toAttempt}</a>
          </>
        )}
        {state === "sending" && <span class="faint">{said.resending}</span>}
        {state === "slow" && <span class="faint">{said.resendSlow}</span>}
      </p>
      <Action act={send} kind={prominent ? "primary" : ""}>
        {said.resend}
      </Action>
    </div>
  );
}

function Keys({ of, changed }: { of: Endpoint; changed: () => void }) {
  const said = texts.value;
  const [putting, put] = useState<string | null>(null);
  const path = { app: of.app, endpoint: of.id };
  const keys = useAsked((signal) => asked(api.GET("/v1/apps/{app}/endpoints/{endpoint}/keys", { params: { path }, signal })), [of.id]);
  const again = () => {
    keys.again();
    changed();
  };
  return (
    <section class="panel">
      <header>
        <h2>{said.keys}</h2>
        <button type="button" onClick={() => put("")}>
          {said.putKey}
        </button>
      </header>
      <Shown of={keys}>
        {({ data }) =>
          data.length === 0 ? (
            <p class="faint">{said.noKeys}</p>
          ) : (
            <Table
              rows={data}
              label={said.keys}
              id={(row) => row.name}
              columns={[
                { title: said.parts.keyName, cell: (row) => <code>{row.name}</code>, kind: "wide" },
                {
                  title: said.keyVersions,
                  cell: (row) =>
                    row.versions.map((one) => (
                      <span key={one.version}>
                        {said.version(count(one.version))}
                        {one.expires_at !== null && (
                          <>
                            {" "}
                            ({said.expiring} <Time at={one.expires_at} />)
                          </>
                        )}{" "}
                      </span>
                    )),
                },
                { title: said.keySince, cell: (row) => <Time at={row.versions[0]?.created_at} />, spare: true, kind: "narrow" },
                {
                  title: "",
                  kind: "narrow",
                  cell: (row) => (
                    <span class="buttons">
                      <button type="button" class="quiet" onClick={() => put(row.name)}>
                        {said.putKey}
                      </button>
                      <Action
                        act={async () => {
                          await asked(api.DELETE("/v1/apps/{app}/endpoints/{endpoint}/keys/{key}", { params: { path: { ...path, key: row.name } } }));
                          again();
                        }}
                        ask={<p>{said.removeKeyAsk(row.name)}</p>}
                        yes={said.removeKey}
                        done={said.removedKey}
                        kind="danger"
                      >
                        {said.removeKey}
                      </Action>
                    </span>
                  ),
                },
              ]}
            />
          )
        }
      </Shown>
      {keys.state === "failed" && keys.data === null && <Failed problem={keys.problem} again={keys.again} />}
      {putting !== null && <PutKey of={of} name={putting} close={() => put(null)} done={again} />}
    </section>
  );
}

function PutKey({ of, name: given, close, done }: { of: Endpoint; name: string; close: () => void; done: () => void }) {
  const said = texts.value;
  const [name, setName] = useState(given);
  const [value, setValue] = useState("");
  const [overlap, setOverlap] = useState<Overlap>("86400");
  const { busy, problem, send } = useSending();
  const submit = async () => {
    await send(async () => {
      await asked(
        api.PUT("/v1/apps/{app}/endpoints/{endpoint}/keys/{key}", {
          params: { path: { app: of.app, endpoint: of.id, key: name.trim() } },
          body: { value, overlap_seconds: Number(overlap) },
        }),
      );
      say(said.putKeyDone);
      done();
      close();
    });
  };
  return (
    <Dialog title={said.putKey} close={close}>
      <Form problem={problem} submit={() => void submit()}>
        <TextField name="name" label={said.parts.keyName} value={name} set={setName} required disabled={given !== ""} />
        <CodeField name="value" label={said.keyText} value={value} set={setValue} rows={4} required />
        <ChoiceField name="overlap_seconds" label={said.keyOverlap} value={overlap} set={setOverlap} choices={OVERLAPS.map((one) => [one, said.overlaps[one]] as const)} />
        <Refusal of={problem} />
        <footer>
          <button type="button" onClick={close}>
            {kit.value.cancel}
          </button>
          <button type="submit" class="primary" disabled={busy || !name.trim() || !value} aria-busy={busy}>
            {said.putKey}
          </button>
        </footer>
      </Form>
    </Dialog>
  );
}
