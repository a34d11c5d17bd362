/** The editor of an endpoint: every field that it has. Only what was changed is sent, on the condition that nobody else changed the
 * endpoint meanwhile; where somebody did, nothing is lost on either side. */

import type { ComponentType } from "preact";
import { useEffect, useMemo, useState } from "preact/hooks";
import { problemOf, useAsked } from "../../kit/asking";
import { Form } from "../../kit/fields";
import { count } from "../../kit/numbers";
import { say } from "../../kit/overlay";
import { go } from "../../kit/place";
import { api, asked, type Problem } from "../../kit/request";
import { Refusal, Shown } from "../../kit/shown";
import { memberText } from "../../kit/json";
import { bodyOf, type Changes, differing, textOf, withText, withValue } from "./draft";
import { endpointAt } from "../page";
import { type Edit, type Field, FIELDS, type GroupName, GROUP_OF, Groups } from "./groups";
import { texts } from "./texts";

interface Base {
  /** As the server wrote it. */
  readonly text: string;
  readonly tag: string;
}

/** An answer's own text, and the tag by which a change can say which one it is of. */
async function based(answering: Promise<{ data?: unknown; error?: unknown; response: Response }>): Promise<Base> {
  const answer = await answering;
  const text = (await asked(Promise.resolve(answer))) as string;
  return { text, tag: answer.response.headers.get("etag") ?? "" };
}

const read = (app: string, endpoint: string, signal?: AbortSignal) =>
  based(api.GET("/v1/apps/{app}/endpoints/{endpoint}", { params: { path: { app, endpoint } }, parseAs: "text", ...(signal && { signal }) }));

/** What a page shows of the settings in a way of its own. */
export interface Setting {
  /** Before the groups. */
  readonly First: ComponentType<{ edit: Edit }>;
  /** Not in the groups: they are in `First`, or nobody's business here. */
  readonly without: ReadonlySet<Field>;
  /** Groups that are open at first. */
  readonly open: readonly GroupName[];
}

interface Editing {
  readonly app: string;
  readonly endpoint: string;
  readonly updated: string;
  readonly setting: Setting | null;
  readonly changed: () => void;
}

export function Settings({ app, endpoint, ...rest }: Editing) {
  const base = useAsked(async (signal) => (unsaved?.endpoint === endpoint ? unsaved.base : read(app, endpoint, signal)), [app, endpoint]);
  return <Shown of={base}>{(found) => <Editor app={app} endpoint={endpoint} {...rest} base={found} set={base.set} />}</Shown>;
}

const NOTHING: Changes = new Map();

/** What was not saved as its tab was left, and of what it is a change: whoever comes back finds it. */
let unsaved: { readonly endpoint: string; readonly base: Base; readonly changes: Changes } | null = null;

function Editor({ app, endpoint, updated, setting, base, set, changed }: Editing & { base: Base; set: (base: Base) => void }) {
  const said = texts.value;
  const [changes, change] = useState<Changes>(unsaved?.endpoint === endpoint ? unsaved.changes : NOTHING);
  const [broken, setBroken] = useState<ReadonlySet<string>>(new Set());
  const [problem, setProblem] = useState<Problem | null>(null);
  const [clash, setClash] = useState<readonly Field[] | null>(null);
  const [busy, setBusy] = useState(false);
  const [turn, next] = useState(0);
  const [opened, setOpened] = useState<ReadonlySet<GroupName>>(new Set<GroupName>(setting?.open ?? ["what"]));

  const edit = useMemo<Edit>(
    () => ({
      value: (field) => JSON.parse(textOf(base.text, changes, field)) as never,
      set: (field, value) => change((before) => withValue(base.text, before, field, value)),
      text: (field) => textOf(base.text, changes, field),
      setText: (field, text) => change((before) => withText(base.text, before, field, text)),
      broken: (field) => (is) =>
        setBroken((before) => {
          if (before.has(field) === is) return before;
          const after = new Set(before);
          if (is) after.add(field);
          else after.delete(field);
          return after;
        }),
      changed: (field) => changes.has(field),
      shown: (field) => !setting?.without.has(field),
      keys: JSON.parse(memberText(base.text, "keys") ?? "[]") as string[],
    }),
    [base, changes],
  );
  useEffect(() => {
    if (changes.size > 0) unsaved = { endpoint, base, changes };
    else if (unsaved?.endpoint === endpoint) unsaved = null;
    if (changes.size === 0) return;
    const leaving = (event: BeforeUnloadEvent) => event.preventDefault();
    addEventListener("beforeunload", leaving);
    return () => removeEventListener("beforeunload", leaving);
  }, [changes, base]);
  const toggle = (name: GroupName, open: boolean) =>
    setOpened((before) => (before.has(name) === open ? before : new Set(open ? [...before, name] : [...before].filter((one) => one !== name))));

  const discard = () => {
    change(NOTHING);
    setProblem(null);
    setClash(null);
    next(turn + 1);
  };
  const reload = async () => {
    set(await read(app, endpoint));
    next(turn + 1);
  };
  const save = async () => {
    setBusy(true);
    setProblem(null);
    setClash(null);
    try {
      set(
        await based(
          api.PATCH("/v1/apps/{app}/endpoints/{endpoint}", {
            params: { path: { app, endpoint }, header: { "If-Match": base.tag } },
            body: {},
            bodySerializer: () => bodyOf(changes),
            parseAs: "text",
          }),
        ),
      );
      change(NOTHING);
      say(said.saved);
      // The address may hold the uid that it had.
      if (changes.has("uid")) go(endpointAt(app, endpoint, { tab: "settings" }), { replace: true });
      changed();
    } catch (error) {
      const met = problemOf(error);
      if (met.status === 412) {
        try {
          const theirs = await read(app, endpoint);
          const both = differing(base.text, theirs.text, FIELDS).filter((field) => changes.has(field)) as Field[];
          setClash(both);
          set(theirs);
        } catch (second) {
          setProblem(problemOf(second));
        }
      } else {
        setProblem(met);
        for (const { path } of met.refusals) {
          const group = GROUP_OF[path.split(/[.[]/)[0] as Field] as GroupName | undefined;
          if (group) toggle(group, true);
        }
      }
    } finally {
      setBusy(false);
    }
  };

  const stale = memberText(base.text, "updated_at") !== JSON.stringify(updated) && changes.size === 0 && broken.size === 0;
  const names = [...changes.keys()].map((field) => said.fields[field as Field]);
  return (
    <Form problem={problem} submit={() => changes.size > 0 && broken.size === 0 && void save()}>
      {stale && (
        <div class="notice" role="status">
          <p>{said.reload}</p>
          <button type="button" onClick={() => void reload()}>
            {said.show}
          </button>
        </div>
      )}
      {setting && <setting.First edit={edit} />}
      <Groups key={turn} edit={edit} opened={opened} toggle={toggle} />
      {(changes.size > 0 || broken.size > 0 || problem || clash) && (
        <div class="saving">
          <div class="grow">
            {clash && (
              <div class="notice warn" role="alert">
                <strong>{said.conflict}</strong>
                <p>{said.conflictHow}</p>
                {clash.length > 0 && <p>{said.conflictFields(clash.map((field) => said.fields[field]).join(", "))}</p>}
              </div>
            )}
            <Refusal of={problem} />
            <p>
              {names.length > 0 ? (
                <>
                  <strong>{said.changes(count(names.length))}</strong> {names.join(", ")}
                </>
              ) : (
                <span class="faint">{said.noChanges}</span>
              )}
            </p>
          </div>
          <button type="button" disabled={busy} onClick={discard}>
            {said.discard}
          </button>
          <button type="submit" class="primary" disabled={busy || changes.size === 0 || broken.size > 0} aria-busy={busy}>
            {said.save}
          </button>
        </div>
      )}
    </Form>
  );
}
