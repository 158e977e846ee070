// The vitest settings for the tests of the repository's own scripts.
// In: nothing. Out: the shared settings, looking for tests in this folder.
import { mergeConfig, type ViteUserConfig } from "vitest/config";

import shared from "../vitest.shared.ts";

const config: ViteUserConfig = mergeConfig(shared, { test: { name: "scripts" } });
config.test!.include = ["**/*.test.ts"];

export default config;
