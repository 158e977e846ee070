/** The page as users get it: built, and served with the headers for threads or without them. */
import { fileURLToPath } from "node:url";
import { build, type InlineConfig, preview } from "vite";

const root = fileURLToPath(new URL("../", import.meta.url));
/** Not `dist`, which is the user's. */
const outDir = ".cache/site";
const settings: InlineConfig = {
  root,
  configFile: `${root}vite.config.ts`,
  mode: "production",
  logLevel: "error",
};

/** A served site. */
export interface Site {
  readonly address: string;
  close(): Promise<void>;
}

/** Builds the page; the result is what each of its files holds. */
export async function buildSite(): Promise<ReadonlyMap<string, string>> {
  const built = await build({ ...settings, build: { outDir, emptyOutDir: true } });
  const outputs = [built].flat().flatMap((one) => ("output" in one ? one.output : []));
  return new Map(
    outputs.map((file) => [file.fileName, "code" in file ? file.code : String(file.source)]),
  );
}

/** Serves what was built. Without isolation there are no threads in the page. */
export async function serveSite(options: { readonly isolated: boolean }): Promise<Site> {
  const headers = {
    "Cross-Origin-Opener-Policy": "unsafe-none",
    "Cross-Origin-Embedder-Policy": "unsafe-none",
  };
  const server = await preview({
    ...settings,
    build: { outDir },
    preview: { port: 0, host: "127.0.0.1", ...(!options.isolated && { headers }) },
  });
  return { address: server.resolvedUrls!.local[0]!, close: () => server.close() };
}
