//! The kernel struct members that the programs read.
//!
//! A list only: user space resolves each from the running kernel's BTF and passes it in as a
//! read-only global of the same name; the programs hold no offset of their own.

/// A global that was not resolved: the member does not exist in this kernel.
pub const ABSENT: u32 = u32::MAX;

/// Calls `$with!` with every member: the global's name, the struct, the path of the member.
///
/// The value is the byte offset of the member in the struct. For a bit field, which only
/// `REQUIRE_DIRECT` is, it is the byte offset of the 32-bit word that holds the field, and the
/// global `REQUIRE_DIRECT_BIT` says which bit of it.
#[macro_export]
macro_rules! for_each_offset {
    ($with:ident) => {
        $with! {
            DEVICE_NAME, "device", "kobj.name";
            DEVICE_BUS, "device", "bus";
            DEVICE_DRIVER, "device", "driver";
            DEVICE_IOMMU_GROUP, "device", "iommu_group";
            DEVICE_IOMMU, "device", "iommu";
            DRIVER_NAME, "device_driver", "name";
            BUS_NAME, "bus_type", "name";
            PCI_DEV_DEVICE, "pci_dev", "dev";
            PCI_DEV_BUS, "pci_dev", "bus";
            PCI_DEV_DEVFN, "pci_dev", "devfn";
            PCI_BUS_NUMBER, "pci_bus", "number";
            PCI_BUS_SYSDATA, "pci_bus", "sysdata";
            PCI_SYSDATA_DOMAIN, "pci_sysdata", "domain";
            DEV_IOMMU_DEVICE, "dev_iommu", "iommu_dev";
            REQUIRE_DIRECT, "dev_iommu", "require_direct";
            PCI_DRIVER_DRIVER, "pci_driver", "driver";
            PCI_DRIVER_MANAGES_DMA, "pci_driver", "driver_managed_dma";
            FILE_DENTRY, "file", "f_path.dentry";
            DENTRY_NAME, "dentry", "d_name.name";
            GROUP_ID, "iommu_group", "id";
            GROUP_DEVICES, "iommu_group", "devices";
            GROUP_DEVICE_LIST, "group_device", "list";
            GROUP_DEVICE_DEV, "group_device", "dev";
            GROUP_DOMAIN, "iommu_group", "domain";
            GROUP_DEFAULT_DOMAIN, "iommu_group", "default_domain";
            GROUP_BLOCKING_DOMAIN, "iommu_group", "blocking_domain";
            GROUP_OWNER_COUNT, "iommu_group", "owner_cnt";
            GROUP_OWNER, "iommu_group", "owner";
            DOMAIN_TYPE, "iommu_domain", "type";
            IOMMU_DEVICE_DEV, "iommu_device", "dev";
            AMD_IOMMU_DEVICE, "amd_iommu", "iommu";
            AMD_IOMMU_SEGMENT, "amd_iommu", "pci_seg";
            SEGMENT_ID, "amd_iommu_pci_seg", "id";
            SEGMENT_LAST_DEVID, "amd_iommu_pci_seg", "last_bdf";
            SEGMENT_UNITY_MAP, "amd_iommu_pci_seg", "unity_map";
            UNITY_DEVID_START, "unity_map_entry", "devid_start";
            UNITY_DEVID_END, "unity_map_entry", "devid_end";
            UNITY_START, "unity_map_entry", "address_start";
            UNITY_END, "unity_map_entry", "address_end";
            UNITY_PROT, "unity_map_entry", "prot";
            LIST_NEXT, "list_head", "next";
            UNITY_LIST, "unity_map_entry", "list";
            REGION_LIST, "iommu_resv_region", "list";
            REGION_START, "iommu_resv_region", "start";
            REGION_LENGTH, "iommu_resv_region", "length";
            REGION_PROT, "iommu_resv_region", "prot";
            REGION_TYPE, "iommu_resv_region", "type";
            TASK_MM, "task_struct", "mm";
            MM_ARG_START, "mm_struct", "arg_start";
            MM_ARG_END, "mm_struct", "arg_end";
            MODULE_NAME, "module", "name";
        }
    };
}
