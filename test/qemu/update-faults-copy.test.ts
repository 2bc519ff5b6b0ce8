// Faults at the steps of a copy; see fault-suite.ts.
import { faultSuite } from "./fault-suite.ts";

faultSuite("copy");
