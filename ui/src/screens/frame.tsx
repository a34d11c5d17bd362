/** What is around every screen: the menu, the language, the theme, and the keys that work everywhere. */

import { type ComponentChildren, type ComponentType, Component } from "preact";
import { useEffect, useMemo, useState } from "preact/hooks";
import { problemOf } from "../kit/asking";
import { useKeys, type Keys } from "../kit/keys";
import { language, speak } from "../kit/language";
import { Dialog } from "../kit/overlay";
import { go, matched, place, to } from "../kit/place";
import { api, asked } from "../kit/request";
import { signedOut } from "../kit/session";
import { Failed, Loading, Missing } from "../kit/shown";
import { theme, wear, type Theme } from "../kit/theme";
import "./frame.css";
import type { MenuEntry, MenuGroup, Route, Screen } from "./routing";
import { frame } from "./texts";

interface Framing {
  /** What the page is called where the browser shows it. */
  readonly title: string;
  readonly brand: ComponentChildren;
  readonly menu: readonly MenuGroup[];
  readonly routes: readonly Route[];
  /** "page" where the menu is short: it stands above the screen, and is never hidden. */
  readonly kind: "console" | "page";
  readonly footer?: ComponentChildren;
  readonly signOut: () => void;
}

export function Frame({ title, brand, menu: groups, routes, kind, footer, signOut }: Framing) {
  const texts = frame.value;
  const [help, setHelp] = useState(false);
  const [menu, setMenu] = useState(false);
  const entries = groups.flatMap((one) => one.entries);
  const keys: Keys = {
    "?": () => setHelp(true),
    "/": () => {
      const field = document.querySelector<HTMLInputElement>("[data-search]");
      if (field) {
        field.focus();
        field.select();
      } else go(to("/events"));
    },
  };
  for (const { path, key } of entries) keys[`g ${key}`] = () => go(to(path));
  useKeys(keys);
  const here = place.value.path;
  const found = useMemo(() => routed(routes, here), [here]);
  useEffect(() => setMenu(false), [here]);
  const lit = entries.find((one) => one.name === found?.route.menu);
  useEffect(() => {
    document.title = lit ? `${lit.title} · ${title}` : title;
  }, [lit?.title, title]);

  return (
    <div class={kind}>
      <a class="skip" href="#main" onClick={(event) => {
        event.preventDefault();
        document.querySelector<HTMLElement>("main")?.focus();
      }}>
        {texts.skip}
      </a>
      <header class="top">
        {kind === "console" && (
          <button type="button" class="quiet menu-button" aria-expanded={menu} aria-controls="menu" onClick={() => setMenu(!menu)}>
            ☰<span class="unseen">{texts.menu}</span>
          </button>
        )}
        <a class="brand" href={to("/")}>
          {brand}
        </a>
        <span class="grow" />
        <button type="button" class="quiet help" onClick={() => setHelp(true)} title={texts.keys}>
          ?<span class="unseen">{texts.keys}</span>
        </button>
        <Settings />
        <button type="button" class="quiet" onClick={signOut}>
          {texts.signOut}
        </button>
      </header>
      <nav id="menu" class={`menu${menu ? " shown" : ""}`} aria-label={texts.menu}>
        {groups.map((group, i) => (
          <section key={i}>
            {group.title !== null && <h2>{group.title}</h2>}
            {group.entries.map((one) => (
              <a key={one.name} href={to(one.path)} aria-current={lit === one ? "page" : undefined} title={`g ${one.key}`}>
                {one.title}
              </a>
            ))}
          </section>
        ))}
      </nav>
      <main id="main" tabIndex={-1}>
        {found ? <Fetched key={found.route.path + JSON.stringify(found.params)} {...found} /> : <Missing />}
      </main>
      {footer}
      {help && <Help entries={entries} close={() => setHelp(false)} />}
    </div>
  );
}

/** Ends the session on the server; here it is over in any case. */
export async function leave(): Promise<void> {
  try {
    await asked(api.DELETE("/v1/session"));
  } finally {
    signedOut();
  }
}

function routed(routes: readonly Route[], path: string): { route: Route; params: Record<string, string> } | null {
  for (const route of routes) {
    const params = matched(route.path, path);
    if (params) return { route, params };
  }
  return null;
}

const fetched = new Map<string, Screen>();

/** A screen, fetched if it is not here yet. */
function Fetched({ route, params }: { route: Route; params: Record<string, string> }) {
  const [screen, setScreen] = useState<Screen | undefined>(() => fetched.get(route.path));
  const [failure, setFailure] = useState<unknown>(null);
  const [turn, again] = useState(0);
  useEffect(() => {
    let wanted = true;
    setFailure(null);
    route.load().then(
      (module) => {
        fetched.set(route.path, module.default);
        if (wanted) setScreen(() => module.default);
      },
      (error: unknown) => wanted && setFailure(error),
    );
    return () => {
      wanted = false;
    };
  }, [route.path, turn]);
  if (failure !== null) return <Failed problem={problemOf(failure)} again={() => again(turn + 1)} />;
  if (!screen) return <Loading />;
  const Found = screen as ComponentType<{ params: Record<string, string> }>;
  return (
    <Guard>
      <Found params={params} />
    </Guard>
  );
}

/** Where a screen breaks, the menu stays. */
class Guard extends Component<object, { failure: unknown }> {
  override state = { failure: null as unknown };

  static override getDerivedStateFromError(failure: unknown) {
    return { failure };
  }

  override componentDidCatch(failure: unknown): void {
    console.error(failure);
  }

  override render() {
    if (this.state.failure === null) return this.props.children;
    return <Failed problem={problemOf(this.state.failure)} again={() => this.setState({ failure: null })} />;
  }
}

/** The language and the theme. */
export function Settings() {
  const texts = frame.value;
  return (
    <>
      <button type="button" class="quiet" lang={language.value === "zh" ? "en" : "zh-CN"} onClick={() => speak(language.value === "zh" ? "en" : "zh")}>
        {language.value === "zh" ? "English" : "中文"}
      </button>
      <select class="quiet" aria-label={texts.theme} value={theme.value} onChange={(event) => wear(event.currentTarget.value as Theme)}>
        <option value="system">{texts.themes.system}</option>
        <option value="light">{texts.themes.light}</option>
        <option value="dark">{texts.themes.dark}</option>
      </select>
    </>
  );
}

export function Mark() {
  return (
    <svg class="mark" viewBox="0 0 24 24" aria-hidden="true">
      <path d="M3 20V9l9-6 9 6v11h-6v-6H9v6z" />
    </svg>
  );
}

function Help({ entries, close }: { entries: readonly MenuEntry[]; close: () => void }) {
  const texts = frame.value;
  return (
    <Dialog title={texts.keys} close={close}>
      <dl class="keys">
        {texts.keyHelp.map(([keys = "", what]) => (
          <div key={keys}>
            <dt>{keys.split(" ").map((key) => <kbd key={key}>{key}</kbd>)}</dt>
            <dd>{what}</dd>
          </div>
        ))}
        {entries.map((one) => (
          <div key={one.name}>
            <dt>
              <kbd>g</kbd>
              <kbd>{one.key}</kbd>
            </dt>
            <dd>{one.title}</dd>
          </div>
        ))}
      </dl>
      <footer>
        <button type="button" class="primary" onClick={close}>
          {texts.close}
        </button>
      </footer>
    </Dialog>
  );
}
