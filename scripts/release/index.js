/**
 * node scripts/release FOLDER [--version V] [--repository URL] [--linuxfs FILE]…
 *
 * Packs all workspaces into tarballs, which `npm publish FOLDER/*.tgz` publishes one by one. names.json has their names.
 * FILE is what `nodeos build linuxfs-kernel` or `linuxfs-kernel-virt` made; each becomes a package for its platforms.
 */
import { execFileSync } from 'node:child_process';
import { parseArgs } from 'node:util';
import { packAll } from './pack.js';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { version: { type: 'string' }, repository: { type: 'string' }, linuxfs: { type: 'string', multiple: true } },
});
const [into, ...more] = positionals;
if (into === undefined || more.length > 0) {
  console.error('Usage: node scripts/release FOLDER [--version V] [--repository URL] [--linuxfs FILE]…');
  process.exit(2);
}
const { version, linuxfs, repository = ownRepository() } = values;
if (repository === undefined) console.error('the packages name no repository: --repository URL');
const tarballs = await packAll({
  into,
  ...(version === undefined ? {} : { version }),
  ...(repository === undefined ? {} : { repository }),
  ...(linuxfs === undefined ? {} : { linuxfs }),
});
for (const { name, file } of tarballs) console.log(`${name}  ${file}`);

/** Where this clone comes from, if that is a URL. */
function ownRepository() {
  try {
    const url = execFileSync('git', ['config', 'remote.origin.url'], { encoding: 'utf8' }).trim();
    return /^(https?|ssh|git):\/\//.test(url) ? `git+${url}` : undefined;
  } catch {
    return undefined;
  }
}
