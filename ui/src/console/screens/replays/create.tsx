/** Asking for a replay: what it would send again is counted while it is described. It can be begun from anywhere by an address:
 * `#/replays?new=true&app=…&endpoint=…&select=failed`. */

import { useEffect, useState } from "preact/hooks";
import { problemOf } from "../../../kit/asking";
import { ChoiceField, Form, ListField, TextField } from "../../../kit/fields";
import { count } from "../../../kit/numbers";
import { Dialog, say } from "../../../kit/overlay";
import { at, go, to } from "../../../kit/place";
import { api, asked, type Problem } from "../../../kit/request";
import { ProblemText } from "../../../kit/shown";
import type { components } from "../../../api/schema";
import { AppField, EndpointField } from "../../picking";
import type { Replay } from "./shared";
import { replays } from "./texts";
import "./replays.css";

type Select = components["schemas"]["ReplayCreate"]["select"];
type Span = keyof typeof replays.value.ranges;
type Counted = components["schemas"]["ReplayCount"];

const PAUSE_MS = 350;

export function CreateReplay({ app: firstApp, endpoint: firstEndpoint, select: firstSelect, closed }: { app: string; endpoint: string; select: string; closed: string }) {
  const texts = replays.value;
  const [app, setApp] = useState(firstApp);
  const [endpoint, setEndpoint] = useState(firstEndpoint);
  const [select, setSelect] = useState<Select>(firstSelect === "all" || firstSelect === "missing" ? firstSelect : "failed");
  const [span, setSpan] = useState<Span>("86400");
  const [since, setSince] = useState("");
  const [until, setUntil] = useState("");
  const [types, setTypes] = useState<readonly string[]>([]);
  const [counted, setCounted] = useState<Counted | null>(null);
  const [counting, setCounting] = useState(false);
  const [busy, setBusy] = useState(false);
  const [problem, setProblem] = useState<Problem | null>(null);

  const from = span === "other" ? instant(since) : new Date(Math.floor(Date.now() / 60_000) * 60_000 - Number(span) * 1000).toISOString();
  const end = until.trim() ? instant(until) : null;
  const told = app.trim() !== "" && endpoint.trim() !== "" && from !== null && !(until.trim() && end === null);
  const body = told ? { endpoint: endpoint.trim(), since: from, ...(end ? { until: end } : {}), select, ...(types.length > 0 ? { types: [...types] } : {}) } : null;
  const subject = body === null ? null : JSON.stringify([app.trim(), body]);

  useEffect(() => {
    setCounted(null);
    setProblem(null);
    setCounting(body !== null);
    if (body === null) return;
    const gone = new AbortController();
    const timer = setTimeout(() => {
      asked(api.POST("/v1/apps/{app}/replays", { params: { path: { app: app.trim() }, query: { dry_run: true } }, body, signal: gone.signal })).then(
        (answer) => {
          if (gone.signal.aborted) return;
          setCounting(false);
          setCounted(answer as unknown as Counted);
        },
        (error: unknown) => {
          if (gone.signal.aborted) return;
          setCounting(false);
          setProblem(problemOf(error));
        },
      );
    }, PAUSE_MS);
    return () => {
      gone.abort();
      clearTimeout(timer);
    };
  }, [subject]);

  const start = async () => {
    if (body === null || busy) return;
    setBusy(true);
    setProblem(null);
    try {
      const made = (await asked(api.POST("/v1/apps/{app}/replays", { params: { path: { app: app.trim() } }, body }))) as Replay;
      say(texts.started);
      go(to(at`/replays/${made.app}/${made.id}`));
    } catch (error) {
      setProblem(problemOf(error));
      setBusy(false);
    }
  };
  const many = counted === null ? "" : counted.exact ? count(counted.selected) : `≥ ${count(counted.selected)}`;

  return (
    <Dialog title={texts.create} close={() => go(closed)} wide>
      <Form problem={problem} submit={() => void start()}>
        <div class="fields">
          <AppField name="app" label={texts.app} required value={app} set={setApp} />
          <EndpointField name="endpoint" label={texts.endpoint} required app={app} value={endpoint} set={setEndpoint} />
        </div>
        <div class="fields">
          <ChoiceField name="select" label={texts.select} value={select} set={setSelect} choices={(["failed", "missing", "all"] as const).map((one) => [one, texts.selectsLong[one]] as const)} />
          <ChoiceField name="span" label={texts.range} value={span} set={setSpan} choices={(Object.keys(texts.ranges) as Span[]).map((one) => [one, texts.ranges[one]] as const)} />
        </div>
        {span === "other" && (
          <div class="fields">
            <TextField name="since" label={texts.since} required type="datetime-local" value={since} set={setSince} />
            <TextField name="until" label={texts.until} hint={texts.untilHint} type="datetime-local" value={until} set={setUntil} />
          </div>
        )}
        <ListField name="types" label={texts.types} hint={texts.typesHint} value={types} set={setTypes} />
        <div class="notice replay-count" role="status">
          {problem ? (
            <ProblemText problem={problem} />
          ) : counted ? (
            <>
              <b>{counted.selected === 0 && counted.exact ? texts.countNone : texts.count(many)}</b>
              <span class="hint">{texts.countScanned(count(counted.scanned))}</span>
            </>
          ) : counting ? (
            <span class="hint">{texts.counting}</span>
          ) : (
            <span class="hint">{texts.countHint}</span>
          )}
        </div>
        <footer>
          <button type="button" onClick={() => go(closed)}>
            {texts.keep}
          </button>
          <button type="submit" class="primary" disabled={body === null || busy || (counted !== null && counted.exact && counted.selected === 0)} aria-busy={busy}>
            {counted && counted.selected > 0 ? texts.startN(many) : texts.start}
          </button>
        </footer>
      </Form>
    </Dialog>
  );
}

/** A moment of the machine's own time zone, or null. */
function instant(text: string): string | null {
  const at = new Date(text);
  return Number.isNaN(at.getTime()) ? null : at.toISOString();
}
