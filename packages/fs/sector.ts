/** Bytes of a sector. Disks with sectors of 4096 bytes are not described. */
export const SECTOR = 512;
