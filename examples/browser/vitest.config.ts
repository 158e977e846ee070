// The tests of the page: those of every package, kept in a folder of their own.
import { defineConfig, mergeConfig, type ViteUserConfig } from "vitest/config";

import settings from "../../vitest.shared.ts";

const config: ViteUserConfig = mergeConfig(
  settings,
  defineConfig({ test: { testTimeout: 300_000, hookTimeout: 120_000 } }),
);

export default config;
