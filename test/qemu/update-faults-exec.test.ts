// Faults at every step of cpr-exec; see fault-suite.ts.
import { faultSuite } from "./fault-suite.ts";

faultSuite("cpr-exec");
