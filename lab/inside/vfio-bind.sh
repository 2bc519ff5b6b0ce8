#!/bin/bash
# vfio-bind.sh ADDRESS...: gives PCI devices to vfio-pci, whatever driver has them.
for a in "$@"; do
  d=/sys/bus/pci/devices/$a
  [ "$(basename "$(readlink $d/driver)")" = vfio-pci ] && continue
  echo vfio-pci > $d/driver_override
  [ -e $d/driver ] && echo $a > $d/driver/unbind
  echo $a > /sys/bus/pci/drivers_probe
  echo "$a group $(basename "$(readlink $d/iommu_group)") driver $(basename "$(readlink $d/driver)") cdev $(ls $d/vfio-dev 2>/dev/null)"
done
