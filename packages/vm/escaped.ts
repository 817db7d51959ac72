/** QEMU's option lists escape a comma by doubling it. */
export const escaped = (value: string): string => value.replaceAll(',', ',,');
