import type { Region } from '@nodeos/block';

/** The regions of an image that starts at `start` bytes of another one. */
export function placedAt(list: readonly Region[], start: number): Region[] {
  let end = 0;
  return list.map((region) => {
    const offset = region.offset ?? end;
    end = offset + region.length;
    return { ...region, offset: start + offset };
  });
}
