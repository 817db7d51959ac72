/** A web server: GET, and PUT where it takes that. */
import { NodeosError } from '@nodeos/base';
import { bodyOf, isSuccess, request } from './request.js';
import type { Store } from './store.js';

/** @param base its user and password are sent, and not shown */
export function http(base: URL): Store {
  const root = new URL(base);
  const { username, password } = root;
  [root.username, root.password, root.search, root.hash] = ['', '', '', ''];
  if (!root.pathname.endsWith('/')) root.pathname += '/';
  const login = `${decodeURIComponent(username)}:${decodeURIComponent(password)}`;
  const headers: Record<string, string> =
    username === '' ? {} : { authorization: `Basic ${Buffer.from(login).toString('base64')}` };
  return {
    name: root.href,
    get: async (path, signal) => bodyOf(await request(new URL(path, root), { headers, signal })),
    async put(path, { size, open }, signal) {
      const sized = { ...headers, 'content-length': String(size) };
      const response = await request(new URL(path, root), { method: 'PUT', headers: sized, body: open(), signal });
      response.destroy();
      if (!isSuccess(response)) throw new NodeosError(`PUT ${path}: HTTP status ${response.statusCode}`);
    },
  };
}
