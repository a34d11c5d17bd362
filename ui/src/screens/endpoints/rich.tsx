/** Fields whose values are JSON or expressions, checked as they are typed. */

import { useEffect, useState } from "preact/hooks";
import type { components } from "../../api/schema";
import { CodeField, type Common } from "../../kit/fields";
import { indented, isJson } from "../../kit/json";
import { language } from "../../kit/language";
import { count } from "../../kit/numbers";
import { api, asked } from "../../kit/request";
import { texts } from "./texts";

/** What is JSON, as text. `set` gets it as it is typed, once it is JSON; empty is null, or what `empty` says. */
export function JsonField({
  text,
  set,
  broken,
  empty = "null",
  rows = 4,
  ...common
}: Common & { text: string; set: (text: string) => void; broken: (is: boolean) => void; empty?: string; rows?: number; placeholder?: string }) {
  const [typed, type] = useState<string | null>(null);
  const wrong = typed !== null && typed.trim() !== "" && !isJson(typed);
  useEffect(() => () => broken(false), []);
  return (
    <CodeField
      {...common}
      rows={rows}
      value={typed ?? (text === empty ? "" : indented(text))}
      set={(next) => {
        type(next);
        const unreadable = next.trim() !== "" && !isJson(next);
        broken(unreadable);
        if (!unreadable) set(next.trim() === "" ? empty : next.trim());
      }}
      wrong={wrong ? texts.value.notJson : (common.wrong ?? null)}
    />
  );
}

type Use = NonNullable<components["schemas"]["ExpressionCheck"]["use"]>;
type Checked = components["schemas"]["ExpressionAnswer"];

/** What an expression is tried with. */
export interface Sample {
  readonly type: string;
  readonly data: unknown;
}

const PAUSE_MS = 400;

/** An expression in CEL; the server says of it while it is typed whether it can be one, and what it comes to with a sample. */
export function ExpressionField({ use, sample, value, set, hint, ...common }: Common & { use: Use; sample: Sample | null; value: string; set: (value: string) => void; placeholder?: string }) {
  const said = texts.value.expression;
  const [checked, setChecked] = useState<{ readonly of: string; readonly answer: Checked } | null>(null);
  useEffect(() => {
    if (value.trim() === "") return;
    const gone = new AbortController();
    const timer = setTimeout(() => {
      const body = { expression: value, use, ...(sample && { event: { type: sample.type, data: sample.data } }) };
      asked(api.POST("/v1/expressions/check", { body, signal: gone.signal })).then(
        (answer) => setChecked({ of: value, answer }),
        () => setChecked(null), // saving says what is wrong with it
      );
    }, PAUSE_MS);
    return () => {
      clearTimeout(timer);
      gone.abort();
    };
  }, [value, use, sample?.type, language.value]);
  const answer = value.trim() !== "" && checked?.of === value ? checked.answer : null;
  const place = answer && answer.line !== null && answer.column !== null ? `${said.at(count(answer.line), count(answer.column))}: ` : "";
  const bad = answer !== null && !answer.ok && (answer.because === "invalid" || answer.because === "wrong_type");
  return (
    <CodeField
      {...common}
      rows={2}
      value={value}
      set={set}
      wrong={bad ? `${place}${answer.detail ?? answer.because ?? ""}` : (common.wrong ?? null)}
      hint={
        <>
          {hint}
          {answer && !bad && (
            <span class={answer.ok ? "valid" : "unsure"}>
              {" "}
              {answer.ok ? said.ok(answer.type ?? "") : said.noValue(answer.detail ?? "")}
            </span>
          )}
        </>
      }
    />
  );
}
