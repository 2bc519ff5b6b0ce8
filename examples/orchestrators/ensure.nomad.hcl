# A Nomad batch job for one VM on one node: nomad job dispatch -meta vm=/run/vm1/qmp.sock -meta node=host1 cprkit-ensure
job "cprkit-ensure" {
  type = "batch"
  parameterized {
    meta_required = ["vm", "node"]
  }
  constraint {
    attribute = "${attr.unique.hostname}"
    value     = "${NOMAD_META_node}"
  }
  group "ensure" {
    # "ensure" may be asked again at any time: 4 is "try again". 1 (refused) and 5 (lost) fail in each attempt.
    restart {
      attempts = 3
      interval = "1h"
      delay    = "15s"
      mode     = "fail"
    }
    task "ensure" {
      # The host's processes must be seen: no container.
      driver = "raw_exec"
      kill_signal  = "SIGINT"
      kill_timeout = "5m"
      config {
        command = "/usr/bin/cprkit"
        args = [
          "ensure", "--qmp", "${NOMAD_META_vm}", "--qemu", "/opt/qemu-11.1/bin/qemu-system-x86_64",
          "--key", "${NOMAD_JOB_ID}", "--json",
        ]
      }
    }
  }
}
