/** An app that is made or changed. */

import { useEffect, useState } from "preact/hooks";
import type { components } from "../../../api/schema";
import { problemOf } from "../../../kit/asking";
import { CodeField, Form, NumberField, TextField } from "../../../kit/fields";
import { indented, isJson, memberText } from "../../../kit/json";
import { Dialog, say } from "../../../kit/overlay";
import { at } from "../../../kit/place";
import { api, asked, askedText, type Problem } from "../../../kit/request";
import { useSending } from "../../../kit/sending";
import { Failed, Loading, ProblemText } from "../../../kit/shown";
import { kit } from "../../../kit/texts";
import { texts } from "./texts";

type App = components["schemas"]["AppAnswer"];
type Quotas = components["schemas"]["QuotasAnswer"];

const QUOTAS = ["publish_per_second", "endpoints_max", "stored_bytes_max"] as const;
const NO_QUOTAS: Quotas = { publish_per_second: null, endpoints_max: null, stored_bytes_max: null };

interface Held {
  readonly uid: string;
  readonly name: string;
  /** As JSON text: numbers stay as they were written. */
  readonly metadata: string;
  readonly quotas: Quotas;
}

const BLANK: Held = { uid: "", name: "", metadata: "", quotas: NO_QUOTAS };

export function EditApp({ app, close, done }: { app: string | null; close: () => void; done: (app: App) => void }) {
  const said = texts.value;
  const [before, setBefore] = useState<Held | null>(app === null ? BLANK : null);
  const [held, hold] = useState<Held>(BLANK);
  const [tag, setTag] = useState("");
  const { busy, problem, send } = useSending();
  const [unread, setUnread] = useState<Problem | null>(null);

  useEffect(() => {
    if (app === null) return;
    const gone = new AbortController();
    const path = { app };
    Promise.all([
      asked(
        api.GET("/v1/apps/{app}", { params: { path }, signal: gone.signal }).then((answer) => {
          setTag(answer.response.headers.get("etag") ?? "");
          return answer;
        }),
      ),
      askedText(at`/v1/apps/${app}`, gone.signal),
    ]).then(
      ([found, text]) => {
        const metadata = memberText(text, "metadata") ?? "{}";
        const known = { uid: found.uid ?? "", name: found.name, metadata: metadata === "{}" ? "" : indented(metadata), quotas: found.quotas };
        setBefore(known);
        hold(known);
      },
      (error: unknown) => !gone.signal.aborted && setUnread(problemOf(error)),
    );
    return () => gone.abort();
  }, [app]);

  const wrong = held.metadata.trim() !== "" && !isJson(held.metadata) ? said.notJson : null;
  const submit = async () => {
    if (before === null) return;
    const changes: string[] = [];
    const put = (name: keyof Held, text: string) => held[name] !== before[name] && changes.push(`${JSON.stringify(name)}:${text}`);
    put("uid", JSON.stringify(held.uid.trim() || null));
    put("name", JSON.stringify(held.name));
    put("metadata", held.metadata.trim() || "{}");
    put("quotas", JSON.stringify(held.quotas));
    const sent = { body: {}, bodySerializer: () => `{${changes.join(",")}}` };
    await send(async () => {
      const answer = await asked(
        app === null
          ? api.POST("/v1/apps", sent)
          : api.PATCH("/v1/apps/{app}", { params: { path: { app }, header: tag ? { "If-Match": tag } : {} }, ...sent }),
      );
      say(said.saved);
      done(answer);
    });
  };

  return (
    <Dialog title={app === null ? said.fresh : said.edit} close={close}>
      {unread ? (
        <Failed problem={unread} />
      ) : before === null ? (
        <Loading />
      ) : (
        <Form problem={problem} submit={() => !wrong && void submit()}>
          <TextField name="name" label={said.name} value={held.name} set={(name) => hold({ ...held, name })} autoFocus />
          <TextField name="uid" label={said.uid} value={held.uid} set={(uid) => hold({ ...held, uid })} hint={said.hints.uid} placeholder="shop-42" />
          <CodeField name="metadata" label={said.metadata} value={held.metadata} set={(metadata) => hold({ ...held, metadata })} hint={said.hints.metadata} wrong={wrong} />
          <fieldset class="part">
            <legend>{said.quotaTitle}</legend>
            <div class="fields">
              {QUOTAS.map((name) => (
                <NumberField
                  key={name}
                  name={`quotas.${name}`}
                  label={said.quotas[name]}
                  value={held.quotas[name]}
                  set={(value) => hold({ ...held, quotas: { ...held.quotas, [name]: value } })}
                  placeholder={said.noLimit}
                />
              ))}
            </div>
          </fieldset>
          {problem && (
            <div class="notice bad" role="alert">
              {problem.status === 412 ? <p>{said.conflict}</p> : <ProblemText problem={problem} />}
            </div>
          )}
          <footer>
            <button type="button" onClick={close}>
              {kit.value.cancel}
            </button>
            <button type="submit" class="primary" disabled={busy || wrong !== null} aria-busy={busy}>
              {app === null ? said.create : said.save}
            </button>
          </footer>
        </Form>
      )}
    </Dialog>
  );
}
