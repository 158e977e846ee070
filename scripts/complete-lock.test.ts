import { describe, expect, it } from "vitest";

import { completeLock, platformOf } from "./complete-lock.mjs";

describe("platformOf", () => {
  it.each([
    ["@nx/nx-darwin-arm64", ["darwin"], ["arm64"], []],
    ["@oxlint/binding-linux-arm-musleabihf", ["linux"], ["arm"], ["musl"]],
    ["@oxfmt/binding-win32-ia32-msvc", ["win32"], ["ia32"], []],
    ["some-linux-x64-musl", ["linux"], ["x64"], ["musl"]],
    ["some-package", [], [], []],
  ])("reads %s", (name, os, cpu, libc) => {
    expect(platformOf(name)).toEqual({ os, cpu, libc });
  });
});

describe("completeLock", () => {
  it("adds what is missing once, in order, and leaves what is there alone", () => {
    const lock = {
      packages: {
        "": {},
        "node_modules/tool": {
          dev: true,
          optionalDependencies: { "tool-darwin-x64": "1.2.3", "tool-linux-x64": "1.2.3" },
        },
        "node_modules/tool-linux-x64": { version: "1.2.3" },
        "node_modules/outer/node_modules/inner": {
          optionalDependencies: { "near-win32-x64": "1.0.0", "tool-linux-x64": "1.2.3" },
        },
        "node_modules/outer/node_modules/near-win32-x64": { version: "1.0.0" },
        "packages/ours": { optionalDependencies: { "tool-linux-x64": "1.2.3" } },
      },
    };
    expect(completeLock(lock)).toEqual(["tool-darwin-x64"]);
    expect(lock.packages).toMatchObject({
      "node_modules/tool-darwin-x64": {
        version: "1.2.3",
        os: ["darwin"],
        cpu: ["x64"],
        dev: true,
        optional: true,
      },
    });
    expect(Object.keys(lock.packages)).toEqual(Object.keys(lock.packages).toSorted());
    expect(completeLock(lock)).toEqual([]);
  });

  it("refuses what it would have to guess", () => {
    const wanting = (name: string, range: string) => ({
      packages: { "node_modules/tool": { optionalDependencies: { [name]: range } } },
    });
    expect(() => completeLock(wanting("tool-linux-x64", "^1.0.0"))).toThrow("exact version");
    expect(() => completeLock(wanting("tool-extra", "1.0.0"))).toThrow("platform in its name");
  });
});
