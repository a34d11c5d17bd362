/** The same thing done to everything that a filter finds: it says how many, shows how far it is, and can be stopped. */

import { useEffect, useRef, useState } from "preact/hooks";
import { problemOf } from "../../../kit/asking";
import { count } from "../../../kit/numbers";
import { Dialog } from "../../../kit/overlay";
import { api, asked, type Problem } from "../../../kit/request";
import { ProblemText } from "../../../kit/shown";
import { Progress } from "../../../kit/small";
import type { components } from "../../../api/schema";
import { cancel, type Owing, resend } from "../../../screens/attempts/sending";
import { texts } from "./texts";

type Delivery = components["schemas"]["DeliveryAnswer"];

export interface Filter {
  readonly app?: string;
  readonly endpoint?: string;
  readonly reason?: Delivery["reason"];
}

const PAGE_ROWS = 250;
const AT_ONCE_MAX = 6;

interface Far {
  readonly done: number;
  readonly left: number;
  readonly problem: Problem | null;
}

const NOTHING: Far = { done: 0, left: 0, problem: null };

/** Everything that `filter` finds, page by page, a few at a time. A row that is refused is left out; what the server cannot do
 * for any of them ends it. */
async function each(filter: Filter, act: (owing: Owing, signal: AbortSignal) => Promise<unknown>, told: (far: Far) => void, signal: AbortSignal): Promise<void> {
  let far = NOTHING;
  let cursor: string | null = null;
  do {
    const query = { ...filter, limit: PAGE_ROWS, ...(cursor ? { cursor } : {}) } as { app?: string; limit: number };
    const page: { data: Delivery[]; next: string | null } = await asked(api.GET("/v1/deliveries", { params: { query }, signal }));
    const rows = page.data.values();
    const worker = async () => {
      for (const row of rows) {
        if (signal.aborted) return;
        if (row.app === null) {
          far = { ...far, left: far.left + 1 };
        } else {
          try {
            await act({ app: row.app, event: row.event, endpoint: row.endpoint }, signal);
            far = { ...far, done: far.done + 1 };
          } catch (error) {
            const problem = problemOf(error);
            if (signal.aborted || ![404, 409].includes(problem.status)) throw error;
            far = { ...far, left: far.left + 1, problem };
          }
        }
        told(far);
      }
    };
    await Promise.all(Array.from({ length: AT_ONCE_MAX }, worker));
    cursor = page.next;
  } while (cursor !== null && !signal.aborted);
}

export function Bulk({
  kind,
  filter,
  described,
  total,
  atLeast,
  close,
}: {
  kind: "resend" | "cancel";
  filter: Filter;
  described: string;
  total: number;
  atLeast: boolean;
  close: () => void;
}) {
  const said = texts.value;
  const [state, setState] = useState<"asking" | "running" | "finished" | "stopped">("asking");
  const [far, setFar] = useState<Far>(NOTHING);
  const [failure, setFailure] = useState<Problem | null>(null);
  const stopping = useRef<AbortController | null>(null);
  useEffect(() => () => stopping.current?.abort(), []);

  const run = async () => {
    const stop = new AbortController();
    stopping.current = stop;
    setState("running");
    // Told at most once a frame, however fast it goes.
    let newest = NOTHING;
    let frame = 0;
    const told = (now: Far) => {
      newest = now;
      frame ||= requestAnimationFrame(() => {
        frame = 0;
        setFar(newest);
      });
    };
    try {
      await each(filter, kind === "resend" ? resend : cancel, told, stop.signal);
      setState(stop.signal.aborted ? "stopped" : "finished");
    } catch (error) {
      if (!stop.signal.aborted) setFailure(problemOf(error));
      stop.abort();
      setState("stopped");
    } finally {
      cancelAnimationFrame(frame);
      setFar(newest);
    }
  };
  const passed = far.done + far.left;
  return (
    <Dialog title={kind === "resend" ? said.bulkResend : said.bulkCancel} close={close}>
      <p>{said.bulkOf(described)}</p>
      {state === "asking" ? (
        <>
          <p>
            <strong>{said.bulkCount(atLeast ? said.atLeast(count(total)) : count(total))}</strong>
          </p>
          <p class="faint">{kind === "resend" ? said.bulkResendWhy : said.bulkCancelWhy}</p>
        </>
      ) : (
        <>
          <Progress done={state === "finished" ? 1 : passed} of={state === "finished" ? 1 : atLeast && passed > total ? null : total} label={said.progress} />
          <p role="status">
            {state === "finished"
              ? said.finished(count(far.done))
              : state === "stopped"
                ? said.stopped(count(far.done))
                : atLeast
                  ? said.doneOnly(count(passed))
                  : said.doneOf(count(passed), count(Math.max(total, passed)))}
            {far.left > 0 && <span class="faint"> · {said.left(count(far.left))}</span>}
          </p>
          {far.problem && (
            <div class="notice warn">
              <p class="faint">{said.lastProblem}</p>
              <ProblemText problem={far.problem} />
            </div>
          )}
          {failure && (
            <div class="notice bad" role="alert">
              <ProblemText problem={failure} />
            </div>
          )}
        </>
      )}
      <footer>
        {state === "asking" && (
          <button type="button" class={kind === "cancel" ? "danger" : "primary"} onClick={() => void run()}>
            {kind === "cancel" ? said.startCancel : said.start}
          </button>
        )}
        {state === "running" && (
          <button type="button" onClick={() => stopping.current?.abort()}>
            {said.stop}
          </button>
        )}
        {state !== "running" && (
          <button type="button" onClick={close}>
            {said.close}
          </button>
        )}
      </footer>
    </Dialog>
  );
}
