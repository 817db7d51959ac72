import type { BlockBackend } from '@nodeos/block';
export const BLOCK: number;
export function imageNumber(memory: (size: number) => BlockBackend, n: number): Promise<BlockBackend>;
