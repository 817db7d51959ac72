export const SECTOR: number;
export const SECTORS: number;
export function writeOf(n: number): { first: number; count: number };
