/** Makes a value once for each owner and key. The value can be freed together with its owner. */
export function memo<T>(): (owner: object, key: string, make: () => T) => T {
  const all = new WeakMap<object, Map<string, T>>();
  return (owner, key, make) => {
    const own = all.get(owner) ?? new Map<string, T>();
    all.set(owner, own);
    const known = own.get(key);
    if (known !== undefined) return known;
    const made = make();
    own.set(key, made);
    return made;
  };
}
