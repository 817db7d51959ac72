/** The figures that pages have, by the name of their places. `measured` is the row of `npm run bench`. */

const withUnit = (unit) => (value) => `${value} ${unit}`;
/** Two significant digits after a point are enough for whoever reads. */
const seconds = (value) => `${value.toFixed(1)} s`;
const mebibytes = (value) => `${value >= 100 ? Math.round(value) : value.toFixed(1)} MiB`;

export const FIGURES = {
  pid1: { measured: 'PID 1, KiB', text: withUnit('KiB') },
  kernel: { measured: 'kernel image (bzImage), MiB', text: mebibytes },
  initramfs: { measured: 'initramfs without the runtime, MiB', text: (value) => `${Math.round(value * 1024)} KiB` },
  'initramfs-stream': { measured: 'initramfs for a root over NBD, KiB', text: withUnit('KiB') },
  runtime: { measured: 'image of the runtime, MiB', text: mebibytes },
  'first-byte': { measured: 'spawn to first HTTP byte, s', text: seconds },
  'smallest-memory': { measured: 'smallest --memory, MiB', text: withUnit('MiB') },
  'change-to-image': { measured: 'changed file to image, s', text: seconds },
};
