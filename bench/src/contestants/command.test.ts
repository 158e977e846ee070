import { expect, it } from "vitest";
import { canRevectorize, commandOf } from "./command.ts";
import { contestantNames, peerNames } from "./names.ts";

const wide = ["ceiling", "millrace", "tfjs-256"];

it("gives the engine's option to ours and the limit, and to the peer that shows what it brings others", () => {
  for (const name of contestantNames) {
    const { args } = commandOf(name, 2);
    const expected = canRevectorize && wide.includes(name);
    expect([name, args.includes("--experimental-wasm-revectorize")]).toEqual([name, expected]);
    expect(args.at(-1)).toBe("2");
  }
});

it("lets choose among all but us and the limits", () => {
  const always = contestantNames.filter((name) => !peerNames.includes(name));
  expect(always).toEqual(["ceiling", "ceiling-128", "millrace"]);
});
