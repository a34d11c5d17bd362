/** Preferences that outlive the tab. Where the browser keeps nothing, neither do we. */

const PREFIX = "posthouse.";

export function kept(name: string): { read(): string | null; write(value: string | null): void } {
  return {
    read() {
      try {
        return localStorage.getItem(PREFIX + name);
      } catch {
        return null;
      }
    },
    write(value) {
      try {
        if (value === null) localStorage.removeItem(PREFIX + name);
        else localStorage.setItem(PREFIX + name, value);
      } catch {
        // Private windows may refuse: the choice holds as long as the page.
      }
    },
  };
}
