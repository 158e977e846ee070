/**
 * The run behind `millrace verify`. In: a case directory and checked options. Out: a row per tensor on stdout; true when every
 * tensor is met.
 */
import type { CliContext } from "../context.ts";
import { withProfiledBackend } from "../profile-runs.ts";
import { openCase } from "../verify/case.ts";
import { allMet, printJson, printTable } from "../verify/print-rows.ts";
import { verifyCase } from "../verify/verify-case.ts";
import type { VerifyOptions } from "./verify.ts";

export async function runVerify(
  directory: string,
  options: VerifyOptions,
  context: CliContext,
): Promise<boolean> {
  const { device, json } = options;
  const { stdout, stderr } = context;
  return withProfiledBackend(options, context, async (backend) => {
    const opened = await openCase(directory, backend);
    try {
      const rows = await verifyCase(opened, {
        progress: (text) => stderr.write(`computing ${text}\n`),
        device,
      });
      stdout.write(json ? printJson({ case: directory, device }, rows) : printTable(rows));
      return allMet(rows);
    } finally {
      await opened.close();
    }
  });
}
