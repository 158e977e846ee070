import { expect, it } from "vitest";
import { canRevectorize, commandOf } from "./command.ts";
import { contestantNames, isNarrow, peerNames } from "./names.ts";

const native = ["pytorch", "pytorch-avx512"];

it("gives the engine's option to all that run in it but those that are to show how it is without", () => {
  for (const name of contestantNames) {
    const { args } = commandOf(name, 2);
    const expected = canRevectorize && !isNarrow(name) && !native.includes(name);
    expect([name, args.includes("--experimental-wasm-revectorize")]).toEqual([name, expected]);
    expect(args.at(-1)).toBe("2");
  }
});

it("lets choose among all but us and the limits", () => {
  const always = contestantNames.filter((name) => !peerNames.includes(name));
  expect(always).toEqual(["ceiling", "ceiling-128", "millrace"]);
});
