/** What is around every screen: the menu, who is signed in, and the keys that work everywhere. */

import { type ComponentType, Component } from "preact";
import { useEffect, useMemo, useState } from "preact/hooks";
import { problemOf } from "../kit/asking";
import { useKeys, type Keys } from "../kit/keys";
import { language, speak } from "../kit/language";
import { Dialog, Words } from "../kit/overlay";
import { go, matched, place, to } from "../kit/place";
import { api, asked } from "../kit/request";
import { session, signedIn, signedOut } from "../kit/session";
import { Failed, Loading, Missing } from "../kit/shown";
import { theme, wear, type Theme } from "../kit/theme";
import { MENU, ROUTES, menuTexts, type Route, type Screen } from "./routes";
import { SignIn } from "./signin";
import { shell } from "./texts";

export function Console() {
  useEffect(() => {
    // A link that signs in is spent by the screen of signing in; else the cookie may be there already.
    if (place.value.path === "/in") signedOut();
    else
      asked(api.GET("/v1/session")).then(signedIn, (error: unknown) => {
        // Whoever is not known is told so by 401; anything else is the server's trouble, and the screens say it.
        if (problemOf(error).status !== 401) signedIn();
      });
  }, []);
  return (
    <>
      {session.value === null ? <Loading /> : session.value === "out" ? <SignIn /> : <Signed />}
      <Words />
    </>
  );
}

function Signed() {
  const texts = shell.value;
  const [help, setHelp] = useState(false);
  const [menu, setMenu] = useState(false);
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
  for (const { entries } of MENU) for (const [, path, key] of entries) keys[`g ${key}`] = () => go(to(path));
  useKeys(keys);
  const here = place.value.path;
  const found = useMemo(() => routed(here), [here]);
  useEffect(() => setMenu(false), [here]);
  useEffect(() => {
    document.title = found?.route.menu ? `${menuTexts.value[found.route.menu]} · Posthouse` : "Posthouse";
  }, [found?.route.menu, language.value]);

  return (
    <div class="console">
      <a class="skip" href="#main" onClick={(event) => {
        event.preventDefault();
        document.querySelector<HTMLElement>("main")?.focus();
      }}>
        {texts.skip}
      </a>
      <header class="top">
        <button type="button" class="quiet menu-button" aria-expanded={menu} aria-controls="menu" onClick={() => setMenu(!menu)}>
          ☰<span class="unseen">{texts.menu}</span>
        </button>
        <a class="brand" href={to("/")}>
          <Mark />
          <span lang="en">Posthouse</span> <span class="faint" lang="zh-CN">驿站</span>
        </a>
        <span class="grow" />
        <button type="button" class="quiet help" onClick={() => setHelp(true)} title={texts.keys}>
          ?<span class="unseen">{texts.keys}</span>
        </button>
        <Settings />
        <button type="button" class="quiet" onClick={() => void signOut()}>
          {texts.signOut}
        </button>
      </header>
      <nav id="menu" class={`menu${menu ? " shown" : ""}`} aria-label={texts.menu}>
        {MENU.map(({ group, entries }) => (
          <section key={group}>
            <h2>{menuTexts.value[group]}</h2>
            {entries.map(([name, path, key]) => (
              <a key={name} href={to(path)} aria-current={found?.route.menu === name ? "page" : undefined} title={`g ${key}`}>
                {menuTexts.value[name]}
              </a>
            ))}
          </section>
        ))}
      </nav>
      <main id="main" tabIndex={-1}>
        {found ? <Fetched key={found.route.path + JSON.stringify(found.params)} {...found} /> : <Missing />}
      </main>
      {help && <Help close={() => setHelp(false)} />}
    </div>
  );
}

function routed(path: string): { route: Route; params: Record<string, string> } | null {
  for (const route of ROUTES) {
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

async function signOut(): Promise<void> {
  try {
    await asked(api.DELETE("/v1/session"));
  } finally {
    signedOut();
  }
}

/** The language and the theme. */
export function Settings() {
  const texts = shell.value;
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

function Help({ close }: { close: () => void }) {
  const texts = shell.value;
  return (
    <Dialog title={texts.keys} close={close}>
      <dl class="keys">
        {texts.keyHelp.map(([keys = "", what]) => (
          <div key={keys}>
            <dt>{keys.split(" ").map((key) => <kbd key={key}>{key}</kbd>)}</dt>
            <dd>{what}</dd>
          </div>
        ))}
        {MENU.flatMap(({ entries }) => entries).map(([name, , key]) => (
          <div key={name}>
            <dt>
              <kbd>g</kbd>
              <kbd>{key}</kbd>
            </dt>
            <dd>{menuTexts.value[name]}</dd>
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
