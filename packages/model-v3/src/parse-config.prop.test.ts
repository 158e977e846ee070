import { MillraceError } from "@millrace/graph";
import fc from "fast-check";
import { expect, test } from "vitest";
import { inspectConfig } from "./inspect.ts";
import { parameterTable } from "./parameters.ts";
import { configToJson, parseConfig } from "./parse-config.ts";
import { preset, presetNames } from "./presets.ts";

const values = fc.oneof(
  fc.constantFrom(0, 1, -1, 2, 3, 7, 0.5, 1e9, 1e300, NaN, null, true, "x", "__proto__"),
  fc.nat(300),
  fc.jsonValue({ maxDepth: 2 }),
);

test("a configuration with changed keys is refused by name, or all its sizes follow", () => {
  const changed = fc.constantFrom(...presetNames).chain((name) => {
    const json = configToJson(preset(name));
    const change = fc.tuple(fc.constantFrom(...Object.keys(json)), values);
    const changes = fc.array(change, { minLength: 1, maxLength: 3 });
    return changes.map((list) => Object.fromEntries([...Object.entries(json), ...list]));
  });
  fc.assert(
    fc.property(changed, (json) => {
      let config;
      try {
        config = parseConfig(json, "changed.json");
      } catch (error) {
        expect(error).toBeInstanceOf(MillraceError);
        expect((error as Error).message).toContain("changed.json");
        return;
      }
      for (const { shape } of parameterTable(config))
        for (const size of shape) expect(Number.isSafeInteger(size) && size > 0).toBe(true);
      const { parameters } = inspectConfig(config);
      expect(parameters.activated).toBeLessThanOrEqual(parameters.total);
      expect(parseConfig(configToJson(config), "again.json")).toEqual(config);
    }),
    { numRuns: 300 },
  );
});
