/**
 * The package managers, and the commands that install what a machine lacks. Pure functions: bin/install-dependencies and
 * the verbs of nodeos look at the machine.
 */

/** @typedef {import('./needs.js').Family} Family */
/** @typedef {import('./needs.js').Need} Need */

/**
 * @typedef {object} Manager
 * @property {string} command
 * @property {Family} family the column of NEEDS with its package names
 * @property {string[]} ids values of ID and ID_LIKE in os-release
 * @property {string[]} refresh the command before the installation; empty if there is none
 * @property {string[]} install the command that the packages are appended to
 * @property {boolean} root whether the commands need root
 * @property {string} hint advice for when a command fails
 */

/** @param {string} names separated by spaces */
const list = (names) => names.split(' ');

/** @type {Manager[]} */
export const MANAGERS = [
  {
    command: 'apt-get',
    family: 'debian',
    ids: ['debian', 'ubuntu'],
    refresh: ['apt-get', 'update'],
    // sudo clears the environment, so the variable that suppresses configuration questions is part of the command.
    install: list('env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends'),
    root: true,
    hint: 'Is the network there, and no other apt running? On Ubuntu some packages are in universe.',
  },
  {
    command: 'dnf',
    family: 'fedora',
    ids: ['fedora', 'rhel', 'centos'],
    refresh: [], // dnf refreshes on its own
    install: list('dnf install -y --setopt=install_weak_deps=False'),
    root: true,
    hint: 'RHEL and its rebuilds have no qemu-system-x86_64: use Fedora, or install QEMU by hand.',
  },
  {
    command: 'pacman',
    family: 'arch',
    ids: ['arch', 'manjaro'],
    // Arch supports a refresh only together with an upgrade of the whole system, which is the owner's decision.
    refresh: [],
    install: list('pacman -S --needed --noconfirm'),
    root: true,
    hint: 'If it did not find a package, bring the system up to date first: pacman -Syu.',
  },
  {
    command: 'apk',
    family: 'alpine',
    ids: ['alpine'],
    refresh: ['apk', 'update'],
    install: ['apk', 'add'],
    root: true,
    hint: 'QEMU and debootstrap are in the community repository: enable it in /etc/apk/repositories.',
  },
  {
    command: 'brew',
    family: 'brew',
    ids: ['macos'],
    refresh: [], // brew refreshes on its own
    install: ['brew', 'install'],
    root: false, // brew refuses to run as root
    hint: 'Homebrew must be installed, and run as your own user rather than as root.',
  },
];

/**
 * The name of this system, then the names of similar systems, most specific first.
 * @param {string | undefined} osRelease the text of /etc/os-release, if there is one
 * @param {string} platform process.platform
 */
export const systemIds = (osRelease, platform) => {
  if (osRelease === undefined) return platform === 'darwin' ? ['macos'] : [];
  const value = (/** @type {string} */ key) =>
    new RegExp(`^${key}=(["']?)(.*)\\1\\s*$`, 'm').exec(osRelease)?.[2]?.toLowerCase() ?? '';
  return `${value('ID')} ${value('ID_LIKE')}`.split(/\s+/).filter(Boolean);
};

/** @param {string[]} ids @returns {Manager | undefined} */
export const managerFor = (ids) => ids.flatMap((id) => MANAGERS.filter((manager) => manager.ids.includes(id)))[0];

/**
 * The needs that this manager has packages for, and the commands that install them.
 * @param {Manager} manager
 * @param {Need[]} needs
 * @param {string[]} prefix such as ['sudo'], for the managers that need root
 */
export const plan = (manager, needs, prefix) => {
  const installable = needs.filter((need) => need[manager.family].length > 0);
  const packages = new Set(installable.flatMap((need) => need[manager.family]));
  const argvs = packages.size > 0 ? [manager.refresh, [...manager.install, ...packages]] : [];
  const commands = argvs.filter((argv) => argv.length > 0).map((argv) => [...(manager.root ? prefix : []), ...argv]);
  return { installable, commands };
};

/** Quotes an argv as one line for a POSIX shell. @param {string[]} argv */
export const shellLine = (argv) =>
  argv.map((word) => (/^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`)).join(' ');
