#!/bin/sh
# What libvirtd calls. busybox knows no soft dependencies: kmod loads vfio_iommu_type1 after vfio.
busybox modprobe "$@" || exit
case "$*" in *vfio*) busybox modprobe vfio_iommu_type1 ;; esac
