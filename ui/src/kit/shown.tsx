/** What is shown of something asked for: a skeleton, itself, nothing, that there is no such thing, or why it failed. */

import type { ComponentChildren } from "preact";
import type { Asked, Pages } from "./asking";
import type { Problem } from "./request";
import { kit } from "./texts";

export function Shown<T>({ of, children, missing }: { of: Asked<T>; children: (data: T) => ComponentChildren; missing?: ComponentChildren }) {
  if (of.state === "missing") return missing === undefined ? <Missing /> : <>{missing}</>;
  if (of.data !== null) {
    return (
      <>
        {of.state === "failed" && <Failed problem={of.problem} again={of.again} />}
        {children(of.data)}
      </>
    );
  }
  if (of.state === "failed") return <Failed problem={of.problem} again={of.again} />;
  return <Loading />;
}

export function Loading({ lines = 4 }: { lines?: number }) {
  return (
    <div class="loading" role="status" aria-label={kit.value.loading}>
      {Array.from({ length: lines }, (_, i) => (
        <span key={i} />
      ))}
    </div>
  );
}

export function Failed({ problem, again }: { problem: Problem; again?: () => void }) {
  const texts = kit.value;
  return (
    <div class="notice bad" role="alert">
      <strong>{texts.failed}</strong>
      <ProblemText problem={problem} />
      {again && (
        <button type="button" onClick={again}>
          {texts.again}
        </button>
      )}
    </div>
  );
}

/** What a problem says: its detail, and each field with what is wrong. */
export function ProblemText({ problem }: { problem: Problem }) {
  if (problem.status === 0 && problem.fault.code === "unreachable") return <p>{kit.value.unreachable}</p>;
  return (
    <>
      {problem.refusals.length === 0 && <p>{problem.message}</p>}
      {problem.refusals.length > 0 && (
        <ul>
          {problem.refusals.map((one) => (
            <li key={one.path + one.detail}>
              <code>{one.path}</code> {one.detail}
            </li>
          ))}
        </ul>
      )}
    </>
  );
}

export function Missing() {
  return (
    <div class="notice" role="status">
      <strong>{kit.value.missing}</strong>
      <p>{kit.value.missingWhy}</p>
    </div>
  );
}

/** Nothing there, and what to do about it. */
export function Empty({ children }: { children: ComponentChildren }) {
  return <div class="empty">{children}</div>;
}

/** The end of a list: more, or why there is none. */
export function Rest<T>({ of }: { of: Pages<T> }) {
  const texts = kit.value;
  if (of.problem && of.rows.length > 0) return <Failed problem={of.problem} again={of.state === "failed" ? of.again : of.more} />;
  if (!of.rest) return null;
  return (
    <button type="button" class="rest" disabled={of.fetching} onClick={of.more}>
      {of.fetching ? texts.loading : texts.more}
    </button>
  );
}

/** Why what was sent was refused, where it was. */
export function Refusal({ of }: { of: Problem | null }) {
  if (of === null) return null;
  return (
    <div class="notice bad" role="alert">
      <ProblemText problem={of} />
    </div>
  );
}
