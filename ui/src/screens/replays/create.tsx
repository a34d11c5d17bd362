/** Asking for a replay: what it would send again is counted while it is described. It can be begun from anywhere by an address:
 * `#/replays?new=true&app=…&endpoint=…&select=failed`; an endpoint's own page asks for no endpoint. */

import { useState } from "preact/hooks";
import { useAsked } from "../../kit/asking";
import { ChipsField } from "../../kit/chips";
import { ChoiceField, Form, TextField } from "../../kit/fields";
import { count, instant } from "../../kit/numbers";
import { Dialog, say } from "../../kit/overlay";
import { go } from "../../kit/place";
import { api, asked } from "../../kit/request";
import { useSending } from "../../kit/sending";
import { ProblemText } from "../../kit/shown";
import type { components } from "../../api/schema";
import { replayAt, several } from "../page";
import { EndpointField, useSettled } from "../picking";
import { usePatterns, useTypes } from "../endpoints/types";
import type { Replay } from "./shared";
import { replays } from "./texts";
import "./replays.css";

type Create = components["schemas"]["ReplayCreate"];
type Span = keyof typeof replays.value.ranges;
type Counted = components["schemas"]["ReplayCount"];

export function CreateReplay({
  app: firstApp,
  endpoint: firstEndpoint,
  select: firstSelect = "failed",
  chosen = false,
  close,
}: {
  app: string;
  endpoint: string;
  select?: string;
  /** Of this endpoint and no other. */
  chosen?: boolean;
  close: () => void;
}) {
  const texts = replays.value;
  const apps = several();
  const patterns = usePatterns(useTypes());
  const [opened] = useState(() => Date.now());
  const [app, setApp] = useState(firstApp);
  const [endpoint, setEndpoint] = useState(firstEndpoint);
  const [select, setSelect] = useState<Create["select"]>(firstSelect === "all" || firstSelect === "missing" ? firstSelect : "failed");
  const [span, setSpan] = useState<Span>("86400");
  const [since, setSince] = useState("");
  const [until, setUntil] = useState("");
  const [types, setTypes] = useState<string[]>([]);
  const { busy, problem, send } = useSending();

  const from = span === "other" ? instant(since) : new Date(opened - Number(span) * 1000).toISOString();
  const end = until.trim() ? instant(until) : null;
  const told = app.trim() !== "" && endpoint.trim() !== "" && from !== null && !(until.trim() && end === null);
  const body: Create | null = told ? { endpoint: endpoint.trim(), since: from, ...(end ? { until: end } : {}), select, ...(types.length > 0 ? { types } : {}) } : null;
  const ask = (dry: boolean, of: { app: string; body: Create }, signal?: AbortSignal) =>
    asked(
      api.POST("/v1/apps/{app}/replays", {
        params: { path: { app: of.app }, query: dry ? { dry_run: true } : {} },
        body: of.body,
        ...(signal ? { signal } : {}),
      }),
    );
  const described = body === null ? "" : JSON.stringify({ app: app.trim(), body });
  const settled = useSettled(described);
  const counting = useAsked<Counted | null>(
    async (signal) => (settled === "" ? null : ((await ask(true, JSON.parse(settled) as { app: string; body: Create }, signal)) as Counted)),
    [settled],
  );
  // What was counted is of what is described now, or of nothing.
  const counted = settled === described && counting.state === "ready" ? counting.data : null;
  const refused = problem ?? (settled === described ? counting.problem : null);

  const start = () =>
    body !== null && !busy
      ? send(async () => {
          const made = (await ask(false, { app: app.trim(), body })) as Replay;
          say(texts.started);
          go(replayAt(made.app, made.id));
        })
      : undefined;
  const many = counted === null ? "" : counted.exact ? count(counted.selected) : `≥ ${count(counted.selected)}`;

  return (
    <Dialog title={texts.create} close={close} wide>
      <Form problem={refused} submit={() => void start()}>
        {!chosen && (
          <div class="fields">
            {apps && <apps.Field name="app" label={texts.app} required value={app} set={setApp} />}
            <EndpointField name="endpoint" label={texts.endpoint} required app={app} value={endpoint} set={setEndpoint} />
          </div>
        )}
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
        <ChipsField name="types" label={texts.types} hint={texts.typesHint} value={types} set={setTypes} suggestions={patterns} />
        <div class="notice replay-count" role="status">
          {refused ? (
            <ProblemText problem={refused} />
          ) : counted ? (
            <>
              <b>{counted.selected === 0 && counted.exact ? texts.countNone : texts.count(many)}</b>
              <span class="hint">{texts.countScanned(count(counted.scanned))}</span>
            </>
          ) : (
            <span class="hint">{body !== null ? texts.counting : apps ? texts.countHint : texts.countHintYours}</span>
          )}
        </div>
        <footer>
          <button type="button" onClick={close}>
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
