/**
 * Chooses an image from an index.
 * https://github.com/opencontainers/image-spec/blob/v1.1.1/image-index.md
 */
import { NodeosError, UsageError } from '@nodeos/base';
import type { Descriptor, ImageIndex, Platform } from './model.js';

/** Names of architectures in Go, which images use, by `process.arch`. */
const ARCHITECTURES: Readonly<Record<string, string>> = { x64: 'amd64', ia32: '386', arm: 'arm', arm64: 'arm64' };
/** What stands for an architecture without a variant, and what else runs there, the best first. */
const VARIANTS: Readonly<Record<string, readonly string[]>> = {
  amd64: ['v1'],
  arm64: ['v8'],
  arm: ['v7', 'v6', 'v5'],
};

/** Linux on this machine's architecture. */
export const hostPlatform = (): Platform => ({
  os: 'linux',
  architecture: ARCHITECTURES[process.arch] ?? process.arch,
});

/** @param text `OS/ARCHITECTURE[/VARIANT]`. @throws UsageError */
export function parsePlatform(text: string): Platform {
  const [os, architecture, variant, ...more] = text.split('/');
  if (!os || !architecture || variant === '' || more.length > 0)
    throw new UsageError(`--platform ${text}: expected OS/ARCHITECTURE[/VARIANT]`, {
      hint: 'linux/amd64, linux/arm/v7',
    });
  return { os, architecture, ...(variant === undefined ? {} : { variant }) };
}

export const platformText = ({ os, architecture, variant }: Platform): string =>
  [os, architecture, variant].filter(Boolean).join('/');

/** @throws NodeosError that lists what there is */
export function choosePlatform({ manifests }: ImageIndex, wanted: Platform, subject: string): Descriptor {
  const real = manifests.filter((one) => !isAttestation(one));
  const ranked = real
    .map((one) => ({ one, rank: rankOf(one.platform, wanted) }))
    .filter(({ rank }) => rank >= 0)
    .sort((a, b) => a.rank - b.rank);
  // An index with one image and no platform has nothing to choose.
  const only = real.length === 1 && real[0]?.platform === undefined ? real[0] : undefined;
  const found = ranked[0]?.one ?? only;
  if (found) return found;
  const there = real.map(({ platform }) => (platform ? platformText(platform) : 'one without a platform'));
  throw new NodeosError(`${subject} has no image for ${platformText(wanted)}`, {
    hint: there.length === 0 ? 'it has no images' : `it has ${there.join(', ')}`,
  });
}

/** 0 for the best; -1 if it does not run there. */
function rankOf(platform: Platform | undefined, wanted: Platform): number {
  if (platform?.os !== wanted.os || platform.architecture !== wanted.architecture) return -1;
  const all = VARIANTS[wanted.architecture] ?? [];
  const from = wanted.variant === undefined ? 0 : all.indexOf(wanted.variant);
  // A variant that is in no list is only itself.
  if (from < 0) return platform.variant === wanted.variant ? 0 : -1;
  const usable = all.slice(from);
  // Without a variant, an image is for the oldest; of arm64 and amd64 there is only that one.
  return usable.indexOf(platform.variant ?? all.at(-1) ?? '') >= 0
    ? usable.indexOf(platform.variant ?? all.at(-1) ?? '')
    : platform.variant === undefined && all.length === 0
      ? 0
      : -1;
}

/** What builders attach to images: it has a platform of its own kind. */
const isAttestation = ({ platform, annotations }: Descriptor): boolean =>
  platform?.os === 'unknown' || annotations?.['vnd.docker.reference.type'] !== undefined;
