// npm run pins: checks whether the pinned sources are the newest, and updates them. See docs/pins.md.
import { setUp } from '../../bin/lib/setup.js';

setUp();
const { runProcess } = await import('./dist/main.js');
await runProcess();
