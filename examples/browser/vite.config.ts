// How the page is built and served. In: index.html and the sources of the packages. Out: static files with relative addresses, which
// may lie in any folder of any server. The two headers make the page cross-origin isolated: only then do browsers give
// it memory that threads share. Without them the page works too, with one thread.
import { defaultClientConditions, defineConfig, type UserConfig } from "vite";

export const isolation = {
  "Cross-Origin-Opener-Policy": "same-origin",
  "Cross-Origin-Embedder-Policy": "require-corp",
};

const config: UserConfig = defineConfig({
  base: "./",
  // In this repository the packages are bundled from source, so that nothing needs to be built before.
  resolve: { conditions: ["millrace-source", ...defaultClientConditions] },
  build: { target: "es2024" },
  worker: { format: "es" },
  server: { headers: isolation },
  preview: { headers: isolation },
});

// oxlint-disable-next-line import/no-default-export -- how vite finds it
export default config;
