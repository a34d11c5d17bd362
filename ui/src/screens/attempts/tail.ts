/** The newest attempts as they come. However many there are, what is kept, parsed and drawn of them has a bound: they are gathered
 * and taken to the screen a few times a second, and of more than can be read some are shown, and it is said how many. */

import { type Signal, signal } from "@preact/signals";
import { listen, type Live, type LiveMessage, type LiveState } from "../../kit/live";
import type { Attempt } from "./detail";

const ROWS_MAX = 200;
const TURN_MS = 250;
const SHOWN_A_TURN_MAX = 10;
const GATHERED_MAX = 4_000;
const TOLD_TURNS = 8; // what is said of samples is of the last two seconds

export interface Sample {
  /** One of so many is shown; 1 where all are. */
  readonly oneOf: number;
  readonly perSecond: number;
}

export interface Tail extends Live {
  readonly rows: Signal<readonly Attempt[]>;
  readonly sample: Signal<Sample>;
  /** Stand still, as while somebody reads: what comes is counted, and its newest are kept. */
  hold(held: boolean): void;
}

/** Some of `all` in their order: one out of each stretch, by chance, so that no rhythm of what comes decides what is seen. */
export function some<T>(all: readonly T[], most: number, draw: () => number): T[] {
  if (all.length <= most) return [...all];
  return Array.from({ length: most }, (_, i) => all[Math.floor(((i + draw()) * all.length) / most)] as T);
}

function read(text: string): Attempt {
  return JSON.parse(text) as Attempt;
}

/** `wanted` chooses among what comes, null takes all; `renewed` is called where it goes on after a pause: what came in between is
 * for the list to fetch. */
export function tail(path: string, wanted: ((attempt: Attempt) => boolean) | null, renewed: () => void): Tail {
  const state = signal<LiveState>("connecting");
  const rows = signal<readonly Attempt[]>([]);
  const sample = signal<Sample>({ oneOf: 1, perSecond: 0 });
  let gathered: string[] = [];
  let dropped = 0;
  let turns: { seen: number; shown: number }[] = [];
  let held = false;
  let frame = 0;
  let live: Live | null = null;
  let unwatch: (() => void) | null = null;

  const take = (messages: readonly LiveMessage[]) => {
    for (const one of messages) if (one.event === "attempt") gathered.push(one.data);
    if (gathered.length > GATHERED_MAX) {
      dropped += gathered.length - GATHERED_MAX;
      gathered = gathered.slice(-GATHERED_MAX);
    }
  };
  const turn = () => {
    if (held || (gathered.length === 0 && turns.every((one) => one.seen === 0))) return;
    // Where all are wanted, only those that are shown need be read.
    const found = wanted === null ? some(gathered, SHOWN_A_TURN_MAX, Math.random).map(read) : gathered.map(read).filter(wanted);
    const came = wanted === null ? gathered.length : found.length;
    // Of those that were dropped it is not known whether they were wanted: as many as of the others.
    const seen = came + (gathered.length > 0 ? Math.round((dropped * came) / gathered.length) : 0);
    gathered = [];
    dropped = 0;
    const known = new Set(rows.value.map((one) => one.id)); // a stream that was cut off tells a few again
    const shown = some(found, SHOWN_A_TURN_MAX, Math.random).filter((one) => !known.has(one.id));
    turns = [...turns, { seen, shown: shown.length }].slice(-TOLD_TURNS);
    const all = turns.reduce((sum, one) => ({ seen: sum.seen + one.seen, shown: sum.shown + one.shown }));
    const told = {
      oneOf: all.shown > 0 ? Math.max(1, Math.round(all.seen / all.shown)) : 1,
      perSecond: Math.round((all.seen * 1000) / (turns.length * TURN_MS)),
    };
    if (told.oneOf !== sample.value.oneOf || told.perSecond !== sample.value.perSecond) sample.value = told;
    if (shown.length > 0) rows.value = [...shown.reverse(), ...rows.value].slice(0, ROWS_MAX);
  };
  const timer = setInterval(() => {
    cancelAnimationFrame(frame);
    frame = requestAnimationFrame(turn);
  }, TURN_MS);
  const start = () => {
    live = listen(path, take);
    unwatch = live.state.subscribe((value) => {
      state.value = value;
    });
  };
  const stop = () => {
    unwatch?.();
    live?.close();
    live = null;
    gathered = [];
    dropped = 0;
    turns = [];
    sample.value = { oneOf: 1, perSecond: 0 };
  };
  start();
  return {
    state,
    rows,
    sample,
    hold(value) {
      held = value;
    },
    pause() {
      stop();
      state.value = "paused";
    },
    resume() {
      if (live !== null) return;
      rows.value = [];
      renewed();
      start();
    },
    close() {
      stop();
      clearInterval(timer);
      cancelAnimationFrame(frame);
    },
  };
}
