// Lets `npx vitest run packages/<name>/src/<file>.test.ts` work from the root of the repository.
// In: the folders of all packages. Out: one vitest project for each of them.
import { defineConfig, type ViteUserConfig } from "vitest/config";

const config: ViteUserConfig = defineConfig({
  test: { projects: ["packages/*", "examples/*/vitest.config.ts", "scripts/vitest.config.ts"] },
});

export default config;
