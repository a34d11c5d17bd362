/** Whether somebody is signed in: the cookie is out of a script's reach, so the server is asked. */

import { signal } from "@preact/signals";

/** null: not known yet. */
export const session = signal<"in" | "out" | null>(null);

export function signedIn(): void {
  session.value = "in";
}

export function signedOut(): void {
  session.value = "out";
}
