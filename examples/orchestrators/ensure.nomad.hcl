# A Nomad batch job for one VM on one node: nomad job run -var vm=/run/vm1/qmp.sock -var node=host1 ensure.nomad.hcl
# Nomad looks at a constraint before a dispatched job's meta is known, so these are variables of the job's file.
variable "vm" {
  type = string
}
variable "node" {
  type = string
}
job "cprkit-ensure" {
  id   = "cprkit-ensure-${var.node}${replace(var.vm, "/", "-")}"
  type = "batch"
  # Else Nomad would do nothing for a job that it has done before.
  meta {
    run = uuidv4()
  }
  constraint {
    attribute = "${attr.unique.hostname}"
    value     = var.node
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
      driver       = "raw_exec"
      kill_signal  = "SIGINT"
      kill_timeout = "5m"
      config {
        command = "/usr/bin/cprkit"
        args = [
          "ensure", "--qmp", var.vm, "--qemu", "/opt/qemu-11.1/bin/qemu-system-x86_64",
          "--key", "${NOMAD_ALLOC_ID}", "--json",
        ]
      }
    }
  }
}
