// Golden cases on a GPU, a software one in continuous integration, whose driver takes seconds to minutes to translate the shaders
// of a case it has not seen. Hence a few of them, which between them have the router, FP8 and the MTP module;
// MILLRACE_GOLDEN_GPU=all runs every one. They lie beside the checkout, and a clone may lack them.
import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

import { createWgslBackend, listAdapters } from "@millrace/kernels-wgsl";
import { describe, expect, it } from "vitest";

import { run } from "../../test/small-model.ts";
import { openCase } from "./case.ts";
import { verifyCase } from "./verify-case.ts";

const golden = fileURLToPath(new URL("../../../../../shared/golden", import.meta.url));
const few = ["fp8-numerics", "v3-fp8-act", "v3-mtp"];
const all = process.env["MILLRACE_GOLDEN_GPU"] === "all";
const cases = existsSync(golden)
  ? readdirSync(golden, { withFileTypes: true }).flatMap((entry) =>
      entry.isDirectory() && (all || few.includes(entry.name)) ? [entry.name] : [],
    )
  : [];
const patience = { timeout: 600_000 };
const adapters = await listAdapters().catch(() => []);
if (cases.length === 0) console.warn("There is no golden data here, so its cases are skipped.");
else if (adapters.length === 0)
  console.warn("There is no GPU adapter here, so the golden cases on one are skipped.");

describe.skipIf(cases.length === 0 || adapters.length === 0)(
  "verify --device gpu",
  patience,
  () => {
    // Listed also where they are skipped, so that a report shows what was.
    it.each(cases.length > 0 ? cases : ["golden data"])(
      "meets every tensor of %s",
      async (name) => {
        const { status, stdout, stderr } = await run(
          "verify",
          join(golden, name),
          "--device",
          "gpu",
          "--json",
        );
        expect(stdout, stderr).not.toBe("");
        const { rows } = JSON.parse(stdout) as {
          rows: { name: string; ok: boolean; status: string }[];
        };
        expect(rows.filter(({ ok }) => !ok)).toEqual([]);
        expect(rows.filter((row) => row.status === "ok").length).toBeGreaterThan(10);
        expect(status).toBe(0);
      },
    );

    it("leaves no buffer on the device", async () => {
      const backend = await createWgslBackend();
      try {
        const opened = await openCase(join(golden, cases[0]!), backend);
        await verifyCase(opened, { progress: () => undefined, device: "gpu" });
        await opened.close();
        expect(backend.liveBuffers).toBe(0);
      } finally {
        backend.dispose();
      }
    });
  },
);
