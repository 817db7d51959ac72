/** What UEFI calls the targets. https://uefi.org/specs/UEFI/2.10/03_Boot_Manager.html#removable-media-boot-behavior */
import { UsageError } from '@nodeos/base';
import type { Target } from '@nodeos/targets';

export interface EfiTarget {
  /** `Machine` of the PE header. */
  readonly machine: number;
  /** The file that firmware starts from a medium without being told. */
  readonly file: string;
  /** Flags for code that uses no registers that firmware does not keep, and no red zone. */
  readonly flags: readonly string[];
}

const EFI_TARGETS: Readonly<Record<string, EfiTarget>> = {
  x86_64: { machine: 0x8664, file: 'BOOTX64.EFI', flags: ['-mno-red-zone', '-mgeneral-regs-only'] },
  aarch64: { machine: 0xaa64, file: 'BOOTAA64.EFI', flags: ['-mgeneral-regs-only', '-mstrict-align'] },
};

/** @throws UsageError if no firmware of that kind is known for the target */
export function efiTargetOf(target: Target): EfiTarget {
  const found = EFI_TARGETS[target.name];
  if (found) return found;
  throw new UsageError(`${target.name}: there is no UEFI for it`, {
    hint: `known are ${Object.keys(EFI_TARGETS).join(', ')}`,
  });
}
