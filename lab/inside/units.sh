#!/bin/bash
# units.sh: what the cases about systemd units share. Sourced.
Q10=/qemu/10.0 Q11=/qemu/11.1
mkdir -p /run/vms /run/vmu; chown vm /run/vmu; chmod 1777 /run/vms
# NAME [FOLDER]: words of a VM made for CPR, whose guest counts.
words() {
  cp /lab/vectors.img /run/vms/$1.img; chmod 666 /run/vms/$1.img
  echo "-nodefaults -display none -machine pc-q35-10.0,aux-ram-share=on,memory-backend=ram0 -accel ${ACCEL:-kvm,kernel-irqchip=split} -object memory-backend-memfd,id=ram0,size=64M,share=on -m 64M -drive file=/run/vms/$1.img,format=raw,if=ide -serial file:${2:-/run/vms}/$1.serial -qmp unix:${2:-/run/vms}/$1.sock,server=on,wait=off"
}
unit() { local name=$1; shift; printf '%s\n' "[Service]" "$@" > /run/systemd/system/$name.service; systemctl daemon-reload; }
# Every QEMU of a VM, as lines of "pid ppid version cgroup user NoNewPrivs Seccomp CapBnd oom nice cpus mnt".
look() {
  for p in $(pgrep -f "qemu-system.*/$1[.]img"); do
    s=/proc/$p/status
    echo "pid=$p ppid=$(awk '/^PPid/{print $2}' $s) qemu=$(readlink /proc/$p/exe | grep -oE 'qemu/1[01].[01]' | cut -d/ -f2) cgroup=$(cut -d: -f3 /proc/$p/cgroup) user=$(stat -c %U /proc/$p) nnp=$(awk '/^NoNewPrivs/{print $2}' $s) seccomp=$(awk '/^Seccomp:/{print $2}' $s)/$(awk '/^Seccomp_filters/{print $2}' $s) capbnd=$(awk '/^CapBnd/{print $2}' $s) capeff=$(awk '/^CapEff/{print $2}' $s) oom=$(cat /proc/$p/oom_score_adj) nice=$(ps -o ni= -p $p | tr -d ' ') cpus=$(awk '/^Cpus_allowed_list/{print $2}' $s) mnt=$(readlink /proc/$p/ns/mnt | tr -dc 0-9) ipc=$(readlink /proc/$p/ns/ipc | tr -dc 0-9) net=$(readlink /proc/$p/ns/net | tr -dc 0-9)"
  done
}
count() { wc -l < $1 2>/dev/null || echo 0; }
# UNIT: as systemd sees it.
state() { systemctl show "$1" -p MainPID,ActiveState,SubState,Result,NRestarts | tr '\n' ' '; echo; }
