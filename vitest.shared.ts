// The vitest settings of every package: tests run from source, so no build is needed first.
// In: nothing. Out: a vitest configuration, re-exported by each package's own vitest.config.ts.
// The time-out is generous because the machines that run these tests are shared and slow.
import { defineConfig, type ViteUserConfig } from "vitest/config";

const conditions = ["millrace-source", "module", "node", "development|production"];

const config: ViteUserConfig = defineConfig({
  resolve: { conditions },
  ssr: { resolve: { conditions } },
  test: {
    include: ["src/**/*.test.ts"],
    pool: "forks",
    testTimeout: 60_000,
    hookTimeout: 60_000,
    passWithNoTests: true,
    // Tests neither find nor leave plans in the user's own folder.
    env: { MILLRACE_CACHE: "off" },
  },
});

export default config;
