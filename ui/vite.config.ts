import { defineConfig } from "vite";

declare const process: { env: Record<string, string | undefined> };

// Relative addresses: console and portal work wherever it is mounted. The names of files hold a hash of what is in them, so they may be
// kept for ever; index.html and portal.html may not. The licences of what is bundled go along, as they ask for.
export default defineConfig({
  base: "./",
  build: {
    outDir: "../src/posthouse/console",
    emptyOutDir: true,
    target: "es2022",
    modulePreload: { polyfill: false },
    assetsInlineLimit: 0,
    reportCompressedSize: true,
    license: { fileName: "licences.txt" },
    rolldownOptions: { input: { index: "index.html", portal: "portal.html" } },
  },
  // `npx vite` shows changes as they are made; the API is that of a server beside it.
  server: { proxy: { "/v1": process.env.POSTHOUSE_URL ?? "http://127.0.0.1:8080" } },
});
