/** Asking for what a screen shows: loading, ready, missing and failed are four different things. */

import { useCallback, useEffect, useRef, useState } from "preact/hooks";
import { language } from "./language";
import { Problem } from "./request";

export type Asked<T> = (
  | { readonly state: "loading"; readonly data: T | null; readonly problem: null }
  | { readonly state: "ready"; readonly data: T; readonly problem: null }
  | { readonly state: "missing"; readonly data: null; readonly problem: Problem }
  | { readonly state: "failed"; readonly data: T | null; readonly problem: Problem }
) & {
  /** Ask again; what is shown stays until the answer comes. */
  readonly again: () => void;
  /** Show this instead, as after a change whose answer is the new state. */
  readonly set: (data: T) => void;
};

type Held<T> = Omit<Asked<T>, "again" | "set">;

/** Asks now, whenever one of `on` changes, and with `every` milliseconds while the page is seen. An answer that is no longer
 * wanted is dropped. Answers have texts in the language that was chosen: in another one, they are asked for again. */
export function useAsked<T>(ask: (signal: AbortSignal) => Promise<T>, on: readonly unknown[], every?: number): Asked<T> {
  const [held, hold] = useState<Held<T>>({ state: "loading", data: null, problem: null } as Held<T>);
  const [turn, next] = useState(0);
  const asking = useRef(ask);
  asking.current = ask;
  const shownFor = useRef<string | null>(null);
  const subject = JSON.stringify(on);
  const spoken = language.value;

  useEffect(() => {
    const gone = new AbortController();
    if (shownFor.current !== subject) {
      shownFor.current = subject;
      hold({ state: "loading", data: null, problem: null } as Held<T>);
    }
    asking.current(gone.signal).then(
      (data) => {
        if (!gone.signal.aborted) hold({ state: "ready", data, problem: null } as Held<T>);
      },
      (error: unknown) => {
        if (gone.signal.aborted) return;
        const problem = problemOf(error);
        hold((before) => ({ state: problem.missing ? "missing" : "failed", data: problem.missing ? null : before.data, problem }) as Held<T>);
      },
    );
    return () => gone.abort();
  }, [subject, turn, spoken]);

  const again = useCallback(() => next((n) => n + 1), []);
  useEffect(() => {
    if (every === undefined) return;
    const timer = setInterval(() => {
      if (!document.hidden) again();
    }, every);
    return () => clearInterval(timer);
  }, [every]);

  const set = useCallback((data: T) => hold({ state: "ready", data, problem: null } as Held<T>), []);
  return { ...held, again, set } as Asked<T>;
}

export interface Page<T> {
  readonly data: readonly T[];
  readonly next: string | null;
}

export interface Pages<T> extends Omit<Held<readonly T[]>, "data" | "state"> {
  readonly state: "loading" | "ready" | "missing" | "failed";
  readonly rows: readonly T[];
  /** Whether there are more; `more` fetches them. */
  readonly rest: boolean;
  readonly fetching: boolean;
  readonly more: () => void;
  readonly again: () => void;
  /** Change what is shown, as by live news. */
  readonly alter: (change: (rows: readonly T[]) => readonly T[]) => void;
}

/** A list that comes page by page. `ask` gets the cursor, null for the first page. */
export function usePages<T>(
  ask: (cursor: string | null, signal: AbortSignal) => Promise<Page<T>>,
  on: readonly unknown[],
  every?: number,
): Pages<T> {
  const asking = useRef(ask);
  asking.current = ask;
  const first = useAsked((signal) => asking.current(null, signal), on, every);
  const [later, setLater] = useState<{ of: unknown; rows: readonly T[]; next: string | null }>({ of: null, rows: [], next: null });
  const [fetching, setFetching] = useState(false);
  const [altered, alterRows] = useState<{ of: unknown; change: ((rows: readonly T[]) => readonly T[]) | null }>({ of: null, change: null });
  const [problem, setProblem] = useState<Problem | null>(null);

  const current = later.of === first.data ? later : { of: first.data, rows: [] as readonly T[], next: first.data?.next ?? null };
  const more = useCallback(() => {
    if (fetching || current.next === null || first.data === null) return;
    const of = first.data;
    setFetching(true);
    setProblem(null);
    asking.current(current.next, new AbortController().signal).then(
      (page) => {
        setFetching(false);
        setLater({ of, rows: [...current.rows, ...page.data], next: page.next });
      },
      (error: unknown) => {
        setFetching(false);
        setProblem(problemOf(error));
      },
    );
  }, [fetching, current.next, current.rows, first.data]);

  const alter = useCallback(
    (change: (rows: readonly T[]) => readonly T[]) => {
      alterRows((before) => {
        const earlier = before.of === first.data ? before.change : null;
        return { of: first.data, change: (rows) => change(earlier ? earlier(rows) : rows) };
      });
    },
    [first.data],
  );
  const plain = [...(first.data?.data ?? []), ...current.rows];
  const rows = altered.of === first.data && altered.change ? altered.change(plain) : plain;
  return {
    state: first.state,
    problem: first.problem ?? problem,
    rows,
    rest: current.next !== null,
    fetching,
    more,
    again: first.again,
    alter,
  } as Pages<T>;
}

export function problemOf(error: unknown): Problem {
  if (error instanceof Problem) return error;
  return new Problem(0, { code: "unexpected", title: error instanceof Error ? error.message : String(error) });
}
