/** CEL: what an expression comes to for an event, or where and why it does not. */

import { useEffect, useState } from "preact/hooks";
import { problemOf } from "../../../kit/asking";
import { ChoiceField, CodeField, Form, NumberField } from "../../../kit/fields";
import { Code, memberText } from "../../../kit/json";
import { language } from "../../../kit/language";
import { count } from "../../../kit/numbers";
import { raw } from "../../../kit/raw";
import { api, asked, type Problem } from "../../../kit/request";
import { ProblemText } from "../../../kit/shown";
import { Badge } from "../../../kit/small";
import type { components } from "../../../api/schema";
import { NO_SAMPLE, Sample } from "./sample";
import { isJsonOrNone, useShared } from "./shared";
import { playground } from "./texts";

type Answer = components["schemas"]["ExpressionAnswer"];
type Use = keyof typeof playground.value.uses;

const DEFAULTS = { ...NO_SAMPLE, x: "event.data.id > 5", use: "filter", data: '{\n  "id": 7\n}', status: "200", answer: "", headers: "", attempt: "1" };

export function Expressions() {
  const texts = playground.value;
  const { fields, set, fits, settled } = useShared(DEFAULTS);
  const use: Use = fields.use in texts.uses ? (fields.use as Use) : "filter";
  const ofAnswer = use === "rule" || use === "answer_value" || use === "answer_text";
  const [found, setFound] = useState<{ text: string; answer: Answer; of: string } | null>(null);
  const [problem, setProblem] = useState<Problem | null>(null);

  const ready = settled.x.trim() !== "" && isJsonOrNone(settled.data) && (!ofAnswer || isJsonOrNone(settled.headers));
  const body = bodyOf(settled, ofAnswer);
  useEffect(() => {
    setProblem(null);
    if (!ready) {
      setFound(null);
      return;
    }
    const gone = new AbortController();
    asked(api.POST("/v1/expressions/check", { ...raw(body), parseAs: "text", signal: gone.signal })).then(
      (answer) => {
        if (gone.signal.aborted) return;
        const text = String(answer);
        setFound({ text: memberText(text, "value") ?? "null", answer: JSON.parse(text) as Answer, of: settled.x });
      },
      (error: unknown) => {
        if (gone.signal.aborted) return;
        setFound(null);
        setProblem(problemOf(error));
      },
    );
    return () => gone.abort();
  }, [body, ready, language.value]);

  return (
    <Form problem={problem} submit={() => undefined}>
      <div class="panels">
        <section class="panel">
          <ChoiceField name="use" label={texts.use} value={use} set={(to) => set({ use: to })} choices={(Object.keys(texts.uses) as Use[]).map((one) => [one, texts.uses[one]] as const)} />
          <CodeField name="expression" label={texts.expression} rows={5} value={fields.x} set={(x) => set({ x })} placeholder="event.data.total > 100" />
          <h3>{texts.sample}</h3>
          <Sample fields={fields} set={set} />
          {ofAnswer && (
            <>
              <h3>{texts.answer}</h3>
              <div class="fields">
                <NumberField name="response.status" label={texts.status} value={Number(fields.status)} set={(status) => set({ status: String(status ?? "") })} min={100} max={599} />
                <NumberField name="response.attempt" label={texts.attempt} value={Number(fields.attempt)} set={(attempt) => set({ attempt: String(attempt ?? "") })} min={1} />
              </div>
              <CodeField name="response.body" label={texts.body} rows={3} value={fields.answer} set={(answer) => set({ answer })} />
              <CodeField name="response.headers" label={texts.headers} rows={2} value={fields.headers} set={(headers) => set({ headers })} hint={isJsonOrNone(fields.headers) ? undefined : texts.badJson} placeholder='{"retry-after": "5"}' />
            </>
          )}
          {!fits && <p class="notice warn">{texts.tooLong}</p>}
        </section>
        <section class="panel" aria-live="polite">
          <header>
            <h2>{texts.result}</h2>
          </header>
          {problem ? (
            <div class="notice bad" role="alert">
              <ProblemText problem={problem} />
            </div>
          ) : found === null ? (
            <p class="hint">{texts.nothing}</p>
          ) : found.answer.ok ? (
            <>
              <p>
                {texts.comesTo} <Badge tone="good">{texts.kinds[found.answer.type ?? "null"]}</Badge>
              </p>
              <Code text={found.text} label={texts.result} />
            </>
          ) : (
            <Fault of={found.answer} expression={found.of} />
          )}
        </section>
      </div>
    </Form>
  );
}

function bodyOf(fields: typeof DEFAULTS, ofAnswer: boolean): string {
  const event = [
    ...(fields.type.trim() ? [`"type":${JSON.stringify(fields.type.trim())}`] : []),
    ...(fields.subject.trim() ? [`"subject":${JSON.stringify(fields.subject.trim())}`] : []),
    ...(fields.key.trim() ? [`"key":${JSON.stringify(fields.key.trim())}`] : []),
    ...(fields.event.trim() ? [`"id":${JSON.stringify(fields.event.trim())}`] : []),
    ...(fields.data.trim() ? [`"data":${fields.data}`] : []),
  ];
  const response = [
    ...(fields.status ? [`"status":${JSON.stringify(Number(fields.status))}`] : []),
    ...(fields.attempt ? [`"attempt":${JSON.stringify(Number(fields.attempt))}`] : []),
    `"body":${JSON.stringify(fields.answer)}`,
    ...(fields.headers.trim() ? [`"headers":${fields.headers}`] : []),
  ];
  return `{"expression":${JSON.stringify(fields.x)},"use":${JSON.stringify(fields.use)},"event":{${event.join(",")}}${ofAnswer ? `,"response":{${response.join(",")}}` : ""}}`;
}

/** What is wrong, and the line with a mark under the place. */
function Fault({ of, expression }: { of: Answer; expression: string }) {
  const texts = playground.value;
  const line = of.line === null ? null : expression.split("\n")[of.line - 1];
  return (
    <div class="notice bad" role="alert">
      <strong>{of.because === null ? texts.because.error : texts.because[of.because]}</strong>
      <p>{of.detail}</p>
      {of.line !== null && of.column !== null && line !== undefined && line !== null && (
        <>
          <p class="hint">{texts.place(count(of.line), count(of.column))}</p>
          <pre class="pointed">
            {line}
            {"\n"}
            <span>{`${" ".repeat(Math.max(0, of.column - 1))}▲`}</span>
          </pre>
        </>
      )}
    </div>
  );
}
