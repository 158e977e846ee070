import { describe, expect, it } from "vitest";

import { formatFindings } from "./commands/doctor.ts";
import { probeNode } from "./probe-machine.ts";

describe("probeNode", () => {
  it.each([
    ["20.20.2", false],
    ["22.17.9", false],
    ["22.18.0", true],
    ["23.0.0", true],
    ["24.21.0", true],
  ])("takes %s: %s", (version, available) => {
    expect(probeNode(version).available).toBe(available);
  });
});

describe("formatFindings", () => {
  it("puts purpose and remedy under what is missing", () => {
    const finding = { detail: "", purpose: "speed", remedy: "Buy one." };
    expect(
      formatFindings([
        { ...finding, name: "a", available: true, required: true, detail: "1.0" },
        { ...finding, name: "bc", available: false, required: false, detail: "not found" },
        { ...finding, name: "d", available: false, required: true },
      ]),
    ).toBe(
      "ok       a   1.0\nabsent   bc  not found\n             for: speed\n             get: Buy one.\nMISSING  d\n             for: speed\n             get: Buy one.\n",
    );
  });
});
