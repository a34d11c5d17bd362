import { defineConfig } from "vite";

// Relative addresses: the console works wherever it is mounted. The names of files hold a hash of what is in them, so they may be
// kept for ever; index.html may not.
export default defineConfig({
  base: "./",
  build: {
    outDir: "../src/posthouse/console",
    emptyOutDir: true,
    target: "es2022",
    modulePreload: { polyfill: false },
    assetsInlineLimit: 0,
    reportCompressedSize: true,
    rolldownOptions: { input: { index: "index.html" } },
  },
  server: { proxy: { "/v1": "http://127.0.0.1:8080" } },
});
