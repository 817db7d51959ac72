import { mkdtempSync, rmSync } from 'node:fs';
import { access } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { whyNoAccess } from '../accelerator.js';

it('says who may use a device that this user may not', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'nodeos-accelerator-'));
  const absent: unknown = await access(join(folder, 'kvm')).catch((error: unknown) => error);
  rmSync(folder, { recursive: true });
  expect(whyNoAccess(absent)).toMatch(/^ENOENT: no such file or directory/);
  const denied = Object.assign(new Error('EACCES: permission denied'), { code: 'EACCES' });
  expect(whyNoAccess(denied)).toBe(
    'no permission; on most systems the members of the group kvm have it (usermod -aG kvm USER)',
  );
});
