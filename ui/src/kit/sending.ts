/** Sending what a form holds: whether it is under way, and why it was refused. */

import { useState } from "preact/hooks";
import { problemOf } from "./asking";
import type { Problem } from "./request";

export interface Sending {
  readonly busy: boolean;
  readonly problem: Problem | null;
  /** Sends; what it raises is `problem` until the next time. */
  readonly send: (act: () => Promise<void>) => Promise<void>;
}

export function useSending(): Sending {
  const [busy, setBusy] = useState(false);
  const [problem, setProblem] = useState<Problem | null>(null);
  const send = async (act: () => Promise<void>) => {
    setBusy(true);
    setProblem(null);
    try {
      await act();
    } catch (error) {
      setProblem(problemOf(error));
    } finally {
      setBusy(false);
    }
  };
  return { busy, problem, send };
}
