/** A slot of a disk: a head, and the unified kernel image that it describes. */
import { NodeosError } from '@nodeos/base';
import { file, type Region } from '@nodeos/block';
import { peSections, type Place } from '@nodeos/fs';
import type { BootState } from './boot-state.js';
import type { HostFile } from './host-file.js';
import { encodeSlotHead, HEAD_LENGTH, MAX_COMMAND_LINE } from './slot-head.js';

/** The state of a new medium: slot a, which needs no tries. @param head its place in bytes */
export const newState = (head: number): BootState => ({
  sequence: 1,
  slot: 'a',
  tries: 0,
  slots: { a: { head, validated: true }, b: { head: 0, validated: false } },
});

/** The contents of a slot: the same in either. */
export const slotRegions = async (uki: HostFile): Promise<Region[]> => [
  { offset: 0, length: HEAD_LENGTH, source: await slotHead(uki, HEAD_LENGTH, true) },
  { offset: HEAD_LENGTH, length: uki.size, source: uki },
];

/**
 * The head for a unified kernel image.
 * @param offset of the image, in bytes from the start of the head
 * @param isSlot whether the system is to know in which slot it is
 * @throws Error with the code EINVAL if it is no unified kernel image; NodeosError if its command line is too long
 */
export async function slotHead(uki: HostFile, offset: number, isSlot: boolean): Promise<Buffer> {
  const device = await file(uki.file, { readOnly: true });
  try {
    const sections = await peSections(device);
    const section = (name: string): Place => {
      const found = sections.get(name);
      if (!found) throw new Error(`${uki.file} has no section ${name}`);
      return found;
    };
    const moved = (place: Place): Place => ({ offset: offset + place.offset, length: place.length });
    const line = section('.cmdline');
    if (line.length > MAX_COMMAND_LINE)
      throw new NodeosError(`the kernel's command line has ${line.length} bytes, and ${MAX_COMMAND_LINE} fit`);
    const commandLine = Buffer.alloc(line.length);
    await device.read(commandLine, line.offset);
    return encodeSlotHead({
      uki: { offset, length: uki.size },
      kernel: moved(section('.linux')),
      initramfs: moved(section('.initrd')),
      commandLine: commandLine.toString('latin1'),
      isSlot,
    });
  } finally {
    await device.close();
  }
}
