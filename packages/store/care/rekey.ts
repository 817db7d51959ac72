/** Lets another tenant read an image: its table of keys is written once more, under the other tenant's key. */
import { NodeosError } from '@nodeos/base';
import { findImage, type WritableImageStore } from '../images.js';
import { encodeKeys, tenantId } from '../recipe/key-table.js';

/** @throws NodeosError if the image is not encrypted, or `from` does not open it */
export async function rekey(
  store: WritableImageStore,
  name: string,
  { from, to }: { readonly from: Uint8Array; readonly to: Uint8Array },
): Promise<void> {
  const image = await findImage(store, name, from);
  if (!image.keys) throw new NodeosError(`${image.name} is not encrypted, so it has no keys`);
  await store.putKeyTable(image.id, tenantId(to), encodeKeys(image.keys, to, image.id));
}

/** Takes a tenant's table away. Whoever has copied it before still has the keys. */
export async function revoke(store: WritableImageStore, name: string, tenant: Uint8Array): Promise<void> {
  const image = await findImage(store, name, tenant);
  await store.deleteKeyTable(image.id, tenantId(tenant));
}
