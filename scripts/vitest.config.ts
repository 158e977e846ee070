// The vitest settings for the tests of the repository's own scripts.
// In: the shared settings. Out: the same, looking for tests in this folder.
import type { ViteUserConfig } from "vitest/config";

import shared from "../vitest.shared.ts";

const config: ViteUserConfig = {
  ...shared,
  test: { ...shared.test, name: "scripts", include: ["**/*.test.ts"] },
};

export default config;
