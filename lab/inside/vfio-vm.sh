#!/bin/bash
# vfio-vm.sh NAME (group|iommufd) (kvm|tcg) ADDRESS...: starts a VM with passed-through devices, each behind a root port.
# Environment: EXTRA, further words of the command line; LIMIT, vectors that are turned on of each device at most.
name=$1 backend=$2 accel=$3; shift 3
mkdir -p /run/vms; cd /run/vms || exit 1
cp /lab/vectors.img $name.img; rm -f $name.serial
[ -n "$LIMIT" ] && printf "\\x$(printf %02x $((LIMIT & 255)))\\x$(printf %02x $((LIMIT >> 8)))" | dd of=$name.img bs=1 seek=508 conv=notrunc status=none
[ $accel = kvm ] && accel=kvm,kernel-irqchip=split
words=() n=0
[ $backend = iommufd ] && words+=(-object iommufd,id=iommufd0)
for a in "$@"; do
  n=$((n + 1))
  words+=(-device pcie-root-port,id=rp$n,chassis=$n)
  words+=(-device "vfio-pci,host=$a,id=hd$n,bus=rp$n$([ $backend = iommufd ] && echo ,iommufd=iommufd0)")
done
setsid -f /qemu/11.1 -nodefaults -display none -machine pc-q35-11.0,aux-ram-share=on,memory-backend=ram0 \
  -accel $accel -object memory-backend-memfd,id=ram0,size=128M,share=on -m 128M \
  -drive file=/run/vms/$name.img,format=raw,if=ide -serial file:/run/vms/$name.serial \
  -qmp unix:/run/vms/$name.sock,server=on,wait=off -pidfile /run/vms/$name.pid "${words[@]}" $EXTRA > $name.log 2>&1 < /dev/null
for i in $(seq 300); do [ -s $name.pid ] && [ -S $name.sock ] && break; sleep 0.2; done
cat $name.log; cat $name.pid
