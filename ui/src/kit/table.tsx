/** A list: every row is a link, and can be walked with j, k and Enter. */

import type { ComponentChildren } from "preact";
import { useEffect, useRef } from "preact/hooks";
import type { Pages } from "./asking";
import { Empty, Failed, Loading, Missing, Rest } from "./shown";
import { kit } from "./texts";
import { type Keys, useKeys } from "./keys";

export interface Column<T> {
  readonly title: ComponentChildren;
  readonly cell: (row: T) => ComponentChildren;
  /** "number" stands to the right; "wide" takes what is left; "narrow" is as wide as what is in it. */
  readonly kind?: "number" | "wide" | "narrow";
  /** Left out on narrow screens. */
  readonly spare?: boolean;
}

export interface TableProps<T> {
  readonly rows: readonly T[];
  readonly columns: readonly Column<T>[];
  readonly id: (row: T) => string;
  /** The address that the row leads to. The first column holds the link. */
  readonly link?: (row: T) => string;
  /** The row that is open beside the list. */
  readonly open?: string | null;
  readonly label: string;
  /** More keys that act on the row that is stood on, as `r` for resend. */
  readonly keys?: (row: T) => Keys;
}

export function Table<T>({ rows, columns, id, link, open, label, keys }: TableProps<T>) {
  const body = useRef<HTMLTableSectionElement>(null);
  const links = () => [...(body.current?.querySelectorAll<HTMLElement>("[data-row]") ?? [])];
  const stoodOn = () => links().findIndex((one) => one === document.activeElement);
  const step = (by: number) => () => {
    const all = links();
    const from = stoodOn();
    const opened = all.findIndex((one) => one.dataset["row"] === open);
    const next = from >= 0 ? from + by : opened >= 0 ? opened + by : by > 0 ? 0 : all.length - 1;
    const target = all[Math.max(0, Math.min(all.length - 1, next))];
    target?.focus();
    target?.scrollIntoView({ block: "nearest" });
  };
  const own: Keys = {};
  if (keys) {
    const known = rows[0] === undefined ? {} : keys(rows[0]);
    for (const name of Object.keys(known)) {
      own[name] = () => {
        const at = stoodOn();
        const row = rows[at >= 0 ? at : rows.findIndex((one) => id(one) === open)];
        if (row !== undefined) keys(row)[name]?.();
      };
    }
  }
  useKeys({ j: step(1), k: step(-1), ...own });

  return (
    <div class="table" role="region" aria-label={label} tabIndex={-1}>
      <table>
        <thead>
          <tr>
            {columns.map((column, i) => (
              <th key={i} scope="col" class={classes(column)}>
                {column.title}
              </th>
            ))}
          </tr>
        </thead>
        <tbody ref={body}>
          {rows.map((row) => (
            <tr key={id(row)} class={open === id(row) ? "open" : undefined}>
              {columns.map((column, i) => (
                <td key={i} class={classes(column)}>
                  {i === 0 && link ? (
                    <a class="row-link" href={link(row)} data-row={id(row)} aria-current={open === id(row) ? "true" : undefined}>
                      {column.cell(row)}
                    </a>
                  ) : (
                    column.cell(row)
                  )}
                </td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

function classes<T>(column: Column<T>): string {
  return `${column.kind ?? ""}${column.spare ? " spare" : ""}`;
}

/** Nothing was found so far, and not everything was looked at: a server searches for a while at a time. */
function Searching<T>({ of }: { of: Pages<T> }) {
  useEffect(() => {
    if (!of.fetching) of.more();
  }, [of.fetching, of.more]);
  return (
    <div class="empty" role="status">
      {kit.value.searching}
      <Loading lines={1} />
    </div>
  );
}

/** A list that comes page by page, in each of its states. */
export function List<T>({ of, empty, ...table }: Omit<TableProps<T>, "rows"> & { of: Pages<T>; empty: ComponentChildren }) {
  const end = useRef<HTMLDivElement>(null);
  useEffect(() => {
    // The next page is fetched as the end of this one comes into view.
    const seen = new IntersectionObserver((entries) => {
      if (entries.some((one) => one.isIntersecting) && !of.problem) of.more();
    });
    if (end.current) seen.observe(end.current);
    return () => seen.disconnect();
  }, [of.more, of.problem]);
  if (of.state === "missing") return <Missing />;
  if (of.rows.length === 0) {
    if (of.state === "loading") return <Loading lines={8} />;
    if (of.problem) return <Failed problem={of.problem} again={of.state === "failed" ? of.again : of.more} />;
    if (of.rest) return <Searching of={of} />;
    return <Empty>{empty}</Empty>;
  }
  return (
    <>
      {of.state === "failed" && of.problem && <Failed problem={of.problem} again={of.again} />}
      <Table {...table} rows={of.rows} />
      <div ref={end}>
        <Rest of={of} />
      </div>
    </>
  );
}
