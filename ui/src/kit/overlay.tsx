/** What lies over a screen: a drawer beside it, a dialog before it, a word at its edge. */

import { signal } from "@preact/signals";
import type { ComponentChildren } from "preact";
import { useEffect, useId, useRef, useState } from "preact/hooks";
import { problemOf } from "./asking";
import { useKeys } from "./keys";
import { go } from "./place";
import type { Problem } from "./request";
import { Refusal } from "./shown";
import { kit } from "./texts";

/** Beside the list; where it leads is in the address, so `closed` is the address without it. */
export function Drawer({ title, closed, children }: { title: ComponentChildren; closed: string; children: ComponentChildren }) {
  const id = useId();
  const panel = useRef<HTMLElement>(null);
  const close = () => go(closed);
  useKeys({ Escape: close });
  useEffect(() => {
    const from = document.activeElement;
    panel.current?.focus({ preventScroll: true });
    return () => {
      if (from instanceof HTMLElement && from.isConnected) from.focus({ preventScroll: true });
    };
  }, []);
  return (
    <aside class="drawer" aria-labelledby={id} tabIndex={-1} ref={panel}>
      <header>
        <h2 id={id}>{title}</h2>
        <a class="button quiet" href={closed} aria-label={kit.value.close} title={kit.value.close}>
          ✕
        </a>
      </header>
      <div class="drawer-body">{children}</div>
    </aside>
  );
}

/** A question or a form that must be answered first. */
export function Dialog({ title, close, children, wide = false }: { title: ComponentChildren; close: () => void; children: ComponentChildren; wide?: boolean }) {
  const id = useId();
  const dialog = useRef<HTMLDialogElement>(null);
  useEffect(() => {
    const from = document.activeElement;
    dialog.current?.showModal();
    return () => {
      if (from instanceof HTMLElement && from.isConnected) from.focus({ preventScroll: true });
    };
  }, []);
  return (
    <dialog ref={dialog} class={wide ? "wide" : undefined} aria-labelledby={id} onClose={close} onClick={(event) => event.target === dialog.current && close()}>
      <div class="dialog-body">
        <h2 id={id}>{title}</h2>
        {children}
      </div>
    </dialog>
  );
}

/** A button that acts, says that it is at work, and what went wrong. With `ask`, it asks first. */
export function Action({
  act,
  children,
  ask,
  title,
  yes,
  kind = "",
  disabled = false,
  done,
}: {
  act: () => Promise<unknown>;
  children: ComponentChildren;
  ask?: ComponentChildren;
  title?: string;
  /** What the button of the question says. */
  yes?: ComponentChildren;
  kind?: "" | "primary" | "danger" | "quiet";
  disabled?: boolean;
  /** What is said when it was done. */
  done?: string;
}) {
  const [asking, setAsking] = useState(false);
  const [busy, setBusy] = useState(false);
  const [problem, setProblem] = useState<Problem | null>(null);
  const mounted = useRef(true);
  useEffect(() => () => void (mounted.current = false), []);
  const run = async () => {
    setBusy(true);
    setProblem(null);
    try {
      await act();
      if (done) say(done);
      if (mounted.current) setAsking(false);
    } catch (error) {
      const met = problemOf(error);
      if (!mounted.current || ask === undefined) say(met.message, "bad");
      else setProblem(met);
    } finally {
      if (mounted.current) setBusy(false);
    }
  };
  return (
    <>
      <button type="button" class={kind} title={title} disabled={disabled || busy} aria-busy={busy} onClick={ask === undefined ? run : () => setAsking(true)}>
        {children}
      </button>
      {asking && (
        <Dialog title={children} close={() => setAsking(false)}>
          {ask}
          <Refusal of={problem} />
          <footer>
            <button type="button" onClick={() => setAsking(false)}>
              {kit.value.cancel}
            </button>
            <button type="button" class={kind === "danger" ? "danger" : "primary"} disabled={busy} aria-busy={busy} onClick={run}>
              {yes ?? kit.value.sure}
            </button>
          </footer>
        </Dialog>
      )}
    </>
  );
}

interface Word {
  readonly id: number;
  readonly text: string;
  readonly kind: "good" | "bad";
}

const words = signal<readonly Word[]>([]);
let last = 0;

const WORD_MS = 6_000;
const WORDS_MAX = 4;

/** A word at the edge of the screen, for a few seconds. */
export function say(text: string, kind: "good" | "bad" = "good"): void {
  last += 1;
  const id = last;
  words.value = [...words.value.slice(1 - WORDS_MAX), { id, text, kind }];
  setTimeout(() => unsay(id), WORD_MS);
}

function unsay(id: number): void {
  words.value = words.value.filter((one) => one.id !== id);
}

export function Words() {
  return (
    <div class="words" role="status" aria-live="polite">
      {words.value.map((one) => (
        <p key={one.id} class={one.kind}>
          {one.text}
          <button type="button" class="quiet" aria-label={kit.value.close} onClick={() => unsay(one.id)}>
            ✕
          </button>
        </p>
      ))}
    </div>
  );
}
