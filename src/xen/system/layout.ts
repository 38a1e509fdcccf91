/** What the device files of a real Xen take, in bytes. Names and numbers are those of Linux's headers (include/uapi/xen). */

/**
 * What is kept of it: a domain's record, of which only the counters are used, and then the address of the arena in the
 * process, u64.
 */
export const DEVICES_BASE: u32 = 384;
export const DEVICES_BYTES: u32 = 512;

/** A copy as /dev/xen/gntdev takes it (struct gntdev_grant_copy_segment): 24 bytes; an address of the process is a u64. */
export const SEGMENT_SOURCE: u32 = 0;
export const SEGMENT_TARGET: u32 = 8;
export const SEGMENT_LENGTH: u32 = 16;
export const SEGMENT_FLAGS: u32 = 18;
export const SEGMENT_STATUS: u32 = 20;
export const SEGMENT_BYTES: u32 = 24;
/** Of the side of a reference: u32, u16, u16. */
export const SEGMENT_SIDE_REF: u32 = 0;
export const SEGMENT_SIDE_OFFSET: u32 = 4;
export const SEGMENT_SIDE_DOMID: u32 = 6;
/** Behind GRANT_BATCH_MAX segments, the call's argument (struct ioctl_gntdev_grant_copy): how many u32, where u64. */
export const COPYCALL: u32 = 24576;
export const COPYCALL_COUNT: u32 = 0;
export const COPYCALL_SEGMENTS: u32 = 8;

/** What a thread's other calls take: a map or unmap (24 bytes), and an event. */
export const DEVICECALL_GRANT: u32 = 0;
export const DEVICECALL_EVENT: u32 = 32;
export const DEVICECALL_BYTES: u32 = 64;
