/** The table of commands. A command's file is loaded when the command is named, so that others cost it no time. */
import type { Command, Group, Listed, Unlisted } from '../command.js';

export const COMMANDS: readonly Listed[] = [
  listed(
    'start',
    'Boots a system in QEMU: the application of a folder, or a Node.js REPL.',
    async () => (await import('./start.js')).startCommand,
  ),
  listed(
    'dev',
    'Boots an application, and starts it again in the running machine whenever its files change.',
    async () => (await import('./dev.js')).devCommand,
  ),
  listed(
    'build',
    'Builds the layers of a system, or formats to start it from (default: all that a boot needs).',
    async () => (await import('./build.js')).buildCommand,
  ),
  listed(
    'config',
    'Shows the settled configuration of an application, and where each value comes from.',
    async () => (await import('./config.js')).configCommand,
  ),
  listed(
    'init',
    'Writes a first nodeos.config.ts, which says what the system of a folder is.',
    async () => (await import('./init.js')).initCommand,
  ),
  listed(
    'flash',
    'Writes an image to a stick, a card or a disk, and reads it back. Without DEVICE: lists the drives.',
    async () => (await import('./flash.js')).flashCommand,
  ),
  listed(
    'image',
    'Shows and changes what is in disks and filesystems: ext4, xfs, btrfs, f2fs, FAT, exFAT, EROFS, squashfs, ISO 9660.',
    async () => (await import('./image.js')).imageCommands,
  ),
  listed(
    'oci',
    'Fetches container images, shows them, and makes filesystems of them.',
    async () => (await import('./oci.js')).ociCommands,
  ),
  listed(
    'toolchain',
    'Builds the musl cross-toolchain, and lets other programs compile with it.',
    async () => (await import('./toolchain.js')).toolchainCommand,
  ),
  listed(
    'cache',
    'Looks after the cache of built outputs and fetched sources ($NODEOS_CACHE, else ~/.cache/nodeos).',
    async () => (await import('./cache.js')).cacheCommands,
  ),
  listed(
    'clean',
    'Removes every built output from the cache; fetched sources stay unless --all is given.',
    async () => (await import('./clean.js')).cleanCommand,
  ),
  listed(
    'nbd',
    'Serves, copies, inspects and attaches disks: files, URLs, and exports of NBD servers.',
    async () => (await import('./nbd.js')).nbdCommands,
  ),
  listed(
    'store',
    'Keeps disk images as chunks that are shared, encrypted, and fetched when they are read.',
    async () => (await import('./store.js')).storeCommands,
  ),
  listed(
    'doctor',
    'Says what this host has and lacks for building and starting systems, and what mends it.',
    async () => (await import('./doctor.js')).doctorCommand,
  ),
  listed(
    'completion',
    'Prints what makes a shell complete command lines of nodeos: commands, options, their values, files.',
    async () => (await import('./completion.js')).completionCommand(allCommands),
  ),
];

/** Loads every command. */
export const allCommands = (): Promise<(Command | Group)[]> => Promise.all(COMMANDS.map((listed) => listed.load()));

function listed(name: string, summary: string, load: () => Promise<Unlisted<Command> | Unlisted<Group>>): Listed {
  return { name, summary, load: async () => ({ name, summary, ...(await load()) }) };
}
