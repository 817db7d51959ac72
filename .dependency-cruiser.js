/** Which package may import which: docs/architecture.md draws it. */
const LIBRARIES = {
  base: [],
  contract: [],
  tree: [],
  block: ['base'],
  nbd: ['block'],
  disk: ['base', 'block', 'fs', 'nbd', 'oci', 'store'],
  fs: ['block', 'tree'],
  flash: ['base', 'block'],
  fuse: ['base', 'block'],
  places: ['base'],
  linuxfs: ['block', 'targets', 'tree', 'vm'],
  store: ['base', 'block', 'oci', 'places'],
  oci: ['base', 'tree'],
};
const SYSTEM = {
  targets: ['base'],
  engine: ['base', 'targets'],
  remote: ['base', 'engine', 'oci', 'places', 'tree'],
  rootfs: ['contract', 'engine', 'fs', 'targets', 'tree'],
  toolchain: ['engine', 'targets'],
  runtime: ['base', 'contract', 'engine', 'fs', 'rootfs', 'targets', 'toolchain', 'tree'],
  app: ['base', 'contract', 'engine', 'rootfs', 'targets', 'toolchain', 'tree'],
  init: ['contract', 'engine', 'targets', 'toolchain'],
  vm: ['base', 'contract', 'targets'],
  netroot: ['base', 'block', 'contract', 'disk', 'engine', 'fs', 'initramfs', 'nbd', 'tree'],
};
const ARROWS = { ...LIBRARIES, ...SYSTEM };

const rules = Object.entries(ARROWS).map(([name, allowed]) => ({
  name: `${name}-imports`,
  comment: `packages/${name} imports ${allowed.length === 0 ? 'no other package' : allowed.join(', ')}`,
  severity: 'error',
  from: { path: `^packages/${name}/` },
  to: {
    path: '^(packages|kernel|initramfs|bootfs)/',
    pathNot: [name, ...allowed].map((one) => `^(packages/)?${one}/`),
  },
}));

export default {
  forbidden: [
    ...rules,
    {
      name: 'create-nodeos-imports',
      comment: 'packages/create-nodeos imports no other package: it is fetched for one run',
      severity: 'error',
      from: { path: '^packages/create-nodeos/' },
      to: { path: '^(packages|kernel|initramfs|bootfs)/', pathNot: '^packages/create-nodeos/' },
    },
    {
      name: 'layers-do-not-import-the-command',
      severity: 'error',
      from: { path: '^(kernel|initramfs|bootfs)/' },
      to: { path: '^packages/cli/' },
    },
    { name: 'no-circles', severity: 'error', from: {}, to: { circular: true } },
    { name: 'nothing-unresolved', severity: 'error', from: {}, to: { couldNotResolve: true } },
  ],
  options: {
    tsPreCompilationDeps: true,
    tsConfig: { fileName: 'tsconfig.base.json' },
    doNotFollow: { path: ['node_modules', '/dist/'] },
    exclude: { path: '/(test|templates)/' },
    enhancedResolveOptions: { exportsFields: ['exports'], conditionNames: ['import', 'default'] },
  },
};
