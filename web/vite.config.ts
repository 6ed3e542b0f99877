/** Builds the page into dist/: hashed files under assets/, each with its gzip and brotli form beside it. */
import { readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { brotliCompressSync, constants, gzipSync } from "node:zlib";
import react from "@vitejs/plugin-react";
import { defineConfig, type Plugin } from "vite";

const PACKABLE = /\.(js|css|html|svg|wasm|dcm)$/;

function packed(folder: string): Plugin {
  return {
    name: "packed",
    apply: "build",
    closeBundle() {
      for (const name of readdirSync(folder, { recursive: true, encoding: "utf8" })) {
        const file = join(folder, name);
        if (!PACKABLE.test(name) || !statSync(file).isFile()) continue;
        const data = readFileSync(file);
        const params = { [constants.BROTLI_PARAM_QUALITY]: data.length > 1e6 ? 9 : 11 };
        const forms = { ".gz": gzipSync(data, { level: 9 }), ".br": brotliCompressSync(data, { params }) };
        for (const [suffix, form] of Object.entries(forms)) {
          if (form.length < data.length * 0.95) writeFileSync(file + suffix, form);
        }
      }
    },
  };
}

/** The page's own code is asked for with the page, and not once its first script has run. */
const mainAhead: Plugin = {
  name: "main-ahead",
  apply: "build",
  transformIndexHtml: {
    order: "post",
    handler: (_html, { bundle = {} }) => {
      const chunks = Object.values(bundle).filter((one) => one.type === "chunk");
      const main = chunks.find(({ facadeModuleId }) => facadeModuleId?.endsWith("/src/main.tsx"));
      if (!main) throw new Error("There is no src/main.tsx.");
      const others = main.imports.filter((name) => !chunks.some((one) => one.isEntry && one.fileName === name));
      return [main.fileName, ...others].map((name) => ({
        tag: "link",
        attrs: { rel: "modulepreload", crossorigin: true, href: `/${name}` },
        injectTo: "head" as const,
      }));
    },
  },
};

const nodeStub = fileURLToPath(new URL("src/viewer/node_stub.ts", import.meta.url));

export default defineConfig({
  plugins: [react(), mainAhead, packed("dist")],
  assetsInclude: ["**/*.dcm"],
  resolve: { alias: { fs: nodeStub, path: nodeStub } },
  build: {
    target: "es2022",
    assetsInlineLimit: 0, // the Content-Security-Policy and caches prefer files
    modulePreload: { polyfill: false },
    reportCompressedSize: false,
    license: { fileName: "licences.md" }, // of what is bundled
    chunkSizeWarningLimit: 800,
  },
  worker: { format: "es" },
  server: {
    proxy: { "/v1": "http://127.0.0.1:8080", "/auth": "http://127.0.0.1:8080" },
    fs: { allow: [".."] },
  },
});
