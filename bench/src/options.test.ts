import { describe, expect, it } from "vitest";
import { groups } from "./case.ts";
import { parseOptions } from "./options.ts";

describe("parseOptions", () => {
  it("measures everything on one and two threads unless told", () => {
    const options = parseOptions([]);
    expect(options.groups).toEqual(groups);
    expect(options.threads).toEqual([1, 2]);
    expect(options.peers).toContain("tfjs");
    expect(options.peers).not.toContain("millrace");
    for (const group of groups) expect(options.rounds[group]).toBeGreaterThanOrEqual(5);
  });

  it("takes lists and shortens a quick run", () => {
    const options = parseOptions([
      "--only",
      "train,products",
      "--threads",
      "4",
      "--quick",
      "--peers",
      "none",
    ]);
    expect(options).toMatchObject({
      groups: ["train", "products"],
      threads: [4],
      peers: [],
      rounds: { train: 3, products: 3 },
    });
    expect(options.seconds).toBeLessThan(0.1);
  });

  it("measures every group for as many rounds as it is told", () => {
    const { rounds } = parseOptions(["--rounds", "7"]);
    expect(groups.map((group) => rounds[group])).toEqual(groups.map(() => 7));
  });

  it.each([
    [["--only", "speed"], /does not know "speed"/],
    [["--threads", "0"], /--threads is "0"/],
    [["--threads", "1.5"], /whole number/],
    [["--seconds=-1"], /positive/],
    [["--quick", "--write"], /exclude each other/],
    [["--match", "x", "--write"], /exclude each other/],
  ])("refuses %s", (words, message) => {
    expect(() => parseOptions(words)).toThrow(message);
  });
});
