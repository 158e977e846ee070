import { describeBackend } from "@millrace/conformance";
import { describe, test } from "vitest";

import { createInterpreterBackend } from "./backend.ts";
import { interpret } from "./interpret.ts";

describeBackend("interpreter", createInterpreterBackend, { interpret, describe, test });
