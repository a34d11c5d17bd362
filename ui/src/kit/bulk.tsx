/** Acting on many at once: it says how many they are before it begins, how far it is, and can be ended on the way. */

import type { ComponentChildren } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { problemOf } from "./asking";
import { count } from "./numbers";
import { Dialog, say } from "./overlay";
import type { Problem } from "./request";
import { Loading, Refusal } from "./shown";
import { Progress } from "./small";
import { kit } from "./texts";

export interface BulkProps<T> {
  readonly children: ComponentChildren;
  /** All that it would act on. */
  readonly gather: (signal: AbortSignal) => Promise<readonly T[]>;
  readonly ask: (n: string) => ComponentChildren;
  readonly yes: (n: string) => ComponentChildren;
  /** What is done to a piece of them; a text ends it, and says why. */
  readonly act: (piece: readonly T[], signal: AbortSignal) => Promise<string | void>;
  readonly piece: number;
  /** What is said at the end, with how many were gone through. */
  readonly done: (n: string) => string;
  readonly ended?: () => void;
  readonly stop: string;
  readonly kind?: "" | "danger";
  readonly disabled?: boolean;
}

export function Bulk<T>({ children, gather, ask, yes, act, piece, done, ended, stop, kind = "", disabled = false }: BulkProps<T>) {
  const [open, setOpen] = useState(false);
  const [all, setAll] = useState<readonly T[] | null>(null);
  const [at, setAt] = useState<number | null>(null);
  const [problem, setProblem] = useState<Problem | null>(null);
  const gone = useRef(new AbortController());
  useEffect(() => () => gone.current.abort(), []);

  const begin = () => {
    gone.current = new AbortController();
    const { signal } = gone.current;
    setOpen(true);
    setAll(null);
    setAt(null);
    setProblem(null);
    gather(signal).then(
      (found) => !signal.aborted && setAll(found),
      (error: unknown) => !signal.aborted && setProblem(problemOf(error)),
    );
  };
  const close = () => {
    gone.current.abort();
    setOpen(false);
    if (at !== null) ended?.();
  };
  const run = async () => {
    if (all === null) return;
    const { signal } = gone.current;
    let through = 0;
    setAt(0);
    try {
      while (through < all.length && !signal.aborted) {
        const some = all.slice(through, through + piece);
        const why = await act(some, signal);
        through += some.length;
        setAt(through);
        if (why) {
          say(why, "bad");
          break;
        }
      }
      if (!signal.aborted) {
        say(done(count(through)));
        setOpen(false);
      }
      ended?.();
    } catch (error) {
      if (!signal.aborted) setProblem(problemOf(error));
    }
  };
  const n = all === null ? "" : count(all.length);
  return (
    <>
      <button type="button" class={kind} disabled={disabled} onClick={begin}>
        {children}
      </button>
      {open && (
        <Dialog title={children} close={close}>
          {all === null && !problem && <Loading lines={2} />}
          {all !== null && at === null && <p>{ask(n)}</p>}
          {all !== null && at !== null && (
            <div role="status">
              <p>{`${count(at)} / ${n}`}</p>
              <Progress done={at} of={all.length} label={`${count(at)} / ${n}`} />
            </div>
          )}
          <Refusal of={problem} />
          <footer>
            <button type="button" onClick={close}>
              {at !== null && !problem ? stop : kit.value.cancel}
            </button>
            {at === null && (
              <button type="button" class={kind || "primary"} disabled={all === null || all.length === 0} onClick={() => void run()}>
                {yes(n)}
              </button>
            )}
          </footer>
        </Dialog>
      )}
    </>
  );
}
